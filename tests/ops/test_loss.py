from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError, DTypeError, GradientError, IndexOutOfRange, ShapeError
from minicnn.ops.loss import cross_entropy, mse_loss, nll_loss
from minicnn.tensor import Tensor

LOGITS = np.random.default_rng(5).normal(size=(4, 3))
LABELS = np.array([2, 0, 1, 2])
WEIGHT = np.array([0.5, 2.0, 1.5])
REDUCE = {"none": lambda v: v, "mean": np.mean, "sum": np.sum}


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


def probabilities(row):
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


# --- values by definition -------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCE)
def test_cross_entropy(reduction):
    losses = [-math.log(probabilities(row)[t]) for row, t in zip(LOGITS, LABELS, strict=True)]
    result = cross_entropy(Tensor(LOGITS), LABELS, reduction=reduction)
    np.testing.assert_allclose(result.array, REDUCE[reduction](losses))


@pytest.mark.parametrize("reduction", REDUCE)
def test_nll_loss(reduction):
    losses = [-row[t] for row, t in zip(LOGITS, LABELS, strict=True)]
    result = nll_loss(Tensor(LOGITS), minicnn.tensor(LABELS), reduction=reduction)
    np.testing.assert_allclose(result.array, REDUCE[reduction](losses))


@pytest.mark.parametrize("reduction", REDUCE)
def test_mse_loss(reduction):
    losses = [[(a - 1) ** 2 for a in row] for row in LOGITS]
    result = mse_loss(Tensor(LOGITS), Tensor(np.ones((4, 3))), reduction)
    np.testing.assert_allclose(result.array, REDUCE[reduction](losses))


def test_the_mean_is_weighted_by_the_classes_that_occur():
    losses = [-WEIGHT[t] * LOGITS[n, t] for n, t in enumerate(LABELS)]
    result = nll_loss(Tensor(LOGITS), LABELS, minicnn.tensor(WEIGHT))
    assert result.item() == pytest.approx(sum(losses) / sum(WEIGHT[t] for t in LABELS))


def test_label_smoothing_is_cross_entropy_against_a_mixture():
    mixture = np.full((4, 3), 0.3 / 3)
    mixture[range(4), LABELS] += 0.7
    expected = [
        -sum(q * math.log(p) for q, p in zip(target, probabilities(row), strict=True))
        for target, row in zip(mixture, LOGITS, strict=True)
    ]
    result = cross_entropy(Tensor(LOGITS), LABELS, label_smoothing=0.3)
    assert result.item() == pytest.approx(np.mean(expected))


def test_the_gradient_of_cross_entropy_is_probability_minus_target():
    x = leaf(LOGITS)
    cross_entropy(x, LABELS).backward()
    expected = np.array([probabilities(row) for row in LOGITS])
    expected[range(4), LABELS] -= 1
    np.testing.assert_allclose(x.grad.array, expected / 4)


@pytest.mark.parametrize("labels", [
    LABELS.tolist(), LABELS.astype(np.uint8), LABELS.astype(np.int32), minicnn.tensor(LABELS),
], ids=["list", "uint8", "int32", "tensor"])  # fmt: skip
def test_labels_come_in_any_integer_type(labels):
    expected = cross_entropy(Tensor(LOGITS), LABELS).item()
    assert cross_entropy(Tensor(LOGITS), labels).item() == expected


def test_float32_stays_float32():
    x = Tensor(LOGITS.astype(np.float32), requires_grad=True)
    for settings in ({}, {"weight": WEIGHT, "label_smoothing": 0.2}, {"reduction": "none"}):
        loss = cross_entropy(x, LABELS, **settings)
        assert loss.dtype == minicnn.grad(loss.sum(), x)[0].dtype == np.float32


# --- far out --------------------------------------------------------------------------------------


def test_confident_logits_do_not_overflow():
    x = leaf([[1e4, 0.0, -1e4]])
    assert cross_entropy(x, [0]).item() == 0
    assert cross_entropy(x, [2]).item() == 2e4


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_what_is_ignored_leaves_no_trace(smoothing):
    x = leaf([[1.0, 2.0, 0.5], [np.nan, -np.inf, np.inf], [0.0, 1.0, 0.0]])
    alone = cross_entropy(x[::2], [1, 2], label_smoothing=smoothing).item()
    settings = {"ignore_index": 7, "label_smoothing": smoothing}
    assert cross_entropy(x, [1, 7, 2], **settings).item() == pytest.approx(alone)
    assert cross_entropy(x, [1, 7, 2], reduction="none", **settings).tolist()[1] == 0


