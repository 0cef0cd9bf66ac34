from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn.errors import ArgumentError
from minicnn.ops.loss import huber, log_loss, log_loss_of_logits, reduced, softmax_cross_entropy
from minicnn.tensor import Tensor

LOGITS = np.random.default_rng(5).normal(size=(4, 3))
LABELS = np.array([2, 0, 1, 2])
FAR = np.array([-1e30, -200.0, -40.0, -1.0, 0.0, 1.0, 40.0, 200.0, 1e30])


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


def by_parts(x, labels, dim):
    """Spell the cross-entropy with a softmax and a choice."""
    log_probability = minicnn.log_softmax(x, dim)
    return -minicnn.gather(log_probability, dim, np.expand_dims(labels, dim)).squeeze(dim)


# --- reductions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("reduction", "expected"), [("none", [1, 2, 6]), ("mean", 3), ("sum", 9)])
def test_losses_are_reduced(reduction, expected):
    assert reduced(Tensor(np.array([1.0, 2.0, 6.0])), reduction).tolist() == expected


def test_the_mean_of_nothing_is_nan_and_its_sum_0():
    nothing = Tensor(np.zeros((0, 3)))
    assert np.isnan(reduced(nothing, "mean").item())
    assert reduced(nothing, "sum").item() == 0


@pytest.mark.parametrize("reduction", ["avg", "batchmean", None, ""])
def test_an_unknown_reduction_is_named(reduction):
    message = f'reduction must be "none", "mean" or "sum", got {reduction!r}'
    with pytest.raises(ArgumentError, match=message):
        reduced(Tensor(np.zeros(3)), reduction)


# --- element by element ---------------------------------------------------------------------------


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 5))
def test_huber_is_a_parabola_and_then_its_tangent(a, b, delta):
    distance = abs(a - b)
    far = delta * (distance - delta / 2)
    expected = distance**2 / 2 if distance <= delta else far
    y = huber(np.array(a), np.array(b), delta)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-15)


def test_the_slope_of_huber_is_the_distance_kept_within_delta():
    a = leaf([-3.0, -0.5, 0.0, 0.5, 3.0])
    huber(a, 0.0, 0.7).sum().backward()
    assert a.grad.tolist() == [-0.7, -0.5, 0, 0.5, 0.7]


def test_the_loss_of_a_sure_mistake_is_100():
    x, target = Tensor(np.array([0.0, 1, 1, 0])), np.array([1.0, 0, 1, 0])
    assert log_loss(x, target).tolist() == [100, 100, 0, 0]


def test_the_slope_of_a_sure_mistake_is_kept_below_10_to_the_12():
    x = leaf([0.0, 1.0, 1e-3, 0.0])
    log_loss(x, np.array([1.0, 0.0, 1.0, 0.0])).sum().backward()
    np.testing.assert_allclose(x.grad.array, [-1e12, 1e12, -1e3, 0])


def test_the_target_of_a_sure_answer_has_a_finite_gradient():
    x, target = leaf([0.0, 1.0, 0.5]), leaf([0.5, 0.5, 0.5])
    log_loss(x, target).sum().backward()
    assert target.grad.tolist() == [100, -100, 0]


@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_logits_may_be_far_out(target):
    x = leaf(FAR)
    y = log_loss_of_logits(x, target)
    y.sum().backward()
    expected = np.logaddexp(0, -FAR) + (1 - target) * FAR
    np.testing.assert_allclose(y.array, expected, rtol=1e-12)
    np.testing.assert_allclose(
        x.grad.numpy(), 1 / (1 + np.exp(-np.clip(FAR, -700, 700))) - target, atol=1e-300
    )


def test_the_target_of_logits_has_their_negative_as_gradient():
    target = leaf([0.5, 0.5])
    log_loss_of_logits(Tensor(np.array([[3.0, -2.0], [1.0, 1.0]])), target).sum().backward()
    assert target.grad.tolist() == [-4, 1]


def test_a_small_loss_keeps_its_digits():
    y = log_loss_of_logits(Tensor(np.float32([20.0])), np.float32([1.0])).array
    np.testing.assert_allclose(y, [2.0611537e-09], rtol=1e-6)


# --- of classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2), (2, 3, 1, 4), (3,), (1, 1)])
def test_the_fused_loss_is_that_of_its_parts(shape):
    rng = np.random.default_rng(3)
    dim = 1 if len(shape) > 1 else 0
    labels = rng.integers(0, shape[dim], shape[:dim] + shape[dim + 1 :])
    x, same = leaf(rng.normal(size=shape) * 3), leaf(np.zeros(shape))
    same.array[...] = x.array
    ours, parts = softmax_cross_entropy(x, labels, dim), by_parts(same, labels, dim)
    np.testing.assert_allclose(ours.array, parts.array, rtol=1e-12)
    dy = Tensor(rng.normal(size=ours.shape))
    ours.backward(dy)
    parts.backward(dy)
    np.testing.assert_allclose(x.grad.array, same.grad.array, rtol=1e-12, atol=1e-15)


def test_the_gradient_is_probability_minus_target():
    x = leaf(LOGITS)
    softmax_cross_entropy(x, LABELS, 1).sum().backward()
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    expected[range(4), LABELS] -= 1
    np.testing.assert_allclose(x.grad.array, expected, rtol=1e-12)


def test_a_recorded_gradient_depends_on_the_logits():
    x = leaf(LOGITS)
    (dx,) = minicnn.grad(softmax_cross_entropy(x, LABELS, 1).sum(), x, create_graph=True)
    (ddx,) = minicnn.grad((dx * dx).sum(), x)
    probability = minicnn.softmax(Tensor(LOGITS), 1).array
    twice = 2 * dx.array
    along = (probability * twice).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ddx.array, probability * (twice - along), rtol=1e-10, atol=1e-14)


def test_a_second_backward_gives_the_same():
    x = leaf(LOGITS)
    y = softmax_cross_entropy(x, LABELS, 1).sum()
    once, twice = (minicnn.grad(y, x, retain_graph=True)[0].array for _ in range(2))
    np.testing.assert_array_equal(once, twice)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_confident_logits_neither_overflow_nor_lose_the_loss(dtype):
    x = Tensor(np.array([[1e4, 0, -1e4], [1e4, 0, -1e4]], dtype), requires_grad=True)
    y = softmax_cross_entropy(x, np.array([0, 2]), 1)
    assert y.dtype == dtype
    assert y.tolist() == [0, 2e4]
    y.sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [1, 0, -1]]


def test_a_class_that_cannot_be_has_an_infinite_loss_and_a_finite_gradient():
    x = leaf([[0.0, -np.inf, 0.0]])
    y = softmax_cross_entropy(x, np.array([1]), 1)
    assert y.tolist() == [np.inf]
    y.sum().backward()
    assert x.grad.tolist() == [[0.5, -1, 0.5]]


def test_arrays_give_an_array():
    y = softmax_cross_entropy(LOGITS, LABELS, 1)
    assert type(y) is np.ndarray
    np.testing.assert_allclose(y, by_parts(Tensor(LOGITS), LABELS, 1).array)
