from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import minicnn
from minicnn.testing.cases.case import Case, Positive, both, distinct_arrays, layer, positive


@pytest.mark.parametrize("shapes", [[(2, 3)], [(4,), (2, 2)], [(1,)], [(3, 3), ()], [(7,)]])
def test_no_two_values_and_no_value_and_0_are_close(shapes):
    arrays = distinct_arrays(shapes, "key")
    assert [array.shape for array in arrays] == shapes
    values = np.concatenate([array.ravel() for array in arrays])
    gap = 4 / (values.size + values.size % 2)
    assert np.abs(values).max() < 2
    assert np.abs(values).min() > 0.29 * gap
    assert np.diff(np.sort(values)).min(initial=np.inf) > 0.59 * gap


def test_both_signs_occur():
    (x,) = distinct_arrays([(6,)], "key")
    assert (x > 0).sum() == (x < 0).sum() == 3


def test_positive_shapes_get_positive_values():
    signed, above = distinct_arrays([(20,), positive(4, 5)], "key")
    assert signed.min() < 0
    assert above.shape == (4, 5)
    assert above.min() >= 0.3
    assert above.max() <= 2.3
    assert isinstance(positive(2), Positive)


def test_shapes_without_values():
    empty, single = distinct_arrays([(0, 3), ()], "key")
    assert empty.shape == (0, 3)
    assert single.shape == ()
    assert distinct_arrays([], "key") == []


def test_another_key_gives_other_values():
    (first,), (second,) = distinct_arrays([(4,)], "a"), distinct_arrays([(4,)], "b")
    assert not np.array_equal(first, second)


def test_a_row_takes_its_key_from_its_whole_name():
    one, other = (Case(op, "n", abs, ((4,),)).arrays()[0] for op in ("a", "b"))
    assert not np.array_equal(one, other)
    assert str(Case("a", "n", abs, ())) == "a: n"


def test_both_hands_out_the_library():
    case = both("double", "a number", lambda m, x: m.mul(x, 2), (3,), through="twice")
    np.testing.assert_array_equal(case.function(np.array([1.0, 2.0])), [2, 4])
    torch = SimpleNamespace(mul=lambda x, y: ("torch", x, y))
    assert case.torch(torch, "x") == ("torch", "x", 2)
    assert case.through == "twice"
    assert case.inputs == ((3,),)


def test_layer_calls_the_function_of_that_name_with_the_settings():
    case = layer("pad_with", "one side", "pad", (2,), pad=(1, 0), value=7.0)
    np.testing.assert_array_equal(case.function(minicnn.tensor([1.0, 2.0])).numpy(), [7, 1, 2])
    functional = SimpleNamespace(pad=lambda x, **settings: (x, settings))
    torch = SimpleNamespace(nn=SimpleNamespace(functional=functional))
    assert case.torch(torch, "x") == ("x", {"pad": (1, 0), "value": 7.0})
    assert case.through == "pad"
