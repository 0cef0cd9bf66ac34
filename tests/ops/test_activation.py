from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange
from minicnn.nn import functional as F
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


KINKS = [-6.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0]
BENT = {
    "relu": lambda m, x: m.relu(x),
    "relu6": lambda m, x: m.nn.functional.relu6(x),
    "hardtanh": lambda m, x: m.nn.functional.hardtanh(x),
    "leaky_relu": lambda m, x: m.nn.functional.leaky_relu(x, 0.1),
    "prelu": lambda m, x: m.nn.functional.prelu(x, m.tensor([0.3]).to(x.dtype)),
    "rrelu": lambda m, x: m.rrelu(x),
    "threshold": lambda m, x: m.nn.functional.threshold(x, 0.5, 7.0),
    "hardsigmoid": lambda m, x: m.nn.functional.hardsigmoid(x),
    "hardswish": lambda m, x: m.nn.functional.hardswish(x),
    "hardshrink": lambda m, x: m.nn.functional.hardshrink(x),
    "softshrink": lambda m, x: m.nn.functional.softshrink(x),
    "elu": lambda m, x: m.nn.functional.elu(x),
    "elu, low": lambda m, x: m.nn.functional.elu(x, 0.4),
    "elu, high": lambda m, x: m.nn.functional.elu(x, -2.0),
    "celu": lambda m, x: m.celu(x, 0.5),
    "selu": lambda m, x: m.selu(x),
    "softplus": lambda m, x: m.nn.functional.softplus(x, 2.0, 6.0),
    "softsign": lambda m, x: m.nn.functional.softsign(x),
}


@pytest.mark.parametrize("name", BENT)
def test_values_and_slopes_at_kinks_are_those_of_torch(torch, name):
    x, z = leaf(KINKS), torch.tensor(KINKS, dtype=torch.float64, requires_grad=True)
    y, expected = BENT[name](minicnn, x), BENT[name](torch, z)
    np.testing.assert_allclose(y.array, expected.detach().numpy(), rtol=1e-14)
    rtol = 1e-7 if name == "hardsigmoid" else 1e-14  # torch computes with 1/6 in float32
    (dz,) = torch.autograd.grad(expected.sum(), z)
    np.testing.assert_allclose(gradient(y, x), dz.numpy(), rtol=rtol)


@pytest.mark.parametrize("name", [
    "relu", "relu6", "hardtanh", "leaky_relu", "threshold", "hardshrink", "softshrink", "selu",
    "hardswish",
])  # fmt: skip
def test_nan_and_infinity_pass_as_in_torch(torch, name):
    values = [np.nan, np.inf]
    y = BENT[name](minicnn, leaf(values))
    expected = BENT[name](torch, torch.tensor(values, dtype=torch.float64))
    np.testing.assert_array_equal(y.array, expected.numpy())


SMOOTH = {
    **{name: BENT[name] for name in ("elu", "celu", "selu", "softsign")},
    "softplus": lambda m, x: m.nn.functional.softplus(x),
    "sigmoid": lambda m, x: m.sigmoid(x),
    "logsigmoid": lambda m, x: m.nn.functional.logsigmoid(x),
    "silu": lambda m, x: m.nn.functional.silu(x),
    "mish": lambda m, x: m.nn.functional.mish(x),
    "gelu": lambda m, x: m.nn.functional.gelu(x),
    "gelu by tanh": lambda m, x: (
        m.nn.functional.gelu(x, "tanh")
        if m is minicnn
        else m.nn.functional.gelu(x, approximate="tanh")
    ),
    "tanh": lambda m, x: m.tanh(x),
    "tanhshrink": lambda m, x: m.nn.functional.tanhshrink(x),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SMOOTH)
def test_far_out_nothing_overflows(torch, name, dtype):
    values = np.array([-1e4, -100, -30, 30, 100, 1e4], dtype)
    x, z = Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, expected = SMOOTH[name](minicnn, x), SMOOTH[name](torch, z)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.array, expected.detach().numpy(), rtol=1e-5, atol=1e-11)
    (dz,) = torch.autograd.grad(expected.sum(), z)
    np.testing.assert_allclose(gradient(y, x), dz.numpy(), rtol=1e-5, atol=1e-11)


