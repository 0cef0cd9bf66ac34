from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn.errors import GradientError
from minicnn.ops.ctc import Sequences, backwards, ctc, path_scores
from minicnn.tensor import Tensor


def log_probabilities(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def loss_of(log_probs, labels, blank=0):
    """Return the loss of one sequence (T, C) and its gradient."""
    x = Tensor(log_probs[:, None], requires_grad=True)
    lengths, times = np.array([len(labels)]), np.array([len(log_probs)])
    loss = ctc(x, np.array([labels], dtype=np.int64), lengths, times, blank)
    loss.sum().backward()
    return loss.item(), x.grad.numpy()[:, 0]


def spells(path, blank):
    return [symbol for symbol, _ in groupby(path) if symbol != blank]


def by_all_paths(log_probs, labels, blank):
    """Add up the probabilities of all paths that spell the labels; also for each class and time."""
    steps, classes = log_probs.shape
    total, share = 0.0, np.zeros((steps, classes))
    for path in product(range(classes), repeat=steps):
        if spells(path, blank) == list(labels):
            probability = np.exp(sum(log_probs[range(steps), path]))
            total += probability
            share[range(steps), path] += probability
    return total, share


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(2, 3), st.integers(0, 2), st.data())
def test_the_loss_is_the_sum_over_all_paths(steps, classes, blank, data):
    blank %= classes
    labels = data.draw(st.lists(st.integers(0, classes - 1).filter(blank.__ne__), max_size=3))
    log_probs = log_probabilities((steps, classes), seed=steps * 10 + classes)
    total, share = by_all_paths(log_probs, labels, blank)
    loss, gradient = loss_of(log_probs, labels, blank)
    if total == 0:
        assert loss == np.inf
        assert np.isnan(gradient[np.isfinite(gradient).sum(axis=1) == 0]).all()
    else:
        np.testing.assert_allclose(loss, -np.log(total), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(gradient, -share / total, rtol=1e-10, atol=1e-14)


def test_the_probabilities_of_all_spellings_add_up_to_1():
    log_probs = log_probabilities((4, 3))
    spelled = {tuple(spells(path, 0)) for path in product(range(3), repeat=4)}
    assert len(spelled) == 15
    losses = [loss_of(log_probs, labels)[0] for labels in spelled]
    assert np.exp(-np.array(losses)).sum() == pytest.approx(1)


def test_each_time_step_has_a_share_of_1_in_the_gradient():
    _, gradient = loss_of(log_probabilities((9, 4)), [1, 1, 3])
    np.testing.assert_allclose(gradient.sum(axis=1), -1)


def test_a_repeated_label_needs_a_blank_between():
    log_probs = log_probabilities((2, 3))
    assert loss_of(log_probs, [1, 1])[0] == np.inf
    assert loss_of(log_probs, [1, 2])[0] == pytest.approx(-log_probs[0, 1] - log_probs[1, 2])


def test_nothing_is_spelled_by_blanks_alone():
    log_probs = log_probabilities((3, 2))
    loss, gradient = loss_of(log_probs, [])
    assert loss == pytest.approx(-log_probs[:, 0].sum())
    np.testing.assert_allclose(gradient, [[-1, 0]] * 3, atol=1e-15)


def test_a_symbol_that_cannot_be_takes_no_part():
    log_probs = log_probabilities((4, 3))
    log_probs[1, 2] = -np.inf
    total, share = by_all_paths(log_probs, [2, 1], 0)
    loss, gradient = loss_of(log_probs, [2, 1])
    assert loss == pytest.approx(-np.log(total))
    np.testing.assert_allclose(gradient, -share / total, atol=1e-14)


def test_sequences_of_a_batch_know_nothing_of_each_other():
    log_probs = log_probabilities((6, 3, 4))
    labels = np.array([[1, 1, 2], [3, 0, 0], [0, 0, 0]])
    lengths, times = np.array([3, 1, 0]), np.array([6, 2, 4])
    x = Tensor(log_probs, requires_grad=True)
    losses = ctc(x, labels, lengths, times, 0)
    losses.sum().backward()
    for n, (length, time) in enumerate(zip(lengths, times, strict=True)):
        loss, gradient = loss_of(log_probs[:time, n], labels[n, :length].tolist())
        assert losses.tolist()[n] == pytest.approx(loss)
        np.testing.assert_allclose(x.grad.numpy()[:time, n], gradient)
        assert not x.grad.numpy()[time:, n].any()


def test_float32_is_accurate_over_200_steps():
    log_probs = log_probabilities((200, 28))
    labels = np.random.default_rng(1).integers(1, 28, 60).tolist()
    loss, gradient = loss_of(log_probs, labels)
    narrow, narrow_gradient = loss_of(log_probs.astype(np.float32), labels)
    assert narrow == pytest.approx(loss, rel=1e-6)
    assert narrow_gradient.dtype == np.float32
    np.testing.assert_allclose(narrow_gradient, gradient, rtol=1e-4, atol=1e-6)


def test_a_path_of_tiny_probability_is_not_lost():
    log_probs = np.tile(np.array([0.0, -50.0, -60.0]), (60, 1))
    loss, _ = loss_of(log_probs.astype(np.float32), [1, 2] * 14)
    assert 14 * 110 - 60 < loss < 14 * 110


def test_what_is_turned_twice_is_back_in_its_place():
    values = np.arange(2 * 3 * 5.0).reshape(3, 2, 5)
    sequences = Sequences(np.zeros((2, 5), int), np.array([3, 5]), np.array([2, 3]))
    turned, _ = backwards(values, sequences)
    back, inside = backwards(turned, sequences)
    assert inside.sum() == 2 * 3 + 3 * 5
    np.testing.assert_array_equal(back[inside], values[inside])
    assert turned[0, 0, 0] == values[1, 0, 2]


def test_a_path_begins_with_a_blank_or_the_first_label():
    scores = path_scores(np.zeros((1, 1, 5)), np.array([[0, 1, 0, 2, 0]]))
    assert scores.tolist() == [[[0, 0, -np.inf, -np.inf, -np.inf]]]


def test_the_gradient_is_not_differentiable():
    x = Tensor(log_probabilities((3, 1, 2)), requires_grad=True)
    loss = ctc(x, np.array([[1]]), np.array([1]), np.array([3]), 0).sum()
    with pytest.raises(GradientError, match="ctc_loss: its gradient cannot be differentiated"):
        minicnn.grad(loss, x, create_graph=True)
