from __future__ import annotations

import numpy as np
import pytest

from minicnn.errors import DTypeError, ShapeError
from minicnn.nn.functional._checks import batched, check_floating, check_one_type, windows_over
from minicnn.tensor import Tensor
from minicnn_kernels.geometry import Windows


def zeros(*shape, dtype=np.float32):
    return Tensor(np.zeros(shape, dtype))


@pytest.mark.parametrize("dtype", [np.int64, np.bool_])
def test_whole_numbers_are_no_floating_point_numbers(dtype):
    check_floating("op", "input", zeros(1))
    with pytest.raises(DTypeError, match="op: input must be floating-point, got "):
        check_floating("op", "input", zeros(1, dtype=dtype))


def test_one_type_for_all_that_are_given():
    check_one_type("op", input=zeros(1), weight=zeros(2), bias=None)
    with pytest.raises(DTypeError, match=r"op: .* got input float32, bias float64"):
        check_one_type("op", input=zeros(1), weight=None, bias=zeros(1, dtype=np.float64))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_batch_dimension_is_added_where_there_is_none(ndim):
    image, batch = zeros(*(2,) * (ndim + 1)), zeros(*(2,) * (ndim + 2))
    x, unbatched = batched("op", image, ndim)
    assert (x.shape, unbatched) == ((1, *image.shape), True)
    x, unbatched = batched("op", batch, ndim)
    assert x is batch
    assert not unbatched
    for wrong in (image[0], zeros(1, *batch.shape)):
        with pytest.raises(ShapeError, match=r"op: input must be \(N, C, .*\) or \(C, "):
            batched("op", wrong, ndim)


def test_the_stride_is_the_kernel_unless_given():
    assert windows_over("op", (6, 7), (2, 3)) == Windows((6, 7), (2, 3), (2, 3))
    assert windows_over("op", (6,), 2, 1, 1, 2) == Windows((6,), (2,), (1,), (1,), (2,))


def test_windows_must_fit():
    with pytest.raises(ShapeError, match=r"op: a kernel of \(4,\)"):
        windows_over("op", (3,), 4)
    with pytest.raises(ShapeError, match="op: stride must be one or 2 integers of at least 1"):
        windows_over("op", (3, 3), 2, 0)
