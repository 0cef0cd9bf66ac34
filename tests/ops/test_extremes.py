from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

import minicnn
from minicnn.errors import IndexOutOfRange, ShapeError
from minicnn.tensor import Tensor

X = np.random.default_rng(4).normal(size=(3, 4, 5))
NAN = np.nan


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


def gradient(y, x):
    return minicnn.grad(y.sum(), x)[0].array


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


def test_nan_wins_extremes():
    x = Tensor(np.array([1.0, np.nan, 2.0]))
    assert np.isnan([x.amax().item(), x.amin().item(), x.max(0).values.item()]).all()
    assert x.argmax().item() == x.argmin().item() == 1


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


@pytest.mark.parametrize("name", ["amax", "amin", "max", "min", "argmax", "argmin"])
def test_nothing_has_no_extreme(name):
    of_all = IndexOutOfRange if name.startswith("arg") else ShapeError
    with pytest.raises(of_all, match=rf"{name}: shape \(0, 3\) leaves no values"):
        getattr(Tensor(np.zeros((0, 3))), name)()
    with pytest.raises(IndexOutOfRange, match=rf"{name}: shape \(2, 0\) leaves no values"):
        getattr(Tensor(np.zeros((2, 0))), name)(1)


def test_a_dimension_that_is_kept_may_be_empty():
    assert Tensor(np.zeros((0, 3))).amax(1).shape == (0,)
    assert Tensor(np.zeros((0, 3))).argmax(1).shape == (0,)


# --- both ends, two tensors -----------------------------------------------------------------------


def test_aminmax_has_names():
    found = minicnn.aminmax(Tensor(X), dim=1, keepdim=True)
    np.testing.assert_array_equal(found.min.array, X.min(1, keepdims=True))
    np.testing.assert_array_equal(found.max.array, X.max(1, keepdims=True))


def test_max_and_min_of_two_tensors():
    a, b = leaf([1.0, 5.0, 2.0]), leaf([3.0, 4.0, 2.0])
    assert minicnn.max(a, b).tolist() == a.max(other=b).tolist() == [3, 5, 2]
    assert minicnn.min(a, b).tolist() == [1, 4, 2]
    assert gradient(minicnn.max(a, b), a).tolist() == [0, 1, 0.5]


def test_arrays_are_taken_too():
    assert minicnn.max(X).tolist() == X.max()
    values, indices = minicnn.max(X, 1)
    np.testing.assert_array_equal(values, X.max(1))
    np.testing.assert_array_equal(indices.array, X.argmax(1))
    np.testing.assert_array_equal(minicnn.amin(X, (0, 2)), X.min((0, 2)))


# --- medians, modes, quantiles --------------------------------------------------------------------

number = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0, NAN])


@given(st.lists(number, min_size=1, max_size=8))
def test_the_lower_median_by_definition(values):
    known = sorted(v for v in values if not np.isnan(v))
    middle = known[(len(known) - 1) // 2] if known else NAN
    has_nan = len(known) < len(values)
    x = Tensor(np.array(values))
    for function, expected in (
        (minicnn.median, NAN if has_nan else middle), (minicnn.nanmedian, middle),
    ):  # fmt: skip
        np.testing.assert_equal(function(x).item(), expected)
        found = function(x, 0)
        np.testing.assert_equal(found.values.item(), expected)
        np.testing.assert_equal(values[found.indices.item()], expected)


def test_the_gradient_of_a_median():
    x = leaf([1.0, 2.0, 2.0, 2.0, 5.0])
    np.testing.assert_allclose(gradient(x.median(), x), [0, 1 / 3, 1 / 3, 1 / 3, 0])
    assert gradient(x.median(0).values, x).tolist() == [0, 1, 0, 0, 0]
    x = leaf([1.0, NAN, 2.0, NAN])
    assert gradient(x.median(), x).tolist() == [0, 0.5, 0, 0.5]


def test_the_median_of_nothing_is_nan():
    assert np.isnan(Tensor(np.zeros((0, 3))).median().item())
    assert np.isnan(Tensor(np.zeros((0, 3))).nanmedian().item())


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=12))
def test_the_mode_by_definition(values):
    counts = {v: values.count(v) for v in values}
    expected = min(v for v, n in counts.items() if n == max(counts.values()))
    value, position = minicnn.mode(Tensor(np.array(values)))
    assert value.item() == expected
    assert values[position.item()] == expected
    assert expected not in values[position.item() + 1 :]


