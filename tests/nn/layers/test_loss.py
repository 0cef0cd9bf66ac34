from __future__ import annotations

import inspect

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn import nn
from minicnn.nn.layers import loss as losses
from minicnn.tensor import Tensor

WEIGHTED = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "MultiLabelSoftMarginLoss",
            "MultiMarginLoss", "NLLLoss"]  # fmt: skip
WEIGHT = np.array([0.5, 2.0, 1.5])
X = np.random.default_rng(0).normal(size=(4, 3))


@pytest.mark.parametrize("name", losses.__all__)
def test_arguments_have_the_names_order_and_defaults_of_torch(torch, name):
    theirs = dict(inspect.signature(getattr(torch.nn, name)).parameters)
    deprecated = [list(theirs).index(key) for key in ("size_average", "reduce") if key in theirs]
    ours = inspect.signature(getattr(nn, name)).parameters
    assert list(ours) == [key for key in theirs if key not in ("size_average", "reduce")]
    for key, parameter in ours.items():
        assert parameter.default == theirs[key].default
        behind = bool(deprecated) and list(theirs).index(key) > min(deprecated)
        if behind:  # a position would mean something else there
            assert parameter.kind is parameter.KEYWORD_ONLY
        else:
            assert parameter.kind is theirs[key].kind


@pytest.mark.parametrize("name", losses.__all__)
def test_forward_has_the_arguments_of_torch(torch, name):
    ours = inspect.signature(getattr(nn, name).forward).parameters
    assert list(ours) == list(inspect.signature(getattr(torch.nn, name).forward).parameters)


@pytest.mark.parametrize("name", losses.__all__)
def test_settings_are_attributes_as_in_torch(torch, name):
    ours, theirs = getattr(nn, name)(), getattr(torch.nn, name)()
    for key in inspect.signature(getattr(nn, name)).parameters:
        if key != "distance_function":
            assert getattr(ours, key) == getattr(theirs, key)


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_weight_is_saved_and_loaded(torch, name):
    ours = getattr(nn, name)(weight=minicnn.tensor(WEIGHT))
    theirs = getattr(torch.nn, name)(weight=torch.tensor(WEIGHT))
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["weight"]
    ours.load_state_dict({"weight": minicnn.tensor(WEIGHT * 2)})
    assert ours.weight.tolist() == [1, 4, 3]
    assert list(getattr(nn, name)().state_dict()) == []


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_weight_reaches_the_loss(name):
    x = Tensor(1 / (1 + np.exp(-X)))
    whole = name in ("CrossEntropyLoss", "MultiMarginLoss", "NLLLoss")
    target = minicnn.tensor([0, 1, 1, 2]) if whole else Tensor(np.round(x.array))
    plain = getattr(nn, name)(reduction="sum")(x, target).item()
    twice = getattr(nn, name)(weight=minicnn.tensor(WEIGHT * 0 + 2), reduction="sum")(
        x, target
    ).item()
    assert twice == pytest.approx(plain * 2)


def test_both_weights_of_logits_are_saved():
    layer = nn.BCEWithLogitsLoss(minicnn.tensor(WEIGHT), pos_weight=minicnn.tensor(WEIGHT + 1))
    assert list(layer.state_dict()) == ["weight", "pos_weight"]
    x, target = Tensor(X), Tensor(np.ones((4, 3)))
    expected = np.log(1 + np.exp(-X)) * WEIGHT * (WEIGHT + 1)
    assert layer(x, target).item() == pytest.approx(expected.mean())


def test_a_weight_moves_with_the_module():
    assert nn.NLLLoss(minicnn.tensor(WEIGHT)).float().weight.dtype == np.float32


def test_a_distance_of_ones_own_is_a_function_or_a_module():
    triplet = [Tensor(X), Tensor(X + 1), Tensor(X - 1)]
    absolute = nn.PairwiseDistance(1, eps=0.0)
    layer = nn.TripletMarginWithDistanceLoss(distance_function=absolute, margin=2.0)
    assert dict(layer.named_children()) == {"distance_function": absolute}
    assert layer(*triplet).item() == pytest.approx(2)
    layer = nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: (a - b).sum(-1))
    assert layer(*triplet).item() == 0
    assert list(layer.children()) == []


def test_sequences_have_a_layer():
    log_probs = np.log(np.full((3, 1, 2), 0.5))
    layer = nn.CTCLoss(blank=1, reduction="sum")
    loss = layer(Tensor(log_probs), np.array([[0]]), (3,), (1,))
    assert loss.item() == pytest.approx(-np.log(6 / 8))
    assert nn.CTCLoss(zero_infinity=True)(Tensor(log_probs), np.array([[1] * 4]), (3,), (4,)) == 0


REFUSALS = [
    refused("p = 3", lambda m: m.nn.MultiMarginLoss(3), "MultiMarginLoss", "3"),
    refused("a matrix of weights",
            lambda m: m.nn.MultiMarginLoss(weight=m.ones(2, 3)), "weight", "(2, 3)"),
    refused("a margin of 0", lambda m: m.nn.TripletMarginLoss(0.0), "TripletMarginLoss", "0"),
    refused("a margin below 0",
            lambda m: m.nn.TripletMarginWithDistanceLoss(margin=-1.0), "margin", "-1"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_what_torch_refuses_is_refused(refusal, torch):
    refusal.check(torch)
