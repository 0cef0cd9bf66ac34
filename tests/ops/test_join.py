from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.tensor import Tensor

X = np.arange(24.0).reshape(2, 3, 4)


def shapes(tensors):
    return [t.shape for t in tensors]


@pytest.mark.parametrize("sections", [1, 2, 3, 4, 7])
def test_tensor_split_is_numpys_array_split(sections):
    pieces = Tensor(X).tensor_split(sections, dim=2)
    expected = np.array_split(X, sections, 2)
    for ours, theirs in zip(pieces, expected, strict=True):
        np.testing.assert_array_equal(ours.array, theirs)


@pytest.mark.parametrize("cuts", [(), (1,), (1, 9), (2, 1), (-1,), minicnn.tensor([1, 2])])
def test_tensor_split_cuts_where_slices_do(cuts):
    pieces = minicnn.tensor_split(Tensor(X), cuts, 1)
    for ours, theirs in zip(pieces, np.array_split(X, np.asarray(cuts, int), 1), strict=True):
        np.testing.assert_array_equal(ours.array, theirs)


def test_tensor_split_takes_a_tensor_for_a_number():
    assert shapes(Tensor(X).tensor_split(minicnn.tensor(2), 1)) == [(2, 2, 4), (2, 1, 4)]


def test_pieces_look_at_the_memory_of_the_whole():
    x = Tensor(X.copy())
    for piece in (*x.unbind(1), *x.tensor_split(2, 2), *x.split(1), *x.chunk(2)):
        assert np.shares_memory(piece.array, x.array)


def test_unbind_of_nothing_is_nothing():
    assert Tensor(np.zeros((0, 2))).unbind() == ()


@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_meshgrid_is_numpys_without_a_copy(indexing):
    vectors = [np.arange(2.0), np.arange(3.0), np.arange(4.0)]
    grids = minicnn.meshgrid(*map(Tensor, vectors), indexing=indexing)
    for ours, theirs, x in zip(
        grids, np.meshgrid(*vectors, indexing=indexing), vectors, strict=True
    ):
        np.testing.assert_array_equal(ours.array, theirs)
        assert np.shares_memory(ours.array, x)


def test_block_diag_by_definition():
    y = minicnn.block_diag(Tensor(np.ones((1, 2))), Tensor(np.full((2, 1), 2.0)))
    assert y.tolist() == [[1, 1, 0], [0, 0, 2], [0, 0, 2]]


def test_atleast_of_several_is_a_tuple():
    a, b = minicnn.atleast_2d(Tensor(np.float64(1)), Tensor(np.arange(3)))
    assert (a.shape, b.shape) == ((1, 1), (1, 3))
    assert shapes(minicnn.atleast_3d([a, b])) == [(1, 1, 1), (1, 3, 1)]
    assert minicnn.atleast_1d() == ()


REFUSALS = [
    refused("hstack of ranks", lambda m: m.hstack([m.ones(2), m.ones(2, 2)]), "cat"),
    refused("hstack of nothing", lambda m: m.hstack([]), "at least one"),
    refused("vstack of widths", lambda m: m.vstack([m.ones(2), m.ones(3)])),
    refused("dstack of nothing", lambda m: m.dstack([])),
    refused("a block of three dimensions", lambda m: m.block_diag(m.ones(1, 1, 1)), "(1, 1, 1)"),
    refused("a grid of matrices", lambda m: m.meshgrid([m.ones(2, 2)], indexing="ij")),
    refused("a grid of two types",
            lambda m: m.meshgrid(m.ones(2), m.arange(2), indexing="ij"), "int64"),
    refused("a grid of nothing", lambda m: m.meshgrid([], indexing="ij")),
    refused("another indexing", lambda m: m.meshgrid(m.ones(2), indexing="ab"), "'ab'"),
    refused("products of matrices", lambda m: m.cartesian_prod(m.ones(2, 2)), "(2, 2)"),
    refused("no sections", lambda m: m.tensor_split(m.ones(2), 0), "got 0"),
    refused("split a single value", lambda m: m.tensor_split(m.tensor(1.0), 1)),
    refused("split at fractions", lambda m: m.tensor_split(m.ones(2), m.tensor([1.0])), "float32"),
    refused("unbind a single value", lambda m: m.tensor(1.0).unbind()),
    refused("unbind beyond", lambda m: m.ones(2).unbind(1), "dimension 1"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*meshgrid")
@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)