@given(st.lists(number, min_size=1, max_size=7), st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_quantiles_are_those_of_numpy(values, q):
    x = np.array(values)
    for ours, oracle in (
        (minicnn.quantile, np.quantile), (minicnn.nanquantile, np.nanquantile),
    ):  # fmt: skip
        if np.isnan(x).all():
            continue
        result = ours(Tensor(x), Tensor(np.array(q))).array
        np.testing.assert_allclose(result, oracle(x, q), rtol=1e-9, atol=1e-12)


def test_shapes_of_quantiles():
    x = Tensor(X)
    assert x.quantile(0.5).shape == ()
    assert x.quantile(Tensor(np.array([0.5]))).shape == (1,)
    assert x.quantile(Tensor(np.array([0.5, 0.1])), 1).shape == (2, 3, 5)
    assert x.quantile(0.5, 1, keepdim=True).shape == (3, 1, 5)
    assert x.quantile(Tensor(np.array([0.5, 0.1])), None, True).shape == (2, 1, 1, 1)
    assert Tensor(np.array(3.0)).quantile(0.2, 0).item() == 3


# --- what is refused ------------------------------------------------------------------------------

REFUSED = [
    refused("argmax of booleans", lambda m: m.tensor([True]).argmax(), "argmax", "boolean"),
    refused("argmax of nothing", lambda m: m.zeros(0).argmax(), "argmax", "(0,)"),
    refused("max of two dimensions", lambda m: m.ones(2, 2).max((0, 1)), "max", "(0, 1)"),
    refused("amax of nothing", lambda m: m.zeros(0, 2).amax(), "amax", "(0, 2)"),
    refused("amax of an empty dimension", lambda m: m.zeros(0, 2).amax(0), "amax"),
    refused("aminmax of nothing", lambda m: m.aminmax(m.zeros(0)), "aminmax"),
    refused("median of an empty dimension", lambda m: m.zeros(0, 2).median(0), "median"),
    refused("mode of an empty dimension", lambda m: m.zeros(0, 2).mode(0), "mode"),
    refused("a dimension named twice", lambda m: m.tensor(1.0).amax((0, -1)), "twice"),
    refused("q above 1", lambda m: m.quantile(m.ones(3), 1.5), "quantile", "1.5"),
    refused("q of another type", lambda m: m.quantile(m.ones(3), m.ones(1).double()), "float64"),
    refused("q a matrix", lambda m: m.quantile(m.ones(3), m.ones(1, 1)), "(1, 1)"),
    refused("q a list", lambda m: m.quantile(m.ones(3), [0.5]), "list"),
    refused("quantile of whole numbers", lambda m: m.quantile(m.tensor([1, 2]), 0.5), "int64"),
    refused("quantile of nothing", lambda m: m.quantile(m.ones(0), 0.5), "(0,)"),
    refused("unknown interpolation",
            lambda m: m.quantile(m.ones(3), 0.5, interpolation="cubic"), "cubic", "midpoint"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_what_torch_refuses(refusal, torch):
    refusal.check(torch)


@pytest.mark.parametrize("interpolation", ["lower", "higher", "nearest"])
def test_quantiles_among_infinite_values(torch, interpolation):
    values = [[-np.inf, 1.0], [2.0, np.inf], [3.0, np.inf]]
    for q in (0.0, 0.3, 0.5, 1.0):
        ours, theirs = (
            m.tensor(values, dtype=m.float64).quantile(q, 0, interpolation=interpolation)
            for m in (minicnn, torch)
        )
        np.testing.assert_array_equal(ours.array, theirs.numpy())
    lowest = minicnn.tensor([[-np.inf, 1.0], [2.0, 3.0]]).nanquantile(0.3, 0, interpolation="lower")
    assert lowest.tolist() == [-np.inf, 1]


def test_infinity_can_be_the_mode():
    assert minicnn.tensor([np.inf, 1.0, np.inf, -np.inf]).mode().values.item() == np.inf
