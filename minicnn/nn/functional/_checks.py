"""What the functions check of their arguments before they call an operation."""

from __future__ import annotations

from typing import Any

from minicnn.arguments import in_autocast, in_precision
from minicnn.errors import DTypeError, ShapeError
from minicnn.ops.activation import log_softmax
from minicnn.ops.shape import unsqueeze
from minicnn_kernels.arrays import is_floating
from minicnn_kernels.geometry import Sides, Windows, sides

LAYOUTS = {1: "C, L", 2: "C, H, W", 3: "C, D, H, W"}


def check_floating(op: str, name: str, value: Any) -> None:
    """Refuse integers and booleans.

    Raises:
        DTypeError: `value` is not floating-point.
    """
    if not is_floating(value.dtype):
        raise DTypeError(
            f"{op}: {name} must be floating-point, got {value.dtype}; use .to(dtype) first"
        )


def check_one_type(op: str, **values: Any) -> None:
    """Refuse values of different element types; None stands for a value that is not given.

    Raises:
        DTypeError: not all are of the same type, and autocast will not make them so.
    """
    types = {name: value.dtype for name, value in values.items() if value is not None}
    if len(set(types.values())) > 1 and not in_autocast(types.values()):
        found = ", ".join(f"{name} {dtype}" for name, dtype in types.items())
        raise DTypeError(f"{op}: needs one element type for all, got {found}; use .to(dtype) first")


def as_for_a_loss(input: Any) -> Any:
    """Return the input in the precision that autocast wants for losses; without it as it is."""
    (seen,) = in_precision(log_softmax, (input,))
    return seen


def batched(op: str, x: Any, ndim: int = 2) -> tuple[Any, bool]:
    """Return images of `ndim` dimensions with a batch dimension, and whether they had none.

    Raises:
        ShapeError: x has neither ndim + 1 nor ndim + 2 dimensions.
    """
    if x.ndim not in (ndim + 1, ndim + 2):
        layout = LAYOUTS[ndim]
        raise ShapeError(f"{op}: input must be (N, {layout}) or ({layout}), got shape {x.shape}")
    return (unsqueeze(x, 0), True) if x.ndim == ndim + 1 else (x, False)


def windows_over(
    op: str,
    image: Sides,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Windows:
    """Return the windows over an image; the stride is the kernel's size unless it is given.

    Raises:
        ShapeError: a setting has more or fewer numbers than the image has sides, or none fits.
    """
    ndim = len(image)
    kernel = sides(kernel_size, ndim, f"{op}: kernel_size", 1)
    return Windows(
        image,
        kernel,
        kernel if stride is None or stride == () else sides(stride, ndim, f"{op}: stride", 1),
        sides(padding, ndim, f"{op}: padding"),
        sides(dilation, ndim, f"{op}: dilation", 1),
        ceil_mode,
    ).checked(op)
