"""What is said of a result without computing it, beside the result."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.arguments import noting, owner
from minicnn.pointwise import PointwiseOp
from minicnn.summaries.hollow import SHAPES, HollowCalls, hollow
from minicnn.tensor import Tensor
from minicnn.testing.operations import cases_of, operations

NAMES = [name for name, op in operations().items() if op in SHAPES or isinstance(op, PointwiseOp)]


def test_an_array_of_any_size_takes_no_memory():
    x = hollow((4000, 3000, 2000), np.float64)
    assert x.shape == (4000, 3000, 2000)
    assert x.nbytes == 8 * x.size
    assert not x[17, 5].any()


def test_views_share_an_owner_and_others_do_not():
    x = hollow((2, 3, 4), np.float32)
    assert owner(x.reshape(6, 4)) is owner(x.transpose(2, 0, 1)) is owner(x)
    assert owner(hollow((2, 3, 4), np.float32)) is not owner(x)


@pytest.mark.parametrize("name", NAMES)
def test_results_have_the_shape_and_type_of_those_that_are_computed(name):
    for case in cases_of(name):
        arrays = case.arrays()
        expected = case.function(*(Tensor(x) for x in arrays))
        with noting(HollowCalls()):
            found = case.function(*(Tensor(hollow(x.shape, x.dtype)) for x in arrays))
        if isinstance(expected, tuple):
            expected, found = expected[0], found[0]
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), str(case)


def test_whole_numbers_are_computed():
    with noting(HollowCalls()) as noted:
        minicnn.arange(3) + 1
    assert noted[0].result.shape == (3,)


def test_a_view_of_a_hollow_array_stays_one_and_other_results_are_new():
    x = Tensor(hollow((2, 6), np.float32))
    with noting(HollowCalls()) as noted:
        _ = x.reshape(3, 4).relu().T
    view, new, turned = (call.result for call in noted)
    assert owner(view) is x.array
    assert owner(new) is new
    assert owner(turned) is new
    assert new.strides == (0, 0)
