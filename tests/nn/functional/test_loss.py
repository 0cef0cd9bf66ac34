from __future__ import annotations

import math

import numpy as np
import pytest
from refusals import refused

from minicnn.errors import ShapeError
from minicnn.nn import functional as F
from minicnn.nn.functional._loss import check_broadcast_to, raised_to
from minicnn.tensor import Tensor

RNG = np.random.default_rng(7)
A, B, WEIGHT = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3)), RNG.uniform(0.5, 2, (2, 3))
P, T = RNG.uniform(0.05, 0.95, (2, 3)), np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 1.0]])
SIGNS = np.array([[1, -1, 1], [-1, -1, 1]])
DISTANCE = abs(A - B)


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


def each(name, *inputs, **settings):
    """Return the losses of all elements."""
    arrays = [Tensor(x) if isinstance(x, np.ndarray) else x for x in inputs]
    return getattr(F, name)(*arrays, reduction="none", **settings).array


# --- values by definition -------------------------------------------------------------------------

LOSSES = [
    ("l1_loss", (A, B), {}, DISTANCE),
    ("l1_loss", (A, B), {"weight": WEIGHT}, DISTANCE * WEIGHT),
    ("mse_loss", (A, B), {}, DISTANCE**2),
    ("mse_loss", (A, B), {"weight": WEIGHT}, DISTANCE**2 * WEIGHT),
    ("smooth_l1_loss", (A, B), {"beta": 0.8},
     np.where(DISTANCE < 0.8, DISTANCE**2 / 1.6, DISTANCE - 0.4)),
    ("smooth_l1_loss", (A, B), {"beta": 0}, DISTANCE),
    ("huber_loss", (A, B), {"delta": 0.8, "weight": WEIGHT},
     np.where(DISTANCE <= 0.8, DISTANCE**2 / 2, 0.8 * (DISTANCE - 0.4)) * WEIGHT),
    ("binary_cross_entropy", (P, T, WEIGHT[0]), {},
     -(T * np.log(P) + (1 - T) * np.log(1 - P)) * WEIGHT[0]),
    ("binary_cross_entropy_with_logits", (np.log(P / (1 - P)), T, WEIGHT[:, :1]),
     {"pos_weight": WEIGHT[0]},
     -(WEIGHT[0] * T * np.log(P) + (1 - T) * np.log(1 - P)) * WEIGHT[:, :1]),
    ("kl_div", (np.log(P), WEIGHT), {}, WEIGHT * (np.log(WEIGHT) - np.log(P))),
    ("kl_div", (np.log(P), np.log(WEIGHT)), {"log_target": True},
     WEIGHT * (np.log(WEIGHT) - np.log(P))),
    ("poisson_nll_loss", (A, WEIGHT), {}, np.exp(A) - WEIGHT * A),
    ("poisson_nll_loss", (P, WEIGHT), {"log_input": False}, P - WEIGHT * np.log(P + 1e-8)),
    ("gaussian_nll_loss", (A, B, WEIGHT), {"full": True},
     np.log(2 * math.pi * WEIGHT) / 2 + DISTANCE**2 / (2 * WEIGHT)),
    ("soft_margin_loss", (A, SIGNS), {}, np.log(1 + np.exp(-SIGNS * A))),
    ("hinge_embedding_loss", (A, SIGNS, 0.5), {},
     np.where(SIGNS == 1, A, np.maximum(0, 0.5 - A))),
    ("margin_ranking_loss", (A, B, SIGNS, 0.5), {}, np.maximum(0, -SIGNS * (A - B) + 0.5)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "settings", "expected"), LOSSES)
def test_values(name, inputs, settings, expected):
    np.testing.assert_allclose(each(name, *inputs, **settings), expected, rtol=1e-7)


@pytest.mark.parametrize("name", ["l1_loss", "mse_loss"])
def test_a_weighted_mean_is_divided_by_the_weights(name):
    loss = getattr(F, name)(Tensor(A), Tensor(B), weight=Tensor(WEIGHT))
    assert loss.item() == pytest.approx((each(name, A, B) * WEIGHT).sum() / WEIGHT.sum())


def test_a_weighted_huber_loss_is_divided_by_the_count_as_in_torch():
    loss = F.huber_loss(Tensor(A), Tensor(B), weight=Tensor(WEIGHT))
    assert loss.item() == pytest.approx((each("huber_loss", A, B) * WEIGHT).mean())


