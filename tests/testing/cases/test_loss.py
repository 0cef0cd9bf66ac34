from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import Tensor
from minicnn.testing.cases.loss import cosine, given, loss, sequence_loss

LABELS = np.array([1, 0])


def test_settings_reach_the_function():
    x = np.log(np.array([[1.0, 3.0], [1.0, 4.0]]))  # softmax: 1/4 3/4, 1/5 4/5
    each = -np.log([3 / 4, 1 / 5])
    plain = loss("softmax_cross_entropy", "name", "cross_entropy", x.shape, LABELS)
    assert plain.function(Tensor(x)).item() == pytest.approx(each.mean())
    weights = np.array([3.0, 1.0])
    weighted = loss(
        "softmax_cross_entropy",
        "name",
        "cross_entropy",
        x.shape,
        LABELS,
        weight=weights,
        reduction="none",
    )
    np.testing.assert_allclose(weighted.function(Tensor(x)).numpy(), each * [1, 3])
    assert (weighted.op, weighted.through) == ("softmax_cross_entropy", "cross_entropy")


def test_shapes_become_inputs_and_arrays_stay_where_they_are():
    row = loss("limit", "name", "margin_ranking_loss", (2,), (2,), np.array([1, -1]), 0.5)
    assert row.inputs == ((2,), (2,))
    assert row.function(Tensor(np.array([3.0, 3.0])), Tensor(np.array([1.0, 2.0]))).item() == 0.75


def test_what_is_given_has_the_type_of_the_inputs():
    x = Tensor(np.zeros(2, np.float32))
    assert given(minicnn, np.zeros(3), x).dtype == np.float32
    assert given(minicnn, np.zeros(3, int), x).dtype == np.int64
    assert given(minicnn, "sum", x) == "sum"


def test_sequences_are_given_as_logits():
    row = (np.array([[1]]), ((1,), (1,)), {"reduction": "none"})
    assert sequence_loss(*row, minicnn, Tensor(np.zeros((1, 1, 4)))).tolist() == [
        pytest.approx(np.log(4))
    ]


def test_the_cosine_of_opposite_vectors_is_far():
    x = np.array([[3.0, 4.0]])
    assert cosine(minicnn, Tensor(x), Tensor(-x)).tolist() == [pytest.approx(2)]
