from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn.errors import DTypeError, IndexOutOfRange
from minicnn.tensor import Tensor

VALUES = [-1e4, -40.0, -1.5, -0.0, 0.0, 1e-3, 2.0, 40.0, 1e4]


def leaf(values):
    return Tensor(np.array(values), requires_grad=True)


def gradient(y, x):
    return minicnn.grad(y.sum(), x)[0].array


def sigmoid(v):
    return 1 / (1 + math.exp(-v)) if v > -700 else 0.0


@pytest.mark.parametrize(("function", "oracle"), [
    (minicnn.relu, lambda v: max(v, 0.0)), (minicnn.sigmoid, sigmoid), (minicnn.tanh, math.tanh),
], ids=["relu", "sigmoid", "tanh"])  # fmt: skip
def test_values_even_where_exponentials_would_overflow(function, oracle):
    np.testing.assert_allclose(
        function(Tensor(np.array(VALUES))).array,
        [oracle(v) for v in VALUES],
        rtol=1e-12,
        atol=1e-15,
    )


def test_the_slope_of_relu_at_0_is_0():
    x = leaf([-1.0, -0.0, 0.0, 1.0])
    assert gradient(minicnn.relu(x), x).tolist() == [0, 0, 0, 1]


def test_nan_passes_relu():
    assert np.isnan(minicnn.relu(Tensor(np.array([np.nan]))).array).all()


def test_saturated_functions_have_no_slope_and_no_nan():
    x = leaf([-1e4, 1e4])
    for function in (minicnn.sigmoid, minicnn.tanh):
        assert gradient(function(x), x).tolist() == [0, 0]


# --- softmax --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -3])
def test_softmax_by_definition(rng, dim):
    x = rng.normal(size=(2, 3, 4))
    e = np.exp(x)
    expected = e / e.sum(dim, keepdims=True)
    np.testing.assert_allclose(minicnn.softmax(Tensor(x), dim).array, expected, rtol=1e-13)
    np.testing.assert_allclose(
        minicnn.log_softmax(Tensor(x), dim).array, np.log(expected), rtol=1e-12
    )


@pytest.mark.parametrize("shift", [1e4, -1e4])
def test_a_common_shift_changes_nothing(shift):
    x = np.array([[0.0, 1.0, 3.0]])
    for function in (minicnn.softmax, minicnn.log_softmax):
        np.testing.assert_allclose(
            function(Tensor(x + shift), 1).array, function(Tensor(x), 1).array, rtol=1e-9
        )


def test_impossible_classes_have_probability_0():
    y = minicnn.softmax(Tensor(np.array([0.0, -np.inf, 0.0])), 0)
    assert y.tolist() == [0.5, 0, 0.5]
    assert minicnn.log_softmax(Tensor(np.array([0.0, -np.inf])), 0).tolist() == [0, -np.inf]


def test_a_small_probability_keeps_its_logarithm():
    assert minicnn.log_softmax(Tensor(np.float32([0, -200])), 0).tolist() == [0, -200]


def test_a_single_value_has_probability_1():
    assert minicnn.softmax(Tensor(np.array(5.0)), 0).item() == 1
    assert minicnn.log_softmax(Tensor(np.array(5.0)), -1).item() == 0


def test_no_rows():
    assert minicnn.softmax(Tensor(np.zeros((0, 3))), 1).shape == (0, 3)
    assert minicnn.log_softmax(Tensor(np.zeros((2, 0))), 1).shape == (2, 0)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_what_softmax_refuses(name):
    function = getattr(minicnn, name)
    with pytest.raises(IndexOutOfRange, match=f"{name}: dimension 2 is not there"):
        function(Tensor(np.zeros((2, 3))), 2)
    with pytest.raises(DTypeError, match=f"{name}: needs a floating-point tensor, got int64"):
        function(minicnn.tensor([1, 2]), 0)
    with pytest.raises(TypeError, match="dim"):
        function(Tensor(np.zeros(3)))