def test_a_weight_of_0_has_no_mean():
    assert np.isnan(F.mse_loss(Tensor(A), Tensor(B), weight=Tensor(A * 0)).item())


def test_batchmean_divides_by_the_batch():
    total = each("kl_div", np.log(P), WEIGHT).sum()
    assert F.kl_div(Tensor(np.log(P)), Tensor(WEIGHT), reduction="batchmean").item() == (
        pytest.approx(total / 2)
    )
    one = F.kl_div(Tensor(np.array(-1.0)), Tensor(np.array(1.0)), reduction="batchmean")
    assert one.item() == 1
    nothing = Tensor(np.zeros((0, 3)))
    assert np.isnan(F.kl_div(nothing, nothing, reduction="batchmean").item())


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_the_mean_of_a_divergence_is_over_all_elements(torch):
    ours = F.kl_div(Tensor(np.log(P)), Tensor(WEIGHT))
    theirs = torch.nn.functional.kl_div(torch.tensor(np.log(P)), torch.tensor(WEIGHT))
    assert ours.item() == pytest.approx(theirs.item())


def test_what_cannot_be_adds_nothing_to_a_divergence():
    assert each("kl_div", np.log(P), T * 0).tolist() == np.zeros((2, 3)).tolist()


def test_stirling_is_added_where_the_count_is_more_than_1():
    counts = np.array([0.0, 1.0, 2.0, 20.0])
    target = leaf(counts)
    x = Tensor(np.zeros(4))
    extra = F.poisson_nll_loss(x, target, full=True, reduction="none").array - 1
    assert extra[:2].tolist() == [0, 0]
    np.testing.assert_allclose(extra[2:], [math.lgamma(3), math.lgamma(21)], rtol=0.07)
    F.poisson_nll_loss(x, target, full=True).backward()
    assert np.isfinite(target.grad.array).all()


def test_a_variance_below_eps_can_recover():
    var = leaf([0.0, 4.0])
    F.gaussian_nll_loss(leaf([1.0, 2.0]), leaf([0.0, 0.0]), var, reduction="sum").backward()
    np.testing.assert_allclose(var.grad.array, [0.5 / 1e-6 - 0.5 / 1e-12, 0], rtol=1e-6)


def test_a_variance_may_be_a_number():
    expected = each("gaussian_nll_loss", A, B, np.full((2, 3), 1.5))
    np.testing.assert_allclose(each("gaussian_nll_loss", A, B, 1.5), expected)


def test_a_target_that_is_no_sign_counts_as_both(torch):
    x, target = np.array([0.3, 0.3, 2.0]), np.array([0, 2, 0])
    ours = each("hinge_embedding_loss", x, target)
    theirs = torch.nn.functional.hinge_embedding_loss(
        torch.tensor(x), torch.tensor(target), reduction="none"
    )
    np.testing.assert_allclose(ours, theirs.numpy())


def test_the_margin_loss_of_a_far_score_does_not_overflow():
    x = Tensor(np.float32([-200.0, 200.0]), requires_grad=True)
    losses = F.soft_margin_loss(x, Tensor(np.array([1, 1])), reduction="none")
    assert losses.tolist() == [200, 0]
    losses.sum().backward()
    assert x.grad.tolist() == [-1, 0]


# --- shapes and types -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss"])
def test_a_target_of_another_shape_is_broadcast_with_a_warning(name):
    with pytest.warns(UserWarning, match=rf"{name}: target \(3,\) has another shape") as record:
        losses = each(name, A, B[0])
    assert record[0].filename == __file__ or "functional" in record[0].filename
    np.testing.assert_allclose(losses, each(name, A, np.stack([B[0], B[0]])))


def test_whole_numbers_have_whole_distances():
    losses = each("l1_loss", np.array([1, 5]), np.array([3, 4]))
    assert losses.tolist() == [2, 1]
    assert losses.dtype == np.int64


def test_plain_arrays_give_plain_arrays():
    results = [
        F.mse_loss(A, B), F.huber_loss(A, B, "none"), F.binary_cross_entropy(P, T),
        F.poisson_nll_loss(A, WEIGHT, full=True, reduction="none"), F.soft_margin_loss(A, SIGNS),
    ]  # fmt: skip
    assert not any(isinstance(result, Tensor) for result in results)


