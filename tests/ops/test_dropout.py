from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import random
from minicnn.ops.dropout import alpha_dropout_training, dropout_mask, dropout_training
from minicnn.tensor import Tensor


@pytest.fixture(autouse=True)
def _same_seed():
    state = random.default.get_state()
    minicnn.manual_seed(11)
    yield
    random.default.set_state(state)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_values_are_0_with_probability_p_or_scaled_up(p):
    y = dropout_training(Tensor(np.ones(40_000)), p).array
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - p)])
    deviation = np.sqrt(p / (1 - p) / y.size)
    assert abs(y.mean() - 1) < 4 * deviation
    assert abs((y == 0).mean() - p) < 0.01


def test_nothing_is_dropped_with_probability_0_and_everything_with_1():
    x = Tensor(np.arange(1.0, 101))
    np.testing.assert_array_equal(dropout_training(x, 0.0).array, x.array)
    assert not dropout_training(x, 1.0).array.any()


def test_the_gradient_passes_where_values_passed():
    x = Tensor(np.full(50, 2.0), requires_grad=True)
    y = dropout_training(x, 0.25)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.array * 2, y.array)


def test_equal_seeds_give_equal_masks_and_every_call_another():
    first, second = dropout_mask((5, 7), 0.5), dropout_mask((5, 7), 0.5)
    assert (first != second).any()
    minicnn.manual_seed(11)
    np.testing.assert_array_equal(dropout_mask((5, 7), 0.5), first)
    np.testing.assert_array_equal(dropout_mask((5, 7), 0.5), second)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(7,), (2, 3, 5), (), (0, 3), (8,)])
def test_the_mask_follows_the_documented_rule(shape, p):
    mask = dropout_mask(shape, p)
    stream = np.random.Philox(key=np.array([11, 0], dtype=np.uint64))
    numbers = [int(word) for word in stream.random_raw((mask.size + 1) // 2)]
    words = [(numbers[i // 2] >> 32 * (i % 2)) & 0xFFFFFFFF for i in range(mask.size)]
    assert mask.shape == shape
    assert mask.ravel().tolist() == [word >= p * 2**32 for word in words]


def test_the_mask_follows_the_reading_order_not_the_memory():
    x = Tensor(np.asfortranarray(np.ones((3, 5))))
    y = dropout_training(x, 0.5).array
    minicnn.manual_seed(11)
    np.testing.assert_array_equal(y != 0, dropout_mask((3, 5), 0.5))


@pytest.mark.parametrize("drop", [dropout_training, alpha_dropout_training])
def test_a_mask_of_channels_is_drawn_in_the_order_of_the_channels(drop):
    y = drop(Tensor(np.full((3, 5, 2, 2), 9.0)), 0.5, channels=True).array
    minicnn.manual_seed(11)
    np.testing.assert_array_equal(y[:, :, 1, 0] > 1, dropout_mask((3, 5), 0.5))


def test_a_word_that_equals_the_threshold_is_kept():
    word = int(np.random.Philox(key=np.array([11, 0], dtype=np.uint64)).random_raw()) & 0xFFFFFFFF
    assert dropout_mask((1,), word / 2**32).item()
    minicnn.manual_seed(11)
    assert not dropout_mask((1,), (word + 1) / 2**32).item()


def test_the_type_stays():
    assert dropout_training(minicnn.ones(3), 0.3).dtype == np.float32
    assert dropout_training(minicnn.ones(3, dtype=np.float64), 0.3).dtype == np.float64
