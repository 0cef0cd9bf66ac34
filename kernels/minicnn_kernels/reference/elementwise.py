"""Functions that NumPy computes for float32 one value at a time on most processors.

Here they are made of exp and log, which it computes for many values at once: 2 to 4 times faster.
Other element types are left to NumPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array
from minicnn_kernels.pointwise import LEAST, one_step
from minicnn_kernels.reference.blockwise import in_blocks
from minicnn_kernels.reference.special import polynomial
from minicnn_kernels.registry import BOTH, Kernel

TAYLOR = [1 / math.factorial(k) for k in range(1, 9)]
"""The coefficients of (e^x - 1) / x."""


fmod, remainder = Kernel("fmod"), Kernel("remainder")


@fmod.algorithm("numpy", devices=BOTH, cost=lambda a, b: 1.0)
def fmod_numpy(a: Array, b: Array) -> Array:
    """y = a - b * trunc(a / b), with the sign of a."""
    return np.fmod(a, b)


@remainder.algorithm("numpy", devices=BOTH, cost=lambda a, b: 1.0)
def remainder_numpy(a: Array, b: Array) -> Array:
    """y = a - b * floor(a / b), with the sign of b."""
    return np.remainder(a, b)


def _are_many_single(a: Any, b: Any) -> bool:
    return all(
        isinstance(x, np.ndarray) and x.dtype == np.float32 and x.flags.c_contiguous for x in (a, b)
    ) and (a.shape == b.shape and a.size >= LEAST)


for _kernel in (fmod, remainder):
    _kernel.compiled(
        "compiled", f"division.{_kernel.name}", _kernel.algorithms["numpy"].formula,
        cost=lambda a, b: 0.1, serves=_are_many_single,
    )  # fmt: skip


def expm1(x: Array) -> Array:
    """y = e^x - 1, without loss of digits near 0."""
    return in_blocks(_expm1, x) if x.dtype == np.float32 else np.expm1(x)


def log1p(x: Array) -> Array:
    """y = ln(1 + x), without loss of digits near 0."""
    return in_blocks(_log1p, x) if x.dtype == np.float32 else np.log1p(x)


def tan(x: Array) -> Array:
    """y = sin x / cos x."""
    return in_blocks(_tan, x) if x.dtype == np.float32 else np.tan(x)


def sinh(x: Array) -> Array:
    """y = (e^x - e^-x) / 2."""
    return in_blocks(_sinh, x) if x.dtype == np.float32 else np.sinh(x)


def cosh(x: Array) -> Array:
    """y = (e^x + e^-x) / 2."""
    return in_blocks(_cosh, x) if x.dtype == np.float32 else np.cosh(x)


def atanh(x: Array) -> Array:
    """y = ln((1 + x) / (1 - x)) / 2."""
    return in_blocks(_atanh, x) if x.dtype == np.float32 else np.arctanh(x)


def softplus(x: Array) -> Array:
    """y = ln(1 + e^x), without overflow and without loss of digits where it is small."""
    precise = _log1p if x.dtype == np.float32 else np.log1p
    return in_blocks(lambda part: np.maximum(part, 0) + precise(np.exp(-np.abs(part))), x)


def elu(x: Array, alpha: float, scale: float, rate: float) -> Array:
    """y = scale * x where x > 0, else scale * alpha * (e^(rate * x) - 1)."""
    precise = _expm1 if x.dtype == np.float32 else np.expm1

    def formula(x: Array) -> Array:
        y = precise(np.minimum(x, 0) * rate)
        y *= alpha
        y += np.maximum(x, 0)
        y *= scale
        return y

    return in_blocks(formula, x)


@one_step("tan")
def _tan(x: Array) -> Array:
    y: Array = np.sin(x) / np.cos(x)
    return y


@one_step("expm1")
def _expm1(x: Array) -> Array:
    """Return (e^u - 1) e^(x-u) + (e^(x-u) - 1), where u is x between -1/2 and 1/2."""
    u = np.clip(x, -0.5, 0.5)
    factor = np.exp(x - u)
    y = polynomial(u, TAYLOR)
    y *= u
    y *= factor
    y += factor - 1
    return y


@one_step("log1p")
def _log1p(x: Array) -> Array:
    """Return ln(u) x / (u - 1) for u = 1 + x rounded: both errors of the rounding cancel.

    Kahan's way, in Goldberg 1991, "What every computer scientist should know about floating-point
    arithmetic", theorem 4.
    """
    u = 1 + x
    y = np.log(u)
    u -= 1
    return np.where(u == 0, x, np.where(np.isfinite(y), y * (x / u), y))


def _sinh(x: Array) -> Array:
    """Return (u + u / (u + 1)) / 2 with u = e^x - 1."""
    u = _expm1(np.abs(x))
    y = 0.5 * np.where(u < np.inf, u + u / (u + 1), u)
    return np.copysign(y, x, out=y)


def _cosh(x: Array) -> Array:
    half = 0.5 * np.exp(np.abs(x))
    half += 0.25 / half
    return half


def _atanh(x: Array) -> Array:
    """Return ln(1 + 2x / (1 - x)) / 2 for x >= 0; the function is odd."""
    size = np.abs(x)
    y = 0.5 * _log1p(2 * size / (1 - size))
    return np.copysign(y, x, out=y)
