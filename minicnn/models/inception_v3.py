"""Inception v3: large windows factored into small and one-sided ones.

Paper: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015, "Rethinking the Inception architecture for
computer vision", Table 1, Figures 5 to 8 and 10, arXiv:1512.00567.

Where the paper is silent this is the network of the published weights: the channels of the modules,
max-pooling beside the reductions, an auxiliary head that averages 5x5 windows with stride 3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minicnn import nn
from minicnn.models.catalogue import published
from minicnn.models.googlenet import ConvBNReLU, as_tensorflow_saw_it
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.ops.shape import cat, flatten

__all__ = ["inception_v3"]

# A module is branches by name, a branch its convolutions: (channels, kernel).  A list of two is a
# fork: both see the same input.  A third number is the stride; with it there is no padding.
WIDE, TALL, FORK = (1, 7), (7, 1), [(384, (1, 3)), (384, (3, 1))]
Branches = dict[str, tuple[Any, ...]]


def figure5(pool: int) -> Branches:
    """35x35: two 3x3 instead of a 5x5."""
    return {
        "branch1x1": ((64, 1),),
        "branch5x5": ((48, 1), (64, 5)),
        "branch3x3dbl": ((64, 1), (96, 3), (96, 3)),
        "branch_pool": ((pool, 1),),
    }


def figure6(c: int) -> Branches:
    """17x17: 1x7 and 7x1 instead of a 7x7."""
    return {
        "branch1x1": ((192, 1),),
        "branch7x7": ((c, 1), (c, WIDE), (192, TALL)),
        "branch7x7dbl": ((c, 1), (c, TALL), (c, WIDE), (c, TALL), (192, WIDE)),
        "branch_pool": ((192, 1),),
    }


FIGURE_7: Branches = {  # 8x8: 1x3 beside 3x1
    "branch1x1": ((320, 1),),
    "branch3x3": ((384, 1), FORK),
    "branch3x3dbl": ((448, 1), (384, 3), FORK),
    "branch_pool": ((192, 1),),
}
TO_17: Branches = {  # Figure 10: convolutions and a pooling, both with stride 2
    "branch3x3": ((384, 3, 2),),
    "branch3x3dbl": ((64, 1), (96, 3), (96, 3, 2)),
}
TO_8: Branches = {
    "branch3x3": ((192, 1), (320, 3, 2)),
    "branch7x7x3": ((192, 1), (192, WIDE), (192, TALL), (192, 3, 2)),
}
MIXED = {
    "Mixed_5b": figure5(pool=32), "Mixed_5c": figure5(pool=64), "Mixed_5d": figure5(pool=64),
    "Mixed_6a": TO_17, "Mixed_6b": figure6(128), "Mixed_6c": figure6(160),
    "Mixed_6d": figure6(160), "Mixed_6e": figure6(192), "Mixed_7a": TO_8, "Mixed_7b": FIGURE_7,
    "Mixed_7c": FIGURE_7,
}  # fmt: skip


class InceptionOutputs(NamedTuple):
    """What training sees."""

    logits: Any
    aux_logits: Any


class Mixed(nn.Module):
    """Branches side by side, concatenated."""

    def __init__(self, channels: int, branches: Branches, width: float) -> None:
        super().__init__()
        self.reduces = "branch_pool" not in branches
        self.branches: dict[str, list[list[str]]] = {}  # the names of the convolutions in each step
        self.out_channels = channels if self.reduces else 0
        for branch, steps in branches.items():
            self.branches[branch], seen = [], channels
            for number, step in enumerate(steps, 1):
                name = f"{branch}_{number}" if len(steps) > 1 else branch
                fork = {f"{name}a": step[0], f"{name}b": step[1]} if step is FORK else {name: step}
                for key, convolution in fork.items():
                    self.add_module(key, conv(seen, width, *convolution))
                self.branches[branch].append([*fork])
                seen = sum(round(convolution[0] * width) for convolution in fork.values())
            self.out_channels += seen

    def forward(self, x: Any) -> Any:
        """Return the channels of all branches."""
        results = [self.run(branch, x) for branch in self.branches]
        return cat([*results, F.max_pool2d(x, 3, 2)] if self.reduces else results, 1)

    def run(self, branch: str, x: Any) -> Any:
        """Return the channels of one branch."""
        if branch == "branch_pool":
            x = F.avg_pool2d(x, 3, 1, padding=1)
        for step in self.branches[branch]:
            results = [getattr(self, name)(x) for name in step]
            x = cat(results, 1) if len(results) > 1 else results[0]
        return x


def conv(channels: int, width: float, out: int, kernel: Any, stride: int = 1) -> ConvBNReLU:
    """Make a convolution that keeps the size of the image unless it has a stride."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = tuple(side // 2 for side in sides) if stride == 1 else 0
    return ConvBNReLU(channels, round(out * width), kernel, stride=stride, padding=padding)


