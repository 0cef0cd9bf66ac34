from __future__ import annotations

import numpy as np
import pytest

from minicnn.data.collate import as_array, collate
from minicnn.errors import DataError, DTypeError, GradientError, ShapeError
from minicnn.tensor import Tensor


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.5, "float32"),
        (3, "int64"),
        (True, "bool"),
        ([1.0, 2.0], "float32"),
        ([1, 2], "int64"),
        (np.float64(1.5), "float64"),
        (np.float32(1.5), "float32"),
        (np.uint8(7), "uint8"),
        (np.zeros(2), "float64"),
        (np.zeros(2, np.float16), "float16"),
        (np.zeros(2, np.int32), "int32"),
        (Tensor(np.zeros(2)), "float64"),
    ],
)
def test_python_numbers_get_the_default_type_and_arrays_keep_theirs(value, dtype):
    assert as_array(value).dtype == dtype


def test_an_array_is_not_copied():
    array = np.zeros(3)
    assert as_array(array) is array
    assert as_array(Tensor(array)) is array


@pytest.mark.parametrize("value", ["cat", None, {"label": 1}, object(), 1j, np.array(["a"])])
def test_a_field_that_is_not_numbers_is_refused(value):
    with pytest.raises(DataError, match="collate_fn"):
        as_array(value)


def test_a_ragged_list_is_refused():
    with pytest.raises(DataError, match="unequal"):
        as_array([[1], [1, 2]])


def test_a_tensor_that_needs_a_gradient_is_refused():
    with pytest.raises(GradientError):
        as_array(Tensor(np.zeros(2), requires_grad=True))


def test_fields_are_stacked_in_order():
    samples = [(np.full((2, 3), n, dtype=np.float32), n, n / 2) for n in range(4)]
    images, labels, weights = collate(samples)
    assert images.shape == (4, 2, 3)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images[:, 1, 2], [0, 1, 2, 3])
    np.testing.assert_array_equal(labels, np.array([0, 1, 2, 3]), strict=True)
    np.testing.assert_array_equal(weights, np.array([0, 0.5, 1, 1.5], np.float32), strict=True)


def test_a_batch_of_one_keeps_its_dimension():
    assert [field.shape for field in collate([(np.zeros((2, 3)), 1)])] == [(1, 2, 3), (1,)]


def test_a_sample_that_is_no_tuple_has_one_field():
    (field,) = collate([np.zeros(3), np.ones(3)])
    assert field.shape == (2, 3)


def test_different_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"field 1 has shapes \(2,\) and \(3,\)"):
        collate([(1, np.zeros(3)), (1, np.zeros(2))])


def test_different_types_are_refused_and_not_promoted():
    with pytest.raises(DTypeError, match="field 0 is float32 in one sample and int64"):
        collate([(1,), (1.5,)])


def test_different_numbers_of_fields_are_refused():
    with pytest.raises(DataError, match=r"\[1, 2\] fields"):
        collate([(1, 2), (1,)])