def test_an_ignored_sample_has_no_gradient():
    x = leaf([[1.0, 2.0], [-np.inf, 0.0]])
    (dx,) = minicnn.grad(nll_loss(x, [0, -100]), x)
    assert dx.tolist() == [[-1, 0], [0, 0]]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_mean_of_nothing_is_nan_and_the_sum_0(smoothing):
    for x, labels in ((np.zeros((0, 3)), np.zeros(0, int)), (LOGITS, np.full(4, -100))):
        loss = cross_entropy(Tensor(x), labels, label_smoothing=smoothing)
        assert np.isnan(loss.item())
        total = cross_entropy(Tensor(x), labels, reduction="sum", label_smoothing=smoothing)
        assert total.item() == 0


def test_one_sample():
    alone = cross_entropy(Tensor(LOGITS[0]), minicnn.tensor(2))
    assert alone.shape == ()
    assert alone.item() == pytest.approx(cross_entropy(Tensor(LOGITS[:1]), [2]).item())
    assert np.isnan(cross_entropy(Tensor(LOGITS[0]), np.array(-100)).item())


# --- what is refused ------------------------------------------------------------------------------

each_loss = pytest.mark.parametrize("loss", [cross_entropy, nll_loss], ids=lambda f: f.__name__)


@each_loss
@pytest.mark.parametrize("dtype", [np.float32, np.bool_])
def test_labels_are_integers(loss, dtype):
    with pytest.raises(
        DTypeError, match=f"{loss.__name__}: target must hold class indices"
    ) as error:
        loss(Tensor(LOGITS), LABELS.astype(dtype))
    assert str(np.dtype(dtype)) in str(error.value)


@each_loss
@pytest.mark.parametrize("shape", [(3,), (4, 1), (4, 3), ()])
def test_labels_fit_the_input(loss, shape):
    message = rf"{loss.__name__}: for input \(4, 3\) the target must have shape \(4,\), got"
    with pytest.raises(ShapeError, match=message):
        loss(Tensor(LOGITS), np.zeros(shape, int))


@each_loss
@pytest.mark.parametrize("label", [3, -1, 99])
def test_labels_are_classes(loss, label):
    with pytest.raises(
        IndexOutOfRange, match=rf"{loss.__name__}: target {label} is not in \[0, 3\)"
    ):
        loss(Tensor(LOGITS), [0, 1, label, 2])


@each_loss
@pytest.mark.parametrize("shape", [(2,), (4,), (3, 1), ()])
def test_there_is_a_weight_for_each_class(loss, shape):
    with pytest.raises(ShapeError, match=rf"{loss.__name__}: weight must have shape \(3,\), got"):
        loss(Tensor(LOGITS), LABELS, np.ones(shape))


@each_loss
def test_a_weight_cannot_require_grad(loss):
    with pytest.raises(GradientError, match=f"{loss.__name__}: no gradient flows to weight"):
        loss(Tensor(LOGITS), LABELS, leaf(WEIGHT))


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss, mse_loss], ids=lambda f: f.__name__)
def test_an_unknown_reduction_is_named(loss):
    target = Tensor(LOGITS) if loss is mse_loss else LABELS
    with pytest.raises(
        ArgumentError, match='reduction must be "none", "mean" or "sum", got \'avg\''
    ):
        loss(Tensor(LOGITS), target, reduction="avg")


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, float("nan")])
def test_label_smoothing_is_a_share(smoothing):
    with pytest.raises(ArgumentError, match=f"label_smoothing must be in .0, 1., got {smoothing}"):
        cross_entropy(Tensor(LOGITS), LABELS, label_smoothing=smoothing)


def test_squared_errors_need_one_shape():
    with pytest.raises(ShapeError, match=r"mse_loss: input \(4, 3\) and target \(4,\) must agree"):
        mse_loss(Tensor(LOGITS), Tensor(np.ones(4)))
