from __future__ import annotations

import numpy as np

from minicnn import nn
from minicnn.tensor import Tensor


def test_settings_are_kept_under_the_names_of_torch(torch):
    for name, settings in (
        ("PairwiseDistance", {"p": 1.0, "eps": 0.1, "keepdim": True}),
        ("CosineSimilarity", {"dim": 0, "eps": 0.1}),
    ):
        ours, theirs = getattr(nn, name)(**settings), getattr(torch.nn, name)(**settings)
        for setting in ("norm", "eps", "keepdim", "dim"):
            assert getattr(ours, setting, None) == getattr(theirs, setting, None)


def test_a_distance_has_nothing_to_learn_or_to_save():
    for layer in (nn.PairwiseDistance(), nn.CosineSimilarity()):
        assert not list(layer.parameters())
        assert layer.state_dict() == {}


def test_eps_keeps_equal_points_apart():
    point = Tensor(np.zeros((1, 4)))
    assert nn.PairwiseDistance(eps=0.5)(point, point).tolist() == [1]
