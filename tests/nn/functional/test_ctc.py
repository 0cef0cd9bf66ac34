from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.errors import IndexOutOfRange
from minicnn.nn.functional import ctc_loss
from minicnn.tensor import Tensor

LOGITS = np.random.default_rng(2).normal(size=(5, 2, 4))
LOG_PROBS = LOGITS - np.log(np.exp(LOGITS).sum(axis=2, keepdims=True))
PADDED = np.array([[1, 2, 3], [2, 0, 0]])
TIMES, LENGTHS = (5, 4), (3, 1)


def losses(targets=PADDED, times=TIMES, lengths=LENGTHS, **settings):
    settings = {"reduction": "none", **settings}
    return ctc_loss(Tensor(LOG_PROBS), targets, times, lengths, **settings)


def test_targets_may_stand_in_a_row():
    np.testing.assert_array_equal(losses().array, losses(np.array([1, 2, 3, 2])).array)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("make", [np.asarray, minicnn.tensor])
def test_targets_and_lengths_come_in_any_integer_type(dtype, make):
    result = losses(
        make(PADDED.astype(dtype)), make(np.array(TIMES, dtype)), make(np.array(LENGTHS, dtype))
    )
    np.testing.assert_array_equal(result.array, losses().array)


def test_lengths_may_be_a_list():
    np.testing.assert_array_equal(losses(times=[5, 4], lengths=[3, 1]).array, losses().array)


def test_what_stands_behind_a_target_does_not_matter():
    other = np.array([[1, 2, 3], [2, 99, -7]])
    np.testing.assert_array_equal(losses(other).array, losses().array)


def test_the_mean_is_over_losses_per_label():
    each = losses().array
    assert losses(reduction="mean").item() == pytest.approx((each / [3, 1]).mean())
    assert losses(reduction="sum").item() == pytest.approx(each.sum())


def test_an_empty_target_counts_as_one_label():
    each = losses(lengths=(3, 0)).array
    assert losses(lengths=(3, 0), reduction="mean").item() == pytest.approx((each / [3, 1]).mean())


def test_one_sequence_has_one_loss():
    one = ctc_loss(Tensor(LOG_PROBS[:, 0]), PADDED[0], (5,), (3,), reduction="none")
    assert one.shape == ()
    assert one.item() == losses().tolist()[0]
    in_tensors = ctc_loss(Tensor(LOG_PROBS[:, 0]), PADDED[:1], np.array(5), np.array(3))
    assert in_tensors.item() == pytest.approx(one.item() / 3)


def test_a_sequence_without_time_can_spell_nothing():
    assert losses(times=(0, 0), lengths=(0, 1)).tolist() == [0, np.inf]


def test_a_target_too_long_for_its_input_may_count_as_0():
    x = Tensor(LOGITS, requires_grad=True)

    def gradient(zero_infinity):
        log_probs = minicnn.log_softmax(x, 2)
        loss = ctc_loss(log_probs, PADDED, (2, 4), LENGTHS, 0, "sum", zero_infinity)
        return loss.item(), minicnn.grad(loss, x)[0].array

    loss, dx = gradient(True)
    assert loss == losses().tolist()[1]
    assert not dx[:, 0].any()
    assert dx[:4, 1].all()
    loss, dx = gradient(False)
    assert loss == np.inf
    assert np.isnan(dx[:2, 0]).all()
    assert np.isfinite(dx[:, 1]).all()


def test_the_gradient_by_the_logits_is_probability_minus_share():
    x = Tensor(LOGITS, requires_grad=True)
    log_probs = minicnn.log_softmax(x, 2)
    log_probs.retain_grad()
    ctc_loss(log_probs, PADDED, (5, 5), LENGTHS, reduction="sum").backward()
    share = -log_probs.grad.array
    np.testing.assert_allclose(x.grad.array, np.exp(LOG_PROBS) - share, atol=1e-14)


def test_a_label_that_is_no_class_is_refused():  # torch reads memory that is not its own
    for label in (4, -1):
        with pytest.raises(IndexOutOfRange, match=rf"target {label} is not in \[0, 4\)"):
            losses(np.array([[1, 2, label], [2, 0, 0]]))


def F(m):
    return m.nn.functional


def given(m, targets=PADDED, times=TIMES, lengths=LENGTHS, log_probs=LOG_PROBS, **settings):
    return F(m).ctc_loss(m.tensor(log_probs), m.tensor(targets), times, lengths, **settings)


REFUSALS = [
    refused("more time than there is", lambda m: given(m, times=(6, 4)), "input_lengths", "6"),
    refused("negative times", lambda m: given(m, times=(-1, 4)), "input_lengths", "-1"),
    refused("negative lengths", lambda m: given(m, lengths=(-1, 1)), "target_lengths", "-1"),
    refused("longer than the targets", lambda m: given(m, lengths=(4, 1)), "(2, 4)"),
    refused("too few in a row", lambda m: given(m, np.array([1, 2, 3])), "(4,)"),
    refused("too many in a row", lambda m: given(m, np.array([1, 2, 3, 1, 2])), "(5,)"),
    refused("targets of three dimensions", lambda m: given(m, PADDED[:, :, None]), "(2, 3, 1)"),
    refused("targets of another batch", lambda m: given(m, PADDED[[0, 1, 1]]), "(3, 3)"),
    refused("targets of one for all", lambda m: given(m, PADDED[:1]), "(1, 3)"),
    refused("times of another batch", lambda m: given(m, times=(5,)), "input_lengths", "(1,)"),
    refused("lengths of another batch", lambda m: given(m, lengths=(3,)), "target_lengths"),
    refused("lengths that are not whole",
            lambda m: given(m, times=m.tensor([5.0, 4.0]), lengths=m.tensor([3, 1])), "integers"),
    refused("a blank that is no class", lambda m: given(m, blank=4), "blank 4"),
    refused("a negative blank", lambda m: given(m, blank=-1), "blank -1"),
    refused("one dimension", lambda m: given(m, log_probs=LOG_PROBS[0, 0]), "(T, N, C)"),
    refused("no batch", lambda m: given(m, PADDED[:0], (), (), LOG_PROBS[:, :0]), "(5, 0, 4)"),
    refused("whole numbers", lambda m: given(m, log_probs=np.ones((5, 2, 4), int)), "int64"),
    refused("an unknown reduction", lambda m: given(m, reduction="avg"), "avg"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_what_torch_refuses_is_refused(refusal, torch):
    refusal.check(torch)
