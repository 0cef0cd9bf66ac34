from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.errors import IndexOutOfRange, ShapeError
from minicnn.ops.indexing import index, index_sum
from minicnn.tensor import Tensor

X = np.arange(24.0).reshape(2, 3, 4)
MASK = np.array([[True, False, True], [False, False, True]])

INDICES = [
    1, -1, (0, 2), (0, 2, 3), slice(None), slice(1, None), (slice(None), slice(None, None, 2)),
    (..., 0), (0, ...), None, (None, 1, None), (slice(None, None, -1), ..., slice(None, None, -2)),
    (), ..., slice(2, 1), [0, 0, 1], [], (slice(None), [2, 0]), ([0, 1], [2, 0]),
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


@pytest.mark.filterwarnings("ignore:Using a non-tuple")
@pytest.mark.parametrize("where", [
    [[0, 1], [1, 0]], [[0, 1]], [(0, 1), (1, 0)], [0, slice(1, 3)], [..., 0], [None, 0],
    [[0, 1], 2], [[[0, 1], [1, 0]]], [[]], [[0, 1]] * 32, ([[0, 1], [1, 0]],),
], ids=str)  # fmt: skip
def test_a_list_of_lists_is_read_as_a_tuple_as_in_torch(torch, where):
    np.testing.assert_array_equal(Tensor(X)[where].array, torch.tensor(X)[where])


def test_bytes_are_a_mask_as_in_torch():
    x, mask = Tensor(X), minicnn.tensor([0, 2], dtype=minicnn.uint8)
    assert x[mask].tolist() == X[[False, True]].tolist()
    assert x.index_select(0, mask[:1]).tolist() == X[:1].tolist()


LOOKS = {
    "x[0][1]": lambda x: x[0][1],
    "x[0, 1]": lambda x: x[0, 1],
    "select": lambda x: x[0].select(0, 1),
    "transposed": lambda x: x.T[1][0],
    "iteration": lambda x: list(x[0])[1],
    "unbind": lambda x: x[0].unbind()[1],
    "tensor": lambda x: x[0][minicnn.tensor(1)],
    "x[0, 1][()]": lambda x: x[0, 1][()],
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_single_value_is_a_view(look):
    x = minicnn.zeros(2, 2)
    single = LOOKS[look](x)
    assert single.shape == ()
    single.fill_(3)
    assert x.tolist() == [[0, 3], [0, 0]]
    assert x.version == single.version == [1]


COPIES = {
    "gather": lambda x: x.gather(0, minicnn.tensor(1)),
    "gather from one": lambda x: x[1].gather(0, minicnn.tensor(0)),
    "take": lambda x: x.take(minicnn.tensor(1)),
    "max": lambda x: x.max(0).values,
    "sort": lambda x: x[1].sort().values,
}


@pytest.mark.parametrize("take", COPIES)
def test_a_single_value_that_was_looked_up_is_a_copy(take):
    x = minicnn.tensor([1.0, 2.0])
    assert COPIES[take](x).fill_(7).item() == 7
    assert x.tolist() == [1, 2]


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
    with pytest.raises(ShapeError, match=r"gather: index \(2,\) must have as many dimensions"):
        minicnn.gather(Tensor(X), 0, np.array([0, 1]))


@pytest.mark.parametrize("position", [-1, 4])
def test_gather_refuses_a_position_that_is_not_there(position):
    with pytest.raises(IndexOutOfRange, match=rf"gather: position {position} is not in \[0, 4\)"):
        minicnn.gather(Tensor(X), 2, np.array([[[position]]]))


# --- more ways to take values out -----------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 40, 5000])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_to_add_in_slices_is_to_add_them_one_by_one(rng, dim, size):
    shape = [2, 3, 2]
    shape[2 - dim] = size  # few long slices, or many short ones
    chosen = rng.integers(-shape[dim], shape[dim], 7)
    values = rng.normal(size=(*shape[:dim], 7, *shape[dim + 1 :]))
    expected = np.zeros(shape)
    for k, position in enumerate(chosen):
        np.moveaxis(expected, dim, 0)[position] += np.moveaxis(values, dim, 0)[k]
    where = (*[slice(None)] * dim, chosen)
    np.testing.assert_allclose(index_sum(values, where, tuple(shape)), expected)


def test_take_reads_row_by_row():
    positions = np.array([[0, 23], [-1, 5]])
    np.testing.assert_array_equal(
        minicnn.take(Tensor(X).transpose(0, 2), Tensor(positions)).array,
        X.transpose(2, 1, 0).ravel()[positions],
    )


def test_take_along_dim_puts_in_order(rng):
    x = Tensor(rng.normal(size=(3, 4)))
    for dim in (0, 1):
        y = minicnn.take_along_dim(x, x.argsort(dim), dim)
        np.testing.assert_array_equal(y.array, np.sort(x.array, dim))


def test_narrow_and_select_look_at_the_same_memory():
    x = Tensor(X.copy())
    for y in (x.narrow(1, -2, 2), x.select(2, -1)):
        assert np.shares_memory(x.array, y.array)
    np.testing.assert_array_equal(x.narrow(1, -2, 2).array, X[:, 1:])
    np.testing.assert_array_equal(x.select(2, -1).array, X[:, :, -1])


def test_nonzero_rows_and_columns_agree():
    x = Tensor(X % 3)
    rows, columns = x.nonzero(), minicnn.nonzero(x, as_tuple=True)
    np.testing.assert_array_equal(rows.array, np.stack([c.array for c in columns], 1))
    np.testing.assert_array_equal(minicnn.argwhere(x).array, rows.array)
    np.testing.assert_array_equal(x[columns].array, (X % 3)[X % 3 != 0])


REFUSALS = [
    refused("gather more rows", lambda m: m.gather(m.ones(2, 3), 1, m.tensor([[0]] * 3)), "(3, 1)"),
    refused("gather fractions", lambda m: m.gather(m.ones(2), 0, m.ones(1)), "float32"),
    refused("gather beyond", lambda m: m.gather(m.ones(2), 1, m.tensor([0])), "dimension 1"),
    refused("gather too far", lambda m: m.gather(m.ones(2), 0, m.tensor([2])), "[0, 2)"),
    refused("select too far", lambda m: m.select(m.ones(2), 0, 2), "2"),
    refused("select of a single value", lambda m: m.select(m.tensor(1.0), 0, 0)),
    refused("narrow too far", lambda m: m.narrow(m.ones(3), 0, 2, 2), "3"),
    refused("narrow from beyond", lambda m: m.narrow(m.ones(3), 0, 4, 0), "[-3, 3]"),
    refused("narrow to less than nothing", lambda m: m.narrow(m.ones(3), 0, 0, -1), "-1"),
    refused("narrow a single value", lambda m: m.narrow(m.tensor(1.0), 0, 0, 1)),
    refused("choose too far", lambda m: m.index_select(m.ones(2, 2), 1, m.tensor([2])), "[0, 2)"),
    refused("choose by a matrix", lambda m: m.index_select(m.ones(2), 0, m.tensor([[0]]))),
    refused("choose by fractions", lambda m: m.index_select(m.ones(2), 0, m.ones(1)), "float32"),
    refused("choose two of one", lambda m: m.index_select(m.tensor(1.0), 0, m.tensor([0, 0]))),
    refused("take too far", lambda m: m.take(m.ones(2), m.tensor([2])), "[-2, 2)"),
    refused("take fractions", lambda m: m.take(m.ones(2), m.ones(1)), "float32"),
    refused("along another rank",
            lambda m: m.take_along_dim(m.ones(2, 2), m.tensor([0]), 1), "(1,)"),
    refused("along other sizes",
            lambda m: m.take_along_dim(m.ones(2, 2), m.tensor([[0], [0], [0]]), 1)),
    refused("a mask of integers", lambda m: m.masked_select(m.ones(2), m.tensor([1, 0])), "int64"),
    refused("a mask of another size", lambda m: m.masked_select(m.ones(2), m.ones(3) > 0)),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)