@pytest.mark.parametrize(("name", "oracle"), [
    ("sigmoid", lambda v: 1 / (1 + math.exp(-v))),
    ("silu", lambda v: v / (1 + math.exp(-v))),
    ("logsigmoid", lambda v: -math.log1p(math.exp(-v))),
    ("softplus", lambda v: math.log1p(math.exp(v)) if v < 20 else v),
    ("mish", lambda v: v * math.tanh(math.log1p(math.exp(v)))),
    ("gelu", lambda v: v * math.erfc(-v / math.sqrt(2)) / 2),
    ("gelu by tanh", lambda v: v / (1 + math.exp(-2 * math.sqrt(2 / math.pi)
                                              * (v + 0.044715 * v**3)))),
    ("elu", lambda v: v if v > 0 else math.expm1(v)),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 4e-6), (np.float64, 2e-13)])
def test_small_values_keep_their_digits(name, oracle, dtype, rtol):
    values = np.array([-8, -5, -2, -0.1, -1e-5, 1e-5, 0.3, 2, 9], dtype)
    expected = [oracle(float(v)) for v in values]
    y = SMOOTH[name](minicnn, Tensor(values)).array
    np.testing.assert_allclose(y, expected, rtol=rtol)


@pytest.mark.parametrize("name", ["relu", "relu6", "hardtanh", "threshold", "softsign"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integers_as_in_torch(torch, name, dtype):
    if (name, dtype) == ("hardtanh", "uint8"):  # -1 is no unsigned number
        with pytest.raises((ArgumentError, DTypeError)):
            BENT[name](minicnn, Tensor(np.array([0, 1, 9], dtype)))
        return
    x = np.array([0, 1, 9], dtype)
    y, expected = BENT[name](minicnn, Tensor(x)), BENT[name](torch, torch.tensor(x)).numpy()
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y.array, expected, rtol=1e-6)


# --- slopes that are given or drawn ---------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (2, 3), (4, 3, 5)])
def test_prelu_by_definition(rng, shape):
    x, weight = rng.normal(size=shape), rng.normal(size=3)
    y = minicnn.prelu(Tensor(x), Tensor(weight)).array
    for position in np.ndindex(shape):
        v = x[position]
        assert y[position] == (v if v > 0 else weight[position[1]] * v)


def test_prelu_of_few_dimensions():
    weight = Tensor(np.array([0.5]))
    assert minicnn.prelu(leaf(-2.0), weight).item() == -1
    assert leaf([-2.0, 2.0]).prelu(weight).tolist() == [-1, 2]
    assert minicnn.prelu(leaf([-2.0]), Tensor(np.array(0.5))).tolist() == [-1]


@pytest.mark.usefixtures("seeded")
def test_random_slopes_lie_between_their_bounds():
    x = Tensor(-np.ones((50, 60)), requires_grad=True)
    y = minicnn.rrelu(x, 0.2, 0.6, training=True)
    slopes = -y.array
    assert 0.2 <= slopes.min() < 0.21
    assert 0.59 < slopes.max() < 0.6
    assert slopes.mean() == pytest.approx(0.4, abs=0.01)
    np.testing.assert_allclose(gradient(y, x), slopes, rtol=1e-14)
    assert minicnn.rrelu(-x, 0.2, 0.6, training=True).tolist() == (-x).tolist()


@pytest.mark.usefixtures("seeded")
def test_random_slopes_are_counted():
    x = Tensor(-np.ones(100))
    first = minicnn.rrelu(x, training=True).tolist()
    assert first != minicnn.rrelu(x, training=True).tolist()
    minicnn.manual_seed(0)
    assert first == minicnn.rrelu(x, training=True).tolist()


def test_the_mean_slope_in_inference():
    assert minicnn.rrelu(leaf([-1.0, 2.0]), 0.2, 0.6).tolist() == [-0.4, 2]


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


def test_hardswish_far_away_has_the_slopes_of_its_lines():
    x = minicnn.tensor([np.inf, -np.inf, 3.0, -3.0], requires_grad=True)
    F.hardswish(x).sum().backward()
    assert x.grad.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_the_curvature_at_0_is_that_of_the_line(name):
    x = minicnn.zeros(1, requires_grad=True)
    (slope,) = minicnn.grad(getattr(F, name)(x).sum(), [x], create_graph=True)
    assert minicnn.grad(slope.sum(), [x])[0].tolist() == [0]
