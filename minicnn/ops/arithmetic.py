"""Arithmetic, element by element, with broadcasting; each gradient right below its formula."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import ArgumentError
from minicnn.ops.broadcast import unbroadcast
from minicnn.tensor import Tensor, values_of

__all__ = [
    "abs", "add", "clamp", "div", "eq", "exp", "ge", "gt", "le", "log", "logical_and",
    "logical_not", "logical_or", "lt", "maximum", "minimum", "mul", "ne", "neg", "pow", "sqrt",
    "sub", "where",
]  # fmt: skip

# --- two operands ---------------------------------------------------------------------------------


@differentiable
def add(a: Array, b: Array, /) -> Array:
    """y = a + b."""
    return a + b


@add.gradient(saves="")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return lambda: unbroadcast(dy, a), lambda: unbroadcast(dy, b)


@differentiable
def sub(a: Array, b: Array, /) -> Array:
    """y = a - b."""
    return a - b


@sub.gradient(saves="")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return lambda: unbroadcast(dy, a), lambda: unbroadcast(-dy, b)


@differentiable
def mul(a: Array, b: Array, /) -> Array:
    """y = a * b."""
    return a * b


@mul.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return lambda: unbroadcast(dy * b, a), lambda: unbroadcast(dy * a, b)


@differentiable
def div(a: Array, b: Array, /) -> Array:
    """y = a / b."""
    return np.true_divide(a, b)


@div.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return lambda: unbroadcast(dy / b, a), lambda: unbroadcast(-dy * a / (b * b), b)


@differentiable
def pow(a: Array, b: Array, /) -> Array:
    """y = a ** b."""
    return a**b


@pow.gradient(saves="y a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    return (
        lambda: unbroadcast(dy * (b * a ** _lowered(b)), a),
        lambda: unbroadcast(dy * y * _log_of_base(a), b),
    )


def _lowered(b: Any) -> Any:
    """Return b - 1, but 1 at b == 0, where the derivative 0 * a^-1 must be 0 at a == 0 too."""
    if hasattr(b, "shape"):
        return where(eq(b, 0), 1.0, b - 1)
    return b - 1 if b else 1


def _log_of_base(a: Any) -> Any:
    """Return ln a, but 0 at a == 0, where a^b stays 0 for every b > 0; NaN below."""
    if hasattr(a, "shape"):
        return log(where(eq(a, 0), 1.0, a))
    return math.log(a) if a > 0 else 0.0 if a == 0 else math.nan


@differentiable
def maximum(a: Array, b: Array, /) -> Array:
    """y = max(a, b); where both are equal each receives half of the gradient."""
    return np.maximum(a, b)


@maximum.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    share = _share(values_of(a), values_of(b))
    return lambda: unbroadcast(dy * share, a), lambda: unbroadcast(dy * (1 - share), b)


@differentiable
def minimum(a: Array, b: Array, /) -> Array:
    """y = min(a, b); where both are equal each receives half of the gradient."""
    return np.minimum(a, b)


@minimum.gradient(saves="a b")
def _(dy: Array, y: Array, a: Array, b: Array) -> Gradients:
    share = _share(values_of(b), values_of(a))
    return lambda: unbroadcast(dy * share, a), lambda: unbroadcast(dy * (1 - share), b)


def _share(winner: Any, loser: Any) -> Array:
    """Return 1 where winner > loser, 1/2 where they are equal, else 0."""
    wins = np.greater(winner, loser).astype(np.result_type(winner, loser))
    return (wins + np.greater_equal(winner, loser)) / 2


@differentiable
def select(a: Array, b: Array, /, condition: Array) -> Array:
    """y = a where the condition holds, else b."""
    return np.where(condition, a, b)


@select.gradient(saves="")
def _(dy: Array, y: Array, a: Array, b: Array, *, condition: Array) -> Gradients:
    return (
        lambda: unbroadcast(dy * condition, a),
        lambda: unbroadcast(dy * ~condition, b),
    )


def where(condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition holds, else b; a and b are tensors or numbers.

    >>> import minicnn
    >>> minicnn.where(minicnn.tensor([True, False]), minicnn.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """
    if isinstance(condition, Tensor) and not (isinstance(a, Tensor) or isinstance(b, Tensor)):
        a = Tensor(np.asarray(a, np.float32 if isinstance(a, float) else None))
    return select(a, b, condition=np.array(values_of(condition), dtype=bool))


