from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.errors import ArgumentError, IndexOutOfRange, ShapeError
from minicnn.tensor import Tensor

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.fixture
def x():
    return Tensor(X)


def same(result, expected):
    assert type(result) is Tensor
    np.testing.assert_array_equal(result.array, expected)
    return True


# --- reshape, view, flatten -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(6, 4), (-1, 4), (24,), (-1,), (4, -1, 3), (2, 3, 4, 1), (1, -1)]
)
def test_reshape(x, shape):
    assert same(x.reshape(*shape), X.reshape(shape))
    assert same(minicnn.reshape(x, shape), X.reshape(shape))
    assert same(x.view(list(shape)), X.reshape(shape))


def test_reshape_shares_memory_where_it_can(x):
    assert np.shares_memory(x.reshape(6, 4).array, X)
    assert same(x.transpose(0, 2).reshape(-1), X.transpose(2, 1, 0).ravel())


def test_reshape_of_nothing():
    assert Tensor(np.zeros((0, 3))).reshape(3, 0).shape == (3, 0)
    assert Tensor(np.zeros((0, 3))).reshape(-1, 3).shape == (0, 3)


@pytest.mark.parametrize("shape", [(5, 5), (-1, 5), (-1, -1), (-2, 12), (-2, -12), (0,), (-1, 0)])
def test_reshape_names_what_does_not_fit(x, shape):
    with pytest.raises(ShapeError) as error:
        x.reshape(shape)
    assert str(error.value) == f"reshape: (2, 3, 4) (24 values) does not fit {shape}"


def test_reshape_of_nothing_cannot_work_out_a_size():
    with pytest.raises(ShapeError, match=r"reshape: \(0, 3\) \(0 values\) does not fit \(-1, 0\)"):
        Tensor(np.zeros((0, 3))).reshape(-1, 0)


@pytest.mark.parametrize(("start", "end", "shape"), [
    (0, -1, (24,)), (1, 2, (2, 12)), (0, 1, (6, 4)), (-2, -1, (2, 12)), (1, 1, (2, 3, 4)),
])  # fmt: skip
def test_flatten(x, start, end, shape):
    assert same(minicnn.flatten(x, start, end), X.reshape(shape))


def test_flatten_of_a_single_value():
    assert same(Tensor(np.array(3.0)).flatten(), [3.0])


def test_flatten_refuses_an_empty_range(x):
    with pytest.raises(ArgumentError, match="flatten: start_dim 2 comes after end_dim 0"):
        x.flatten(2, 0)


# --- permute, transpose, movedim ------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_permute(x, order):
    assert same(x.permute(*order), X.transpose(order))
    assert same(minicnn.permute(x, [d - 3 for d in order]), X.transpose(order))


@pytest.mark.parametrize("order", [(0, 1), (0, 0, 1), (0, 1, 2, 0), (0, 1, -2)])
def test_permute_names_every_dimension_once(x, order):
    with pytest.raises(ArgumentError, match=r"permute: .* must name each of 3 dimensions once"):
        x.permute(*order)


@pytest.mark.parametrize("dims", [(0, 1), (0, 2), (-1, 0), (1, 1)])
def test_transpose(x, dims):
    assert same(x.transpose(*dims), X.swapaxes(*dims))


def test_turned_properties(x):
    assert same(x.T, X.T)
    assert same(x.mT, X.swapaxes(1, 2))
    assert same(Tensor(np.array(1.0)).transpose(0, -1), 1.0)


@pytest.mark.parametrize(("source", "destination"), [(0, 2), (2, 0), (-1, 1), (1, -1), (1, 1)])
def test_movedim(x, source, destination):
    assert same(minicnn.movedim(x, source, destination), np.moveaxis(X, source, destination))


@pytest.mark.parametrize("source", list(permutations(range(4), 2)))
@pytest.mark.parametrize("destination", list(permutations(range(4), 2)))
def test_movedim_of_two(source, destination):
    x = np.zeros((2, 3, 4, 5))
    expected = np.moveaxis(x, source, destination).shape
    assert minicnn.movedim(Tensor(x), source, destination).shape == expected


# --- squeeze, unsqueeze, expand -------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "shape"), [
    (None, (3,)), (0, (3, 1)), (-1, (1, 3)), (1, (1, 3, 1)), ((0, 2), (3,)), ((0, 1), (3, 1)),
])  # fmt: skip
def test_squeeze(dim, shape):
    result = Tensor(np.zeros((1, 3, 1))).squeeze(dim)
    assert result.shape == shape


