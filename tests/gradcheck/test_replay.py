from __future__ import annotations

import functools
import random

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.gradcheck.replay import Replay

GENERATOR = np.random.default_rng(1)
LIBRARY = random.Random(1)


def from_a_global():
    return GENERATOR.normal(size=3)


def from_a_global_of_a_called_function():
    return from_a_global()


def from_a_random_of_the_library():
    return np.array([LIBRARY.random()])


def from_a_default(rng=np.random.default_rng(2)):  # noqa: B008
    return rng.normal(size=3)


def from_a_closure():
    rng = np.random.default_rng(3)
    return lambda: rng.normal(size=3)


def from_a_closure_in_a_closure():
    draw = from_a_closure()
    return lambda: draw()


def from_a_list_in_a_closure():
    rngs = [np.random.default_rng(3), {"b": np.random.RandomState(4)}]
    return lambda: rngs[0].normal(size=3) + rngs[1]["b"].normal(size=3)


def from_a_generator_of_minicnn():
    generator = minicnn.Generator(5) if hasattr(minicnn, "Generator") else None
    generator = generator or minicnn.random.Generator(5)
    return lambda: generator.numpy_generator().normal(size=3)


class Layer:
    def __init__(self):
        self.rng = np.random.default_rng(6)

    def forward(self):
        return self.rng.normal(size=3)

    def __call__(self):
        return self.forward()


DRAWS = {
    "numpy's global state": lambda: np.random.normal(size=3),
    "the library's global state": lambda: np.array([random.random()]),
    "minicnn's global state": lambda: minicnn.randn(3).numpy(),
    "a global": from_a_global,
    "a global of a called function": from_a_global_of_a_called_function,
    "a random of the library": from_a_random_of_the_library,
    "a default": from_a_default,
    "a closure": from_a_closure(),
    "a closure in a closure": from_a_closure_in_a_closure(),
    "a list in a closure": from_a_list_in_a_closure(),
    "a generator of minicnn": from_a_generator_of_minicnn(),
    "a method": Layer().forward,
    "a callable object": Layer(),
    "a partial": functools.partial(from_a_default, rng=np.random.default_rng(7)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_what_is_drawn_is_drawn_again_after_restore(draw, seeded):
    replay = Replay(draw)
    before = replay.fingerprint()
    first = draw()
    assert replay.fingerprint() != before
    assert not np.array_equal(draw(), first)
    replay.restore()
    assert replay.fingerprint() == before
    assert np.array_equal(draw(), first)
    replay.restore()


def test_the_buffers_of_a_module_are_put_back_in_the_same_memory():
    norm = nn.BatchNorm2d(3)
    model = nn.Sequential(nn.Identity(), norm)
    memory = norm.running_mean.array
    replay = Replay(lambda x: model(x))
    model(minicnn.randn(4, 3, 2, 2))
    assert norm.running_mean.numpy().any()
    assert int(norm.num_batches_tracked.numpy()) == 1
    replay.restore()
    assert norm.running_mean.array is memory
    assert not memory.any()
    assert int(norm.num_batches_tracked.numpy()) == 0


def test_a_replaced_buffer_is_put_back_too():
    norm = nn.BatchNorm2d(2)
    memory = norm.running_mean.array
    replay = Replay(norm)
    norm.running_mean.array = np.ones(2, dtype=memory.dtype)
    replay.restore()
    assert norm.running_mean.array is memory
    assert not memory.any()


def test_buffers_are_no_randomness():
    norm = nn.BatchNorm2d(2)
    replay = Replay(norm)
    before = replay.fingerprint()
    norm(minicnn.randn(3, 2, 2, 2))
    minicnn.random.default.set_state(minicnn.random.default.get_state())
    changed = replay.fingerprint() != before
    replay.restore()
    assert changed  # randn drew
    assert replay.fingerprint() == before


def test_circles_and_builtins_are_gone_over():
    circle = []
    circle.append(circle)

    def function():
        return circle, len

    Replay(function, np.sin, print, None, functools.partial(print, 1)).restore()
