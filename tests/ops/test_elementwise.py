from __future__ import annotations

import math

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.ops.elementwise import cast
from minicnn.tensor import Tensor

INF, NAN = np.inf, np.nan
A = np.array([[1.5, -2.0, 0.0], [-0.0, INF, NAN]])
INSIDE = np.array([-0.9, -0.25, -0.0, 0.0, 1e-9, 0.7])
ABOVE_1 = np.array([1.0, 1.5, 20.0, INF])

ORACLES = {
    "neg": (np.negative, A), "negative": (np.negative, A), "abs": (np.abs, A),
    "absolute": (np.abs, A), "sign": (np.sign, A[:1]), "sgn": (np.sign, A[:1]),
    "floor": (np.floor, A),
    "ceil": (np.ceil, A), "trunc": (np.trunc, A), "round": (np.round, A), "square": (np.square, A),
    "positive": (np.positive, A), "sqrt": (np.sqrt, A), "rsqrt": (lambda x: x**-0.5, A**2),
    "reciprocal": (np.reciprocal, A), "exp": (np.exp, A), "exp2": (np.exp2, A),
    "expm1": (np.expm1, A), "log": (np.log, A), "log2": (np.log2, A), "log10": (np.log10, A),
    "log1p": (np.log1p, A), "sin": (np.sin, A), "cos": (np.cos, A), "tan": (np.tan, A),
    "asin": (np.arcsin, INSIDE), "acos": (np.arccos, INSIDE), "atan": (np.arctan, A),
    "sinh": (np.sinh, A), "cosh": (np.cosh, A), "asinh": (np.arcsinh, A),
    "acosh": (np.arccosh, ABOVE_1), "atanh": (np.arctanh, INSIDE), "deg2rad": (np.deg2rad, A),
    "rad2deg": (np.rad2deg, A), "nan_to_num": (np.nan_to_num, A),
    "frac": (lambda x: x - np.trunc(x), A),
}  # fmt: skip


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


def gradient(y, x):
    return minicnn.grad(y.sum(), x, retain_graph=True)[0].tolist()


@pytest.mark.parametrize("name", ORACLES)
def test_one_operand(name):
    oracle, x = ORACLES[name]
    with np.errstate(all="ignore"):
        expected = oracle(x)
    for y in (getattr(minicnn, name)(Tensor(x)), getattr(Tensor(x), name)()):
        np.testing.assert_allclose(y.array, expected, rtol=1e-15)


@pytest.mark.parametrize("name", [
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "sin",
    "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "deg2rad",
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_integers_and_booleans_become_float32(torch, name, dtype):
    x = np.array([1, 0, 1], dtype)
    y = getattr(minicnn, name)(Tensor(x))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.array, getattr(torch, name)(torch.tensor(x)).numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["floor", "ceil", "trunc", "round", "sign", "abs", "neg", "square"]
)
def test_whole_numbers_stay_whole(name):
    y = getattr(minicnn, name)(minicnn.tensor([3, -2]))
    assert y.dtype == np.int64
    assert y.tolist() == ORACLES[name][0](np.array([3, -2])).tolist()


def test_a_result_is_never_the_input_itself():
    for name in ("floor", "round", "abs", "sign"):
        x = minicnn.tensor([3, 2])
        getattr(minicnn, name)(x).array[:] = 7
        assert x.tolist() == [3, 2]


def test_a_half_is_rounded_to_the_even_neighbour():
    assert minicnn.round(leaf(0.5, 1.5, 2.5, -0.5)).tolist() == [0, 2, 2, 0]
    assert minicnn.round(leaf(1.25, 1.35), decimals=1).tolist() == [1.2, 1.4]
    assert leaf(1250.0).round(decimals=-2).tolist() == [1200]


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "round", "sign"])
def test_steps_have_no_slope(name):
    x = leaf(-1.5, 0.0, 2.0, INF)
    assert gradient(getattr(minicnn, name)(x), x) == [0, 0, 0, 0]


def test_the_slope_of_abs_at_0_is_0():
    x = leaf(-3.0, 0.0, -0.0, 3.0)
    assert gradient(abs(x), x) == [-1, 0, 0, 1]


def test_the_slope_of_a_root_at_0_is_infinite():
    x = leaf(0.0, 4.0)
    assert gradient(x.sqrt(), x) == [INF, 0.25]
    assert gradient(x.rsqrt(), x) == [-INF, -1 / 16]


def test_a_number_in_the_place_of_nan_has_no_slope():
    x = leaf(NAN, INF, -INF, 2.0)
    y = minicnn.nan_to_num(x, nan=5.0, posinf=7.0)
    assert y.tolist() == [5, 7, np.finfo(np.float64).min, 2]
    assert gradient(y, x) == [0, 0, 0, 1]


def test_infinite_results_need_no_warning():
    x = leaf(0.0, -1.0, 1e308)
    assert math.isnan(minicnn.log(x).tolist()[1])
    assert minicnn.exp(x).tolist()[2] == INF
    assert gradient(minicnn.log(x), x) == [INF, -1, 1e-308]


REFUSALS = [
    refused("a boolean has no negative", lambda m: -m.tensor([True]), "neg", "~x"),
    refused("nor a plus", lambda m: +m.tensor([True]), "positive"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refusals(refusal, torch):
    refusal.check(torch)


def test_the_operators():
    x = leaf(1.5, -2.0)
    assert (-x).tolist() == [-1.5, 2]
    assert +x is x
    assert abs(x).tolist() == [1.5, 2]


# --- cast -----------------------------------------------------------------------------------------

TYPES = [np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_]


@pytest.mark.parametrize("source", TYPES)
@pytest.mark.parametrize("target", TYPES)
def test_cast_between_types(source, target):
    x = Tensor(np.array([0, 1, 1]).astype(source))
    y = cast(x, np.dtype(target))
    assert y.dtype == target
    assert y.tolist() == x.tolist()


@pytest.mark.parametrize(
    ("source", "target"), [("f4", "f8"), ("f8", "f4"), ("f4", "f2"), ("f2", "f8")]
)
def test_the_gradient_of_a_cast_comes_back_in_the_type_of_x(source, target):
    x = Tensor(np.array([1.0, 2.0], source), requires_grad=True)
    (cast(x, np.dtype(target)) * 3).sum().backward()
    assert x.grad.dtype == np.dtype(source)
    assert x.grad.tolist() == [3, 3]


def test_a_cast_to_integers_has_no_gradient():
    y = cast(leaf(1.7, -1.7), np.dtype(np.int64))
    assert y.tolist() == [1, -1]
    assert not y.requires_grad


def test_nan_has_the_sign_0_as_in_torch():
    x = minicnn.tensor([np.nan, -2.0], requires_grad=True)
    assert minicnn.sign(x).tolist() == minicnn.sgn(x).tolist() == [0, -1]
    minicnn.abs(x).sum().backward()
    assert x.grad.tolist() == [0, -1]
