"""Errors that kernels raise; `minicnn.errors` draws the whole tree and re-exports these."""

from __future__ import annotations


class MinicnnError(Exception):
    """Base of every error that minicnn raises on purpose."""


class ShapeError(MinicnnError, RuntimeError, ValueError):
    """Sizes that do not fit together."""


class DTypeError(MinicnnError, RuntimeError, TypeError):
    """An element type that the operation does not take, or a mix of two."""


class DeviceError(MinicnnError, RuntimeError):
    """Arrays on different devices, or a device that is not there."""


class OutOfMemoryError(MinicnnError, MemoryError, RuntimeError):
    """No room for an array, on a card or on the CPU."""


class AlgorithmError(MinicnnError, ValueError):
    """An algorithm's name that is unknown, or one that does not serve this call."""


class ArgumentError(MinicnnError, RuntimeError, ValueError):
    """A setting out of its range."""
