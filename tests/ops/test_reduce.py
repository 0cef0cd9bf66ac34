from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

import minicnn
from minicnn.errors import DTypeError, IndexOutOfRange, ShapeError
from minicnn.tensor import Tensor

X = np.random.default_rng(4).normal(size=(3, 4, 5))
DIMS = [None, 0, -1, (0, 2), (-1, 1), [1], ()]


def axis(dim):
    return None if dim in (None, ()) else tuple(dim) if isinstance(dim, (list, tuple)) else dim


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


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
    (np.int32([1, 2]), np.int64), (np.array([True, True]), np.int64), (np.uint8([1]), np.int64),
    (np.float32([1, 2]), np.float32), (np.float64([1, 2]), np.float64),
])  # fmt: skip
def test_the_type_of_a_sum(values, dtype):
    assert Tensor(values).sum().dtype == dtype


def test_float32_stays_float32():
    x = Tensor(X.astype(np.float32))
    assert {f(x).dtype for f in (minicnn.sum, minicnn.mean, minicnn.var, minicnn.std)} == {
        np.dtype("f4")
    }


# --- gradients at ties and constants --------------------------------------------------------------


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


REFUSED = [
    refused("variance of whole numbers", lambda m: m.var(m.tensor([1, 2])), "var", "int64"),
    refused("deviation of booleans", lambda m: m.tensor([True, False]).std(), "std", "bool"),
    refused("mean of nothing but whole numbers", lambda m: m.nanmean(m.tensor([1, 2])), "nanmean"),
    refused("product over two dimensions", lambda m: m.ones(2, 3).prod((0, 1)), "prod", "(0, 1)"),
    refused("too much by position", lambda m: m.ones(2, 3).var(0, True, True, True), "var"),
    refused("logsumexp of a dimension too many", lambda m: m.ones(2).logsumexp(1), "1 dimensions"),
    refused("a dimension of a single value", lambda m: m.tensor(2.0).sum(1), "dimension 1"),
]


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_what_torch_refuses(refusal, torch):
    refusal.check(torch)


# --- older arguments, NaN, products ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["var", "std", "var_mean", "std_mean"])
def test_unbiased_by_position_and_by_name(name, torch):
    x, t = Tensor(X), torch.tensor(X)
    for args, settings in [
        ((), {}), ((False,), {}), ((1,), {}), ((1, False), {}), ((1, False, True), {}),
        (((0, 2), True, True), {}), ((), {"unbiased": False}), ((0,), {"unbiased": False}),
        ((), {"dim": 2, "keepdim": True}), ((2,), {"correction": 2, "keepdim": True}),
    ]:  # fmt: skip
        ours = getattr(minicnn, name)(x, *args, **settings)
        theirs = getattr(torch, name)(t, *args, **settings)
        if not isinstance(ours, tuple):
            ours, theirs = (ours,), (theirs,)
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == tuple(b.shape)
            np.testing.assert_allclose(a.array, b.numpy(), rtol=1e-12)


def test_nan_is_left_out_of_sums_and_means():
    x = leaf([1.0, np.nan, 3.0])
    assert (minicnn.nansum(x).item(), minicnn.nanmean(x).item()) == (4, 2)
    assert gradient(minicnn.nanmean(x), x).tolist() == [0.5, 0, 0.5]
    assert minicnn.nansum(minicnn.tensor([2, 3])).dtype == np.int64
    assert np.isnan(minicnn.nanmean(leaf([np.nan])).item())


@given(st.lists(st.sampled_from([0.0, 1.5, -2.0, 3.0, -0.5]), min_size=1, max_size=9))
def test_the_gradient_of_a_product_is_the_product_of_the_others(values):
    x = leaf(values)
    expected = [np.prod(values[:i] + values[i + 1 :]) for i in range(len(values))]
    np.testing.assert_allclose(gradient(x.prod(), x), expected)
    (first,) = minicnn.grad(x.prod(), x, create_graph=True)
    if len(values) > 1:
        (second,) = minicnn.grad(first[0], x)
        wanted = [0.0, *(np.prod([*values[1:i], *values[i + 1 :]]) for i in range(1, len(values)))]
        np.testing.assert_allclose(second.array, wanted)