class AuxiliaryHead(nn.Module):
    """Classify from the 17x17 images."""

    def __init__(self, channels: int, num_classes: int, width: float) -> None:
        super().__init__()
        inner, out = round(128 * width), round(768 * width)
        self.conv0 = ConvBNReLU(channels, inner, 1)
        self.conv1 = ConvBNReLU(inner, out, 5)
        self.fc = nn.Linear(out, num_classes)

    def forward(self, x: Any) -> Any:
        """Return one logit per class."""
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, 3)))
        return self.fc(flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class Inception3(nn.Module):
    """Eleven modules for 299x299 pixels, with an auxiliary head in training.

    In training with `aux_logits` the result is an `InceptionOutputs`, else the logits alone.
    `transform_input` takes images normalised as PyTorch does to what TensorFlow's weights expect.
    `width` is the part of the channels to have.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool = True,
        dropout: float = 0.5,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.aux_logits, self.transform_input = aux_logits, transform_input
        c32, c64, c80, c192 = (round(c * width) for c in (32, 64, 80, 192))
        self.Conv2d_1a_3x3 = ConvBNReLU(3, c32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvBNReLU(c32, c32, 3)
        self.Conv2d_2b_3x3 = ConvBNReLU(c32, c64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvBNReLU(c64, c80, 1)
        self.Conv2d_4a_3x3 = ConvBNReLU(c80, c192, 3)
        channels = c192
        for name, branches in MIXED.items():
            module = Mixed(channels, branches, width)
            self.add_module(name, module)
            channels = module.out_channels
            if name == "Mixed_6e" and aux_logits:
                self.AuxLogits = AuxiliaryHead(channels, num_classes, width)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        if init_weights:
            self.apply(_fill)
            if aux_logits:
                init.trunc_normal_(self.AuxLogits.fc.weight, std=0.001)

    def features(self, x: Any) -> Any:
        """Return the maps before global pooling."""
        return self.stages(x)[0]

    def stages(self, x: Any) -> Any:
        """Return the last maps, and those that the auxiliary head sees."""
        if self.transform_input:
            x = as_tensorflow_saw_it(x)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = in_6e = self.Mixed_6e(self.Mixed_6d(x))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))), in_6e

    def forward(self, x: Any) -> Any:
        """Return one logit per class, in training also those of the auxiliary head."""
        x, in_6e = self.stages(x)
        logits = self.fc(flatten(self.dropout(F.adaptive_avg_pool2d(x, (1, 1))), 1))
        if not (self.training and self.aux_logits):
            return logits
        return InceptionOutputs(logits, self.AuxLogits(in_6e))


def _fill(module: Any) -> None:
    """Draw the first weights."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        init.trunc_normal_(module.weight, std=0.1)


@published(
    2015,
    "Szegedy: Rethinking the Inception architecture for computer vision",
    parameters=27_161_264,
    multiply_adds=5_713_216_096,
    input_shape=(3, 299, 299),
)
def inception_v3(**settings: Any) -> Inception3:
    """Build Inception v3 with 23,834,568 parameters, and 3,326,696 in its auxiliary head."""
    return Inception3(**settings)
