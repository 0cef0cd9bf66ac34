"""Transfer learning: what a network has learned from one task, used for another.

Papers: Yosinski, Clune, Bengio, Lipson 2014, "How transferable are features in deep neural
networks?", arXiv:1411.1792.  A smaller learning rate the deeper a layer lies: Howard, Ruder 2018,
"Universal language model fine-tuning for text classification", section 3.2, arXiv:1801.06146.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from minicnn import nn
from minicnn.errors import ArgumentError
from minicnn.nn import Module

__all__ = ["embedding", "freeze_parameters", "layerwise_groups", "replace_head"]


def replace_head(model: Module, num_classes: int) -> Module:
    """Give a classifier a new last layer, for another number of classes; return the model.

    The last layer is the last that was registered, dense or a convolution.  Auxiliary heads (the
    parts of a model whose names begin with "aux") get one each, too.

    Raises:
        ArgumentError: the last layer is of another kind, or `num_classes` is below 1.

    >>> from minicnn import models
    >>> model = replace_head(models.lenet5(), num_classes=3)
    >>> model.output
    Linear(in_features=84, out_features=3, bias=True)
    """
    if num_classes < 1:
        raise ArgumentError(f"replace_head: num_classes must be at least 1, got {num_classes}")
    auxiliary: dict[str, str] = {}
    for path, _ in _layers(model):
        part = path.partition(".")[0]
        if part.lower().startswith("aux"):
            auxiliary[part] = path  # the last one of each
    paths = [*auxiliary.values(), _head(model, "replace_head")]
    for path, layer in [(path, _like(model, path, num_classes)) for path in paths]:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, layer)
    return model


def _like(model: Module, path: str, out: int) -> Module:
    """Make a layer like one of a model, with other outputs."""
    old = model.get_submodule(path)
    settings = {"bias": old.bias is not None, "dtype": old.weight.dtype}
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, out, **settings).train(old.training)
    if isinstance(old, nn.Conv2d):
        sides = (old.kernel_size, old.stride, old.padding, old.dilation)
        return nn.Conv2d(old.in_channels, out, *sides, **settings).train(old.training)
    raise ArgumentError(
        f"replace_head: the last layer, {path!r}, is a {type(old).__name__}; replace it by hand"
    )


def embedding(model: Module, x: Any) -> Any:
    """Return what the last layer of a classifier sees: a row of features for each example.

    Maps, where the last layer is a convolution, are averaged.  The model runs in the mode it is in:
    call `model.eval()` before, and use `no_grad()` unless the features are to be trained.

    Shapes: x as the model takes it; result (N, features).

    Raises:
        ArgumentError: the last layer of the model is neither dense nor a convolution.

    >>> import minicnn
    >>> from minicnn import models
    >>> embedding(models.lenet5().eval(), minicnn.rand(2, 1, 32, 32)).shape
    (2, 84)
    """
    seen: list[Any] = []
    head = model.get_submodule(_head(model, "embedding"))
    handle = head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        model(x)
    finally:
        handle.remove()
    (features,) = seen
    return features if features.ndim == 2 else features.flatten(2).mean(-1)


def freeze_parameters(model: Module, *patterns: str) -> list[str]:
    """Freeze the parameters whose names fit a pattern ("layer1.*", "*.bias"); return their names.

    `*` stands for any text, dots included, `?` for one character, `[ab]` for one of these.  Running
    statistics are no parameters: call `eval()` on a frozen part to keep those, too.

    Raises:
        ArgumentError: a pattern fits no parameter; nothing is frozen then.

    >>> from minicnn import models
    >>> freeze_parameters(models.lenet5(), "c[135].*", "*.bias")
    ['c1.weight', 'c1.bias', 's2.bias', 'c3.weight', 'c3.bias', 's4.bias', 'c5.weight', 'c5.bias',
     'f6.bias', 'output.bias']
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            near = difflib.get_close_matches(pattern, parameters, n=3, cutoff=0.3)
            raise ArgumentError(
                f"freeze_parameters: no parameter of {type(model).__name__} fits {pattern!r}; "
                f"names are like {', '.join(near or [*parameters][:3])}"
            )
    frozen = [name for name in parameters if any(fnmatchcase(name, p) for p in patterns)]
    for name in frozen:
        parameters[name].requires_grad = False
    return frozen


def layerwise_groups(model: Module, lr: float, decay: float = 0.9) -> list[dict[str, Any]]:
    """Return parameter groups for an optimiser: learning rates fall from the head to the input.

    lr[k] = lr * decay^(K - 1 - k) for the parts k = 0 ... K-1 of a model in their order.  A part
    is a child of the model or, where the child is a Sequential, of that.  Frozen parameters are
    left out.

    Raises:
        ArgumentError: `decay` is not in (0, 1], or every parameter is frozen.

    >>> from minicnn import models, optim
    >>> groups = layerwise_groups(models.resnet18(width=1 / 8), lr=0.1, decay=0.5)
    >>> [group["param_names"][0] for group in optim.SGD(groups).param_groups][-3:]
    ['layer4.0.conv1.weight', 'layer4.1.conv1.weight', 'fc.weight']
    >>> [group["lr"] for group in groups][-3:]
    [0.025, 0.05, 0.1]
    """
    if not 0 < decay <= 1:
        raise ArgumentError(f"layerwise_groups: decay must be above 0, at most 1, got {decay}")
    parts: dict[str, list[Any]] = {}
    for name, parameter in model.named_parameters():
        child, *below = name.split(".")
        within = isinstance(getattr(model, child), nn.Sequential)
        part = f"{child}.{below[0]}" if within else child
        parts.setdefault(part, []).append((name, parameter))
    groups = [
        {"params": [named for named in part if named[1].requires_grad], "lr": lr * decay**above}
        for above, part in zip(reversed(range(len(parts))), parts.values(), strict=True)
    ]
    if not any(group["params"] for group in groups):
        raise ArgumentError("layerwise_groups: every parameter is frozen; leave some to train")
    return [group for group in groups if group["params"]]


def _layers(model: Module) -> Iterator[tuple[str, Module]]:
    """Go over the modules that have parameters or buffers of their own."""
    for path, module in model.named_modules():
        if any(True for _ in module.parameters(False)) or any(True for _ in module.buffers(False)):
            yield path, module


def _head(model: Module, function: str) -> str:
    """Return the name of the last layer."""
    path, layer = [("", model), *_layers(model)][-1]
    if not (path and isinstance(layer, (nn.Linear, nn.Conv2d))):
        raise ArgumentError(
            f"{function}: the last layer of {type(model).__name__}, {path!r}, is a "
            f"{type(layer).__name__}, neither Linear nor Conv2d; replace or call it by hand"
        )
    return path