# --- one operand ----------------------------------------------------------------------------------


@differentiable
def neg(x: Array, /) -> Array:
    """y = -x."""
    return -x


@neg.gradient(saves="")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: -dy


@differentiable
def exp(x: Array, /) -> Array:
    """y = e^x."""
    return np.exp(x)


@exp.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * y


@differentiable
def log(x: Array, /) -> Array:
    """y = ln x; -inf at 0 and NaN below."""
    return np.log(x)


@log.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy / x


@differentiable
def sqrt(x: Array, /) -> Array:
    """y = x^(1/2); NaN below 0."""
    return np.sqrt(x)


@sqrt.gradient(saves="y")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy / (2 * y)


@differentiable
def abs(x: Array, /) -> Array:
    """y = |x|; the gradient at 0 is 0."""
    return np.abs(x)


@abs.gradient(saves="x")
def _(dy: Array, y: Array, x: Array) -> Gradients:
    return lambda: dy * np.sign(values_of(x))


@differentiable
def clip(x: Array, /, min: float | None, max: float | None) -> Array:
    """y = x, but at least min and at most max; the gradient is 0 outside and 1 at the bounds."""
    return np.clip(x, min, max)


@clip.gradient(saves="x")
def _(dy: Array, y: Array, x: Array, *, min: float | None, max: float | None) -> Gradients:
    values = values_of(x)
    inside = np.ones(x.shape, dtype=bool)
    if min is not None:
        inside &= values >= min
    if max is not None:
        inside &= values <= max
    return lambda: dy * inside


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """Keep x between min and max, which are numbers or tensors; either may be left out.

    Raises:
        ArgumentError: both bounds are missing.
    """
    if min is None and max is None:
        raise ArgumentError("clamp: at least one of min and max is needed")
    if not (hasattr(min, "shape") or hasattr(max, "shape")):
        return clip(x, min, max)
    if min is not None:  # not maximum(x, min): at a tie all of the gradient is x's
        x = where(lt(x, min), min, x)
    return x if max is None else where(gt(x, max), max, x)


@differentiable
def cast(x: Array, /, dtype: Any) -> Array:
    """y = x in another element type."""
    return x.astype(dtype, copy=False)


@cast.gradient(saves="")
def _(dy: Array, y: Array, x: Array, *, dtype: Any) -> Gradients:
    return lambda: cast(dy, x.dtype)


# --- comparison: the result is boolean and has no gradient ----------------------------------------


@differentiable
def eq(a: Array, b: Array, /) -> Array:
    """y = (a == b)."""
    return np.equal(a, b)


@differentiable
def ne(a: Array, b: Array, /) -> Array:
    """y = (a != b)."""
    return np.not_equal(a, b)


@differentiable
def lt(a: Array, b: Array, /) -> Array:
    """y = (a < b)."""
    return np.less(a, b)


@differentiable
def le(a: Array, b: Array, /) -> Array:
    """y = (a <= b)."""
    return np.less_equal(a, b)


@differentiable
def gt(a: Array, b: Array, /) -> Array:
    """y = (a > b)."""
    return np.greater(a, b)


@differentiable
def ge(a: Array, b: Array, /) -> Array:
    """y = (a >= b)."""
    return np.greater_equal(a, b)


@differentiable
def bitwise_and(a: Array, b: Array, /) -> Array:
    """y = a & b, bit by bit for integers."""
    return np.bitwise_and(a, b)


@differentiable
def bitwise_or(a: Array, b: Array, /) -> Array:
    """y = a | b, bit by bit for integers."""
    return np.bitwise_or(a, b)


@differentiable
def bitwise_not(x: Array, /) -> Array:
    """y = ~x, bit by bit for integers."""
    return np.invert(x)


@differentiable
def logical_not(x: Array, /) -> Array:
    """y = not x."""
    return np.logical_not(x)


@differentiable
def logical_and(a: Array, b: Array, /) -> Array:
    """y = a and b."""
    return np.logical_and(a, b)


@differentiable
def logical_or(a: Array, b: Array, /) -> Array:
    """y = a or b."""
    return np.logical_or(a, b)
