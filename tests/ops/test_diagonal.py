from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.ops.diagonal import diagonal_of, on_diagonal
from minicnn.tensor import Tensor

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("offset", range(-3, 5))
@pytest.mark.parametrize("dims", [(1, 2), (2, 1), (0, 2), (-1, 0)])
def test_diagonal_is_numpys_and_its_adjoint_writes_it_back(rng, offset, dims):
    y = minicnn.diagonal(Tensor(X), offset, *dims)
    np.testing.assert_array_equal(y.array, np.diagonal(X, offset, *dims))
    v = rng.integers(-4, 5, y.shape)
    positive = [d % 3 for d in dims]
    back = on_diagonal(v, X.shape, offset, *positive)
    assert (diagonal_of(X, offset, *positive) * v).sum() == (X * back).sum()


def test_a_diagonal_looks_at_the_same_memory():
    x = Tensor(X.copy())
    y = x.diagonal(0, 1, 2)
    assert np.shares_memory(y.array, x.array)
    assert y.version is x.version


@pytest.mark.parametrize("offset", [-2, 0, 1])
def test_diag_there_and_back(offset):
    x = Tensor(np.arange(1.0, 4.0))
    matrix = minicnn.diag(x, offset)
    np.testing.assert_array_equal(matrix.array, np.diag(x.array, offset))
    np.testing.assert_array_equal(matrix.diag(offset).array, x.array)


@pytest.mark.parametrize("k", [-9, -1, 0, 2, 9])
def test_triangles_by_definition(k):
    i, j = np.ogrid[:3, :4]
    np.testing.assert_array_equal(minicnn.tril(Tensor(X), k).array, np.where(j <= i + k, X, 0))
    np.testing.assert_array_equal(minicnn.triu(Tensor(X), k).array, np.where(j >= i + k, X, 0))
    ones = np.ones((3, 4))
    assert minicnn.tril_indices(3, 4, k).tolist() == np.array(np.nonzero(np.tril(ones, k))).tolist()
    assert minicnn.triu_indices(3, 4, k).tolist() == np.array(np.nonzero(np.triu(ones, k))).tolist()


def test_what_a_triangle_cuts_off_does_not_count():
    x = Tensor(np.array([[1.0, np.inf], [2.0, np.nan]]))
    assert minicnn.tril(x, -1).tolist() == [[0, 0], [2, 0]]


REFUSALS = [
    refused("the same dimension", lambda m: m.diagonal(m.ones(2, 2), 0, 1, -1), "different"),
    refused("the diagonal of a vector", lambda m: m.diagonal(m.ones(2))),
    refused("embed in one dimension", lambda m: m.diag_embed(m.ones(2), 0, 1, 1)),
    refused("embed a single value", lambda m: m.diag_embed(m.tensor(1.0))),
    refused("diag of three dimensions", lambda m: m.diag(m.ones(1, 1, 1)), "(1, 1, 1)"),
    refused("trace of a vector", lambda m: m.trace(m.ones(2)), "(2,)"),
    refused("tril of a vector", lambda m: m.tril(m.ones(2)), "(2,)"),
    refused("triu of a single value", lambda m: m.triu(m.tensor(1.0))),
    refused("less than no rows", lambda m: m.tril_indices(-1, 2), "-1"),
    refused("places as fractions", lambda m: m.triu_indices(2, 2, dtype=m.float32), "float32"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)
