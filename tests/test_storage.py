"""16-bit numbers: stored rounded, computed with in float32."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import minicnn
from minicnn import storage
from minicnn.errors import DTypeError
from minicnn.nn import functional as F
from minicnn.ops.inplace import VIEWS

HALVES = ["float16", "bfloat16"]


def half(name):
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    return getattr(minicnn, name)


def draw(shape, dtype, seed=0, requires_grad=False):
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return minicnn.tensor(values.astype(dtype), requires_grad=requires_grad)


@pytest.mark.parametrize("name", HALVES)
def test_a_sum_of_many_numbers_keeps_its_digits(name):
    x = minicnn.tensor(np.full(4096, 1.0078125).astype(half(name)))  # 1 + 2**-7
    assert x.sum().dtype == half(name)
    assert float(x.sum()) == 4128  # added up in 16 bits it would stop at 256 or 2,048


@pytest.mark.parametrize("name", HALVES)
def test_results_and_gradients_have_16_bits_and_are_rounded_once(name):
    dtype = half(name)
    x, w = draw((2, 3, 6, 5), dtype, 1, True), draw((4, 3, 3, 3), dtype, 2, True)
    wide = [minicnn.tensor(t.array.astype(np.float32), requires_grad=True) for t in (x, w)]
    results = []
    for a, b in ((x, w), wide):
        y = F.max_pool2d(F.relu(F.conv2d(a, b, padding=1)), 2)
        z = F.log_softmax(y.flatten(1), 1)
        z.backward(minicnn.ones_like(z))
        results.append((z, a.grad, b.grad))
    bound = 2 * storage.eps(dtype)
    for found, expected in zip(*results, strict=True):
        assert found.dtype == dtype
        error = np.linalg.norm(found.detach().float().numpy() - expected.detach().numpy())
        assert error <= 4 * bound * np.linalg.norm(expected.detach().numpy())


@pytest.mark.parametrize("name", HALVES)
def test_each_operation_rounds_the_float32_result(name):
    dtype = half(name)
    x = draw((50,), dtype)
    for function in (minicnn.exp, minicnn.sin, F.gelu, lambda t: F.softmax(t, 0)):
        exact = function(minicnn.tensor(x.array.astype(np.float32))).numpy()
        np.testing.assert_array_equal(function(x).numpy(), exact.astype(dtype))


def test_views_of_16_bits_look_at_the_same_memory():
    x = minicnn.zeros(2, 3, dtype=minicnn.float16)
    x.view(6)[1] = 5
    x[1, 2] = 7
    x.t()[0, 1] = 3
    assert x.tolist() == [[0, 5, 0], [3, 0, 7]]


def test_every_operation_that_may_return_a_view_is_listed():
    assert {op.name for op in VIEWS} == storage.AS_THEY_ARE


@pytest.mark.parametrize("name", HALVES)
def test_recorded_gradients_can_be_differentiated_again(name):
    x = minicnn.tensor(np.array([0.5, 2.0]).astype(half(name)), requires_grad=True)
    (first,) = minicnn.grad((x**3).sum(), x, create_graph=True)
    (second,) = minicnn.grad(first.sum(), x)
    assert first.dtype == second.dtype == half(name)
    assert second.tolist() == [3, 12]


def test_a_sum_takes_the_type_it_is_asked_for():
    x = minicnn.ones(3, dtype=minicnn.float16, requires_grad=True)
    y = x.sum(dtype=minicnn.float32)
    y.backward()
    assert (y.dtype, x.grad.dtype) == (np.float32, np.float16)


def test_bfloat16_is_an_element_type_as_others():
    dtype = half("bfloat16")
    assert minicnn.tensor([1.0, 1.001], dtype=dtype).tolist() == [1.0, 1.0]
    assert repr(minicnn.ones(1, dtype=dtype)) == "tensor([1], dtype=bfloat16)"
    assert minicnn.tensor([1.5]).to(dtype).float().item() == 1.5
    layer = minicnn.nn.Linear(3, 2).to(dtype)
    assert layer(minicnn.ones(1, 3, dtype=dtype)).dtype == dtype
    with pytest.raises(DTypeError, match="nothing is promoted in silence"):
        minicnn.ones(2, dtype=dtype) + minicnn.ones(2)


def test_it_rounds_as_pytorch_does(torch):
    dtype = half("bfloat16")
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    ours = minicnn.tensor(values).to(dtype).float().numpy()
    np.testing.assert_array_equal(ours, torch.tensor(values).bfloat16().float().numpy())
    assert storage.eps(dtype) == torch.finfo(torch.bfloat16).eps


def test_without_ml_dtypes_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    storage.bfloat16.cache_clear()
    with pytest.raises(DTypeError, match="pip install ml_dtypes; or use float16"):
        minicnn.bfloat16  # noqa: B018 - the look-up raises
    storage.bfloat16.cache_clear()


def test_float32_is_not_touched():
    arrays = [np.ones(2, np.float32), np.ones(2, np.int16), None, 2.0]
    assert storage.widened(minicnn.mul, arrays) is arrays
