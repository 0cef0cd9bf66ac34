from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import random
from minicnn.errors import ArgumentError
from minicnn.random import Generator


@pytest.fixture(autouse=True)
def _same_state_afterwards():
    state = random.default.get_state()
    yield
    random.default.set_state(state)


def numbers(generator, count=4):
    return generator.numpy_generator().random(count).tolist()


def test_equal_seeds_give_equal_streams():
    first, second = Generator(7), Generator(7)
    assert [numbers(first) for _ in range(3)] == [numbers(second) for _ in range(3)]


def test_every_call_and_every_seed_has_a_stream_of_its_own():
    drawn = [
        number
        for seed in range(4)
        for g in [Generator(seed)]
        for _ in range(4)
        for number in numbers(g)
    ]
    assert len(set(drawn)) == len(drawn)


def test_call_k_is_numpys_philox_keyed_by_seed_and_k():
    generator = Generator(2**64 - 1)
    for call in range(3):
        key = np.array([2**64 - 1, call], dtype=np.uint64)
        expected = np.random.Generator(np.random.Philox(key=key)).random(4).tolist()
        assert numbers(generator) == expected


@pytest.mark.parametrize(("counter", "key", "expected"), [
    (0, 0, "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    (2**256 - 1, 2**128 - 1, "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0"),
], ids=["zeros", "ones"])  # fmt: skip
def test_numpys_philox_gives_the_known_answers_of_philox_4x64_10(counter, key, expected):
    before = (counter - 1) % 2**256  # NumPy counts before it draws
    words = np.random.Philox(counter=before, key=key).random_raw(4)
    assert " ".join(f"{word:016x}" for word in words.tolist()) == expected


def test_how_much_a_call_draws_does_not_move_the_next():
    few, many = Generator(3), Generator(3)
    few.numpy_generator().random(1)
    many.numpy_generator().random(1000)
    assert numbers(few) == numbers(many)


def test_the_state_is_two_integers_and_can_be_restored():
    generator = Generator(5)
    numbers(generator)
    state = generator.get_state()
    assert state == (5, 1)
    expected = numbers(generator)
    other = Generator(0)
    other.set_state(state)
    assert numbers(other) == expected


def test_manual_seed_starts_again():
    generator = Generator(5)
    expected = numbers(generator)
    assert generator.manual_seed(5) is generator
    assert numbers(generator) == expected


@pytest.mark.parametrize("seed", [0, 2**64 - 1, np.int64(3), np.uint64(2**63), True])
def test_seeds_are_integers(seed):
    assert Generator(seed).get_state() == (int(seed), 0)


@pytest.mark.parametrize(
    ("seed", "error"),
    [
        (-1, ArgumentError),
        (2**64, ArgumentError),
        (1.0, TypeError),
        ("1", TypeError),
        (None, TypeError),
    ],
)
def test_a_bad_seed_changes_nothing(seed, error):
    generator = Generator(5)
    numbers(generator)
    with pytest.raises(error):
        generator.manual_seed(seed)
    assert generator.get_state() == (5, 1)


@pytest.mark.parametrize(
    "state", [(6, "x"), (6, 1.5), (6, -1), (6, 2**64), (-1, 0), (6,), 6, ("x", 0)], ids=str
)
def test_a_bad_state_changes_nothing(state):
    generator = Generator(5)
    numbers(generator)
    with pytest.raises((TypeError, ValueError, IndexError)):
        generator.set_state(state)
    assert generator.get_state() == (5, 1)


def test_manual_seed_fixes_everything_that_is_random():
    def draw():
        layer = minicnn.nn.Conv2d(2, 3, 3)
        dropped = minicnn.nn.functional.dropout(minicnn.ones(20), 0.5)
        return [
            *layer.weight.array.ravel(), *layer.bias.array, *dropped.array, *minicnn.rand(3).array,
            *minicnn.randn(3).array, *minicnn.randint(0, 9, (3,)).array, *minicnn.randperm(5).array,
        ]  # fmt: skip

    assert minicnn.manual_seed(1) is random.default
    first = draw()
    second = draw()
    minicnn.manual_seed(1)
    assert draw() == first
    assert second != first


def test_numpys_own_generator_is_left_alone():
    before = np.random.get_state()[1].tolist()
    minicnn.manual_seed(3)
    minicnn.rand(5)
    assert np.random.get_state()[1].tolist() == before
