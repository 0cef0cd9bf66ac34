"""Batch normalisation with fixed statistics is linear: it can become part of the convolution."""

from __future__ import annotations

import copy

import numpy as np

from minicnn.errors import ArgumentError
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn.tensor import Tensor


def fuse_conv_bn_eval(conv: Module, bn: Module, transpose: bool = False) -> Module:
    """Return a copy of a convolution that computes bn(conv(x)), both in evaluation.

    `transpose` says that it is a transposed convolution, whose weight is (I, O, ...).

    Raises:
        ArgumentError: one of them is in training, or bn keeps no running statistics.
    """
    if conv.training or bn.training:
        raise ArgumentError("fuse_conv_bn_eval: call .eval() on both first")
    if bn.running_mean is None:
        raise ArgumentError("fuse_conv_bn_eval: bn has no running statistics to fuse")
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias,
        transpose,
    )  # fmt: skip
    return fused


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
