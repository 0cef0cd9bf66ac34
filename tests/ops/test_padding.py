from __future__ import annotations

import numpy as np
import pytest
from geometries import integers
from hypothesis import given
from hypothesis import strategies as st

from minicnn.ops.padding import SOURCES, extend, fold_border

NUMPY_NAMES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
each_mode = pytest.mark.parametrize("mode", SOURCES)

WIDTHS = st.tuples(st.integers(0, 2), st.integers(0, 2))


@each_mode
@given(st.tuples(st.integers(3, 5), st.integers(3, 4)), st.tuples(WIDTHS, WIDTHS))
def test_a_border_is_that_of_numpy(mode, shape, widths):
    x = integers(shape)
    np.testing.assert_array_equal(extend(x, widths, mode), np.pad(x, widths, NUMPY_NAMES[mode]))


@each_mode
@given(st.tuples(st.integers(3, 5), st.integers(3, 4)), st.tuples(WIDTHS, WIDTHS))
def test_folding_is_the_adjoint_of_extending(mode, shape, widths):
    x = integers(shape)
    y = extend(x, widths, mode)
    dy = integers(y.shape, seed=1)
    assert (y * dy).sum() == (x * fold_border(dy, widths, mode)).sum()


def test_a_border_may_be_wider_than_the_image():
    x = np.arange(3.0)
    assert extend(x, ((4, 5),), "replicate").tolist() == [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2]
    assert extend(x, ((4, 5),), "circular").tolist() == [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
    assert fold_border(np.ones(12), ((4, 5),), "replicate").tolist() == [5, 1, 6]
    assert fold_border(np.ones(12), ((4, 5),), "circular").tolist() == [4, 4, 4]


@each_mode
def test_other_element_types_keep_theirs(mode):
    for dtype in (np.float32, np.int64, np.uint8, bool):
        y = extend(np.ones((2, 3), dtype), ((1, 1), (0, 2)), mode)
        assert y.dtype == dtype
        assert y.all()


@each_mode
def test_the_upstream_gradient_stays_as_it_is(mode):
    dy = np.ones((5, 4))
    fold_border(dy, ((1, 1), (1, 0)), mode)
    assert (dy == 1).all()
