"""All errors that minicnn raises on purpose, as one tree.

::

    MinicnnError
    ├── ShapeError       (RuntimeError, ValueError)   sizes that do not fit together
    ├── DTypeError       (RuntimeError, TypeError)    an element type the operation does not take
    ├── DeviceError      (RuntimeError)               arrays on different devices, or none there
    ├── OutOfMemoryError (MemoryError, RuntimeError)  no room for an array
    ├── AlgorithmError   (ValueError)                 unknown algorithm, or it does not serve
    ├── ArgumentError    (RuntimeError, ValueError)   a setting out of its range
    ├── IndexOutOfRange  (IndexError, RuntimeError)   a dimension or position that is not there
    ├── GradientError    (RuntimeError)               no gradient, a freed graph, a changed value
    │   └── AnomalyError                              the first NaN or Inf, and who made it
    ├── DataError        (RuntimeError)               a data set that is missing or damaged
    ├── FileFormatError  (RuntimeError)               a weight or checkpoint file that is damaged
    └── UsageError                                    a mistake at the command line

The classes in brackets are what PyTorch raises in the same place, so that an `except` clause
written for it works here.
"""

from __future__ import annotations

from minicnn_kernels.errors import (
    AlgorithmError,
    ArgumentError,
    DeviceError,
    DTypeError,
    MinicnnError,
    OutOfMemoryError,
    ShapeError,
)

__all__ = [
    "AlgorithmError",
    "AnomalyError",
    "ArgumentError",
    "DTypeError",
    "DataError",
    "DeviceError",
    "FileFormatError",
    "GradientError",
    "IndexOutOfRange",
    "MinicnnError",
    "OutOfMemoryError",
    "ShapeError",
    "UsageError",
]


class IndexOutOfRange(MinicnnError, IndexError, RuntimeError):
    """A dimension or position that is not there."""


class GradientError(MinicnnError, RuntimeError):
    """No gradient, a graph already freed, or a saved value changed since forward."""


class AnomalyError(GradientError):
    """The first NaN or Inf of a computation, and the operation that made it."""


class DataError(MinicnnError, RuntimeError):
    """A data set that is missing or damaged."""


class FileFormatError(MinicnnError, RuntimeError):
    """A weight or checkpoint file that is missing or damaged."""


class UsageError(MinicnnError):
    """A mistake at the command line."""
