"""The card: CuPy if it can be used, and why not if it cannot."""

from __future__ import annotations

from typing import Any

from minicnn_kernels.errors import DeviceError

INSTALL = "pip install 'minicnn[cuda12]' (CUDA 12) or 'minicnn[cuda13]' (CUDA 13)"


def cupy() -> Any:
    """Return the module CuPy.

    Raises:
        DeviceError: it is not installed, or cannot be loaded.
    """
    try:
        import cupy
    except Exception as error:  # a broken installation raises more than ImportError
        raise DeviceError(
            f"cuda needs CuPy, which cannot be imported ({error}): {INSTALL}"
        ) from None
    return cupy


def compute_capability() -> tuple[int, int]:
    """Return what kind the current card is: (9, 0) for Hopper."""
    text: str = cupy().cuda.Device().compute_capability
    return int(text[:-1]), int(text[-1])
