"""Networks, one paper a file."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from minicnn.errors import UsageError
from minicnn.models.alexnet import alexnet
from minicnn.models.densenet import densenet121, densenet169, densenet201
from minicnn.models.googlenet import googlenet
from minicnn.models.inception_v3 import inception_v3
from minicnn.models.lenet import lenet5
from minicnn.models.mobilenet_v2 import mobilenet_v2
from minicnn.models.resnet import (
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    wide_resnet50_2,
)  # fmt: skip
from minicnn.models.squeezenet import squeezenet1_0, squeezenet1_1
from minicnn.models.vgg import (
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)  # fmt: skip
from minicnn.nn import Module

__all__ = [
    "alexnet", "create", "densenet121", "densenet169", "densenet201", "googlenet", "inception_v3",
    "lenet5", "list", "mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    "resnext50_32x4d", "squeezenet1_0", "squeezenet1_1", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn",
    "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "wide_resnet50_2",
]  # fmt: skip

_BUILDERS: dict[str, Callable[..., Module]] = {
    name: globals()[name] for name in __all__ if name not in ("create", "list")
}


def list() -> tuple[str, ...]:
    """Return the names that `create` knows."""
    return tuple(sorted(_BUILDERS))


def create(name: str, **settings: Any) -> Module:
    """Build a model by name: `create("lenet5", num_classes=10)`.

    Raises:
        UsageError: there is no model of that name.
    """
    if name not in _BUILDERS:
        close = difflib.get_close_matches(name, _BUILDERS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(f"unknown model {name!r}; {hint}there are: {', '.join(_BUILDERS)}")
    return _BUILDERS[name](**settings)
