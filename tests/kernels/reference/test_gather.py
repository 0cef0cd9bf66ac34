"""Taking out and adding in by position, against loops over the places."""

import numpy as np
import pytest

from minicnn_kernels import add_along, add_at, add_lines, combine_at, take_along, take_lines
from minicnn_kernels.reference.gather import turns, within

SHAPES = [(4,), (3, 5), (2, 3, 4), (1, 6, 1), (2, 0, 3), (0, 3)]


def along(rng, shape, dim, count):
    """Return positions along a dimension, `count` of them in each column."""
    sizes = (*shape[:dim], count if shape[dim] else 0, *shape[dim + 1 :])
    return rng.integers(0, max(shape[dim], 1), sizes)


def place(where, dim, position):
    return (*where[:dim], position, *where[dim + 1 :])


def dims(shapes=SHAPES):
    return [(shape, dim) for shape in shapes for dim in range(len(shape))]


@pytest.mark.parametrize(("shape", "dim"), dims())
def test_take_along(rng, shape, dim):
    x, chosen = rng.normal(size=shape), along(rng, shape, dim, 7)
    y = take_along(x, chosen, dim=dim, algorithm="numpy")
    assert y.shape == chosen.shape
    for where in np.ndindex(chosen.shape):
        assert y[where] == x[place(where, dim, chosen[where])]


@pytest.mark.parametrize(("shape", "dim"), dims())
def test_take_lines(rng, shape, dim):
    x, chosen = rng.normal(size=shape), rng.integers(0, max(shape[dim], 1), 7 * (shape[dim] > 0))
    y = take_lines(x, chosen, dim=dim, algorithm="numpy")
    for j, position in enumerate(chosen):
        np.testing.assert_array_equal(y.take(j, dim), x.take(position, dim))


@pytest.mark.parametrize(("shape", "dim"), dims())
def test_add_along(rng, shape, dim):
    y, chosen = rng.normal(size=shape), along(rng, shape, dim, 7)
    values, expected = rng.normal(size=chosen.shape), y.copy()
    for where in np.ndindex(chosen.shape):
        expected[place(where, dim, chosen[where])] += values[where]
    add_along(y, values, chosen, dim=dim, algorithm="numpy")
    np.testing.assert_allclose(y, expected)


def test_fewer_columns_than_there_are(rng):
    x, chosen = rng.normal(size=(4, 5)), rng.integers(0, 4, (2, 3))
    np.testing.assert_array_equal(take_along(x, chosen, dim=0), x[chosen, np.arange(3)])
    y, expected = np.zeros((4, 5)), np.zeros((4, 5))
    add_along(y, np.ones((2, 3)), chosen, dim=0)
    np.add.at(expected, (chosen, np.arange(3)), 1)
    np.testing.assert_array_equal(y, expected)
    assert within((2, 3), 0) == (slice(None), slice(3))


@pytest.mark.parametrize(("shape", "dim"), [*dims(), ((2, 3, 5000), 1), ((5000, 3), 0)])
def test_add_lines(rng, shape, dim):
    y, chosen = rng.normal(size=shape), rng.integers(0, max(shape[dim], 1), 7 * (shape[dim] > 0))
    values = rng.normal(size=(*shape[:dim], len(chosen), *shape[dim + 1 :]))
    expected = y.copy()
    for j, position in enumerate(chosen):
        np.moveaxis(expected, dim, 0)[position] += np.moveaxis(values, dim, 0)[j]
    add_lines(y, values, chosen, dim=dim, algorithm="numpy")
    np.testing.assert_allclose(y, expected)


def test_small_arrays_are_left_to_numpy(rng):
    small, large = np.zeros((4, 4)), np.zeros((200, 200))
    for x in (small, large[:, :30]):
        chosen = np.zeros(x.shape, int)
        assert take_along.choose(x, chosen, dim=0).name == "numpy"
        assert add_along.choose(x, x, chosen, dim=0).name == "numpy"
    assert take_along.choose(large, np.zeros((2, 3), int), dim=0).name == "numpy"


def test_turns_name_no_position_twice(rng):
    chosen = rng.integers(0, 5, 30)
    parts = turns(chosen)
    assert sorted(np.concatenate(parts).tolist()) == list(range(30))
    assert all(len(set(chosen[now])) == len(now) for now in parts)
    assert turns(np.zeros(0, int)) == []


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "int8", "uint8", "bool"])
@pytest.mark.parametrize("count", [0, 1, 9])
def test_values_are_added_at_places(rng, card, dtype, count):
    y = rng.integers(0, 2, 5).astype(dtype)
    places, values = rng.integers(0, 5, count), rng.integers(0, 2, count).astype(dtype)
    expected = y.copy()
    for place, value in zip(places, values, strict=True):
        expected[place] += value
    there = card.array(y)
    add_at(there, card.array(places), card.array(values))
    add_at(y, places, values)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(there.get(), expected)


@pytest.mark.parametrize("step", [np.maximum, np.minimum, np.multiply], ids=lambda s: s.__name__)
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_values_are_combined_at_places(rng, card, step, count):
    y, places, values = rng.normal(size=7), rng.integers(0, 6, count), rng.normal(size=count)
    expected, there = y.copy(), card.array(y)
    for place, value in zip(places, values, strict=True):
        expected[place] = step(expected[place], value)
    combine_at(step, y, places, values)
    places, values = card.array(places), card.array(values)
    with card.no_copies():
        combine_at(step, there, places, values)
    np.testing.assert_allclose(y, expected)
    np.testing.assert_allclose(there.get(), expected)
