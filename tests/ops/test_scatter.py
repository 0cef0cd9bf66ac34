from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.tensor import Tensor

X = np.arange(12.0).reshape(3, 4)
COMBINE = {
    "sum": lambda values: sum(values),
    "prod": lambda values: np.prod(values),
    "mean": lambda values: np.mean(values),
    "amax": lambda values: max(values),
    "amin": lambda values: min(values),
}


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", COMBINE)
@pytest.mark.parametrize("dim", [0, 1])
def test_scatter_reduce_by_definition(rng, dim, reduce, include_self):
    index, src = rng.integers(0, X.shape[dim], (2, 3)), rng.normal(size=(3, 3))
    found = {place: [X[place]] if include_self else [] for place in np.ndindex(X.shape)}
    for i, j in np.ndindex(index.shape):
        found[(index[i, j], j) if dim == 0 else (i, index[i, j])].append(src[i, j])
    expected = [COMBINE[reduce](v) if v else X[place] for place, v in found.items()]
    y = minicnn.scatter_reduce(
        Tensor(X), dim, Tensor(index), Tensor(src), reduce, include_self=include_self
    )
    np.testing.assert_allclose(y.array.ravel(), expected)


TYPES = [
    (dtype, reduce)
    for dtype in (np.int64, np.uint8, bool, np.float32)
    for reduce in COMBINE
    if (dtype, reduce) != (bool, "mean")  # torch has no mean of booleans
]


@pytest.mark.parametrize(("dtype", "reduce"), TYPES)
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce_of_other_types(torch, dtype, reduce, include_self):
    x, index = (X[:2] % 5).astype(dtype), np.array([[0, 1, 0, 0], [0, 1, 1, 0]])
    ours, theirs = (
        m.scatter_reduce(
            m.tensor(x), 0, m.tensor(index), m.tensor(x + x), reduce, include_self=include_self
        )
        for m in (minicnn, torch)
    )
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours.array, theirs.numpy())


