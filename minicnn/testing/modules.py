"""Check layers and models as a whole: a sample of each, with small inputs.

The rows of layers are in `minicnn/testing/cases`, those of models here; `layers_without_case` and
`models_without_case` name those that have none.

>>> from minicnn.testing import check_module
>>> check_module("Linear: with bias").verdict
'pass'
"""

from __future__ import annotations

import difflib
import pkgutil
from importlib import import_module
from typing import Any

import numpy as np

from minicnn import models, nn
from minicnn.errors import ArgumentError
from minicnn.gradcheck import Report
from minicnn.nn import functional as F
from minicnn.nn import layers as layer_files
from minicnn.testing.cases import LAYERS
from minicnn.testing.cases import ModuleCase as ModuleCase
from minicnn.testing.cases.case import Shape
from minicnn.testing.operations import checked, repeat_line


def _model(kind: str, name: str, images: Shape, classes: int = 10, **settings: Any) -> ModuleCase:
    """Make a row for a model of `minicnn.models` that tells classes of images apart."""
    labels = np.arange(images[0]) * 7 % classes
    return ModuleCase(
        kind,
        name,
        lambda nn: models.create(kind, **settings),
        (images,),
        lambda logits: F.cross_entropy(logits, labels),
    )


MODELS = [
    _model("lenet5", "as in 1998", (2, 1, 32, 32)),
    _model("lenet5", "modern", (2, 1, 32, 32), modern=True),
]


def layers() -> dict[str, type[nn.Module]]:
    """Find every class in `minicnn.nn` that computes something, by name."""
    found = pkgutil.iter_modules(layer_files.__path__, f"{layer_files.__name__}.")
    values = list(vars(nn.containers).values())
    values += [value for module in found for value in vars(import_module(module.name)).values()]
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
