"""Whole networks as work to measure: a training step, and inference with batch norms folded.

The same text makes the step in either library: their names agree, and `models.in_torch` builds the
networks of `minicnn.models` from PyTorch's layers.  Weights are drawn by their names, so that both
have the same; the learning rate is 0, so that they keep them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod, sqrt
from typing import Any, ClassVar

import numpy as np

from minicnn.bench.problem import Problem
from minicnn.bench.station import Built
from minicnn.bench.work import Operands, Work, rounding
from minicnn.errors import UsageError
from minicnn_kernels.arrays import Array

DIRECTIONS = ("train", "infer")
OURS = "minicnn"
CHECKED = 2  # images of which results are compared
SETTINGS: dict[str, dict[str, Any]] = {"lenet5": {"modern": True}}
IMAGES = {"lenet5": (1, 32, 32), "inception_v3": (3, 299, 299)}
USUAL_IMAGE = (3, 224, 224)
HEAD_WEIGHT = 0.3  # of the loss of an auxiliary head


@dataclass(frozen=True)
class ModelProblem(Problem):
    """A network and a batch: `resnet18mb8`.

    >>> problem = ModelProblem.read("resnet18mb8")
    >>> problem.model, problem.batch, problem.image
    ('resnet18', 8, (3, 224, 224))
    """

    kind: ClassVar[str] = "model"
    model: str
    batch: int
    name: str = ""
    count: int = 1

    @classmethod
    def read(cls, text: str) -> ModelProblem:
        """Read a line.

        Raises:
            UsageError: it is not of that form, or there is no such model.
        """
        from minicnn import models

        found = re.fullmatch(r"(\w+?)mb([1-9]\d*)", text)
        if not found:
            raise UsageError(f"{text!r} is no network with a batch; write it as resnet18mb8")
        if found[1] not in models.list():
            models.create(found[1])  # says which there are
        return cls(found[1], int(found[2]))

    def __str__(self) -> str:
        return f"{self.model}mb{self.batch}"

    @property
    def image(self) -> tuple[int, ...]:
        """(C, H, W) of an image."""
        return IMAGES.get(self.model, USUAL_IMAGE)

    @property
    def flops(self) -> int:
        """Of all convolutions and linear layers, forward."""
        return self.batch * flops_per_image(self.model)

    @property
    def bytes(self) -> int:
        """Unknown: it depends on what stays in the caches from one layer to the next."""
        return 0


@cache
def flops_per_image(model: str) -> int:
    """Count what a picture costs, by running the network with an ear at each layer."""
    import minicnn
    from minicnn import models, nn

    net, total = models.create(model, **SETTINGS.get(model, {})).eval(), 0

    def count(layer: Any, inputs: Any, result: Any) -> None:
        nonlocal total
        places = prod(result.shape[2:])  # of the weights over the image; 1 for a linear layer
        total += 2 * prod(layer.weight.shape) * places

    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    with minicnn.no_grad():
        net(minicnn.zeros(1, *IMAGES.get(model, USUAL_IMAGE)))
    return total


class ModelWork(Work):
    """A training step (forward, cross-entropy, backward, SGD with momentum), or inference.

    Compared are the logits of two images; in training the loss and the first layer's gradient,
    without dropout.  Many layers and normalisation over two images multiply the rounding errors of
    float32: 1e-3 is allowed for the logits, 5e-2 for the gradient; ten times that where the math
    mode rounds factors.
    """

    problem: ModelProblem
    directions: ClassVar[tuple[str, ...]] = DIRECTIONS

    @property
    def parts(self) -> tuple[str, ...]:
        """Either is one thing."""
        return (self.direction,)

    @property
    def flops(self) -> int:
        """Three times those of forward, in training."""
        return self.problem.flops * (3 if self.direction == "train" else 1)

    def operands(self) -> Operands:
        """Images of N(0, 1), and labels."""
        problem = self.problem
        labels = self._generator("labels").integers(0, 10, problem.batch)
        return {"x": self.draw("x", (problem.batch, *problem.image)), "labels": labels}

    def sampled(self, results: Sequence[Array]) -> list[Array]:
        """Return what `Net.checked` computed."""
        return list(results)

    def expected(self, operands: Operands) -> list[Array]:
        """Compute the same in float64."""
        doubled = {"x": operands["x"].astype(np.float64), "labels": operands["labels"]}
        return [own_net(self, doubled).checked(self.direction == "train")]

    def tolerance(self, part: str, algorithm: str) -> float:
        """Return the largest relative error that is no mistake."""
        return (5e-2 if part == "train" else 1e-3) * min(10.0, rounding(algorithm))


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Draw the values of a state dict: filters as He et al. do, normalisation that does nothing."""
    made: dict[str, Array] = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            made[name] = np.zeros(shape, np.int64)
        elif len(shape) > 1:
            draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal
            made[name] = draw(shape, dtype=np.float32) * np.float32(sqrt(2 / prod(shape[1:])))
        else:
            ones = name.endswith(("running_var", "weight"))
            made[name] = np.full(shape, float(ones), np.float32)
    return made


