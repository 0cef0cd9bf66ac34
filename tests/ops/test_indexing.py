from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.errors import IndexOutOfRange, ShapeError
from minicnn.ops.indexing import index, index_sum
from minicnn.tensor import Tensor

X = np.arange(24.0).reshape(2, 3, 4)
MASK = np.array([[True, False, True], [False, False, True]])

INDICES = [
    1, -1, (0, 2), (0, 2, 3), slice(None), slice(1, None), (slice(None), slice(None, None, 2)),
    (..., 0), (0, ...), None, (None, 1, None), (slice(None, None, -1), ..., slice(None, None, -2)),
    (), ..., slice(2, 1), [0, 0, 1], [[0, 1], [1, 1]], [], (slice(None), [2, 0]), ([0, 1], [2, 0]),
    ([[0], [1]], [2, 0]), ([0, 1], slice(None), [3, 0]), np.array([1, 0]), np.array(1), MASK,
    [True, False], (slice(None), [True, False, True]), (MASK, 1), np.zeros((2, 3), bool),
    np.int64(1), (np.uint8(1), 2), (slice(None), np.array([], dtype=int)), True,
]  # fmt: skip


@pytest.mark.parametrize("where", INDICES, ids=repr)
def test_getitem_is_that_of_numpy(where):
    np.testing.assert_array_equal(Tensor(X)[where].array, X[where])


@pytest.mark.parametrize(("where", "plain"), [
    (minicnn.tensor([1, 0]), [1, 0]),
    (minicnn.tensor(MASK), MASK),
    ((slice(None), minicnn.tensor([2, 2])), (slice(None), [2, 2])),
    ((minicnn.tensor([0, 1]), minicnn.tensor([2, 0])), ([0, 1], [2, 0])),
    (minicnn.tensor(1), 1),
])  # fmt: skip
def test_tensors_are_indices(where, plain):
    np.testing.assert_array_equal(Tensor(X)[where].array, X[plain])


@pytest.mark.parametrize("where", [
    (0, slice(None), [2, 0, 2]), ([0, 1], 1, slice(None)), (1, [0, 2], [3, 3]), (1, ..., [3, 0]),
    ([0, 1], slice(None), 2), (None, 1, None, [0, 0]), (0, (1, 1), slice(1, 3)),
    (0, MASK[0], slice(None)),
], ids=repr)  # fmt: skip
def test_integers_beside_arrays_are_taken_first_as_in_torch(torch, where):
    np.testing.assert_array_equal(Tensor(X)[where].array, torch.tensor(X)[where])


def test_slices_look_at_the_same_memory_and_arrays_copy():
    x = Tensor(X.copy())
    assert np.shares_memory(x[0, 1:].array, x.array)
    assert np.shares_memory(x[minicnn.tensor(1)].array, x.array)
    assert not np.shares_memory(x[[0, 1]].array, x.array)


def test_an_index_changed_later_changes_nothing():
    x, where = Tensor(X, requires_grad=True), np.array([0, 0])
    y = x[where]
    where[:] = 1
    y.sum().backward()
    assert x.grad.array[:, 0, 0].tolist() == [2, 0]


def test_values_named_twice_receive_twice():
    for where in ([1, 1, 0], np.array([1, 1, 0]), ((1, 1, 0),), minicnn.tensor([1, 1, 0])):
        x = Tensor(np.ones(3), requires_grad=True)
        x[where].sum().backward()
        assert x.grad.tolist() == [1, 2, 0]


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,)])
def test_a_mask_over_nothing_gives_nothing(shape):
    x = Tensor(np.zeros(shape))
    assert x[x > 0].shape == (0,)


@pytest.mark.parametrize("where", [
    2, -3, (0, 3), (0, 0, 0, 0), [0, 2], [0.5], np.array([True, False, True]), (slice(None), MASK),
], ids=repr)  # fmt: skip
def test_a_position_that_is_not_there_is_refused(where):
    with pytest.raises(IndexOutOfRange, match=r"tensor\[index\]: shape \(2, 3, 4\): "):
        Tensor(X)[where]


def test_a_list_can_be_walked_and_ends():
    assert [row.tolist() for row in Tensor(np.eye(2))] == [[1, 0], [0, 1]]


# --- index and its adjoint ------------------------------------------------------------------------


@pytest.mark.parametrize("where", [
    1, slice(None, None, -2), (0, np.array([1, 1, 2])), np.array([1, 1]), MASK,
    (slice(None), np.array([2, 2])),
], ids=repr)  # fmt: skip
def test_to_take_out_and_to_add_in_are_adjoint(rng, where):
    x = rng.integers(-4, 5, X.shape)
    taken = index(x, where)
    v = rng.integers(-4, 5, taken.shape)
    assert (taken * v).sum() == (x * index_sum(v, where, X.shape)).sum()


def test_index_sum_starts_from_zeros_of_the_same_type():
    y = index_sum(np.ones(3, np.float32), np.array([4, 4, 0]), (5,))
    assert y.dtype == np.float32
    assert y.tolist() == [1, 0, 0, 0, 2]


# --- gather ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -3])
def test_gather_by_definition(rng, dim):
    positions = rng.integers(0, X.shape[dim], (2, 3, 4))
    y = minicnn.gather(Tensor(X), dim, minicnn.tensor(positions))
    for place in np.ndindex(*positions.shape):
        source = list(place)
        source[dim] = positions[place]
        assert y.array[place] == X[tuple(source)]


def test_gather_takes_fewer_or_more_positions():
    assert minicnn.gather(Tensor(X), 2, np.array([[[3]]])).tolist() == [[[3]]]
    assert minicnn.gather(Tensor(X), 0, np.ones((5, 3, 4), int)).shape == (5, 3, 4)
    assert minicnn.gather(Tensor(X), 1, np.zeros((2, 0, 4), int)).shape == (2, 0, 4)


def test_gather_from_a_single_value():
    assert minicnn.gather(Tensor(np.array(3.0)), 0, np.array(0)).item() == 3


@pytest.mark.parametrize("dim", [3, -4])
def test_gather_refuses_a_dimension_that_is_not_there(dim):
    with pytest.raises(IndexOutOfRange, match=f"gather: dimension {dim} is not there"):
        minicnn.gather(Tensor(X), dim, np.zeros((1, 1, 1), int))


def test_gather_refuses_positions_of_another_rank():
    with pytest.raises(ShapeError, match=r"gather: positions \(2,\) must have as many dimensions"):
        minicnn.gather(Tensor(X), 0, np.array([0, 1]))


@pytest.mark.parametrize(("position", "message"), [
    (-1, "gather: position -1 is negative"), (4, r"shape \(2, 3, 4\): index 4 is out of bounds"),
])  # fmt: skip
def test_gather_refuses_a_position_that_is_not_there(position, message):
    with pytest.raises(IndexOutOfRange, match=message):
        minicnn.gather(Tensor(X), 2, np.array([[[position]]]))