@pytest.mark.parametrize(("values", "dtype"), [
    (np.uint8([200, 2]), np.int64), (np.array([True, True]), np.int64),
    (np.float32([1, 2]), np.float32),
])  # fmt: skip
def test_the_type_of_a_product(values, dtype):
    y = Tensor(values).prod()
    assert (y.dtype, y.item()) == (dtype, np.prod(values.astype(np.float64)))


def test_the_gradient_through_another_type_comes_back_in_the_own():
    x = Tensor(X.astype(np.float32), requires_grad=True)
    for function in (minicnn.sum, minicnn.mean, minicnn.nansum, minicnn.nanmean):
        y = function(x, 1, dtype=np.float64)
        assert y.dtype == np.float64
        assert gradient(y.sum(), x).dtype == np.float32
    assert gradient(minicnn.prod(x, dtype=np.float64), x).dtype == np.float32


def test_logsumexp_at_infinity():
    inf = np.inf
    for values, expected in [
        ([-inf, -inf], -inf), ([inf, 1.0], inf), ([1e4, 1e4], 1e4 + np.log(2)), ([-inf, 3.0], 3.0),
    ]:  # fmt: skip
        assert minicnn.logsumexp(leaf(values), 0).item() == expected
    x = leaf([-inf, 3.0, 3.0])
    np.testing.assert_allclose(gradient(x.logsumexp(0), x), [0, 0.5, 0.5])


# --- yes or no ------------------------------------------------------------------------------------


def test_all_and_any():
    x = minicnn.tensor([[1.0, 0.0], [2.0, 3.0]])
    assert (x.all().item(), x.any().item()) == (False, True)
    assert x.all(1).tolist() == [False, True]
    assert minicnn.any(x == 0, (0, 1), keepdim=True).tolist() == [[True]]
    assert minicnn.all(minicnn.zeros(0, 2), 0).tolist() == [True, True]
    assert x.to(np.uint8).all(0).dtype == np.uint8
    assert x.all(0).dtype == bool
    assert minicnn.all(minicnn.tensor(np.nan)).item() is True


def test_count_nonzero():
    x = minicnn.tensor([[1, 0, 2], [0, 0, 3]])
    assert minicnn.count_nonzero(x).item() == 3
    assert x.count_nonzero(0).tolist() == [1, 0, 2]


# --- large arrays in any order of memory ----------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (1, 2, 3, 0), (3, 2, 1, 0)], ids=str)
@pytest.mark.parametrize("dim", [None, 0, 1, 3, (0, 2, 3), (1, 2), (2, 3)], ids=str)
def test_sums_of_large_arrays(order, dim, rng):
    values = np.ascontiguousarray(rng.normal(size=(7, 9, 11, 8)).transpose(order))
    x = values.transpose(np.argsort(order))
    for keepdim in (False, True):
        for array in (x, x[..., ::-1], x[:, :, 1:]):
            expected = np.sum(array, axis=dim, keepdims=keepdim)
            ours = Tensor(array).sum(dim, keepdim).array
            np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)
            narrow = Tensor(array.astype(np.float32)).sum(dim, keepdim).array
            assert narrow.dtype == np.float32
            np.testing.assert_allclose(narrow, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "nansum", "nanmean", "amax", "norm"])
def test_an_empty_list_of_dimensions_means_all(name):
    x, settings = minicnn.tensor([[1.0, 2.0], [3.0, 5.0]]), {"dim": []}
    assert getattr(x, name)(**settings).tolist() == getattr(x, name)().tolist()


@pytest.mark.parametrize(("correction", "spread"), [(0, 0.0), (1, np.nan)])
def test_the_spread_of_a_single_value(correction, spread):
    x = minicnn.tensor(3.0)
    for function in (minicnn.var, minicnn.std):
        np.testing.assert_equal(function(x, correction=correction).item(), spread)
    for function in (minicnn.var_mean, minicnn.std_mean):
        y, average = function(x, correction=correction)
        np.testing.assert_equal([y.item(), average.item()], [spread, 3])
