"""Samples into a batch: the rule for types, and stacking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.errors import DataError, DTypeError, ShapeError
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array


def as_array(value: Any) -> Array:
    """Return the NumPy array of a field: arrays keep their type, Python floats become float32.

    Nothing is copied when `value` is an array or a Tensor already. Python integers become
    int64.

    Raises:
        DataError: `value` is not made of numbers.

    >>> as_array(0.5).dtype, as_array([1, 2]).dtype, as_array(np.float64(0.5)).dtype
    (dtype('float32'), dtype('int64'), dtype('float64'))
    """
    if isinstance(value, Tensor):
        return value.numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"a field of a sample is a list of unequal parts: {error}") from error
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"a field of a sample must be a number or an array of numbers, not a "
            f"{type(value).__name__} ({array.dtype}); return a tuple of such fields, or give the "
            f"DataLoader a collate_fn"
        )
    if array.dtype == np.float64 and not isinstance(value, np.ndarray | np.generic):
        return array.astype(np.float32)
    return array


def collate(samples: Sequence[Any]) -> tuple[Array, ...]:
    """Stack samples, field by field, into arrays whose first dimension is the sample.

    A sample is a tuple of fields; anything that is no tuple counts as a sample of one field.

    Shapes:
        samples: N tuples of fields, field f of shape S_f
        result: a tuple of arrays, field f of shape (N, *S_f)

    Raises:
        DataError: samples differ in their number of fields, or a field is not numbers.
        ShapeError: a field's shape differs between samples.
        DTypeError: a field's type differs between samples.

    >>> images, labels = collate([(np.zeros((1, 2, 2)), 3), (np.ones((1, 2, 2)), 5)])
    >>> images.shape, labels
    ((2, 1, 2, 2), array([3, 5]))
    """
    rows = [sample if isinstance(sample, tuple) else (sample,) for sample in samples]
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise DataError(f"collate: samples have {sorted(lengths)} fields; all need the same number")
    columns = zip(*rows, strict=True)
    return tuple(_stack(field, column) for field, column in enumerate(columns))


def _stack(field: int, column: Sequence[Any]) -> Array:
    arrays = [as_array(value) for value in column]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ShapeError(
            f"collate: field {field} has shapes {shapes[0]} and {shapes[1]} in one batch; bring "
            f"the samples to one size, or give the DataLoader a collate_fn"
        )
    # np.stack would turn int64 beside float32 into float64 without a word.
    dtypes = sorted({str(array.dtype) for array in arrays})
    if len(dtypes) > 1:
        raise DTypeError(
            f"collate: field {field} is {dtypes[0]} in one sample and {dtypes[1]} in another; "
            f"return one type for all samples"
        )
    return np.stack(arrays)
