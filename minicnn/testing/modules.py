"""Check layers and models as a whole: a sample of each, with small inputs.

To add a layer or a model, add a row; `layers_without_case` and `models_without_case` name those
that have none.

>>> from minicnn.testing import check_module
>>> check_module("Linear: with bias").verdict
'pass'
"""

from __future__ import annotations

import difflib
import pkgutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from minicnn import models, nn, random
from minicnn.errors import ArgumentError
from minicnn.gradcheck import Report
from minicnn.nn import functional as F
from minicnn.testing.cases.case import Shape, distinct_arrays
from minicnn.testing.operations import checked, repeat_line
from minicnn_kernels.arrays import Array


@dataclass(frozen=True, eq=False)
class ModuleCase:
    """A layer or a model with a sample input.

    Attributes:
        kind: the class of the layer, or the name of the model.
        name: what is special about the row.
        build: makes the module.
        inputs: the shapes of its inputs; whole numbers, as labels, are given as they are.
        loss: what is applied to its output.
    """

    kind: str
    name: str
    build: Callable[[], nn.Module]
    inputs: tuple[Shape | Array, ...]
    loss: Callable[..., Any] | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"

    def module(self) -> nn.Module:
        """Build the module, the same each time; no parameter keeps a special value as 0 or 1."""
        state = random.default.get_state()
        random.manual_seed(0)
        try:
            module = self.build()
        finally:
            random.default.set_state(state)
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        for parameter in module.parameters():
            parameter.array += rng.uniform(-0.2, 0.2, parameter.shape).astype(parameter.dtype)
        return module

    def arrays(self) -> list[Array]:
        """Make the inputs: float64 in which no two values, and no value and 0, are close."""
        shapes = [given for given in self.inputs if isinstance(given, tuple)]
        made = iter(distinct_arrays(shapes, str(self)))
        return [next(made) if isinstance(given, tuple) else given for given in self.inputs]


def _layer(name: str, build: Callable[[], nn.Module], *inputs: Shape | Array) -> ModuleCase:
    return ModuleCase(type(build()).__name__, name, build, inputs)


def _model(kind: str, name: str, images: Shape, classes: int = 10, **settings: Any) -> ModuleCase:
    """Make a row for a model of `minicnn.models` that tells classes of images apart."""
    labels = np.arange(images[0]) * 7 % classes
    return ModuleCase(
        kind,
        name,
        lambda: models.create(kind, **settings),
        (images,),
        lambda logits: F.cross_entropy(logits, labels),
    )


LABELS = np.array([2, 0, 1, 2])

LAYERS = [
    _layer("with bias", lambda: nn.Linear(3, 2), (4, 3)),
    _layer("without bias", lambda: nn.Linear(3, 2, bias=False), (4, 3)),
    _layer("padded", lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 2, 4, 3)),
    _layer("all settings", lambda: nn.Conv2d(4, 2, (2, 1), (2, 1), (0, 1), (1, 2), 2, False),
           (1, 4, 5, 4)),
    _layer("overlap", lambda: nn.MaxPool2d(3, stride=2, padding=1), (2, 2, 5, 4)),
    _layer("padding not counted", lambda: nn.AvgPool2d(2, padding=1, count_include_pad=False),
           (2, 2, 3, 4)),
    _layer("uneven bins", lambda: nn.AdaptiveAvgPool2d((2, 3)), (1, 2, 5, 4)),
    _layer("in training", lambda: nn.BatchNorm2d(2), (3, 2, 2, 3)),
    _layer("in evaluation", lambda: nn.BatchNorm2d(2).eval(), (3, 2, 2, 3)),
    _layer("mean over all batches", lambda: nn.BatchNorm2d(2, momentum=None), (3, 2, 2, 3)),
    _layer("in training", lambda: nn.Dropout(0.4), (4, 5)),
    _layer("in evaluation", lambda: nn.Dropout(0.4).eval(), (4, 5)),
    _layer("all but the batch", lambda: nn.Flatten(), (2, 3, 2)),
    _layer("signed", lambda: nn.Identity(), (2, 3)),
    _layer("signed", lambda: nn.ReLU(), (3, 4)),
    _layer("signed", lambda: nn.Tanh(), (2, 3)),
    _layer("signed", lambda: nn.Sigmoid(), (2, 3)),
    _layer("channels", lambda: nn.Softmax(dim=1), (2, 3, 2)),
    _layer("channels", lambda: nn.LogSoftmax(dim=1), (2, 3, 2)),
    _layer("smoothed", lambda: nn.CrossEntropyLoss(label_smoothing=0.1), (4, 3), LABELS),
    _layer("mean", lambda: nn.NLLLoss(), (4, 3), LABELS),
    _layer("mean", lambda: nn.MSELoss(), (2, 3), (2, 3)),
    _layer("two layers", lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)),
           (2, 3)),
]  # fmt: skip

MODELS = [
    _model("lenet5", "as in 1998", (2, 1, 32, 32)),
    _model("lenet5", "modern", (2, 1, 32, 32), modern=True),
]


def layers() -> dict[str, type[nn.Module]]:
    """Find every class in `minicnn.nn` that computes something, by name."""
    found = pkgutil.walk_packages(nn.__path__, f"{nn.__name__}.")
    values = [value for module in found for value in vars(import_module(module.name)).values()]
    return {
        value.__name__: value
        for value in values
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.forward is not nn.Module.forward  # a base class, or a list of modules
        and not value.__name__.startswith("_")
    }


def layer_cases() -> list[ModuleCase]:
    """Return a sample of every layer; `layers_without_case` tells which have none."""
    return list(LAYERS)


def model_cases() -> list[ModuleCase]:
    """Return a sample of every model; `models_without_case` tells which have none."""
    return list(MODELS)


def layers_without_case() -> list[str]:
    """Name the layers that no row samples."""
    return sorted(layers().keys() - {case.kind for case in LAYERS})


def models_without_case() -> list[str]:
    """Name the models that no row samples."""
    return sorted(set(models.list()) - {case.kind for case in MODELS})


def check_module(case: ModuleCase | str, order: int = 1, **settings: Any) -> Report:
    """Check the gradients of a layer or a model by its inputs and parameters.

    Args:
        case: a row, the name of one, or of a layer or model, whose first row is then taken.
        order: 1 for the gradient, 2 for the gradient of the gradient.
        settings: as for `gradcheck`.

    Raises:
        GradcheckError: a gradient is wrong, or nothing could be said about it.
        ArgumentError: no row has this name.
    """
    if isinstance(case, str):
        case = module_cases_of(case)[0]
    given = {"repeat": repeat_line(str(case), order, settings), "loss": case.loss, **settings}
    return checked(str(case), order, case.module(), case.arrays(), given)


def module_cases_of(name: str) -> list[ModuleCase]:
    """Return the rows for a layer or a model, or the row of this name.

    Raises:
        ArgumentError: no row has this name.
    """
    cases = [*LAYERS, *MODELS]
    found = [case for case in cases if name in (case.kind, str(case))]
    if not found:
        names = {name for case in cases for name in (case.kind, str(case))}
        close = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "see layer_cases()"
        raise ArgumentError(f"module_cases_of: there is no sample of {name!r}; {hint}")
    return found
