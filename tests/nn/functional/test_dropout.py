from __future__ import annotations

import numpy as np
import pytest

from minicnn.errors import ArgumentError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


@pytest.mark.parametrize("settings", [{"training": False}, {"p": 0.0}, {"p": 0}])
def test_dropout_that_drops_nothing_is_the_input_itself(settings):
    x = ones(3)
    assert F.dropout(x, **settings) is x


def test_dropout_drops_half_unless_told():
    y = F.dropout(ones(2000)).array
    assert np.unique(y).tolist() == [0, 2]
    assert 800 < (y == 0).sum() < 1200


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("training", [True, False])
def test_dropout_needs_a_probability(p, training):
    with pytest.raises(ArgumentError, match=rf"dropout: p must be in \[0, 1\], got {p}"):
        F.dropout(ones(3), p, training)


def test_inplace_is_accepted_and_gives_a_new_tensor():
    x = Tensor(np.array([-1.0, 2.0]))
    assert F.relu(x, inplace=True).tolist() == [0, 2]
    F.dropout(x, 1.0, inplace=True)
    assert x.tolist() == [-1, 2]
