"""Rows for `minicnn.ops.convolution`."""

from __future__ import annotations

from functools import partial
from typing import Any

from minicnn.ops.convolution import col2im, conv_input, conv_weight, im2col
from minicnn.testing.cases.case import Case, Shape, functional, layer
from minicnn_kernels.geometry import Windows, output_size, sides


def convolutions(name: str, x: Shape, w: Shape, **given: Any) -> list[Case]:
    """Make a row for each of the three operations that form the convolution triangle."""
    settings = {"stride": 1, "padding": 0, "dilation": 1, **given}
    groups = settings.pop("groups", 1)
    pairs = {key: sides(number, 2) for key, number in settings.items()}
    both_sides = list(zip(x[2:], w[2:], *pairs.values(), strict=True))
    dy = (x[0], w[0], *(output_size(*side) for side in both_sides))
    unreached = [(n + 2 * p - d * (k - 1) - 1) % s for n, k, s, p, d in both_sides]
    everything = {**pairs, "groups": groups}

    def torch_weight(torch: Any, x: Any, dy: Any) -> Any:  # cannot differentiate a batch of 0
        return torch.nn.grad.conv2d_weight(x, w, dy, **everything)

    return [
        functional("conv", name, "conv2d", x, w, **everything),
        Case(
            "conv_input",
            name,
            partial(conv_input, size=(x[2], x[3]), **everything),
            (dy, w),
            lambda torch, dy, w: torch.nn.functional.conv_transpose2d(
                dy, w, output_padding=unreached, **everything
            ),
        ),
        Case(
            "conv_weight",
            name,
            partial(conv_weight, size=(w[2], w[3]), **everything),
            (x, dy),
            torch_weight if x[0] else None,
        ),
    ]


ROWS = [
    *convolutions("oblong", (2, 2, 4, 5), (3, 2, 3, 2)),
    *convolutions("one by one", (1, 3, 2, 3), (2, 3, 1, 1)),
    *convolutions("one pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
    *convolutions("kernel as large as the image", (2, 1, 3, 2), (2, 1, 3, 2)),
    *convolutions("padded", (1, 2, 3, 4), (2, 2, 3, 3), padding=1),
    *convolutions("padding beyond the kernel", (1, 1, 2, 2), (2, 1, 2, 1), padding=(2, 3)),
    *convolutions("left-over rows", (1, 1, 6, 5), (2, 1, 3, 2), stride=2),
    *convolutions("stride larger than the kernel", (2, 1, 7, 6), (1, 1, 2, 1), stride=3),
    *convolutions("per axis", (1, 2, 5, 4), (2, 2, 3, 2), stride=(2, 1), padding=(0, 1)),
    *convolutions("dilated", (1, 1, 5, 6), (2, 1, 2, 3), dilation=(3, 2)),
    *convolutions("dilated, padded, strided", (1, 2, 5, 5), (1, 2, 3, 2), stride=2, padding=2,
                  dilation=2),
    *convolutions("groups", (1, 4, 3, 3), (6, 2, 2, 2), groups=2),
    *convolutions("depthwise", (2, 3, 4, 3), (3, 1, 3, 2), groups=3, padding=1),
    *convolutions("depthwise, multiplied", (1, 2, 4, 4), (6, 1, 3, 3), groups=2, stride=2),
    *convolutions("batch 0", (0, 2, 4, 4), (3, 2, 2, 2)),
    functional("conv_bias", "one group", "conv2d", (2, 1, 3, 3), (2, 1, 2, 2), (2,)),
    functional("conv_bias", "one image", "conv2d", (2, 3, 2), (2, 2, 2, 3), (2,), padding=1),
    functional("conv_bias", "groups, strided, left-over rows", "conv2d", (2, 2, 6, 5), (4, 1, 2, 3),
          (4,), groups=2, stride=(3, 2)),
    functional("conv_bias", "batch 0", "conv2d", (0, 1, 3, 3), (2, 1, 2, 2), (2,)),
    functional("conv", "valid", "conv2d", (1, 1, 3, 4), (2, 1, 2, 2), padding="valid"),
    functional("conv", "same", "conv2d", (1, 1, 3, 4), (2, 1, 3, 1), padding="same"),
    functional("conv", "same, even reach", "conv2d", (1, 1, 4, 3), (1, 1, 2, 2),
          padding="same", dilation=(1, 3)),
    functional("im2col", "overlap", "unfold", (2, 2, 3, 4), kernel_size=(2, 3)),
    functional("im2col", "one by one", "unfold", (1, 2, 2, 3), kernel_size=1),
    functional("im2col", "all settings", "unfold", (1, 2, 5, 4),
          kernel_size=(2, 1), dilation=(2, 1), padding=(1, 0), stride=(2, 3)),
    functional("im2col", "one image", "unfold", (1, 5, 4), kernel_size=2, stride=2),
    functional("col2im", "overlap", "fold", (2, 12, 4), output_size=(3, 4), kernel_size=(2, 3)),
    functional("col2im", "one by one", "fold", (1, 2, 6), output_size=(2, 3), kernel_size=1),
    functional("col2im", "all settings", "fold", (1, 4, 6), output_size=(5, 4),
          kernel_size=(2, 1), dilation=(2, 1), padding=(1, 0), stride=(2, 3)),
    functional("col2im", "one image", "fold", (4, 4), output_size=(5, 4), kernel_size=2, stride=2),
    Case("im2col", "batch 0", lambda x: im2col(x, Windows((3, 4), (2, 2))), ((0, 2, 3, 4),)),
    Case("col2im", "batch 0", lambda x: col2im(x, Windows((3, 4), (2, 2))), ((0, 1, 2, 2, 2, 3),)),
]  # fmt: skip

LAYERS = [
    layer("padded", lambda nn: nn.Conv2d(2, 3, 3, padding=1), (2, 2, 4, 3)),
    layer("all settings", lambda nn: nn.Conv2d(4, 2, (2, 1), (2, 1), (0, 1), (1, 2), 2, False),
          (1, 4, 5, 4)),
    layer("default", lambda nn: nn.Conv2d(4, 3, 3), (1, 4, 5, 4)),
    layer("by position", lambda nn: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2, False),
          (1, 4, 5, 4)),
    layer("depthwise", lambda nn: nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4), (1, 4, 5, 4)),
    layer("same", lambda nn: nn.Conv2d(4, 3, (3, 5), padding="same"), (1, 4, 5, 4)),
    layer("valid", lambda nn: nn.Conv2d(4, 3, 2, padding="valid"), (1, 4, 5, 4)),
    layer("stride over kernel", lambda nn: nn.Conv2d(4, 3, 2, stride=3), (1, 4, 5, 4)),
]  # fmt: skip