def test_scatter_writes_by_definition_and_the_last_stays():
    index = np.array([[0, 0], [2, 1]])
    y = minicnn.scatter(Tensor(X), 1, Tensor(index), Tensor(-X))
    assert y.tolist() == [[-1, 1, 2, 3], [4, -5, -4, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize("dim", [0, 1])
def test_to_add_and_to_gather_are_adjoint(rng, dim):
    index = rng.integers(0, X.shape[dim], (2, 4))
    v = rng.integers(-4, 5, index.shape).astype(float)
    zeros = Tensor(np.zeros_like(X))
    added = zeros.scatter_add(dim, Tensor(index), Tensor(v)).array
    taken = Tensor(X).gather(dim, Tensor(index)).array
    assert (taken * v).sum() == (X * added).sum()


@pytest.mark.parametrize("dim", [0, 1])
def test_to_add_slices_and_to_select_them_are_adjoint(rng, dim):
    index = Tensor(rng.integers(0, X.shape[dim], 7))
    taken = Tensor(X).index_select(dim, index)
    v = Tensor(rng.integers(-4, 5, taken.shape).astype(float))
    added = Tensor(np.zeros_like(X)).index_add(dim, index, v, alpha=2)
    assert 2 * (taken * v).sum().item() == (Tensor(X) * added).sum().item()


def test_an_index_changed_later_changes_no_gradient():
    x, v = Tensor(X[:1], requires_grad=True), Tensor(X[1:2], requires_grad=True)
    index = np.array([[0, 1, 2, 3]])
    y = x.scatter_add(1, Tensor(index), v) * Tensor(X[2:])
    index[:] = 0
    y.sum().backward()
    np.testing.assert_array_equal(v.grad.array, X[2:])


def test_products_with_zeros_have_exact_gradients():
    x = Tensor(np.array([2.0, 0.0, 3.0, 0.0]), requires_grad=True)
    v = Tensor(np.array([0.0, 5.0, 0.0, 7.0, 6.0]), requires_grad=True)
    y = x.scatter_reduce(0, minicnn.tensor([0, 0, 1, 1, 3]), v, "prod")
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 6]
    assert v.grad.tolist() == [10, 0, 0, 0, 0]


@pytest.mark.parametrize(("reduce", "value"), [("amax", -np.inf), ("amin", np.inf)])
def test_the_least_extreme_value_stays_itself(reduce, value):
    x, v = Tensor(np.zeros(2)), Tensor(np.array([value]))
    y = x.scatter_reduce(0, minicnn.tensor([1]), v, reduce, include_self=False)
    assert y.tolist() == [0, value]


def test_equal_extremes_share_the_gradient():
    x, v = Tensor(np.array([1.0, 4.0]), requires_grad=True), Tensor(np.ones(3), requires_grad=True)
    x.scatter_reduce(0, minicnn.tensor([0, 0, 1]), v, "amax").sum().backward()
    np.testing.assert_allclose(x.grad.array, [1 / 3, 1])
    np.testing.assert_allclose(v.grad.array, [1 / 3, 1 / 3, 0])


def test_a_number_takes_the_type_of_the_tensor(torch):
    for m in (minicnn, torch):
        x, mask = m.tensor([1, 2, 3]), m.tensor([True, False, True])
        assert x.masked_fill(mask, 1.7).tolist() == [1, 2, 1]
        assert x.index_fill(0, m.tensor([-1]), 2.5).tolist() == [1, 2, 2]
        assert x.to(m.uint8).masked_fill(mask, -1).tolist() == [255, 2, 255]
        assert x.index_add(0, m.tensor([0]), x[:1], alpha=2.5).tolist() == [3, 2, 3]


def test_in_place_forms():
    x = minicnn.zeros(2, 3)
    assert x.masked_fill_(minicnn.tensor([True, False, False]), 1) is x
    x.index_fill_(1, minicnn.tensor([1]), 5)
    x.scatter_(1, minicnn.tensor([[2], [0]]), 7)
    x.scatter_add_(1, minicnn.tensor([[0], [0]]), minicnn.ones(2, 1))
    x.index_add_(0, minicnn.tensor([0, 0]), minicnn.ones(2, 3))
    assert x.tolist() == [[4, 7, 9], [8, 5, 0]]


def scatter(m, index, src, **settings):
    return m.scatter(m.zeros(3, 4), 1, m.tensor(index), src, **settings)


REFUSALS = [
    refused("too far", lambda m: scatter(m, [[4]], 1.0), "4 is not in [0, 4)"),
    refused("negative", lambda m: scatter(m, [[-1]], 1.0), "-1"),
    refused("fractions", lambda m: scatter(m, [[0.5]], 1.0), "float32"),
    refused("a smaller source", lambda m: scatter(m, [[0, 1]], m.ones(1, 1)), "(1, 1)"),
    refused("a source of less dimensions", lambda m: scatter(m, [[0, 1]], m.ones(2))),
    refused("another type", lambda m: scatter(m, [[0]], m.ones(1, 1).double()), "float64"),
    refused("another reduce", lambda m: scatter(m, [[0]], m.ones(1, 1), reduce="mean"), "mean"),
    refused("another rank", lambda m: scatter(m, [0, 1], m.ones(2)), "(2,)"),
    refused("more rows", lambda m: scatter(m, [[0]] * 4, m.ones(4, 1)), "(4, 1)"),
    refused("no such reduction", lambda m: m.scatter_reduce(
        m.zeros(2), 0, m.tensor([0]), m.ones(1), "median"), "median"),
    refused("add too far", lambda m: m.zeros(2).index_add(0, m.tensor([2]), m.ones(1)), "2"),
    refused("add too many", lambda m: m.zeros(2).index_add(0, m.tensor([0, 1]), m.ones(1)), "(2,)"),
    refused("add other slices",
            lambda m: m.zeros(2, 3).index_add(0, m.tensor([0]), m.ones(1, 2)), "(1, 3)"),
    refused("add by a matrix", lambda m: m.zeros(2).index_add(0, m.tensor([[0]]), m.ones(1, 1))),
    refused("copy too far", lambda m: m.zeros(2).index_copy(0, m.tensor([-3]), m.ones(1)), "-3"),
    refused("copy too many", lambda m: m.zeros(2).index_copy(0, m.tensor([0, 1]), m.ones(1))),
    refused("fill too far", lambda m: m.zeros(2).index_fill(0, m.tensor([2]), 1), "[-2, 2)"),
    refused("fill with several", lambda m: m.zeros(2).index_fill(0, m.tensor([1]), m.ones(1))),
    refused("mask with several", lambda m: m.zeros(2).masked_fill(m.tensor([True]), m.ones(1))),
    refused("mask of integers", lambda m: m.zeros(2).masked_fill(m.tensor([1, 0]), 1), "int64"),
    refused("mask of another size", lambda m: m.zeros(2).masked_fill(m.ones(3) > 0, 1)),
    refused("a value too large",
            lambda m: m.arange(2).to(m.uint8).masked_fill(m.ones(2) > 0, 256), "256"),
    refused("too few values", lambda m: m.zeros(2).masked_scatter(m.ones(2) > 0, m.ones(1)), "2"),
    refused("values of another type",
            lambda m: m.zeros(2).masked_scatter(m.ones(2) > 0, m.ones(2).double()), "float64"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)
