from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.errors import DTypeError, IndexOutOfRange, ShapeError
from minicnn.tensor import Tensor

X = np.random.default_rng(4).normal(size=(3, 4, 5))
DIMS = [None, 0, -1, (0, 2), (-1, 1), [1], ()]


def axis(dim):
    return None if dim in (None, ()) else tuple(dim) if isinstance(dim, (list, tuple)) else dim


def gradient(y, x):
    return minicnn.grad(y, x)[0].array


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", DIMS, ids=repr)
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin"])
def test_reductions(name, dim, keepdim):
    expected = getattr(np, name)(X, axis=axis(dim), keepdims=keepdim)
    result = getattr(minicnn, name)(Tensor(X), dim, keepdim)
    np.testing.assert_allclose(result.array, expected, rtol=1e-14)


@pytest.mark.parametrize("correction", [0, 1, 2])
@pytest.mark.parametrize("dim", DIMS, ids=repr)
@pytest.mark.parametrize("name", ["var", "std"])
def test_spread(name, dim, correction):
    expected = getattr(np, name)(X, axis=axis(dim), ddof=correction, keepdims=True)
    result = getattr(minicnn, name)(Tensor(X), dim, correction=correction, keepdim=True)
    np.testing.assert_allclose(result.array, expected, rtol=1e-13)


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin"])
def test_a_single_value_is_its_own_reduction(name):
    assert getattr(Tensor(np.array(3.0)), name)().item() == 3
    assert getattr(Tensor(np.array(3.0)), name)(0).item() == 3


@pytest.mark.parametrize(("values", "dtype"), [
    (np.int32([1, 2]), np.int64), (np.array([True, True]), np.int64),
    (np.float32([1, 2]), np.float32), (np.float64([1, 2]), np.float64),
])  # fmt: skip
def test_the_type_of_a_sum(values, dtype):
    assert Tensor(values).sum().dtype == dtype


def test_float32_stays_float32():
    x = Tensor(X.astype(np.float32))
    assert {f(x).dtype for f in (minicnn.sum, minicnn.mean, minicnn.var, minicnn.std)} == {
        np.dtype("f4")
    }


def test_nan_wins_extremes():
    x = Tensor(np.array([1.0, np.nan, 2.0]))
    assert np.isnan([x.amax().item(), x.amin().item(), x.max(0).values.item()]).all()
    assert x.argmax().item() == x.argmin().item() == 1


# --- positions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_along_a_dimension_come_with_their_positions(name, dim, keepdim):
    values, indices = getattr(minicnn, name)(Tensor(X), dim, keepdim)
    np.testing.assert_array_equal(values.array, getattr(np, name)(X, dim, keepdims=keepdim))
    expected = getattr(np, f"arg{name}")(X, dim, keepdims=keepdim)
    np.testing.assert_array_equal(indices.array, expected)
    assert indices.dtype == np.int64


def test_extremes_have_names():
    found = Tensor(np.array([3.0, 5.0])).max(dim=0)
    assert (found.values.item(), found.indices.item()) == (5, 1)
    assert Tensor(np.array(3.0)).min(0).values.item() == 3


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_in_the_flattened_tensor_and_along_a_dimension(name):
    find, oracle = getattr(minicnn, name), getattr(np, name)
    assert find(Tensor(X)).item() == oracle(X)
    np.testing.assert_array_equal(find(Tensor(X), 1).array, oracle(X, 1))
    assert find(Tensor(X), -1, keepdim=True).shape == (3, 4, 1)


def test_the_first_of_equal_values_is_named():
    x = Tensor(np.array([1.0, 2.0, 2.0, 1.0]))
    assert (x.argmax().item(), x.argmin().item()) == (1, 0)
    assert x.max(0).indices.item() == 1


# --- gradients at ties and constants --------------------------------------------------------------


@pytest.mark.parametrize("name", ["amax", "amin", "max", "min"])
def test_equal_extremes_share_the_gradient(name):
    x = Tensor(np.array([2.0, 2.0, 2.0, 2.0]), requires_grad=True)
    assert gradient(getattr(x, name)(), x).tolist() == [0.25] * 4


def test_along_a_dimension_the_first_of_equal_values_takes_the_gradient():
    x = Tensor(np.array([[1.0, 2.0, 2.0]]), requires_grad=True)
    assert gradient(x.max(1).values.sum(), x).tolist() == [[0, 1, 0]]


def test_ties_are_counted_within_what_is_reduced():
    x = Tensor(np.array([[1.0, 1.0], [1.0, 0.0]]), requires_grad=True)
    assert gradient(x.amax(1).sum(), x).tolist() == [[0.5, 0.5], [1, 0]]


def test_the_deviation_of_a_constant_has_gradient_0_as_in_torch(torch):
    for values in ([1.0, 1.0, 1.0], [1.0, 2.0, 4.0]):
        x, t = (
            Tensor(np.array(values), requires_grad=True),
            torch.tensor(values, requires_grad=True),
        )
        (expected,) = torch.autograd.grad(t.std(), t)
        np.testing.assert_allclose(gradient(minicnn.std(x), x), expected, rtol=1e-6)


# --- nothing to reduce ----------------------------------------------------------------------------


def test_the_sum_of_nothing_is_0_and_its_mean_nan():
    empty = Tensor(np.zeros((0, 3)))
    assert empty.sum().item() == 0
    assert empty.sum(0).tolist() == [0, 0, 0]
    assert np.isnan(empty.mean(0).array).all()
    assert empty.mean(1).shape == (0,)


def test_the_variance_of_one_value_is_nan():
    assert np.isnan(Tensor(np.ones((3, 1))).var(1).array).all()
    assert Tensor(np.ones((3, 1))).var(1, correction=0).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["amax", "amin", "max", "min", "argmax", "argmin"])
def test_nothing_has_no_extreme(name):
    with pytest.raises(ShapeError, match=r"a(rg)?(max|min): shape \(0, 3\) leaves no values"):
        getattr(Tensor(np.zeros((0, 3))), name)()
    with pytest.raises(ShapeError):
        getattr(Tensor(np.zeros((2, 0))), name)(1)


def test_a_dimension_that_is_kept_may_be_empty():
    assert Tensor(np.zeros((0, 3))).amax(1).shape == (0,)
    assert Tensor(np.zeros((0, 3))).argmax(1).shape == (0,)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [3, -4])
@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "amax", "amin", "argmax", "max"])
def test_a_dimension_that_is_not_there_is_named(name, dim):
    with pytest.raises(IndexOutOfRange, match=rf"dimension {dim} is not there.* 3 dimensions"):
        getattr(Tensor(X), name)(dim)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "amax"])
def test_a_dimension_named_twice_is_refused(name):
    with pytest.raises(ShapeError, match=r": dimension named twice in \(0, -3\)"):
        getattr(Tensor(X), name)((0, -3))


def test_the_mean_of_integers_is_refused():
    with pytest.raises(DTypeError, match="mean: needs a floating-point tensor, got int64"):
        minicnn.tensor([1, 2]).mean()
