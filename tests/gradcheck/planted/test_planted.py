"""The set as a whole: large enough, every cause and family covered, every pair built anew."""

from collections import Counter
from inspect import getsource

import numpy as np
import pytest
from planted_checks import wrong_and_right

from minicnn.gradcheck.causes import CAUSES
from minicnn.gradcheck.planted import (
    FAMILIES,
    all_planted,
    all_tricky,
    normal,
    planted,
    positive,
)

EVERY = [*all_planted(), *all_tricky()]


def test_the_set_is_large_and_names_are_unique():
    assert len(all_planted()) >= 85
    assert len(all_tricky()) >= 32
    assert max(Counter(case.name for case in EVERY).values()) == 1


def test_every_family_and_every_cause_is_covered():
    assert {case.family for case in all_planted()} == set(FAMILIES)
    used = Counter(cause for case in all_planted() for cause in case.causes)
    assert set(used) == set(CAUSES)
    assert min(used.values()) >= 2
    assert all(case.causes == () for case in all_tricky())


def test_both_styles_and_several_outputs_occur():
    cached = [case for case in all_planted() if "cache" in getsource(case.build)]
    several = [case for case in all_planted() if "(d1: Array, d2" in getsource(case.build)]
    assert len(cached) >= 8
    assert several


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_a_pair_is_described_small_and_built_anew(case):
    first, second = case.build(), case.build()
    assert case.description.endswith(".")
    for a, b in zip(first.inputs, second.inputs, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.size <= 150
        assert not np.shares_memory(a, b)


def some_elements(wrong, right):
    same = np.isclose(wrong, right, rtol=1e-9)
    return same.any() and not same.all()


def one_factor(wrong, right):
    return np.allclose(wrong, right * np.vdot(wrong, right) / np.vdot(right, right), rtol=1e-9)


SHOWS = {
    "sign": lambda wrong, right: np.allclose(wrong, -right),
    "factor": one_factor,
    "zero": lambda wrong, right: not wrong.any(),
    "none": lambda wrong, right: wrong is None,
    "shape": lambda wrong, right: wrong.shape != right.shape,
    "broadcast": lambda wrong, right: (
        wrong.size > right.size and np.isclose(wrong.sum(), right.sum())
    ),
    "partial": some_elements,
    "left-over": some_elements,
    "ties": some_elements,
    "not-finite": lambda wrong, right: not np.isfinite(wrong).all() and np.isfinite(right).all(),
}
SINGLE = [case for case in all_planted() if len(case.causes) == 1 and case.causes[0] in SHOWS]


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name)
def test_the_difference_is_of_the_named_kind(case):
    differences = wrong_and_right(case)
    assert differences
    for wrong, right in differences:
        assert SHOWS[case.causes[0]](wrong, right)


def test_swapped_gradients_are_those_of_other_inputs():
    for case in all_planted():
        if case.causes == ("swapped",):
            wrong, right = zip(*wrong_and_right(case), strict=True)
            assert all(any(np.allclose(a, b) for b in right) for a in wrong)


def test_unknown_and_missing_causes_are_refused():
    with pytest.raises(ValueError, match="keys of CAUSES"):
        planted("gremlins")
    with pytest.raises(ValueError, match="one at least"):
        planted()


def test_inputs_are_repeatable_and_differ_from_each_other():
    for draw in (normal, positive):
        a, b = draw((50,), (50,))
        np.testing.assert_array_equal(draw((50,))[0], a)
        assert not np.array_equal(a, b)
        assert not np.array_equal(draw((50,), seed=1)[0], a)
    (values,) = positive((50,))
    assert values.min() >= 0.5
    assert values.max() < 2