def test_what_is_raised_keeps_its_slope():
    x = leaf([-1.0, 0.5, 3.0])
    y = raised_to(x, 1.0)
    assert y.tolist() == [1, 1, 3]
    y.sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(2, 3), (3,), (1, 1), ()])
def test_a_smaller_shape_broadcasts(shape):
    check_broadcast_to("loss", (2, 3), "weight", np.zeros(shape))


@pytest.mark.parametrize("shape", [(2,), (4, 2, 3), (2, 2)])
def test_another_shape_does_not(shape):
    with pytest.raises(ShapeError, match=r"loss: weight .* does not broadcast to input \(2, 3\)"):
        check_broadcast_to("loss", (2, 3), "weight", np.zeros(shape))


# --- refused as by torch --------------------------------------------------------------------------


def f(m):
    return m.nn.functional


REFUSALS = [
    *(
        refused(f"{name} of shapes that do not fit",
                lambda m, name=name: getattr(f(m), name)(m.ones(2, 3), m.ones(2)), name, "(2,)")
        for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div",
                     "poisson_nll_loss", "hinge_embedding_loss", "binary_cross_entropy",
                     "binary_cross_entropy_with_logits", "soft_margin_loss")
    ),
    *(
        refused(f"{name} with weights of another shape",
                lambda m, name=name: getattr(f(m), name)(m.ones(3), m.ones(3), weight=m.ones(1)),
                name, "weight (1,)")
        for name in ("mse_loss", "l1_loss", "huber_loss")
    ),
    refused("delta 0", lambda m: f(m).huber_loss(m.ones(3), m.ones(3), delta=0.0), "delta"),
    refused("beta -1", lambda m: f(m).smooth_l1_loss(m.ones(3), m.ones(3), beta=-1.0), "beta"),
    refused("a reduction", lambda m: f(m).l1_loss(m.ones(3), m.ones(3), reduction="x"), "'x'"),
    refused("the mean of whole numbers",
            lambda m: f(m).l1_loss(m.tensor([1, 2]), m.tensor([1, 2])), "int64"),
    refused("a probability of 1.5",
            lambda m: f(m).binary_cross_entropy(m.tensor([1.5]), m.zeros(1)), "input", "1.5"),
    refused("a probability of NaN",
            lambda m: f(m).binary_cross_entropy(m.tensor([math.nan]), m.zeros(1)), "nan"),
    refused("a truth of 3",
            lambda m: f(m).binary_cross_entropy(m.tensor([0.5]), m.tensor([3.0])), "target", "3"),
    refused("a whole truth",
            lambda m: f(m).binary_cross_entropy(m.tensor([0.5]), m.tensor([1])), "int64"),
    refused("a whole truth of logits",
            lambda m: f(m).binary_cross_entropy_with_logits(m.tensor([0.5]), m.tensor([1])),
            "target", "int64"),
    refused("weights larger than the input",
            lambda m: f(m).binary_cross_entropy(m.ones(3), m.ones(3), m.ones(2, 3)), "weight"),
    refused("positive weights larger than the input",
            lambda m: f(m).binary_cross_entropy_with_logits(
                m.ones(3), m.ones(3), pos_weight=m.ones(2, 3)), "pos_weight (2, 3)"),
    refused("a divergence of whole numbers",
            lambda m: f(m).kl_div(m.tensor([1]), m.tensor([1]), reduction="sum"), "int64"),
    refused("a negative variance",
            lambda m: f(m).gaussian_nll_loss(m.ones(2), m.ones(2), -m.ones(2)), "-1"),
    refused("a variance of another shape",
            lambda m: f(m).gaussian_nll_loss(m.ones(2, 3), m.ones(2, 3), m.ones(3)), "var (3,)"),
    refused("a variance with two ones",
            lambda m: f(m).gaussian_nll_loss(m.ones(2, 3), m.ones(2, 3), m.ones(1, 1)), "(1, 1)"),
    refused("ranks of other dimensions",
            lambda m: f(m).margin_ranking_loss(m.ones(3), m.ones(2, 3), m.ones(3)), "dimensions"),
    refused("ranks that do not fit",
            lambda m: f(m).margin_ranking_loss(m.ones(3), m.ones(2), m.ones(3)), "input2 (2,)"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using a target size", "ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_what_torch_refuses_is_refused(refusal, torch):
    refusal.check(torch)