@pytest.mark.parametrize(("dim", "shape"), [
    (0, (1, 2, 3, 4)), (1, (2, 1, 3, 4)), (3, (2, 3, 4, 1)), (-1, (2, 3, 4, 1)), (-4, (1, 2, 3, 4)),
])  # fmt: skip
def test_unsqueeze(x, dim, shape):
    assert same(x.unsqueeze(dim), X.reshape(shape))


@pytest.mark.parametrize("size", [(2, 3), (4, 2, 3), (-1, 3), (4, -1, -1), (4, -1, 3)])
def test_expand(size):
    column = np.arange(2.0).reshape(2, 1)
    target = tuple(n if n > 0 else (4, 2, 1)[i + 3 - len(size)] for i, n in enumerate(size))
    result = Tensor(column).expand(*size)
    assert same(result, np.broadcast_to(column, target))
    assert np.shares_memory(result.array, column)


@pytest.mark.parametrize("size", [(3, 1), (1,), (-1, 2, 1), (2, -2), (-2, 2, 1), (1, 1)])
def test_expand_names_what_does_not_fit(size):
    with pytest.raises(ShapeError) as error:
        Tensor(np.zeros((2, 1))).expand(*size)
    assert str(error.value) == f"expand: (2, 1) does not expand to {size}"


# --- cat, stack, split, chunk, flip ---------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_cat(x, dim):
    shape = list(X.shape)
    shape[dim] = 2
    other = np.full(shape, -1.0)
    assert same(minicnn.cat((x, Tensor(other), x), dim), np.concatenate([X, other, X], dim))


def test_cat_takes_tensors_and_arrays(x):
    assert same(minicnn.concat([x, X]), np.concatenate([X, X]))


@pytest.mark.parametrize(("shapes", "dim"), [
    ([], 0), ([(2, 3), (2, 2)], 0), ([(2, 3), (2,)], 0), ([(), ()], 0), ([(2, 3), (3, 3)], 1),
])  # fmt: skip
def test_cat_names_shapes_that_do_not_fit(shapes, dim):
    with pytest.raises(ShapeError, match="cat: ") as error:
        minicnn.cat([Tensor(np.zeros(shape)) for shape in shapes], dim)
    assert not shapes or str(shapes) in str(error.value)


def test_cat_saves_no_values(x):
    x.requires_grad_()
    y = minicnn.cat([x * 1, x * 2])
    with minicnn.no_grad():
        y.fill_(0)
    assert (minicnn.grad(y.sum(), x)[0].array == 3).all()


@pytest.mark.parametrize("dim", [0, 1, 3, -1, -2])
def test_stack(x, dim):
    assert same(minicnn.stack([x, x + 1], dim), np.stack([X, X + 1], dim))


@pytest.mark.parametrize("shapes", [[(2,), (3,)], [(2,), (2, 1)]])
def test_stack_needs_one_shape(shapes):
    with pytest.raises(ShapeError, match="stack: needs tensors of one shape, got"):
        minicnn.stack([Tensor(np.zeros(shape)) for shape in shapes])


@pytest.mark.parametrize(("sizes", "dim", "ends"), [
    (2, 2, [2]), (3, -1, [3]), (9, 0, []), ([1, 2], 1, [1]), ([0, 3, 0], 1, [0, 3]),
])  # fmt: skip
def test_split(x, sizes, dim, ends):
    pieces = x.split(sizes, dim)
    expected = np.split(X, ends, dim)
    assert len(pieces) == len(expected)
    assert all(same(a, b) for a, b in zip(pieces, expected, strict=True))


def test_split_of_nothing_is_one_piece():
    assert [p.shape for p in Tensor(np.zeros((0, 2))).split(3)] == [(0, 2)]


def test_split_refuses_sizes_that_do_not_add_up(x):
    with pytest.raises(ShapeError, match=r"split: sizes \[1, 1\] must add up to 3 \(dimension 1\)"):
        x.split([1, 1], 1)
    with pytest.raises(ShapeError, match=r"split: sizes \[4, -1\]"):
        x.split([4, -1], 1)
    with pytest.raises(ArgumentError, match="split: the size of a piece must be positive, got 0"):
        x.split(0)


@pytest.mark.parametrize(("chunks", "sizes"), [(1, [5]), (2, [3, 2]), (4, [2, 2, 1]), (9, [1] * 5)])
def test_chunk(chunks, sizes):
    assert [len(piece) for piece in Tensor(np.zeros(5)).chunk(chunks)] == sizes


