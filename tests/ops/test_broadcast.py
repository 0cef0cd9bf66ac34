from __future__ import annotations

import numpy as np
import pytest
from geometries import integers
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import broadcastable_shapes
from refusals import refused

import minicnn
from minicnn.errors import ShapeError
from minicnn.ops.broadcast import broadcast_to, sum_to, unbroadcast
from minicnn.tensor import Tensor

SHAPE = (2, 4, 3)
smaller = broadcastable_shapes(SHAPE, max_dims=3, max_side=4).filter(
    lambda s: np.broadcast_shapes(s, SHAPE) == SHAPE
)


@given(smaller)
def test_to_repeat_and_to_add_up_are_adjoint(shape):
    x, y = integers(shape), integers(SHAPE, seed=1)
    assert (broadcast_to(x, SHAPE) * y).sum() == (x * sum_to(y, shape)).sum()


@given(smaller)
def test_sum_to_by_definition(shape):
    x = integers(SHAPE)
    expected = np.zeros(shape)
    for position in np.ndindex(SHAPE):
        last = position[len(SHAPE) - len(shape) :]
        expected[tuple(0 if n == 1 else i for i, n in zip(last, shape, strict=True))] += x[position]
    np.testing.assert_array_equal(sum_to(x, shape), expected)


@given(st.sampled_from([(3,), (4, 1), (1, 1, 1), ()]))
def test_broadcast_to_looks_at_the_same_memory(shape):
    x = integers(shape)
    y = broadcast_to(x, SHAPE)
    np.testing.assert_array_equal(y, np.ones(SHAPE) * x)
    assert np.shares_memory(x, y)
    assert not y.flags.writeable


def test_summing_over_nothing_gives_zeros():
    assert sum_to(np.ones((0, 3)), (1, 3)).tolist() == [[0, 0, 0]]


def test_unbroadcast_leaves_a_gradient_that_fits():
    g = np.ones((2, 3))
    assert unbroadcast(g, np.zeros((2, 3))) is g
    assert unbroadcast(g, np.zeros(3)).tolist() == [2, 2, 2]


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"broadcast_to: \(2,\) does not expand to \(3,\)"):
        broadcast_to(Tensor(np.ones(2)), (3,))


def test_sizes_of_minus_1_are_kept():
    assert broadcast_to(np.ones((3, 1)), (2, -1, 4)).shape == (2, 3, 4)


REFUSALS = [
    refused("a new size -1", lambda m: m.broadcast_to(m.ones(2), (-1, 2)), "(-1, 2)"),
    refused("less dimensions", lambda m: m.broadcast_to(m.ones(2, 2), (2,)), "(2, 2)"),
    refused("a size of -2", lambda m: m.broadcast_to(m.ones(1), (-2,)), "-2"),
    refused("nothing in common", lambda m: m.broadcast_tensors(m.ones(2), m.ones(3)), "(3,)"),
    refused("no common shape", lambda m: m.broadcast_shapes((2,), (3,)), "(3,)"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)


def test_a_recorded_gradient_of_many_values_is_added_up():
    a, b = minicnn.ones(300, 400, requires_grad=True), minicnn.ones(400, requires_grad=True)
    (minicnn.tanh(a) + b).sum().backward()
    np.testing.assert_array_equal(b.grad.numpy(), np.full(400, 300, np.float32))
    c = minicnn.ones(1, requires_grad=True)
    (a.detach() * c).sum().backward()
    assert c.grad.item() == 120_000
