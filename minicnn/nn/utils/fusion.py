"""Batch norm with fixed statistics is linear: it can become part of the layer before it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.backprop import no_grad
from minicnn.errors import ArgumentError
from minicnn.nn import functional as F
from minicnn.nn.layers.convolution import Conv1d, Conv2d, Conv3d
from minicnn.nn.layers.linear import Identity, Linear
from minicnn.nn.layers.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn.tensor import Tensor

LAYERS = (Conv1d, Conv2d, Conv3d, Linear)
NORMS = (BatchNorm1d, BatchNorm2d, BatchNorm3d)


def fuse_all_bn_eval(model: Module, *inputs: Any) -> Module:
    """Return a copy of a model for evaluation, its batch norms built into the layers before them.

    Which layer's result a batch norm takes is seen by running the copy on `inputs`, which may be
    small.  A batch norm stays if it follows something else, or if either is called several times.

    >>> import minicnn
    >>> from minicnn import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    >>> fuse_all_bn_eval(model, minicnn.rand(1, 1, 4, 4))
    Sequential(
      (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))
      (1): Rest()
      (2): ReLU()
    )

    Raises:
        ArgumentError: the fused model computes something else, because the result of a fused layer
            is used elsewhere too.
    """
    fused = copy.deepcopy(model).eval()
    made: dict[int, tuple[Module, Any]] = {}  # by the id of its result: the layer and the result
    pairs: list[tuple[Module, Module]] = []
    calls: Counter[Module] = Counter()

    def watch(module: Module, inputs: tuple[Any, ...], result: Any) -> None:
        calls[module] += 1
        if isinstance(module, LAYERS):
            made[id(result)] = (module, result)
        elif id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    watched = [module for module in fused.modules() if isinstance(module, (*LAYERS, *NORMS))]
    handles = [module.register_forward_hook(watch) for module in watched]
    with no_grad():
        expected = fused(*inputs)
    for handle in handles:
        handle.remove()
    for layer, bn in pairs:
        if calls[layer] == calls[bn] == 1 and bn.running_mean is not None:
            layer.weight, layer.bias = _fused_weights(layer, bn)
            _replace(fused, bn, Rest())
    with no_grad():
        found = fused(*inputs)
    if not alike(found, expected):
        raise ArgumentError(
            "fuse_all_bn_eval: the fused model computes something else; does it use the result of "
            "a convolution in another place than the batch norm after it?"
        )
    return fused


class Rest(Identity):
    """What is left of a batch norm that has become part of the layer before it."""

    def forward(self, x: Any, *, add: Any = None, relu: bool = False) -> Any:
        """Add and rectify as the batch norm did."""
        y = x if add is None else x + add
        return F.relu(y) if relu else y


def _replace(model: Module, old: Module, new: Module) -> None:
    """Put a module where another was, wherever that is."""
    for module in model.modules():
        for name, child in module._modules.items():
            if child is old:
                module._modules[name] = new


def alike(found: Any, expected: Any) -> bool:
    """Say whether two results are the same but for rounding."""
    return all(
        np.allclose(y, z, rtol=1e-3, atol=1e-3 * np.abs(z).max(initial=0), equal_nan=True)
        for y, z in zip(arrays_of(found), arrays_of(expected), strict=True)
    )


def arrays_of(result: Any) -> list[Any]:
    """Return the arrays of a tensor, or of a tuple or list of results."""
    found: list[Any] = []
    mapped(result, lambda tensor: found.append(tensor.array))
    return found


def mapped(result: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to a result, or to each of a tuple, a named one, or a list of results."""
    if not isinstance(result, (tuple, list)):
        return function(result)
    parts = [mapped(part, function) for part in result]
    return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)


def fuse_conv_bn_eval(conv: Module, bn: Module, transpose: bool = False) -> Module:
    """Return a copy of a convolution that computes bn(conv(x)), both in evaluation.

    `transpose` says that it is a transposed convolution, whose weight is (I, O, ...).

    Raises:
        ArgumentError: one of them is in training, or bn keeps no running statistics.
    """
    return _fuse_eval("fuse_conv_bn_eval", conv, bn, transpose)


def fuse_linear_bn_eval(linear: Module, bn: Module) -> Module:
    """Return a copy of a linear layer that computes bn(linear(x)), both in evaluation.

    Raises:
        ArgumentError: one of them is in training, or bn keeps no running statistics.
    """
    return _fuse_eval("fuse_linear_bn_eval", linear, bn)


def _fuse_eval(op: str, layer: Module, bn: Module, transpose: bool = False) -> Module:
    if layer.training or bn.training:
        raise ArgumentError(f"{op}: call .eval() on both first")
    if bn.running_mean is None:
        raise ArgumentError(f"{op}: bn has no running statistics to fuse")
    fused = copy.deepcopy(layer)
    fused.weight, fused.bias = _fused_weights(layer, bn, transpose)
    return fused


def _fused_weights(
    layer: Module, bn: Module, transpose: bool = False
) -> tuple[Parameter, Parameter]:
    return fuse_conv_bn_weights(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias,
        transpose,
    )  # fmt: skip


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Return weight and bias of a linear layer with the normalisation of its result built in."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Return weight and bias of a convolution with the normalisation of its result built in.

    w'[o] = w[o] * s[o], b'[o] = (b[o] - mean[o]) * s[o] + beta[o], s = gamma / sqrt(var + eps)
    """
    bias = np.zeros_like(bn_rm.array) if conv_b is None else conv_b.array
    gamma = 1.0 if bn_w is None else bn_w.array
    beta = 0.0 if bn_b is None else bn_b.array
    scale = gamma / np.sqrt(bn_rv.array + bn_eps)
    outputs = [1] * conv_w.ndim
    outputs[1 if transpose else 0] = -1
    weight = conv_w.array * scale.reshape(outputs)
    shift = (bias - bn_rm.array) * scale + beta
    return (
        Parameter(weight.astype(conv_w.dtype), conv_w.requires_grad),
        Parameter(shift.astype(conv_w.dtype), conv_b is not None and conv_b.requires_grad),
    )
