"""The gradient table: every operation, in every geometry worth a check; one row a case.

To add an operation, add a row.  `test_gradients.py` then checks value, first and second derivative,
element types, memory layouts and that nothing is changed; it also fails for an operation without
a row.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import minicnn
from minicnn.ops.arithmetic import cast
from minicnn.ops.broadcast import sum_to
from minicnn.ops.convolution import col2im, conv2d_input, conv2d_weight, im2col
from minicnn.ops.dropout import keep
from minicnn.ops.indexing import index_sum
from minicnn.ops.pooling import (
    route_to_winners,
    take_winners,
    window_spread,
    window_sum,
)
from minicnn_kernels.geometry import Windows, output_size, pair

Shape = tuple[int, ...]


class Positive(tuple):
    """A shape whose values shall be at least 0.3."""


def positive(*shape: int) -> Positive:
    return Positive(shape)


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        op: the operation whose gradient the row exercises.
        name: what is special about the row.
        function: computes the value from tensors.
        inputs: the shapes of the tensors.
        torch: computes the same with PyTorch: `torch(module, *tensors)`; None if it cannot.
    """

    op: str
    name: str
    function: Callable[..., Any]
    inputs: tuple[Shape, ...]
    torch: Callable[..., Any] | None = None

    def __str__(self) -> str:
        return f"{self.op}: {self.name}"

    def arrays(self) -> list[np.ndarray]:
        """Make inputs in float64, in [-2, 2]: no two values and no value and 0 are close."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        sizes = [int(np.prod(shape)) for shape in self.inputs]
        count = sum(sizes) + sum(sizes) % 2
        pool = (rng.permutation(count) + rng.uniform(0.3, 0.7, count)) * 4 / max(count, 1) - 2
        parts = np.split(pool, np.cumsum(sizes))
        return [
            np.array(part / 2 + 1.3 if isinstance(shape, Positive) else part).reshape(shape)
            for part, shape in zip(parts, self.inputs, strict=False)
        ]


def both(op: str, name: str, function: Callable[..., Any], *inputs: Shape) -> Case:
    """Make a row whose function takes `minicnn` or `torch`, and means the same in both."""
    return Case(op, name, partial(function, minicnn), inputs, function)


def layer(op: str, name: str, kind: str, *inputs: Shape, **settings: Any) -> Case:
    """Make a row for a function of `nn.functional`, which both libraries have."""
    return both(
        op, name, lambda m, *tensors: getattr(m.nn.functional, kind)(*tensors, **settings), *inputs
    )


MASK = np.array([[True, False, True], [False, False, True]])

ARITHMETIC = [
    both("add", "one shape", lambda m, a, b: a + b, (2, 3), (2, 3)),
    both("add", "rows and columns", lambda m, a, b: a + b, (2, 1), (1, 3)),
    both("add", "fewer dimensions", lambda m, a, b: a + b, (3,), (2, 4, 3)),
    both("add", "a single value", lambda m, a, b: a + b, (), (2, 3)),
    both("add", "nothing", lambda m, a, b: a + b, (0, 3), (1, 3)),
    both("add", "a number", lambda m, x: 2 + x + 0.5, (2, 3)),
    both("add", "twice the same tensor", lambda m, x: x + x, (2, 3)),
    both("sub", "one shape", lambda m, a, b: a - b, (2, 3), (2, 3)),
    both("sub", "rows and columns", lambda m, a, b: a - b, (2, 1), (1, 3)),
    both("sub", "from a number", lambda m, x: 2 - x, (2, 3)),
    both("sub", "a tensor from itself", lambda m, x: x - x, (2, 3)),
    both("mul", "one shape", lambda m, a, b: a * b, (2, 3), (2, 3)),
    both("mul", "inner and outer", lambda m, a, b: a * b, (2, 1, 3), (4, 1)),
    both("mul", "a single value", lambda m, a, b: a * b, (2, 3), ()),
    both("mul", "nothing", lambda m, a, b: a * b, (0, 3), (3,)),
    both("mul", "a number", lambda m, x: 2.5 * x * 2, (2, 3)),
    both("mul", "twice the same tensor", lambda m, x: x * x, (2, 3)),
    both("div", "one shape", lambda m, a, b: a / b, (2, 3), positive(2, 3)),
    both("div", "rows and columns", lambda m, a, b: a / b, (1, 3), positive(2, 1)),
    both("div", "by a number", lambda m, x: x / 2.5, (2, 3)),
    both("div", "a number by it", lambda m, x: 2 / x, positive(2, 3)),
    both("div", "a tensor by itself", lambda m, x: x / x, positive(3)),
    both("pow", "square", lambda m, x: x**2, (2, 3)),
    both("pow", "cube of negative numbers", lambda m, x: x**3.0, (2, 3)),
    both("pow", "to the 1", lambda m, x: x**1, (2, 3)),
    both("pow", "to the 0", lambda m, x: x**0 * x, (2, 3)),
    both("pow", "root", lambda m, x: x**0.5, positive(2, 3)),
    both("pow", "negative exponent", lambda m, x: x**-1.5, positive(2, 3)),
    both("pow", "of a number", lambda m, x: 2.5**x, (2, 3)),
    both("pow", "two tensors", lambda m, a, b: a**b, positive(2, 3), (2, 3)),
    both("pow", "rows and columns", lambda m, a, b: a**b, positive(2, 1), (3,)),
    both("maximum", "one shape", lambda m, a, b: m.maximum(a, b), (2, 3), (2, 3)),
    both("maximum", "rows and columns", lambda m, a, b: m.maximum(a, b), (2, 1), (3,)),
    both("select", "lower bound", lambda m, x, low: x.clamp(min=low), (2, 3), (3,)),
    both("minimum", "one shape", lambda m, a, b: m.minimum(a, b), (2, 3), (2, 3)),
    both("minimum", "rows and columns", lambda m, a, b: m.minimum(a, b), (2, 1), (3,)),
    both("select", "upper bound", lambda m, x, high: x.clamp(max=high), (2, 3), (3,)),
    both("select", "one shape", lambda m, a, b: m.where(m.tensor(MASK), a, b), (2, 3), (2, 3)),
    both("select", "broadcast", lambda m, a, b: m.where(m.tensor(MASK), a, b), (3,), (2, 1)),
    both("select", "a number", lambda m, x: m.where(m.tensor(MASK), 2.5, x), (2, 3)),
    both("select", "growing", lambda m, x: m.where(m.tensor(MASK), x, 0.0), (1, 3)),
    both("neg", "signed", lambda m, x: -x, (2, 3)),
    both("exp", "signed", lambda m, x: m.exp(x), (2, 3)),
    both("log", "positive", lambda m, x: m.log(x), positive(2, 3)),
    both("sqrt", "positive", lambda m, x: m.sqrt(x), positive(2, 3)),
    both("abs", "signed", lambda m, x: m.abs(x), (2, 3)),
    both("clip", "both bounds", lambda m, x: x.clamp(-0.5, 0.7), (3, 4)),
    both("clip", "lower bound", lambda m, x: x.clamp(min=0.1), (3, 4)),
    both("clip", "upper bound", lambda m, x: m.clamp(x, max=0.1), (3, 4)),
    Case("cast", "to its own type", lambda x: cast(x, x.dtype), ((2, 3),)),
]

BROADCAST = [
    both("broadcast_to", "rows", lambda m, x: x.expand(4, 3), (1, 3)),
    both("broadcast_to", "columns", lambda m, x: x.expand(2, -1, 3), (1, 4, 1)),
    both("broadcast_to", "a new dimension", lambda m, x: x.expand(2, -1, -1), (3, 2)),
    both("broadcast_to", "a single value", lambda m, x: x.expand(2, 3), ()),
    both("broadcast_to", "nothing", lambda m, x: x.expand(0, 3), (1, 3)),
    both("broadcast_to", "the same shape", lambda m, x: x.expand(2, 3), (2, 3)),
    Case("sum_to", "rows", lambda x: sum_to(x, (1, 3)), ((4, 3),),
         lambda torch, x: x.sum_to_size(1, 3)),
    Case("sum_to", "fewer dimensions", lambda x: sum_to(x, (4, 1)), ((2, 4, 3),),
         lambda torch, x: x.sum_to_size(4, 1)),
    Case("sum_to", "a single value", lambda x: sum_to(x, ()), ((2, 3),),
         lambda torch, x: x.sum()),
    Case("sum_to", "nothing", lambda x: sum_to(x, (1, 3)), ((0, 3),),
         lambda torch, x: x.sum_to_size(1, 3)),
    Case("sum_to", "the same shape", lambda x: sum_to(x, (2, 3)), ((2, 3),),
         lambda torch, x: x * 1),
]  # fmt: skip

SHAPES = [
    both("view_as", "reshape", lambda m, x: x.reshape(3, -1), (2, 6)),
    both("view_as", "reshape of nothing", lambda m, x: x.reshape(0, 2, 5), (0, 3)),
    both("view_as", "reshape to a single value", lambda m, x: x.reshape(()), (1, 1)),
    both("view_as", "reshape of turned memory", lambda m, x: x.T.reshape(6), (2, 3)),
    both("view_as", "flatten", lambda m, x: m.flatten(x, 1, -1), (2, 3, 2)),
    both("view_as", "flatten a single value", lambda m, x: m.flatten(x), ()),
    both("view_as", "squeeze", lambda m, x: x.squeeze(), (1, 3, 1)),
    both("view_as", "squeeze one", lambda m, x: x.squeeze(-1), (1, 3, 1)),
    both("view_as", "squeeze two", lambda m, x: x.squeeze((0, 1)), (1, 3, 1)),
    both("view_as", "unsqueeze", lambda m, x: x.unsqueeze(1), (2, 3)),
    both("view_as", "unsqueeze at the end", lambda m, x: x.unsqueeze(-1), (2, 3)),
    both("permute_dims", "permute", lambda m, x: x.permute(2, 0, 1), (2, 3, 4)),
    both("permute_dims", "permute from the back", lambda m, x: x.permute(-1, 0, 1), (2, 3, 4)),
    both("permute_dims", "transpose", lambda m, x: x.transpose(-1, 0), (2, 3, 4)),
    both("permute_dims", "movedim", lambda m, x: m.movedim(x, 0, -1), (2, 3, 4)),
    both("permute_dims", "T", lambda m, x: x.T, (2, 3)),
    both("permute_dims", "mT", lambda m, x: x.mT, (2, 3, 4)),
    both("permute_dims", "a single value", lambda m, x: x.permute(()), ()),
    layer("pad_with", "one side", "pad", (2, 3), pad=(2, 0)),
    layer("pad_with", "two dimensions", "pad", (2, 3, 2), pad=(1, 0, 2, 1)),
    layer("pad_with", "a value", "pad", (2, 3), pad=(1, 2), value=-3.5),
    layer("pad_with", "cut off", "pad", (2, 4), pad=(-1, -1)),
    layer("pad_with", "add and cut off", "pad", (3, 4), pad=(-2, 1, 3, -1)),
    layer("pad_with", "nothing around nothing", "pad", (0, 3), pad=(0, 0)),
    layer("pad_with", "around nothing", "pad", (0, 3), pad=(0, 0, 1, 1)),
    both("concatenate", "rows", lambda m, a, b: m.cat([a, b]), (1, 3), (2, 3)),
    both("concatenate", "columns", lambda m, *t: m.cat(t, -1), (2, 1), (2, 3), (2, 2)),
    both("concatenate", "one tensor", lambda m, x: m.cat([x], 1), (2, 3)),
    both("concatenate", "an empty piece", lambda m, a, b: m.cat([a, b], 1), (2, 0), (2, 3)),
    both("concatenate", "twice the same tensor", lambda m, x: m.cat([x, x * 2, x]), (2, 3)),
    both("concatenate", "stack", lambda m, a, b: m.stack([a, b]), (2, 3), (2, 3)),
    both("concatenate", "stack inside", lambda m, a, b: m.stack([a, b], 1), (2, 3), (2, 3)),
    both("concatenate", "stack at the end", lambda m, a, b: m.stack((a, b), -1), (3,), (3,)),
    both("concatenate", "stack single values", lambda m, a, b: m.stack([a, b]), (), ()),
]

INDEXING = [
    both("index", "row", lambda m, x: x[1], (3, 4)),
    both("index", "last row", lambda m, x: x[-1], (3, 4)),
    both("index", "one value", lambda m, x: x[1, 2], (3, 4)),
    both("index", "slice", lambda m, x: x[1:3], (4, 2)),
    both("index", "slices with steps", lambda m, x: x[::2, 1::3], (3, 5)),
    both("index", "empty slice", lambda m, x: x[2:2], (3, 4)),
    both("index", "slice beyond the end", lambda m, x: x[1:99], (3, 4)),
    Case("index", "negative step", lambda x: x[::-2, ::-1], ((4, 3),),
         lambda torch, x: x.flip((0, 1))[::2]),
    both("index", "everything", lambda m, x: x[...], (3, 4)),
    both("index", "nothing named", lambda m, x: x[()], (3, 4)),
    both("index", "a single value", lambda m, x: x[None, ..., None], ()),
    both("index", "new dimension", lambda m, x: x[None, :, None, 1], (3, 4)),
    both("index", "last dimension", lambda m, x: x[..., 0], (2, 3, 4)),
    both("index", "list with duplicates", lambda m, x: x[[2, 0, 2]], (3, 2)),
    both("index", "list from the back", lambda m, x: x[[-1, 0, -1]], (3, 2)),
    both("index", "empty list", lambda m, x: x[[]], (3, 2)),
    both("index", "array with duplicates", lambda m, x: x[np.array([[0, 2], [2, 2]])], (3, 2)),
    both("index", "tensor with duplicates", lambda m, x: x[m.tensor([1, 1, 0])], (3, 2)),
    both("index", "tuple in a tuple", lambda m, x: x[(1, 1, 0), :], (3, 2)),
    both("index", "columns", lambda m, x: x[:, [2, 0, 2]], (2, 3)),
    both("index", "pairs", lambda m, x: x[[0, 1, 0], [2, 1, 2]], (2, 3)),
    both("index", "grid", lambda m, x: x[[[0], [1]], [2, 0, 2]], (2, 3)),
    both("index", "lists apart", lambda m, x: x[[0, 1, 0], :, [2, 0, 2]], (2, 3, 4)),
    both("index", "integer and list", lambda m, x: x[0, :, [2, 0, 2]], (2, 3, 4)),
    both("index", "integer and lists", lambda m, x: x[[0, 1], 1, :, [2, 0]], (2, 2, 2, 3)),
    both("index", "integer and mask", lambda m, x: x[..., m.tensor(MASK), -1], (2, 2, 3, 2)),
    both("index", "integer tensor", lambda m, x: x[m.tensor(1), :, [2, 0, 2]], (2, 2, 3)),
    both("index", "slice and list", lambda m, x: x[1:, [1, 1], ::2], (3, 2, 4)),
    both("index", "mask", lambda m, x: x[m.tensor(MASK)], (2, 3)),
    both("index", "mask of rows", lambda m, x: x[m.tensor([True, False, True])], (3, 2)),
    both("index", "mask of columns", lambda m, x: x[:, m.tensor(MASK[0])], (2, 3)),
    both("index", "mask of nothing", lambda m, x: x[x.detach() > 99], (2, 3)),
    both("index", "mask over nothing", lambda m, x: x[x.detach() > 0], (0, 3)),
    both("index", "mask and list", lambda m, x: x[m.tensor([True, False, True]), [1, 1]], (3, 2)),
    both("index", "split", lambda m, x: m.cat(m.split(x, 2)[::-1]), (5, 2)),
    both("index", "split to sizes", lambda m, x: m.cat(x.split([1, 0, 2], 1)[1:], 1), (2, 3)),
    both("index", "chunk", lambda m, x: m.cat(x.chunk(2, -1)[::-1], -1), (2, 5)),
    both("index", "flip", lambda m, x: m.flip(x, (0, -1)), (2, 3, 2)),
    both("index", "gather rows", lambda m, x: m.gather(x, 0, m.tensor([[0, 1, 1]])), (2, 3)),
    both("index", "gather", lambda m, x: x.gather(-1, m.tensor([[2, 2, 0], [1, 1, 1]])), (2, 3)),
    both("index", "gather fewer", lambda m, x: m.gather(x, 1, m.tensor([[[0], [3]]])), (2, 4, 3)),
    Case("index_sum", "list with duplicates", lambda v: index_sum(v, np.array([2, 0, 2]), (3, 2)),
         ((3, 2),), lambda torch, v: v.new_zeros(3, 2).index_add(0, torch.tensor([2, 0, 2]), v)),
    Case("index_sum", "slice", lambda v: index_sum(v, (slice(None), slice(1, 4, 2)), (2, 5)),
         ((2, 2),)),
    Case("index_sum", "integer", lambda v: index_sum(v, 1, (3, 2)), ((2,),)),
    Case("index_sum", "mask", lambda v: index_sum(v, MASK, (2, 3)), ((3,),),
         lambda torch, v: v.new_zeros(2, 3).masked_scatter(torch.tensor(MASK), v)),
]  # fmt: skip

REDUCTIONS = [
    both("sum", "all", lambda m, x: x.sum(), (2, 3)),
    both("sum", "one dimension", lambda m, x: x.sum(0), (2, 3)),
    both("sum", "kept dimension", lambda m, x: m.sum(x, -1, keepdim=True), (2, 3)),
    both("sum", "two dimensions", lambda m, x: m.sum(x, (0, 2)), (2, 3, 4)),
    both("sum", "nothing", lambda m, x: x.sum(0), (0, 3)),
    both("sum", "a single value", lambda m, x: x.sum(), ()),
    both("sum", "mean", lambda m, x: x.mean(), (2, 3)),
    both("sum", "mean of dimensions", lambda m, x: m.mean(x, (0, -1), keepdim=True), (2, 3, 4)),
    both("var", "all", lambda m, x: x.var(), (2, 3)),
    both("var", "one dimension", lambda m, x: m.var(x, 1), (2, 3)),
    both("var", "biased", lambda m, x: m.var(x, dim=(0, 2), correction=0), (2, 3, 2)),
    both("var", "kept dimension", lambda m, x: x.var(dim=-1, keepdim=True), (2, 3)),
    both("var", "standard deviation", lambda m, x: m.std(x, dim=0), (4, 2)),
    both("var", "biased standard deviation", lambda m, x: x.std(correction=0), (2, 3)),
    both("amax", "all", lambda m, x: x.max(), (2, 3)),
    both("amax", "one dimension", lambda m, x: x.amax(0), (2, 3)),
    both("amax", "two dimensions", lambda m, x: m.amax(x, (0, 2), keepdim=True), (2, 3, 4)),
    both("amin", "all", lambda m, x: m.min(x), (2, 3)),
    both("amin", "one dimension", lambda m, x: m.amin(x, -1), (2, 3)),
    both("amin", "two dimensions", lambda m, x: x.amin((0, 2), keepdim=True), (2, 3, 4)),
    both("index", "max along", lambda m, x: x.max(1).values, (2, 3)),
    both("index", "max along, kept", lambda m, x: m.max(x, 0, keepdim=True)[0], (2, 3, 2)),
    both("index", "min along", lambda m, x: x.min(-1).values, (2, 3)),
]

ACTIVATIONS = [
    both("relu", "signed", lambda m, x: m.relu(x), (3, 4)),
    both("sigmoid", "signed", lambda m, x: m.sigmoid(x), (2, 3)),
    both("tanh", "signed", lambda m, x: x.tanh(), (2, 3)),
    both("softmax", "columns", lambda m, x: m.softmax(x, 1), (2, 3)),
    both("softmax", "rows", lambda m, x: x.softmax(dim=0), (2, 3)),
    both("softmax", "channels", lambda m, x: m.softmax(x, -3), (2, 3, 2, 1)),
    both("softmax", "one class", lambda m, x: m.softmax(x, 1), (2, 1)),
    both("softmax", "nothing", lambda m, x: m.softmax(x, 1), (0, 3)),
    both("log_softmax", "columns", lambda m, x: m.log_softmax(x, 1), (2, 3)),
    both("log_softmax", "rows", lambda m, x: x.log_softmax(0), (2, 3)),
    both("log_softmax", "far apart", lambda m, x: m.log_softmax(x * 300, -1), (2, 3)),
    both("log_softmax", "nothing", lambda m, x: m.log_softmax(x, 1), (0, 3)),
]

PRODUCTS = [
    both("matrix_product", "matrices", lambda m, a, b: a @ b, (2, 3), (3, 4)),
    both("matrix_product", "vectors", lambda m, a, b: a @ b, (3,), (3,)),
    both("matrix_product", "matrix and vector", lambda m, a, b: a @ b, (2, 3), (3,)),
    both("matrix_product", "vector and matrix", lambda m, a, b: a @ b, (3,), (3, 4)),
    both("matrix_product", "batches", lambda m, a, b: m.matmul(a, b), (2, 3, 2), (2, 2, 1)),
    both("matrix_product", "stretched", lambda m, a, b: a @ b, (2, 1, 2, 3), (3, 3, 1)),
    both("matrix_product", "batch and matrix", lambda m, a, b: a @ b, (2, 3, 2), (2, 2)),
    both("matrix_product", "vector and batch", lambda m, a, b: a @ b, (3,), (2, 3, 2)),
    both("matrix_product", "batch and vector", lambda m, a, b: a @ b, (2, 3, 2), (2,)),
    both("matrix_product", "nothing inside", lambda m, a, b: a @ b, (2, 0), (0, 3)),
    both("matrix_product", "no rows", lambda m, a, b: a @ b, (0, 2), (2, 3)),
    both("matrix_product", "with itself", lambda m, x: x @ x.T, (2, 3)),
    layer("affine", "batch", "linear", (4, 3), (2, 3), (2,)),
    layer("affine", "without bias", "linear", (4, 3), (2, 3)),
    layer("affine", "one sample", "linear", (3,), (2, 3), (2,)),
    layer("affine", "one sample, no bias", "linear", (3,), (2, 3)),
    layer("affine", "sequences", "linear", (2, 3, 2), (4, 2), (4,)),
    layer("affine", "batch 0", "linear", (0, 3), (2, 3), (2,)),
    layer("affine", "one by one", "linear", (1, 1), (1, 1), (1,)),
]


def convolutions(name: str, x: Shape, w: Shape, **given: Any) -> list[Case]:
    """Make a row for each of the three operations that form the convolution triangle."""
    settings = {"stride": 1, "padding": 0, "dilation": 1, **given}
    groups = settings.pop("groups", 1)
    pairs = {key: pair(number) for key, number in settings.items()}
    sides = list(zip(x[2:], w[2:], *pairs.values(), strict=True))
    dy = (x[0], w[0], *(output_size(*side) for side in sides))
    unreached = [(n + 2 * p - d * (k - 1) - 1) % s for n, k, s, p, d in sides]
    everything = {**pairs, "groups": groups}

    def torch_weight(torch: Any, x: Any, dy: Any) -> Any:  # cannot differentiate a batch of 0
        return torch.nn.grad.conv2d_weight(x, w, dy, **everything)

    return [
        layer("conv2d", name, "conv2d", x, w, **everything),
        Case(
            "conv2d_input",
            name,
            lambda dy, w: conv2d_input(dy, w, size=x[2:], **everything),
            (dy, w),
            lambda torch, dy, w: torch.nn.functional.conv_transpose2d(
                dy, w, output_padding=unreached, **everything
            ),
        ),
        Case(
            "conv2d_weight",
            name,
            lambda x, dy: conv2d_weight(x, dy, size=w[2:], **everything),
            (x, dy),
            torch_weight if x[0] else None,
        ),
    ]


CONVOLUTIONS = [
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
    layer("conv2d_bias", "one group", "conv2d", (2, 1, 3, 3), (2, 1, 2, 2), (2,)),
    layer("conv2d_bias", "one image", "conv2d", (2, 3, 2), (2, 2, 2, 3), (2,), padding=1),
    layer("conv2d_bias", "groups, strided, left-over rows", "conv2d", (2, 2, 6, 5), (4, 1, 2, 3),
          (4,), groups=2, stride=(3, 2)),
    layer("conv2d_bias", "batch 0", "conv2d", (0, 1, 3, 3), (2, 1, 2, 2), (2,)),
    layer("conv2d", "valid", "conv2d", (1, 1, 3, 4), (2, 1, 2, 2), padding="valid"),
    layer("conv2d", "same", "conv2d", (1, 1, 3, 4), (2, 1, 3, 1), padding="same"),
    layer("conv2d", "same, even reach", "conv2d", (1, 1, 4, 3), (1, 1, 2, 2),
          padding="same", dilation=(1, 3)),
    layer("im2col", "overlap", "unfold", (2, 2, 3, 4), kernel_size=(2, 3)),
    layer("im2col", "one by one", "unfold", (1, 2, 2, 3), kernel_size=1),
    layer("im2col", "all settings", "unfold", (1, 2, 5, 4),
          kernel_size=(2, 1), dilation=(2, 1), padding=(1, 0), stride=(2, 3)),
    layer("im2col", "one image", "unfold", (1, 5, 4), kernel_size=2, stride=2),
    layer("col2im", "overlap", "fold", (2, 12, 4), output_size=(3, 4), kernel_size=(2, 3)),
    layer("col2im", "one by one", "fold", (1, 2, 6), output_size=(2, 3), kernel_size=1),
    layer("col2im", "all settings", "fold", (1, 4, 6), output_size=(5, 4),
          kernel_size=(2, 1), dilation=(2, 1), padding=(1, 0), stride=(2, 3)),
    layer("col2im", "one image", "fold", (4, 4), output_size=(5, 4), kernel_size=2, stride=2),
    Case("im2col", "batch 0", lambda x: im2col(x, Windows((3, 4), (2, 2))), ((0, 2, 3, 4),)),
    Case("col2im", "batch 0", lambda x: col2im(x, Windows((3, 4), (2, 2))), ((0, 1, 2, 2, 2, 3),)),
]  # fmt: skip

POOLED = Windows((4, 5), (3, 2), (2, 1), (1, 1))
WINNER = np.random.default_rng(3).integers(1, 6, (2, 1, *POOLED.output)).astype(np.uint8)

POOLING = [
    layer("take_winners", "tiles", "max_pool2d", (1, 2, 4, 6), kernel_size=2),
    layer("take_winners", "overlap", "max_pool2d", (1, 1, 5, 4), kernel_size=3, stride=1),
    layer("take_winners", "oblong", "max_pool2d", (2, 1, 4, 5), kernel_size=(2, 3), stride=(1, 2)),
    layer("take_winners", "padded", "max_pool2d", (1, 2, 5, 4), kernel_size=3, stride=2, padding=1),
    layer("take_winners", "stride larger than the kernel", "max_pool2d", (1, 1, 6, 7),
          kernel_size=2, stride=3),
    layer("take_winners", "dilated", "max_pool2d", (1, 1, 4, 5),
          kernel_size=2, stride=1, padding=1, dilation=(2, 3)),
    layer("take_winners", "rounded up", "max_pool2d", (1, 1, 5, 3), kernel_size=2, ceil_mode=True),
    layer("take_winners", "rounded up, padded", "max_pool2d", (1, 1, 4, 6),
          kernel_size=3, stride=2, padding=1, ceil_mode=True),
    layer("take_winners", "one image", "max_pool2d", (2, 3, 4), kernel_size=2),
    layer("take_winners", "one by one", "max_pool2d", (1, 2, 2, 3), kernel_size=1),
    layer("take_winners", "batch 0", "max_pool2d", (0, 2, 4, 4), kernel_size=2),
    Case("take_winners", "given winners", lambda x: take_winners(x, WINNER, POOLED),
         ((2, 1, 4, 5),)),
    Case("route_to_winners", "given winners", lambda dy: route_to_winners(dy, WINNER, POOLED),
         (WINNER.shape,)),
    layer("window_sum", "tiles", "avg_pool2d", (1, 2, 4, 6), kernel_size=2),
    layer("window_sum", "overlap", "avg_pool2d", (1, 1, 5, 4), kernel_size=3, stride=1),
    layer("window_sum", "oblong", "avg_pool2d", (2, 1, 4, 5), kernel_size=(2, 3), stride=(1, 2)),
    layer("window_sum", "padded", "avg_pool2d", (1, 2, 5, 4), kernel_size=3, stride=2, padding=1),
    layer("window_sum", "padding not counted", "avg_pool2d", (1, 2, 5, 4),
          kernel_size=3, stride=2, padding=1, count_include_pad=False),
    layer("window_sum", "stride larger than the kernel", "avg_pool2d", (1, 1, 6, 7),
          kernel_size=2, stride=3),
    layer("window_sum", "rounded up", "avg_pool2d", (1, 1, 4, 5),
          kernel_size=(3, 2), stride=2, padding=1, ceil_mode=True),
    layer("window_sum", "rounded up, padding not counted", "avg_pool2d", (1, 1, 4, 6),
          kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    layer("window_sum", "given divisor", "avg_pool2d", (1, 1, 4, 5),
          kernel_size=2, divisor_override=3),
    layer("window_sum", "one image", "avg_pool2d", (2, 3, 4), kernel_size=2),
    layer("window_sum", "batch 0", "avg_pool2d", (0, 2, 4, 4), kernel_size=2),
    Case("window_sum", "plain sums", lambda x: window_sum(x, POOLED), ((2, 1, 4, 5),),
         lambda torch, x: torch.nn.functional.avg_pool2d(x, (3, 2), (2, 1), 1, divisor_override=1)),
    Case("window_spread", "overlap and padding", lambda dy: window_spread(dy, POOLED),
         (WINNER.shape,)),
    layer("matrix_product", "adaptive pooling", "adaptive_avg_pool2d", (1, 2, 5, 4),
          output_size=(2, 3)),
    layer("matrix_product", "adaptive pooling, more bins than pixels", "adaptive_avg_pool2d",
          (1, 1, 2, 3), output_size=(3, 5)),
    layer("window_sum", "adaptive pooling of one side", "adaptive_avg_pool2d", (1, 1, 3, 4),
          output_size=(None, 2)),
    layer("matrix_product", "adaptive pooling of one image", "adaptive_avg_pool2d", (2, 3, 4),
          output_size=2),
    layer("sum", "adaptive pooling to one", "adaptive_avg_pool2d", (2, 2, 3, 2), output_size=1),
]  # fmt: skip

AVERAGE, VARIANCE = np.array([0.3, -0.8]), np.array([0.5, 1.7])


def normalized(name: str, *inputs: Shape, eps: float = 1e-5) -> Case:
    """Make a row for batch normalisation in training: x, and scale and shift if there are any."""

    def function(m: Any, x: Any, *scale_and_shift: Any) -> Any:
        return m.nn.functional.batch_norm(x, None, None, *scale_and_shift, training=True, eps=eps)

    return both("normalize_batch", name, function, *inputs)


def standardized(m: Any, x: Any, *scale_and_shift: Any) -> Any:
    """Normalise with fixed statistics, as in inference."""
    statistics = m.tensor(AVERAGE).to(x.dtype), m.tensor(VARIANCE).to(x.dtype)
    return m.nn.functional.batch_norm(x, *statistics, *scale_and_shift)


NORMALIZATION = [
    normalized("images", (2, 2, 2, 3), positive(2), (2,)),
    normalized("rows", (4, 3), positive(3), (3,)),
    normalized("sequences", (2, 2, 3), (2,), (2,), eps=0.1),
    normalized("one image", (1, 2, 2, 3), (2,), (2,)),
    normalized("without shift", (2, 2, 2, 1), (2,)),
    normalized("without scale and shift", (3, 2, 1, 1)),
    both("mul", "batch norm at inference", standardized, (2, 2, 2, 1), (2,), (2,)),
    both("mul", "batch norm at inference, one row", standardized, (1, 2), (2,)),
    both("mul", "batch norm at inference, batch 0", standardized, (0, 2, 2, 1), (2,), (2,)),
    Case("keep", "mask", lambda x: keep(x, MASK, 1.25), ((2, 3),),
         lambda torch, x: x * torch.tensor(MASK) * 1.25),
]  # fmt: skip

LABELS, HOLES = np.array([2, 0, 1, 2]), np.array([2, -100, -100, 0])
PIXEL_LABELS = np.array([[[0, 1]], [[1, -1]]])
CLASS_WEIGHTS = np.array([0.5, 2.0, 1.5])


def loss(op: str, name: str, kind: str, x: Shape, labels: Any, **settings: Any) -> Case:
    """Make a row for a loss over class labels; a weight of the classes comes from the settings."""

    def function(m: Any, x: Any) -> Any:
        given = dict(settings)
        if "weight" in given:
            given["weight"] = m.tensor(given["weight"]).to(x.dtype)
        return getattr(m.nn.functional, kind)(x, m.tensor(labels), **given)

    return both(op, name, function, x)


LOSSES = [
    loss("log_softmax", "cross entropy", "cross_entropy", (4, 3), LABELS),
    loss("log_softmax", "cross entropy summed", "cross_entropy", (4, 3), LABELS, reduction="sum"),
    loss("log_softmax", "cross entropy each", "cross_entropy", (4, 3), LABELS, reduction="none"),
    loss("log_softmax", "weighted", "cross_entropy", (4, 3), LABELS, weight=CLASS_WEIGHTS),
    loss("log_softmax", "ignored labels", "cross_entropy", (4, 3), HOLES),
    loss("log_softmax", "one sample", "cross_entropy", (3,), np.array(1)),
    loss("log_softmax", "pixels", "cross_entropy", (2, 2, 1, 2), PIXEL_LABELS, ignore_index=-1),
    loss("log_softmax", "smoothed", "cross_entropy", (4, 3), LABELS, label_smoothing=0.2),
    loss("log_softmax", "smoothed pixels", "cross_entropy", (2, 2, 1, 2), PIXEL_LABELS,
         ignore_index=-1, label_smoothing=0.3, reduction="none"),
    loss("log_softmax", "smoothed, weighted, ignored", "cross_entropy", (4, 3), HOLES,
         weight=CLASS_WEIGHTS, label_smoothing=0.2),
    loss("log_softmax", "smoothed, weighted, summed", "cross_entropy", (4, 3), LABELS,
         weight=CLASS_WEIGHTS, label_smoothing=0.2, reduction="sum"),
    loss("index", "negative log likelihood", "nll_loss", (4, 3), LABELS),
    loss("index", "likelihood weighted", "nll_loss", (4, 3), HOLES, weight=CLASS_WEIGHTS),
    loss("index", "likelihood each", "nll_loss", (4, 3), LABELS, reduction="none"),
    loss("index", "likelihood of one sample", "nll_loss", (3,), np.array(2)),
    layer("pow", "squared error", "mse_loss", (2, 3), (2, 3)),
    layer("pow", "squared error summed", "mse_loss", (2, 3), (2, 3), reduction="sum"),
    layer("pow", "squared error each", "mse_loss", (2, 3), (2, 3), reduction="none"),
]  # fmt: skip

CASES = [
    *ARITHMETIC,
    *BROADCAST,
    *SHAPES,
    *INDEXING,
    *REDUCTIONS,
    *ACTIVATIONS,
    *PRODUCTS,
    *CONVOLUTIONS,
    *POOLING,
    *NORMALIZATION,
    *LOSSES,
]
