"""Which formulas are recorded, and that a recording used again computes what the formula does."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn_kernels import one_pass
from minicnn_kernels.one_pass import in_one_pass
from minicnn_kernels.pointwise import Lazy, record_from


@pytest.fixture(autouse=True)
def small_arrays_too():
    with record_from(2):
        yield


def draw(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(dtype)


def counted(formula):
    """Return the formula in one pass, and a list that grows with every recording."""
    recordings = []

    def recorded(*arrays, **settings):
        recordings.append(1)
        return formula(*arrays, **settings)

    return in_one_pass(recorded), recordings


def assert_same(formula, *calls, recordings=1, **settings):
    """Compare with NumPy, and count how often the formula is recorded for all the calls."""
    once, made = counted(formula)
    for arrays in calls:
        found, expected = once(*arrays, **settings), formula(*arrays, **settings)
        assert type(found) is np.ndarray
        assert (found.shape, found.dtype, found.strides) == (
            expected.shape, expected.dtype, expected.strides)  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6)
    assert len(made) == recordings


# --- used again -----------------------------------------------------------------------------------


def test_arrays_of_one_kind_are_recorded_once():
    assert_same(lambda x: 1 - x * x, [draw(3)], [draw(3, seed=1)], [draw(3, seed=2)])
    assert_same(lambda a, b: a * b, *([draw(3, 40, seed=k), draw(40)] for k in range(3)))
    assert_same(lambda x: x > 0.5, [draw(3)], [draw(3, seed=1)])


def test_arrays_of_another_kind_are_recorded_anew():
    x = draw(4, 4)
    kinds = [[x], [x.T], [x.astype(np.float64)], [x.reshape(16)], [x[:, ::2]]]
    assert_same(lambda x: x * 2, *kinds, recordings=5)
    assert_same(lambda x, k: x * k, [x, 2], [x, 2.0], [x, True], [x, 3], recordings=4)


def test_one_array_in_two_places_is_another_kind():
    a, b = draw(5), draw(5, seed=1)
    assert_same(lambda a, b: a * b, [a, a], [a, b], [b, b], [b, a], recordings=2)
    assert_same(lambda a, b, c: a * b - c, [a, a, b], [a, b, a], [b, a, a], [a, b, b], recordings=3)


def test_single_values_are_read_every_time():
    x = draw(5)
    calls = [[x, np.array([k], np.float32)] for k in range(3)]
    assert_same(lambda x, scale: x * scale + 1, *calls)
    assert_same(lambda x, scale: x * scale, *([x, np.array(k, np.float32)] for k in range(3)))


def test_numbers_of_numpys_are_constants():
    calls = [[draw(5, seed=k)] for k in range(3)]
    assert_same(lambda x: x * x.dtype.type(0.3) + np.float32(2), *calls)
    once, made = counted(lambda x, scale: x * scale)
    for scale in (np.float32(2), np.float32(3), np.float32(2)):
        np.testing.assert_array_equal(once(np.ones(3, np.float32), scale=scale), [scale] * 3)
    assert len(made) == 2


def test_a_formula_that_looks_at_values_is_recorded_every_time():
    calls = [[draw(5, seed=k)] for k in range(3)]
    assert_same(lambda x: x - x.max(), *calls, recordings=3)
    assert_same(lambda x: x * 2 if bool(x[0] > 0) else -x, *calls, recordings=3)
    assert_same(lambda x: np.cbrt(x) + x, *calls, recordings=3)


def test_what_must_be_copied_is_not_used_again():
    calls = [[draw(2, 3, 20, seed=k), draw(2, 3, 40)[..., ::2]] for k in range(2)]
    assert_same(lambda a, b: a + b, *calls, recordings=2)


def test_no_values():
    once, _ = counted(lambda a, b: a * b)
    assert once(draw(0, 3), draw(3)).shape == (0, 3)


def test_settings_that_are_no_keys():
    once, made = counted(lambda x, numbers: x * numbers[0])
    for k in (1, 2):
        np.testing.assert_array_equal(once(np.ones(3, np.float32), numbers=[k]), [k] * 3)
    assert len(made) == 2


def test_kinds_are_forgotten_when_there_are_many(monkeypatch):
    monkeypatch.setattr(one_pass, "MOST_KINDS", 2)
    x = draw(3)
    assert_same(lambda x, k: x * k, [x, 1], [x, 2], [x, 3], [x, 1], [x, 3], recordings=4)


def test_functions_are_used_again():
    def gradient(dy, x):
        shared = dy * 2
        return lambda: shared * x, lambda: shared.sum(), lambda: shared - 1

    once, made = counted(gradient)
    for k in range(3):
        dy, x = draw(3, seed=k), draw(3, seed=k + 5)
        first, second, third = once(dy, x)
        np.testing.assert_allclose(third(), dy * 2 - 1, rtol=1e-6)
        np.testing.assert_allclose(first(), dy * 2 * x, rtol=1e-6)
        if k == 2:
            assert len(made) == 1  # no sum was asked for
            assert second() == (dy * 2).sum()
    assert len(made) == 2


def test_a_function_that_stands_alone_is_used_again():
    once, made = counted(lambda dy: lambda: dy * 3)
    for k in range(3):
        dy = draw(3, seed=k)
        np.testing.assert_allclose(once(dy)(), dy * 3, rtol=1e-6)
    assert len(made) == 1


def test_an_argument_that_is_handed_on_is_not_copied():
    once, made = counted(lambda dy, x: (lambda: dy, lambda: dy * x))
    for k in range(3):
        dy, x = draw(3, seed=k), draw(3, seed=k + 5)
        first, second = once(dy, x)
        assert first() is dy
        np.testing.assert_allclose(second(), dy * x, rtol=1e-6)
    assert len(made) == 1


def test_functions_of_a_formula_that_looked_at_values():
    def gradient(dy):
        largest = float(dy.max())
        return lambda: dy * largest, lambda: dy + largest

    once, _ = counted(gradient)
    for k in range(3):
        dy = draw(3, seed=k)
        first, second = once(dy)
        np.testing.assert_allclose(first(), dy * dy.max(), rtol=1e-6)
        np.testing.assert_allclose(second(), dy + dy.max(), rtol=1e-6)


# --- which ----------------------------------------------------------------------------------------


def test_settings_may_be_arrays():
    def formula(x, scale, *, condition):
        return np.where(condition, x * scale, x)

    condition = np.array([True, False, True])
    assert_same(formula, [draw(3), 0.5], [draw(3, seed=1), 0.5], condition=condition)


def recorded(*arguments, **settings):
    seen = []
    in_one_pass(lambda *a, **s: seen.append((*a, *s.values())))(*arguments, **settings)
    return any(isinstance(value, Lazy) for value in seen[0])


def test_only_large_arrays_of_floating_point_numbers_are_recorded(monkeypatch):
    assert recorded(draw(2))
    assert recorded(draw(2), draw(1))
    assert not recorded(draw(1))
    assert not recorded(np.arange(5))
    assert not recorded(draw(5), np.arange(5))
    assert not recorded(draw(5), index=np.arange(5))
    assert not recorded(draw(5).astype(np.float16))
    assert not recorded(3.0, None)
    with record_from(100):
        assert not recorded(draw(99))
        assert recorded(draw(100))


def test_without_numba_nothing_is_recorded(monkeypatch):
    monkeypatch.setattr("minicnn_kernels.one_pass.can_compile", lambda: False)
    assert not recorded(draw(5))


def test_a_formula_within_a_formula_is_part_of_its_expression():
    inner = in_one_pass(lambda x: x * 2)
    outer = in_one_pass(lambda x: inner(x) if isinstance(inner(x), Lazy) else None)
    np.testing.assert_array_equal(outer(np.ones(3, np.float32)), np.full(3, 2))
