from __future__ import annotations

import pytest
from refusals import refused

import minicnn
from minicnn.nn import functional as F


def test_one_hot_by_definition():
    y = F.one_hot(minicnn.tensor([[0, 2], [1, 1]]), 4)
    assert y.shape == (2, 2, 4)
    assert y.sum(-1).tolist() == [[1, 1], [1, 1]]
    assert y.argmax(-1).tolist() == [[0, 2], [1, 1]]


def test_one_hot_of_nothing_and_of_one_label():
    assert F.one_hot(minicnn.zeros(0).long(), 3).shape == (0, 3)
    assert F.one_hot(minicnn.tensor(1)).tolist() == [0, 1]


def one_hot(m, labels, *classes):
    return m.nn.functional.one_hot(labels, *classes)


REFUSALS = [
    refused("a label too large", lambda m: one_hot(m, m.tensor([0, 2]), 2), "2 is not in [0, 2)"),
    refused("a negative label", lambda m: one_hot(m, m.tensor([0, -1])), "-1"),
    refused("no labels", lambda m: one_hot(m, m.zeros(0).long()), "num_classes"),
    refused("no classes", lambda m: one_hot(m, m.tensor([0]), 0)),
    refused("fractions", lambda m: one_hot(m, m.ones(2)), "float32"),
    refused("short integers", lambda m: one_hot(m, m.ones(2).to(m.int32)), "int32"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)
