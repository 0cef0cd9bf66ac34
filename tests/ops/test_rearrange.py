from __future__ import annotations

import numpy as np
import pytest
from geometries import integers
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

import minicnn
from minicnn.ops.rearrange import sliding, sliding_sum
from minicnn.tensor import Tensor

X = np.arange(24.0).reshape(2, 3, 4)


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-3, 2)), min_size=1, max_size=3))
def test_roll_is_numpys(moves):
    shifts, dims = zip(*moves, strict=True)
    np.testing.assert_array_equal(Tensor(X).roll(shifts, dims).array, np.roll(X, shifts, dims))


@pytest.mark.parametrize("k", range(-5, 6))
@pytest.mark.parametrize("dims", [(0, 1), (2, 0), (-1, 1)])
def test_rot90_is_numpys(k, dims):
    np.testing.assert_array_equal(Tensor(X).rot90(k, dims).array, np.rot90(X, k, dims))


@pytest.mark.parametrize("counts", [(2,), (1, 2), (2, 1, 1, 3), (0, 1, 1)])
def test_tile_is_numpys(counts):
    np.testing.assert_array_equal(minicnn.tile(Tensor(X), counts).array, np.tile(X, counts))


@pytest.mark.parametrize("dim", [None, 0, 1, -1])
@pytest.mark.parametrize("repeats", [0, 1, 3])
def test_repeat_interleave_is_numpys(dim, repeats):
    y = minicnn.repeat_interleave(Tensor(X), repeats, dim)
    np.testing.assert_array_equal(y.array, np.repeat(X, repeats, dim))


def test_repeat_interleave_by_numbers():
    y = Tensor(X).repeat_interleave(minicnn.tensor([2, 0, 1]), 1, output_size=3)
    np.testing.assert_array_equal(y.array, X[:, [0, 0, 2]])
    assert minicnn.repeat_interleave(minicnn.tensor([1, 0, 3])).tolist() == [0, 2, 2, 2]


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 4))
def test_windows_by_definition_and_their_adjoint(length, size, step):
    size = min(size, length)
    x = integers((2, length))
    windows = sliding(x, 1, size, step)
    starts = range(0, length - size + 1, step)
    np.testing.assert_array_equal(
        windows, np.array([[row[i : i + size] for i in starts] for row in x]).reshape(windows.shape)
    )
    v = integers(windows.shape, seed=1)
    assert (windows * v).sum() == (x * sliding_sum(v, x.shape, 1, size, step)).sum()


REFUSALS = [
    refused("more shifts", lambda m: m.ones(2, 2).roll((1, 2), 0), "(1, 2)"),
    refused("more dims", lambda m: m.ones(2, 2).roll(1, (0, 1))),
    refused("no shift", lambda m: m.ones(2).roll(())),
    refused("roll a single value along", lambda m: m.roll(m.tensor(1.0), 1, 0)),
    refused("roll beyond", lambda m: m.ones(2).roll(1, 1)),
    refused("turn a vector", lambda m: m.rot90(m.ones(3)), "(3,)"),
    refused("turn in one dimension", lambda m: m.rot90(m.ones(2, 2), 1, (0, -2)), "different"),
    refused("turn in three", lambda m: m.rot90(m.ones(2, 2), 1, (0, 1, 0))),
    refused("fliplr of a vector", lambda m: m.fliplr(m.ones(2))),
    refused("flipud of a single value", lambda m: m.flipud(m.tensor(1.0))),
    refused("repeat less dimensions", lambda m: m.ones(2, 2).repeat(2), "(2, 2)"),
    refused("repeat -1 times", lambda m: m.ones(2).repeat(-1)),
    refused("tile -1 times", lambda m: m.ones(2).tile(-1)),
    refused("interleave -1 times", lambda m: m.repeat_interleave(m.ones(2), -1, 0), "-1"),
    refused("interleave half", lambda m: m.repeat_interleave(m.ones(2), m.tensor([0.5]), 0)),
    refused("interleave by a matrix",
            lambda m: m.repeat_interleave(m.ones(2), m.tensor([[1, 2]]), 0), "(1, 2)"),
    refused("too few repeats", lambda m: m.ones(3).repeat_interleave(m.tensor([1, 2]), 0)),
    refused("another output size",
            lambda m: m.ones(3).repeat_interleave(m.tensor([1, 2, 0]), 0, output_size=4), "4"),
    refused("windows too wide", lambda m: m.ones(3).unfold(0, 4, 1), "4"),
    refused("no step", lambda m: m.ones(3).unfold(0, 1, 0)),
    refused("windows beyond", lambda m: m.ones(3).unfold(1, 1, 1), "dimension 1"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)


COPIES = {
    "flip": lambda x: x.flip(0),
    "flip nothing": lambda x: x.flip(()),
    "fliplr": lambda x: x.fliplr(),
    "flipud": lambda x: x.flipud(),
    "rot90": lambda x: x.rot90(),
    "rot90 by nothing": lambda x: x.rot90(4),
    "repeat": lambda x: x.repeat(1, 1),
    "tile": lambda x: x.tile(1),
    "repeat_interleave": lambda x: x.repeat_interleave(1, 0),
    "repeat_interleave, flat": lambda x: x.repeat_interleave(1),
    "diff": lambda x: x.diff(n=0),
    "diag": lambda x: x.diag(),
    "one value repeated": lambda x: x[:1, :1].repeat(1, 3),
}


@pytest.mark.parametrize("name", COPIES)
def test_the_result_is_a_copy_that_may_be_written_to(name):
    x = minicnn.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert set(COPIES[name](x).zero_().flatten().tolist()) == {0.0}
    assert x.tolist() == [[1, 2], [3, 4]]