# --- the same in either library -------------------------------------------------------------------


@dataclass
class Net:
    """A network of one of the libraries, and what is done with it.

    Attributes:
        library: minicnn or torch.
        fold: returns a copy prepared for inference, its batch norms folded into the convolutions.
        wait: waits until the device has finished.
    """

    library: Any
    net: Any
    x: Any
    labels: Any
    fold: Callable[[Any, Any], Any]
    wait: Callable[[], Any] | None = None

    def training_step(self) -> Callable[[], float]:
        """Return a step that costs what any step costs, but leaves the weights as they are."""
        optimizer = self.library.optim.SGD(self.net.parameters(), lr=0.0, momentum=0.9)

        def step() -> float:
            optimizer.zero_grad()
            loss = self.loss(self.x, self.labels)
            loss.backward()
            optimizer.step()
            return float(loss.item())

        return step

    def loss(self, x: Any, labels: Any) -> Any:
        """Add the losses of the network and of its auxiliary heads."""
        cross_entropy = self.library.nn.functional.cross_entropy
        outputs = self.net(x)
        main, *heads = outputs if isinstance(outputs, tuple) else (outputs,)
        return sum(
            (HEAD_WEIGHT * cross_entropy(head, labels) for head in heads),
            cross_entropy(main, labels),
        )

    def inference(self) -> Callable[[], Any]:
        """Return a call that computes the logits."""
        fused = self.fold(self.net.eval(), self.x[:1])

        def infer() -> Any:
            with self._without_gradients():
                logits = fused(self.x)
            if self.wait:
                self.wait()
            return logits

        return infer

    def _without_gradients(self) -> Any:
        return getattr(self.library, "inference_mode", self.library.no_grad)()

    def checked(self, training: bool) -> Array:
        """Return what can be compared, of two images: logits; or the loss and a gradient."""
        if not training:
            with self._without_gradients():
                return as_array(self.net.eval()(self.x[:CHECKED]))
        dropouts = [module for module in self.net.modules() if hasattr(module, "p")]
        usual = [module.p for module in dropouts]
        _set_dropout(dropouts, [0.0] * len(dropouts))
        self.net.train().zero_grad()
        loss = self.loss(self.x[:CHECKED], self.labels[:CHECKED])
        loss.backward()
        _set_dropout(dropouts, usual)
        gradient = as_array(next(iter(self.net.parameters())).grad)
        return np.append(gradient.ravel() / np.linalg.norm(gradient), loss.item())


def _set_dropout(modules: Iterable[Any], rates: Iterable[float]) -> None:
    for module, rate in zip(modules, rates, strict=True):
        module.p = rate


def as_array(tensor: Any) -> Array:
    """Return the values of a tensor of either library."""
    found: Array = np.array(tensor.detach().to("cpu").numpy())
    return found


def own_net(work: ModelWork, operands: Operands) -> Net:
    """Build the network of our layers, in the images' precision."""
    import minicnn
    from minicnn import models, nn

    problem = work.problem
    net = models.create(problem.model, **SETTINGS.get(problem.model, {}))
    shapes = {name: value.shape for name, value in net.state_dict().items()}
    net.load_state_dict(weights(shapes))
    x, labels = minicnn.Tensor(operands["x"]), minicnn.Tensor(operands["labels"])
    net = net.to(x.device, x.dtype)
    return Net(minicnn, net, x, labels, nn.utils.freeze)


def built(net: Net, work: ModelWork, name: str) -> Built:
    """Return the call for a work; its result is not what the call returns, but `Net.checked`."""
    training = work.direction == "train"
    call = net.training_step() if training else net.inference()
    return Built(call, [name], lambda result: [net.checked(training)])


def known(directions: Sequence[str]) -> set[str]:
    """Return our name: algorithms are chosen layer by layer."""
    return {OURS}


def served_by(work: ModelWork, operands: Operands, device: str) -> list[str]:
    """Return our name."""
    return [OURS]


def build(algorithm: str, work: ModelWork, operands: Operands) -> Built:
    """Return our call."""
    return built(own_net(work, operands), work, algorithm)
