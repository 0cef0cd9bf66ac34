"""Masks that the card draws are those of the CPU, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.ops.dropout import dropout_training
from minicnn_kernels import keep_mask
from minicnn_kernels.cuda import replay

KEYS = [(0, 0), (11, 3), (2**64 - 1, 2**63 + 5)]


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (8,), (3, 67), (256 * 8 + 1,)])
def test_the_mask_is_that_of_numpys_philox(card, shape, p):
    for key in KEYS:
        words = np.array(key, np.uint64)
        expected = keep_mask(np.empty(0), words, shape=shape, p=p)
        found = keep_mask(card.array(np.empty(0)), words, shape=shape, p=p)
        assert found.dtype == bool
        np.testing.assert_array_equal(found.get(), expected)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 5, 2), (2, 1, 3, 3), (2, 3, 1, 1)])
def test_places_are_counted_in_reading_order_whatever_the_order_in_memory(card, shape):
    key = np.array([5, 9], np.uint64)
    last = np.empty([shape[0], *shape[2:], shape[1]]).transpose(
        0, len(shape) - 1, *range(1, len(shape) - 1)
    )
    expected = keep_mask(np.empty(0), key, shape=shape, p=0.5)
    for like in (last, np.empty(shape), np.asfortranarray(np.empty(shape))):
        found = keep_mask(card.array(like), key, shape=shape, p=0.5)
        np.testing.assert_array_equal(found.get(), expected)
    assert keep_mask(card.array(last), key, shape=shape, p=0.5).strides == tuple(
        stride // 8 for stride in card.array(last).strides
    )


def test_dropout_on_the_card_is_dropout_on_the_cpu(card):
    x = np.arange(1.0, 25, dtype=np.float32).reshape(4, 6)
    results = []
    for array in (x, card.array(x)):
        minicnn.manual_seed(3)
        leaf = minicnn.Tensor(array, requires_grad=True)
        with card.no_copies() if array is not x else minicnn.enable_grad():
            y = dropout_training(leaf, 0.4)
            y.backward(y.detach())
        results.append([y.detach().cpu().numpy(), leaf.grad.cpu().numpy()])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_each_replay_draws_the_mask_of_the_next_call(card):
    def step():
        key = minicnn.random.default.next_key()
        return keep_mask(x, key, shape=(9,), p=0.5)

    x = card.array(np.empty(0))
    minicnn.manual_seed(4)
    expected = [step().get() for _ in range(3)]
    minicnn.manual_seed(4)
    with replay.recorded() as recording, card.cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        mask = replay.repeated(step)
        graph = stream.end_capture()
    for wanted in expected:
        recording.upload()
        graph.launch()
        np.testing.assert_array_equal(mask.get(), wanted)
        recording.refill()
