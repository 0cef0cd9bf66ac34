from __future__ import annotations

import numpy as np
import pytest
from geometries import integers

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softmax", "log_softmax"])
def test_activations_by_keyword(torch, name):
    x = integers((2, 3)).astype(np.float32)
    settings = {"dim": 1, "dtype": "float64"} if "softmax" in name else {}
    theirs = {**settings, "dtype": torch.float64} if settings else {}
    ours = getattr(F, name)(input=minicnn.tensor(x), **settings)
    expected = getattr(torch.nn.functional, name)(input=torch.tensor(x), **theirs)
    assert str(ours.dtype) == str(expected.dtype).removeprefix("torch.")
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_the_dimension_of_classes_is_not_guessed(name):
    with pytest.raises(ArgumentError, match=rf"name the dimension.*{name}\(x, dim=1\)"):
        getattr(F, name)(ones(2, 3))
