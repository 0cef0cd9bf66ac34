from __future__ import annotations

import operator

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.errors import DTypeError
from minicnn.tensor import Tensor

INF, NAN = np.inf, np.nan
A = np.array([[1.5, -2.0, 0.0], [-0.0, INF, NAN]])
B = np.array([2.0, -2.0, NAN])


@pytest.mark.parametrize(("name", "oracle"), [
    ("eq", np.equal), ("ne", np.not_equal), ("lt", np.less), ("le", np.less_equal),
    ("gt", np.greater), ("ge", np.greater_equal), ("logical_and", np.logical_and),
    ("logical_or", np.logical_or), ("logical_xor", np.logical_xor),
])  # fmt: skip
def test_two_operands(name, oracle):
    expected = oracle(A, B)
    for y in (getattr(minicnn, name)(Tensor(A), Tensor(B)), getattr(Tensor(A), name)(Tensor(B))):
        np.testing.assert_array_equal(y.array, expected)
        assert y.dtype == bool


@pytest.mark.parametrize("name", [
    "isnan", "isinf", "isfinite", "isposinf", "isneginf", "signbit", "logical_not",
])  # fmt: skip
@pytest.mark.parametrize("x", [A, np.array([3, 0, -2]), np.array([True, False])], ids=str)
def test_questions_to_each_value(torch, name, x):
    expected = getattr(torch, name)(torch.tensor(x)).numpy()
    np.testing.assert_array_equal(getattr(minicnn, name)(Tensor(x)).array, expected)


@pytest.mark.parametrize("symbol", [
    operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift,
], ids=lambda f: f.__name__)  # fmt: skip
def test_operators_on_bits(symbol):
    a, b = np.array([6, 3, 12]), np.array([3, 1, 2])
    for left, right in ((Tensor(a), Tensor(b)), (Tensor(a), 2), (2, Tensor(b)), (a, Tensor(b))):
        plain = [v.array if isinstance(v, Tensor) else v for v in (left, right)]
        assert symbol(left, right).tolist() == symbol(*plain).tolist()


def test_operators_on_masks():
    x = Tensor(A)
    assert ((x > 0) ^ (x < 1)).tolist() == ((A > 0) ^ (A < 1)).tolist()
    assert (~(x > 0)).tolist() == (~(A > 0)).tolist()


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_xor", "bitwise_left_shift"])
def test_fractions_have_no_bits(name):
    with pytest.raises(DTypeError, match=name):
        getattr(minicnn, name)(Tensor(B), Tensor(B))


@pytest.mark.parametrize("settings", [
    {}, {"rtol": 0.2}, {"atol": 0.11, "rtol": 0}, {"equal_nan": True}, {"rtol": 0, "atol": 0},
], ids=str)  # fmt: skip
def test_closeness(torch, settings):
    a = np.array([1.0, 1.0, 100.0, INF, INF, NAN, 0.0])
    b = np.array([1.0 + 1e-6, 1.1, 90.0, INF, -INF, NAN, -1e-9])
    expected = torch.isclose(torch.tensor(a), torch.tensor(b), **settings)
    assert minicnn.isclose(Tensor(a), Tensor(b), **settings).tolist() == expected.tolist()
    assert minicnn.allclose(Tensor(a), Tensor(b), **settings) is bool(expected.all())
    assert minicnn.allclose(Tensor(a[:1]), Tensor(b[:1])) is True


def test_equality_of_whole_tensors():
    x = Tensor(np.ones(2))
    assert minicnn.equal(x, Tensor(np.ones(2))) is True
    assert x.equal(Tensor(np.ones((1, 2)))) is False
    assert x.equal(Tensor(np.array([1.0, NAN]))) is False


REFUSALS = [
    refused("two types", lambda m: m.allclose(m.tensor([1]), m.tensor([1.0])), "allclose", "int64"),
    refused("shapes", lambda m: m.eq(m.tensor([1, 2]), m.tensor([1, 2, 3])), "eq", "(2,)"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refusals(refusal, torch):
    refusal.check(torch)


@pytest.mark.parametrize("other", [None, "a", [1.0, 1.0], object()], ids=lambda v: type(v).__name__)
def test_what_is_no_tensor_equals_none(other):
    x = minicnn.ones(2)
    assert (x == other) is False
    assert (x != other) is True
    assert (other == x) is False


def test_numbers_and_arrays_are_compared_element_by_element():
    for other in (1, 1.0, True, np.float32(1), np.ones(2, np.float32), minicnn.ones(2)):
        assert (minicnn.ones(2) == other).tolist() == [True, True]
        assert (minicnn.ones(2) != other).tolist() == [False, False]
