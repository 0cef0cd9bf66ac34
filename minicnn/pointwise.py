"""Operations that are computed element by element: `@pointwise` in place of `@differentiable`.

::

    @pointwise
    def silu(x, /):
        return x * sigmoid(x)

    @silu.gradient(saves="x")
    def _(dy, y, x):
        s = sigmoid(x)
        return lambda: dy * s * (1 + x * (1 - s))

Nothing else changes: the text is what it would be, on arrays and on Tensors.  But where arrays are
large, the whole formula becomes one compiled loop, and so does each gradient; without it, every
operation of the text is a pass through memory of its own.  `minicnn_kernels.pointwise` says how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec

from minicnn.differentiable import Gradients, Op
from minicnn_kernels.one_pass import in_one_pass

P = ParamSpec("P")


class PointwiseOp(Op[P]):
    """An operation whose formula and gradient are each computed in one pass over memory."""

    reads_halves = True

    def __init__(self, forward: Callable[P, Any]) -> None:
        super().__init__(in_one_pass(forward))

    def gradient(self, saves: str | None = None) -> Callable[[Callable[..., Gradients]], Op[P]]:
        """Take the function below as this operation's gradient: see `Op.gradient`."""
        register = super().gradient(saves)
        return lambda gradient_function: register(in_one_pass(gradient_function))


def pointwise(forward: Callable[P, Any]) -> PointwiseOp[P]:
    """Make an operation of an element-wise formula; `.gradient` then gives it its gradient."""
    return PointwiseOp(forward)
