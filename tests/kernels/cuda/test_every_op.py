"""Every operation and loss on arrays of the card, against the CPU, without a hidden copy."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from numpy.testing import assert_allclose
from rows_on_card import moved, results

from minicnn import Tensor
from minicnn.testing.cases import CASES, PLAIN
from minicnn.testing.cases.case import repeatable
from minicnn_kernels.pointwise import record_from

WAITS = {
    "allclose": "its result is a bool of Python",
    "argwhere": "the size of its result depends on values",
    "bincount": "the size of its result depends on values",
    "ctc_loss": "lengths and labels are checked, and said to the card, by the host",
    "gumbel_softmax": "the host draws its numbers",
    "equal": "its result is a bool of Python",
    "masked_scatter": "it counts the values that it needs",
    "masked_select": "the size of its result depends on values",
    "multilabel_margin_loss": "it lists all pairs of labels",
    "new_tensor": "its numbers come from the host",
    "nonzero": "the size of its result depends on values",
    "one_hot": "it looks for the largest label",
    "repeat_interleave": "the size of its result depends on values",
    "rrelu": "the host draws its numbers",
    "unique": "the size of its result depends on values",
}
"""The functions that ask the card for values, and why."""

ON_HOST = {
    "index: columns", "index: grid", "index: pairs", "integer tensor", "list", "mask",
    "tuple in a tuple",
}  # fmt: skip
"""Words for an index whose positions are told, or asked for, by the host."""


def waits(row):
    """Say whether a row needs values on the host."""
    named = {row.op, row.through, *row.names}
    return bool(named & WAITS.keys()) or any(word in str(row) for word in ON_HOST)


def first_of_each(rows):
    """Return a row for each operation, and for each function that calls it."""
    return list({(row.op, row.through): row for row in reversed(rows)}.values())


def computed(function, arrays, learn):
    """Return the results of a row, and its inputs with their gradients."""
    xs = [Tensor(array, requires_grad=learn) for array in arrays]
    ys = results(function(*xs))
    for y in ys:
        if y.requires_grad:
            steps = np.arange(y.array.size, like=y.array)
            y.backward(Tensor(np.cos(steps).reshape(y.shape).astype(y.dtype)), retain_graph=True)
    return ys, xs


def check(card, row, dtype):
    """Compare a row on the card with the CPU; the second time nothing may cross."""
    learn = row not in PLAIN
    arrays = [array.astype(dtype) for array in row.arrays()]
    compute = repeatable(computed)
    ys, xs = compute(row.function, arrays, learn)
    function, there = moved(card, row.function), [card.array(array) for array in arrays]
    compute(function, there, learn)  # takes its tables to the card
    with card.copies() if waits(row) else card.no_copies():
        found, inputs = compute(function, there, learn)
    assert [y.device for y in found] == ["cuda:0"] * len(ys)
    close = {"rtol": 1e-9, "atol": 1e-12} if dtype == np.float64 else {"rtol": 2e-4, "atol": 2e-5}
    for expected, y in zip(ys, found, strict=True):
        assert y.dtype == expected.dtype
        assert_allclose(y.detach().cpu().array, expected.array, **close)
    for expected, x in zip(xs, inputs, strict=True):
        if expected.grad is None:
            assert x.grad is None
        else:
            assert x.grad.device == "cuda:0"
            assert_allclose(x.grad.cpu().array, expected.grad.array, **close)


@pytest.mark.parametrize("row", first_of_each([*CASES, *PLAIN]), ids=str)
def test_an_operation(card, row):
    """Compute formulas step by step: compiled for the emulation, each takes half a second."""
    with record_from(2**40):
        check(card, row, np.float64)


@pytest.mark.parametrize("row", [row for row in CASES if row.through == "cross_entropy"], ids=str)
def test_cross_entropy_in_single_precision(card, row):
    check(card, row, np.float32)


@pytest.mark.slow_emulation
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("row", [*CASES, *PLAIN], ids=str)
def test_every_row(card, row, dtype):
    """Compute formulas step by step in float64, and compiled in float32."""
    with record_from(2**40) if dtype == np.float64 else nullcontext():
        check(card, row, dtype)
