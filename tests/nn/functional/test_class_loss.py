from __future__ import annotations

import math

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.errors import ArgumentError, DTypeError, GradientError, IndexOutOfRange, ShapeError
from minicnn.nn.functional import (
    cross_entropy,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
)
from minicnn.tensor import Tensor
from minicnn_kernels.pointwise import record_from

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


def test_the_mean_over_ignored_samples_only_is_nan_without_a_gradient(torch):
    def gradient_of(m, compute):
        x = m.ones((2, 3), requires_grad=True)
        loss = compute(m.nn.functional, x, m.tensor([-100, -100]))
        loss.backward()
        return np.isnan(loss.item()), x.grad.tolist()

    for compute in (
        lambda f, x, t: f.cross_entropy(x, t),
        lambda f, x, t: f.cross_entropy(x, t, label_smoothing=0.1),
        lambda f, x, t: f.nll_loss(x, t),
    ):
        assert gradient_of(minicnn, compute) == gradient_of(torch, compute)
        assert gradient_of(minicnn, compute) == (True, [[0.0] * 3] * 2)


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


@pytest.mark.parametrize("target", [np.zeros(0, int), np.zeros((0, 0))], ids=["label", "share"])
def test_nothing_of_no_class(target):
    x = Tensor(np.zeros((0, 0)))
    assert np.isnan(cross_entropy(x, target, label_smoothing=0.1).item())


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
@pytest.mark.parametrize("shape", [(3,), (4, 1), ()])
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


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, float("nan")])
def test_label_smoothing_is_a_share(smoothing):
    with pytest.raises(ArgumentError, match=f"label_smoothing must be in .0, 1., got {smoothing}"):
        cross_entropy(Tensor(LOGITS), LABELS, label_smoothing=smoothing)


# --- class probabilities --------------------------------------------------------------------------


def test_a_certain_probability_is_a_label():
    certain = np.eye(3)[LABELS]
    for settings in ({}, {"label_smoothing": 0.2}, {"reduction": "none"}):
        ours = cross_entropy(Tensor(LOGITS), Tensor(certain), **settings)
        np.testing.assert_allclose(
            ours.array, cross_entropy(Tensor(LOGITS), LABELS, **settings).array
        )


def test_probabilities_have_a_gradient_of_their_own():
    target = leaf(np.full((4, 3), 1 / 3))
    cross_entropy(Tensor(LOGITS), target, reduction="sum").backward()
    expected = [[-math.log(p) for p in probabilities(row)] for row in LOGITS]
    np.testing.assert_allclose(target.grad.array, expected)


def test_the_mean_over_probabilities_is_not_weighted():
    certain = np.eye(3)[LABELS]
    total = cross_entropy(Tensor(LOGITS), certain, WEIGHT, reduction="sum").item()
    assert cross_entropy(Tensor(LOGITS), certain, WEIGHT).item() == pytest.approx(total / 4)


def test_probabilities_of_one_sample():
    x, target = Tensor(LOGITS[0]), np.array([0.2, 0.3, 0.5])
    expected = -np.dot(target, np.log(probabilities(LOGITS[0])))
    assert cross_entropy(x, target).item() == pytest.approx(expected)


def test_a_label_of_one_sample_may_stand_in_a_list():
    assert (
        cross_entropy(Tensor(LOGITS[0]), [2]).item()
        == cross_entropy(Tensor(LOGITS[0]), np.array(2)).item()
    )


# --- weights --------------------------------------------------------------------------------------


def test_a_mean_without_weight_is_nan():
    x, weight = Tensor(LOGITS), np.array([0.0, 1.0, 0.0])
    labels = np.array([0, 2, 0, 2])
    assert np.isnan(cross_entropy(x, labels, weight).item())
    assert np.isnan(nll_loss(x, labels, weight).item())
    assert cross_entropy(x, labels, weight, reduction="sum").item() == 0


def test_what_is_ignored_weighs_nothing():
    kept = cross_entropy(Tensor(LOGITS[[0, 2]]), [2, 1], WEIGHT).item()
    assert cross_entropy(Tensor(LOGITS), [2, -100, 1, -100], WEIGHT).item() == pytest.approx(kept)


def test_the_gradient_of_an_ignored_sample_is_0():
    x = leaf(LOGITS)
    cross_entropy(x, [2, -100, 0, -100], WEIGHT).backward()
    assert x.grad.array.any(axis=1).tolist() == [True, False, True, False]


# --- margins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin_loss_by_definition(p):
    expected = [
        sum(
            WEIGHT[t] * max(0, 0.5 - row[t] + row[c]) ** p / 3
            for c in range(3) if c != t
        )
        for row, t in zip(LOGITS, LABELS, strict=True)
    ]  # fmt: skip
    ours = multi_margin_loss(Tensor(LOGITS), LABELS, p, 0.5, WEIGHT, reduction="none")
    np.testing.assert_allclose(ours.array, expected)


def test_the_margin_over_no_samples():
    x = Tensor(np.zeros((0, 3)))
    assert multi_margin_loss(x, np.zeros(0, int), reduction="none").shape == (0,)
    assert multilabel_margin_loss(x, np.zeros((0, 3), int), reduction="sum").item() == 0


