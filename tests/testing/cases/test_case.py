from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import minicnn
from minicnn.testing.cases.case import (
    Case,
    Positive,
    both,
    distinct_arrays,
    functional,
    layer,
    plain,
    positive,
    repeatable,
)


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


def test_functional_calls_the_function_of_that_name_with_the_settings():
    case = functional("pad_with", "one side", "pad", (2,), pad=(1, 0), value=7.0)
    np.testing.assert_array_equal(case.function(minicnn.tensor([1.0, 2.0])).numpy(), [7, 1, 2])
    library = SimpleNamespace(pad=lambda x, **settings: (x, settings))
    torch = SimpleNamespace(nn=SimpleNamespace(functional=library))
    assert case.torch(torch, "x") == ("x", {"pad": (1, 0), "value": 7.0})
    assert case.through == "pad"


def test_a_row_knows_the_names_it_is_written_with():
    case = both("index", "turned", lambda m, x: m.rot90(x, 1, (0, 1)).flip(0), (2, 3))
    assert {"index", "rot90", "flip"} <= case.names
    assert {"pad", "pad_with"} <= functional("pad_with", "n", "pad", (2,), pad=(1, 0)).names


def test_a_random_function_is_made_repeatable():
    state = minicnn.random.default.get_state()
    draw = repeatable(lambda x: minicnn.rand(3))
    assert draw(0).tolist() == draw(0).tolist()
    assert minicnn.random.default.get_state() == state


def test_a_plain_row_and_a_layer():
    case = plain("argmax", "rows", lambda m, x: m.argmax(x, 1), (2, 3))
    assert case.public
    assert case.function(np.array([[1.0, 3.0, 2.0]])).tolist() == [1]
    row = layer("padded", lambda nn: nn.Conv2d(1, 2, 3), (1, 1, 4, 4), torch=False, order=1)
    assert (row.kind, str(row), row.torch, row.order) == ("Conv2d", "Conv2d: padded", False, 1)
    assert isinstance(row.module(), minicnn.nn.Conv2d)