def test_chunk_needs_at_least_one():
    with pytest.raises(ArgumentError, match="chunk: chunks must be positive, got 0"):
        Tensor(np.zeros(5)).chunk(0)


@pytest.mark.parametrize("dims", [(0,), (1, -1), (0, 1, 2), ()])
def test_flip(x, dims):
    assert same(minicnn.flip(x, dims), np.flip(X, dims))


# --- dimensions that are not there ----------------------------------------------------------------


@pytest.mark.parametrize(("name", "arguments"), [
    ("permute", (0, 1, 3)), ("transpose", (0, 3)), ("movedim", (-4, 0)), ("flatten", (0, 3)),
    ("squeeze", (3,)), ("unsqueeze", (4,)), ("split", (1, 3)), ("chunk", (1, -4)),
    ("flip", ((3,),)),
])  # fmt: skip
def test_a_dimension_that_is_not_there_is_named(x, name, arguments):
    with pytest.raises(IndexOutOfRange, match=rf"{name}: dimension -?[34] is not there") as error:
        getattr(x, name)(*arguments)
    assert "dimensions" in str(error.value)


@pytest.mark.parametrize(("join", "dim"), [(minicnn.cat, 3), (minicnn.stack, 4)])
def test_a_dimension_to_join_along_must_be_there(x, join, dim):
    with pytest.raises(IndexOutOfRange, match=f"dimension {dim} is not there"):
        join([x, x], dim)


def test_a_dimension_is_an_integer(x):
    with pytest.raises(TypeError):
        x.transpose(0, 1.0)


# --- refusals -------------------------------------------------------------------------------------

REFUSALS = [
    refused("reshape by fractions", lambda m: m.ones(4).reshape(2.0, 2), "2.0"),
    refused("unflatten to another size", lambda m: m.unflatten(m.ones(4), 0, (2, 3)), "(2, 3)"),
    refused("unflatten to nothing", lambda m: m.unflatten(m.ones(4), 0, ())),
    refused("unflatten to a number", lambda m: m.unflatten(m.ones(4), 0, 2), "2"),
    refused("unflatten with two unknowns", lambda m: m.unflatten(m.ones(4), 0, (-1, -1))),
    refused("unflatten a single value", lambda m: m.unflatten(m.tensor(1.0), 0, (1,))),
    refused("squeeze twice", lambda m: m.squeeze(m.ones(1, 2), (0, -2)), "twice"),
    refused("t of three dimensions", lambda m: m.t(m.ones(1, 1, 1)), "(1, 1, 1)"),
    refused("adjoint of a vector", lambda m: m.adjoint(m.ones(2))),
    refused("move two to one", lambda m: m.movedim(m.ones(2, 2), (0, 1), (0,)), "(0, 1)"),
    refused("move one twice", lambda m: m.movedim(m.ones(2, 2), (0, 0), (0, 1)), "twice"),
    refused("move two to one place", lambda m: m.movedim(m.ones(2, 2), (0, 1), (1, 1))),
    refused("flip twice", lambda m: m.flip(m.ones(2), (0, -1)), "twice"),
    refused("cat a tensor", lambda m: m.cat(m.ones(2, 2)), "Tensor"),
    refused("cat a number", lambda m: m.cat([m.ones(2), 3])),
    refused("cat nothing", lambda m: m.cat([])),
    refused("stack nothing", lambda m: m.stack([])),
    refused("split a single value", lambda m: m.split(m.tensor(1.0), 1)),
    refused("split into nothing", lambda m: m.split(m.ones(2), 0), "0"),
    refused("split by fractions", lambda m: m.split(m.ones(2), 1.0), "1.0"),
    refused("chunks of a single value", lambda m: m.chunk(m.tensor(1.0), 1)),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)


def test_flip_takes_dimensions_one_by_one(x):
    assert same(x.flip(0, -1), np.flip(X, (0, 2)))


def test_chunks_of_nothing_are_as_many_as_asked_for():
    assert [len(piece) for piece in Tensor(np.zeros((0, 2))).chunk(3)] == [0, 0, 0]


def test_vectors_without_values_fit_anywhere_and_count_for_the_type(x):
    nothing = Tensor(np.zeros(0))
    assert same(minicnn.cat([nothing, x, nothing], 1), X)
    assert minicnn.cat([nothing, minicnn.tensor([[1, 2]])]).dtype == np.float64
