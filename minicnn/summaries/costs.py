"""What a layer costs: parameters with the formula worked out, multiply-adds, memory of windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import prod
from typing import Any

from minicnn.arguments import Call
from minicnn.differentiable import Op
from minicnn.nn import Module
from minicnn.ops.convolution import conv, conv_bias, conv_input
from minicnn.ops.linear import affine, inner_product, matrix_product
from minicnn.ops.recurrent import gru, lstm, rnn
from minicnn.summaries.fields import window_of


def formula(module: Module) -> str:
    """Work out how many parameters a module has by itself.

    >>> from minicnn import nn
    >>> formula(nn.Conv2d(128, 256, 3))
    '(3*3*128 + 1) * 256 = 295,168'
    >>> formula(nn.Conv2d(8, 16, 3, groups=4, bias=False))  # a filter sees 8 / 4 channels
    '3*3*2 * 16 = 288'
    >>> formula(nn.Linear(25, 1)), formula(nn.BatchNorm2d(64))
    ('(25 + 1) * 1 = 26', '2*64 = 128')
    """
    shapes = {name: p.shape for name, p in module._parameters.items() if p is not None}
    total = sum(map(prod, shapes.values()))
    if not shapes:
        return ""
    text = _filters(module, shapes) or _terms(shapes)
    return f"{total:,}" if text.isdecimal() else f"{text} = {total:,}"


def _filters(module: Module, shapes: dict[str, tuple[int, ...]]) -> str:
    """Write (weights of a filter + its bias) * filters, if a module has such."""
    weight, bias = shapes.get("weight", ()), shapes.get("bias")
    if len(weight) < 2 or not shapes.keys() <= {"weight", "bias"}:
        return ""
    seen, filters = weight[1], weight[0]
    if getattr(module, "transposed", False):
        seen, filters = weight[0] // module.groups, weight[1] * module.groups
    if bias not in (None, (filters,)):
        return ""
    one = "*".join(map(str, (*weight[2:], seen)))
    return f"{one} * {filters}" if bias is None else f"({one} + 1) * {filters}"


def _terms(shapes: dict[str, tuple[int, ...]]) -> str:
    """Write a sum of the sizes; equal ones are taken together."""
    terms = []
    for shape, times in Counter(shapes.values()).items():
        factors = (times, *shape) if times > 1 or not shape else shape
        terms.append("*".join(map(str, factors)))
    return " + ".join(terms)


# --- operations -----------------------------------------------------------------------------------


def multiply_adds(call: Call) -> int:
    """Count the multiply-adds of an operation, by definition.

    Those of convolutions, products of matrices and recurrent layers; what is done once for each
    value (biases, normalisation, activations, pooling) does not count.
    """
    count = MULTIPLY_ADDS.get(call.op)
    return 0 if count is None else int(count(call.result, *call.arrays))


MULTIPLY_ADDS: dict[Op[Any], Callable[..., int]] = {
    conv: lambda y, x, w: y.size * prod(w.shape[1:]),
    conv_bias: lambda y, x, w, b: y.size * prod(w.shape[1:]),
    conv_input: lambda y, dy, w: dy.size * prod(w.shape[1:]),
    affine: lambda y, x, w, b: y.size * x.shape[-1],
    matrix_product: lambda y, a, b: y.size * a.shape[-1],
    inner_product: lambda y, a, b: max(a.size, b.size),
    rnn: lambda y, x, h, w: len(x) * w.size,
    gru: lambda y, x, h, w, b: len(x) * w.size,
    lstm: lambda y, x, h, c, w, v: len(x) * (w.size + (0 if v is None else v.size)),
}


def window_bytes(call: Call) -> int:
    """Return the memory of the matrix that im2col makes for a convolution.

    A column for each window, with all the values it sees: (C*KH*KW, OH*OW).  For a transposed
    convolution it is the matrix that col2im adds up.
    """
    if call.op not in (conv, conv_bias, conv_input):
        return 0
    window = window_of(call)
    assert window is not None
    cells = prod(window.kernel)
    if cells == 1 and max(window.stride) == 1 and not any(window.padding):
        return 0  # the image itself
    image, windows = call.arrays[0], call.result
    if call.op is conv_input:
        image, windows = windows, image
    size: int = len(image) * image.shape[1] * cells * prod(windows.shape[2:])
    return size * int(image.dtype.itemsize)
