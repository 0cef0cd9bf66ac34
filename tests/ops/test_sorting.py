from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

import minicnn
from minicnn.tensor import Tensor

NAN = [2.0, np.nan, 1.0, np.inf, 2.0, -np.inf]
small = st.lists(st.integers(-3, 3), min_size=1, max_size=12)


@given(small, st.booleans())
def test_equal_values_keep_their_order(values, descending):
    y, indices = minicnn.sort(minicnn.tensor(values), descending=descending)
    expected = sorted(range(len(values)), key=values.__getitem__, reverse=descending)
    assert indices.tolist() == expected
    assert y.tolist() == [values[i] for i in expected]


def test_nan_counts_as_larger_than_every_number():
    x = minicnn.tensor(NAN)
    assert x.argsort().tolist() == [5, 2, 0, 4, 3, 1]
    assert x.argsort(descending=True).tolist() == [1, 3, 0, 4, 2, 5]
    assert x.topk(2).indices.tolist() == [1, 3]
    assert x.topk(2, largest=False).indices.tolist() == [5, 2]
    assert x.kthvalue(6).indices.item() == 1


@given(small, st.data(), st.booleans())
def test_topk_is_the_beginning_of_the_order(values, data, largest):
    k = data.draw(st.integers(0, len(values)))
    y, indices = minicnn.tensor(values).topk(k, largest=largest)
    assert y.tolist() == sorted(values, reverse=largest)[:k]
    assert [values[i] for i in indices.tolist()] == y.tolist()
    assert len(set(indices.tolist())) == k
    unsorted = minicnn.tensor(values).topk(k, largest=largest, sorted=False).values
    assert sorted(unsorted.tolist()) == sorted(y.tolist())


@given(small, st.data())
def test_kthvalue_is_in_the_order(values, data):
    k = data.draw(st.integers(1, len(values)))
    y, index = minicnn.tensor(values).kthvalue(k)
    assert values[index.item()] == y.item() == sorted(values)[k - 1]


def test_gradients_go_where_the_values_stood():
    x = Tensor(np.array([3.0, 1.0, 2.0]), requires_grad=True)
    (x.sort().values * Tensor(np.array([1.0, 10.0, 100.0]))).sum().backward()
    assert x.grad.tolist() == [100, 1, 10]


@given(st.lists(small, min_size=2, max_size=2), small, st.booleans())
def test_a_search_counts_what_is_smaller(sequence, values, right):
    size = min(map(len, sequence))
    rows = np.sort(np.array([row[:size] for row in sequence]), 1)
    wanted = np.array([values, values[::-1]])
    found = minicnn.searchsorted(Tensor(rows), Tensor(wanted), right=right)
    for row, v, y in zip(rows, wanted, found.array, strict=True):
        assert y.tolist() == [int((row <= a).sum() if right else (row < a).sum()) for a in v]
        assert minicnn.bucketize(Tensor(v), Tensor(row), right=right).tolist() == y.tolist()


@given(st.lists(st.integers(0, 5)), st.integers(0, 8))
def test_bincount_counts(numbers, minlength):
    x = Tensor(np.array(numbers, dtype=np.int64))
    length = max(minlength, max(numbers, default=-1) + 1)
    counts = [numbers.count(k) for k in range(length)]
    assert minicnn.bincount(x, minlength=minlength).tolist() == counts
    halves = minicnn.bincount(x, Tensor(np.full(len(numbers), 0.5)), minlength)
    assert halves.tolist() == [count / 2 for count in counts]


def test_bincount_adds_weights_in_their_type():
    x = minicnn.tensor([0, 2, 0])
    assert minicnn.bincount(x, minicnn.ones(3)).dtype == np.float32
    assert minicnn.bincount(x, minicnn.arange(3)).dtype == np.float64


@given(small)
def test_unique_there_and_back(values):
    x = minicnn.tensor(values)
    y, inverse, counts = minicnn.unique(x, return_inverse=True, return_counts=True)
    assert y.tolist() == sorted(set(values))
    assert y[inverse].tolist() == values
    assert counts.tolist() == [values.count(v) for v in y.tolist()]


def test_every_nan_is_another():
    assert len(minicnn.unique(minicnn.tensor([np.nan, 1.0, np.nan]))) == 3


REFUSALS = [
    refused("sort beyond", lambda m: m.sort(m.ones(2), 1), "dimension 1"),
    refused("too many", lambda m: m.topk(m.ones(2), 3), "[0, 2]"),
    refused("less than none", lambda m: m.topk(m.ones(2), -1), "-1"),
    refused("the largest truth", lambda m: m.topk(m.ones(2) > 0, 1), "bool"),
    refused("number 0", lambda m: m.kthvalue(m.ones(2), 0), "[1, 2]"),
    refused("number 3 of 2", lambda m: m.kthvalue(m.ones(2), 3), "3"),
    refused("a number of none", lambda m: m.kthvalue(m.ones(2, 0), 1), "(2, 0)"),
    refused("rows apart", lambda m: m.searchsorted(m.ones(2, 3), m.ones(3)), "(2, 3)"),
    refused("a sequence of one value", lambda m: m.searchsorted(m.tensor(1.0), m.ones(3))),
    refused("two sides",
            lambda m: m.searchsorted(m.ones(2), m.ones(3), side="left", right=True), "left"),
    refused("another side", lambda m: m.searchsorted(m.ones(2), m.ones(3), side="up"), "'up'"),
    refused("a short sorter",
            lambda m: m.searchsorted(m.ones(2), m.ones(3), sorter=m.tensor([0])), "(1,)"),
    refused("a sorter beyond",
            lambda m: m.searchsorted(m.ones(2), m.ones(3), sorter=m.tensor([0, 2])), "[0, 2)"),
    refused("boundaries in rows", lambda m: m.bucketize(m.ones(2), m.ones(2, 2)), "(2, 2)"),
    refused("count fractions", lambda m: m.bincount(m.ones(2)), "float32"),
    refused("count a matrix", lambda m: m.bincount(m.tensor([[1]])), "(1, 1)"),
    refused("count below 0", lambda m: m.bincount(m.tensor([-1]))),
    refused("less than no bins", lambda m: m.bincount(m.tensor([1]), minlength=-1), "-1"),
    refused("few weights", lambda m: m.bincount(m.tensor([1, 1]), m.ones(1)), "(1,)"),
    refused("unique beyond", lambda m: m.unique(m.ones(2), dim=1), "dimension 1"),
    refused("empty slices", lambda m: m.unique(m.ones(2, 0), dim=0), "(2, 0)"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)


@pytest.mark.parametrize("find", [minicnn.sort, lambda x: minicnn.topk(x, 3)], ids=["sort", "topk"])
def test_indices_may_be_changed_before_backward(find):
    x = minicnn.tensor(np.arange(40000.0)[::-1].copy(), requires_grad=True)
    values, indices = find(x)
    indices += 10**6
    values.sum().backward()
    assert x.grad.array.sum() == len(values)
