from __future__ import annotations

import numpy as np

import minicnn
from minicnn.ops.embedding import embed, shares
from minicnn.tensor import Tensor

WORDS = np.array([[1, 2, 2], [0, 2, 1]])


def test_each_word_receives_the_gradients_of_its_places(rng):
    weight, dy = Tensor(rng.normal(size=(4, 3)), requires_grad=True), rng.normal(size=(2, 3, 3))
    y = embed(weight, WORDS)
    (dw,) = minicnn.grad(y, weight, Tensor(dy))
    expected = np.zeros((4, 3))
    for place in np.ndindex(WORDS.shape):
        np.testing.assert_array_equal(y.array[place], weight.array[WORDS[place]])
        expected[WORDS[place]] += dy[place]
    np.testing.assert_allclose(dw.array, expected)


def test_shares():
    assert shares(WORDS, 4, None, False, np.float32) is None
    assert shares(WORDS, 4, 2, False, np.float32).tolist() == [[1, 0, 0], [1, 0, 1]]
    scaled = shares(WORDS, 4, 0, True, np.float64)
    np.testing.assert_allclose(scaled, [[1 / 2, 1 / 3, 1 / 3], [0, 1 / 3, 1 / 2]])
    assert shares(WORDS, 4, None, True, np.float32).dtype == np.float32
    assert shares(np.array(3), 4, 3, True, np.float32).tolist() == 0