@pytest.mark.parametrize("labels", [[2, 0, -1], [-1, 0, 1], [1, 1, -1], [2, 1, 0]])
def test_multilabel_margin_loss_by_definition(labels):
    row = LOGITS[0]
    listed = labels[: labels.index(-1)] if -1 in labels else labels
    expected = sum(
        max(0, 1 - row[j] + row[c]) / 3 for j in listed for c in range(3) if c not in listed
    )
    ours = multilabel_margin_loss(Tensor(row), np.array(labels))
    assert ours.item() == pytest.approx(expected)


def test_multilabel_soft_margin_loss_by_definition():
    target = np.array([[1, 0, 1]] * 4)
    sure = 1 / (1 + np.exp(-LOGITS))
    expected = -(WEIGHT * np.log(np.where(target, sure, 1 - sure))).mean(axis=1)
    ours = multilabel_soft_margin_loss(Tensor(LOGITS), target, WEIGHT, reduction="none")
    np.testing.assert_allclose(ours.array, expected)


# --- refused as by torch --------------------------------------------------------------------------


def x(m):
    return m.tensor(LOGITS)


def F(m):
    return m.nn.functional


REFUSALS = [
    refused("whole numbers as probabilities",
            lambda m: F(m).cross_entropy(x(m), m.tensor(np.ones((4, 3), int))), "probabilities"),
    refused("labels to ignore among probabilities",
            lambda m: F(m).cross_entropy(x(m), x(m), ignore_index=1), "ignore_index=1"),
    refused("whole logits", lambda m: F(m).cross_entropy(m.tensor(LABELS), m.tensor(1)), "int64"),
    refused("a single number", lambda m: F(m).nll_loss(m.tensor(1.0), m.tensor(0)), "single"),
    refused("floating labels",
            lambda m: F(m).nll_loss(x(m), m.tensor([0.0, 1.0, 1.0, 0.0])), "class indices"),
    refused("a label too large",
            lambda m: F(m).cross_entropy(x(m), m.tensor([0, 1, 3, 0])), "target 3", "[0, 3)"),
    refused("no classes",
            lambda m: F(m).cross_entropy(m.zeros(2, 0), m.tensor([0, 0])), "[0, 0)"),
    refused("weights of too few classes",
            lambda m: F(m).nll_loss(x(m), m.tensor(LABELS), m.ones(2)), "weight", "(3,)"),
    refused("an unknown reduction",
            lambda m: F(m).nll_loss(x(m), m.tensor(LABELS), reduction="avg"), "avg"),
    refused("p = 3", lambda m: F(m).multi_margin_loss(x(m), m.tensor(LABELS), 3), "p must be"),
    refused("a margin for too few labels",
            lambda m: F(m).multi_margin_loss(x(m), m.tensor([0, 1])), "(4,)"),
    refused("a margin for no class",
            lambda m: F(m).multi_margin_loss(x(m), m.tensor([0, 1, 3, 0])), "target 3"),
    refused("a margin for a label below 0",
            lambda m: F(m).multi_margin_loss(x(m), m.tensor([0, 1, -1, 0])), "target -1"),
    refused("margins of images",
            lambda m: F(m).multi_margin_loss(m.zeros(2, 3, 4), m.tensor([0, 0])), "(N, C)"),
    refused("margins of no classes",
            lambda m: F(m).multi_margin_loss(m.zeros(2, 0), m.tensor([0, 0])), "C > 0"),
    refused("margins with floating labels",
            lambda m: F(m).multi_margin_loss(x(m), m.zeros(4)), "integers"),
    refused("lists of labels too short",
            lambda m: F(m).multilabel_margin_loss(x(m), m.tensor([[0, 1]] * 4)), "(4, 2)"),
    refused("a label after the end that is no class",
            lambda m: F(m).multilabel_margin_loss(x(m), m.tensor([[0, -1, 7]] * 4)), "target 7"),
    refused("a label of -2",
            lambda m: F(m).multilabel_margin_loss(x(m), m.tensor([[0, -2, 1]] * 4)), "target -2"),
    refused("many answers to one number",
            lambda m: F(m).multilabel_soft_margin_loss(m.tensor(1.0), m.tensor(1.0)), "(..., C)"),
    refused("answers of another size",
            lambda m: F(m).multilabel_soft_margin_loss(x(m), m.ones(2)), "target (2,)"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_what_torch_refuses_is_refused(refusal, torch):
    refusal.check(torch)


@pytest.mark.parametrize("labels", [[2, -100, 1, 0], [-100] * 4], ids=["some", "none"])
def test_a_mean_on_a_card_has_the_type_of_the_input(card, labels):
    found, labels = [], minicnn.tensor(labels)
    for device in ("cpu", "cuda"):
        x = minicnn.tensor(np.float32(LOGITS), device=device, requires_grad=True)
        with record_from(2**40):  # compiling takes long
            y = cross_entropy(x, labels.to(device))
            y.backward()
        assert y.dtype == np.float32
        found.append([y.detach().cpu().array, x.grad.cpu().array])
    for expected, value in zip(*found, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)


def test_weighted_losses_on_a_card_stay_bfloat16(card):
    x = minicnn.tensor(np.float32(LOGITS)).to("cuda").bfloat16().requires_grad_()
    labels = minicnn.tensor([2, -100, 1, 0], device="cuda")
    with record_from(2**40):
        y = cross_entropy(x, labels, reduction="none")
        y.sum().backward()
    assert y.dtype == x.grad.dtype == "bfloat16"
