"""Derivatives of functions: products with the Jacobian and the Hessian, and these themselves.

For y = f(x) the Jacobian is J[i,j] = dy[i] / dx[j].  Backward computes v J (`vjp`) at the price of
a few calls of f, whatever the number of inputs.  It is linear in v, and its derivative by v is the
transpose: differentiated once more, it gives J v (`jvp`), the trick of two backward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn.backprop import enable_grad, grad, is_grad_enabled
from minicnn.errors import DTypeError, GradientError, ShapeError
from minicnn.ops.shape import reshape, stack, view_as
from minicnn.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = tuple[Tensor, ...]


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """Return func(*inputs), and v times its Jacobian.

    dx[j] = sum_i v[i] * dy[i] / dx[j]

    Args:
        func: takes tensors and returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of them.
        v: of the shapes of the result; may be left out if that is a single value.
        create_graph: record the derivative, so that it can be differentiated.
        strict: refuse results that do not depend on an input, whose derivative is 0.

    >>> import minicnn
    >>> y, dx = vjp(lambda x: x**2, minicnn.tensor([1.0, 2.0]), minicnn.tensor([1.0, 10.0]))
    >>> dx
    tensor([ 2., 40.])

    Raises:
        ShapeError: v is missing, or has other shapes than the result.
        GradientError: `strict`, and a result does not depend on an input.
        DTypeError: the function takes or returns something else than tensors.
    """
    with enable_grad():
        xs, one_input = _inputs("vjp", inputs, create_graph)
        ys, one_output = _outputs("vjp", func(*xs), strict)
        vs = _direction("vjp", v, ys, "result")
        dxs = _gradients("vjp", ys, xs, vs, create_graph, strict)
    return _given(ys, one_output, create_graph), _given(dxs, one_input, create_graph)


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """Return func(*inputs), and its Jacobian times v: how the result moves if inputs move by v.

    dy[i] = sum_j dy[i] / dx[j] * v[j]

    The arguments are those of `vjp`, but that v has the shapes of the inputs.

    >>> import minicnn
    >>> y, dy = jvp(lambda x: x**2, minicnn.tensor([1.0, 2.0]), minicnn.tensor([1.0, 10.0]))
    >>> dy
    tensor([ 2., 40.])
    """
    with enable_grad():
        xs, _ = _inputs("jvp", inputs, create_graph)
        vs = _direction("jvp", v, xs, "input")
        ys, one_output = _outputs("jvp", func(*xs), strict)
        us = tuple(Tensor(np.zeros_like(y.array), requires_grad=True) for y in ys)
        dxs = _gradients("jvp", ys, xs, us, True, strict)  # linear in u
        dys = _gradients("jvp", dxs, us, vs, create_graph, strict)
    return _given(ys, one_output, create_graph), _given(dys, one_output, create_graph)


def jacobian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False
) -> Any:
    """Return the derivative of every value of the result by every value of the inputs.

    J[i..,j..] = dy[i..] / dx[j..]

    For several inputs it is a tuple with one Jacobian each; for several results, a tuple of these.
    It takes one backward pass per value of the result.

    >>> import minicnn
    >>> jacobian(lambda x: x.cumsum(0), minicnn.tensor([1.0, 2.0]))
    tensor([[1., 0.],
            [1., 1.]])
    """
    with enable_grad():
        xs, one_input = _inputs("jacobian", inputs, create_graph)
        ys, one_output = _outputs("jacobian", func(*xs), strict)
        rows = tuple(
            _given(_jacobian_of(y, xs, create_graph, strict), one_input, create_graph) for y in ys
        )
    return rows[0] if one_output else rows


def _jacobian_of(y: Tensor, xs: Tensors, create_graph: bool, strict: bool) -> Tensors:
    by_value = [
        _gradients("jacobian", (value,), xs, None, create_graph, strict)
        for value in (reshape(y, -1)[i] for i in range(y.array.size))
    ]
    if not by_value:
        return tuple(Tensor(np.zeros((*y.shape, *x.shape), y.dtype)) for x in xs)
    columns = zip(*by_value, strict=True)
    return tuple(
        view_as(stack(dxs), (*y.shape, *x.shape)) for dxs, x in zip(columns, xs, strict=True)
    )


def hessian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False
) -> Any:
    """Return the second derivatives of a function with a single value.

    H[i..,j..] = d (dy / dx[i..]) / dx[j..]

    For several inputs it is a tuple of tuples: the i-th of them holds d (dy / dx_i) / dx_j.
    """

    def first(*xs: Tensor) -> Tensors:
        y = _single_value("hessian", func(*xs), strict)
        return _gradients("hessian", (y,), xs, None, True, strict)

    _, one_input = _inputs("hessian", inputs, create_graph)
    found = jacobian(first, inputs, create_graph, strict)
    return found[0] if one_input else found


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """Return func(*inputs), a single value, and v times its Hessian, which is never formed.

    dx[j] = sum_i v[i] * d^2 y / dx[i] dx[j]
    """
    return _hessian_product("vhp", func, inputs, v, create_graph, strict)


def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """Return func(*inputs), a single value, and its Hessian times v.

    dx[i] = sum_j d^2 y / dx[i] dx[j] * v[j]

    The Hessian is symmetric, so this is `vhp` under another name.
    """
    return _hessian_product("hvp", func, inputs, v, create_graph, strict)


def _hessian_product(
    op: str, func: Callable[..., Any], inputs: Any, v: Any, create_graph: bool, strict: bool
) -> tuple[Any, Any]:
    with enable_grad():
        xs, one_input = _inputs(op, inputs, create_graph)
        vs = _direction(op, v, xs, "input")
        y = _single_value(op, func(*xs), strict)
        dxs = _gradients(op, (y,), xs, None, True, strict)
        products = _gradients(op, dxs, xs, vs, create_graph, strict)
    return _given((y,), True, create_graph), _given(products, one_input, create_graph)


# --- what they share ------------------------------------------------------------------------------


def _inputs(op: str, inputs: Any, create_graph: bool) -> tuple[Tensors, bool]:
    """Return tensors to differentiate by, and whether there was just one, not in a tuple.

    With `create_graph` they stay connected to what they were computed from.
    """
    given, single = _as_tuple(op, "inputs", inputs)
    if create_graph:
        return tuple(view_as(x, x.shape) if x.requires_grad else _leaf(x) for x in given), single
    return tuple(map(_leaf, given)), single


def _leaf(x: Tensor) -> Tensor:
    return Tensor(x.array, requires_grad=True)


def _as_tuple(op: str, name: str, value: Any) -> tuple[Tensors, bool]:
    values = (value,) if isinstance(value, Tensor) else value
    if not isinstance(values, (tuple, list)) or not all(isinstance(t, Tensor) for t in values):
        raise DTypeError(f"{op}: {name} must be a tensor or a tuple of them, got {value!r}")
    return tuple(values), isinstance(value, Tensor)


def _outputs(op: str, result: Any, strict: bool) -> tuple[Tensors, bool]:
    ys, single = _as_tuple(op, "the result of the function", result)
    for i, y in enumerate(ys):
        if strict and not y.requires_grad:
            raise GradientError(f"{op}: result {i} does not depend on any input (strict=True)")
    return ys, single


def _single_value(op: str, result: Any, strict: bool) -> Tensor:
    (y, *others), single = _outputs(op, result, strict)
    if not single or others or y.array.size != 1:
        raise ShapeError(f"{op}: the function must return a single value, got {result!r}")
    value: Tensor = reshape(y, ())
    return value


def _direction(op: str, v: Any, like: Tensors, what: str) -> Tensors:
    """Return v as one tensor for each of `like`; ones if that is a single value."""
    if v is None:
        if len(like) != 1 or like[0].array.size != 1:
            raise ShapeError(f"{op}: v may be left out only if the {what} is a single value")
        return (Tensor(np.ones_like(like[0].array)),)
    vs, _ = _as_tuple(op, "v", v)
    shapes, expected = [t.shape for t in vs], [t.shape for t in like]
    if shapes != expected:
        raise ShapeError(f"{op}: v has shapes {shapes}, the {what} has {expected}")
    return vs


def _gradients(
    op: str, ys: Tensors, xs: Tensors, vs: Tensors | None, create_graph: bool, strict: bool
) -> Tensors:
    """Return v J for each x, with zeros where no y depends on it."""
    weights = (None,) * len(ys) if vs is None else vs
    pairs = [(y, v) for y, v in zip(ys, weights, strict=True) if y.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(xs)
    if pairs:
        outputs, seeds = zip(*pairs, strict=True)
        found = grad(
            outputs, xs, list(seeds), retain_graph=True, create_graph=create_graph,
            allow_unused=True,
        )  # fmt: skip
    for i, dx in enumerate(found):
        if strict and dx is None:
            raise GradientError(f"{op}: the result does not depend on input {i} (strict=True)")
    return tuple(
        Tensor(np.zeros_like(x.array)) if dx is None else dx
        for dx, x in zip(found, xs, strict=True)
    )


def _given(values: Tensors, single: bool, create_graph: bool) -> Any:
    """Return a single tensor or a tuple, out of the graph unless that is wanted."""
    kept = values if create_graph and is_grad_enabled() else tuple(t.detach() for t in values)
    return kept[0] if single else kept
