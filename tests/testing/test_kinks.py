"""Networks at and near their kinks."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn.nn.functional as F
from minicnn import Tensor
from minicnn.gradcheck.compare import AT_KINK
from minicnn.testing.kinks import Tally, check_network, check_networks, network


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_networks_at_and_near_their_kinks_raise_no_false_alarm(first):
    tally = check_networks(range(first, first + 10))
    assert tally.failed == []
    assert tally.share < 0.05
    assert tally.passed + len(tally.inconclusive) == 10


def test_the_inputs_lie_at_kinks():
    _, (x, w, b) = network(12)  # a seed that 3 divides: exactly at them
    values = F.conv2d(Tensor(x.array), w, b, padding=1).numpy()
    assert np.abs(values).min(axis=(0, 2, 3)) == pytest.approx([0, 0], abs=1e-14)
    assert check_network(3).rows[0].counts[AT_KINK] > 0


def test_a_network_is_the_same_for_the_same_seed():
    first, again = network(8)[1], network(8)[1]
    assert all((a.array == b.array).all() for a, b in zip(first, again, strict=True))


def test_the_share_of_nothing_is_nothing():
    assert Tally(0, [], [], 0, 0).share == 0
