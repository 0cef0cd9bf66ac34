from __future__ import annotations

import inspect

import numpy as np
import pytest
from geometries import integers

from minicnn.nn import functional as F

WRITTEN_IN_PYTHON = [
    "adaptive_avg_pool2d", "batch_norm", "cross_entropy", "dropout", "fold", "mse_loss", "nll_loss",
    "log_softmax", "pad", "relu", "softmax", "unfold",
]  # fmt: skip

OURS = {"batch_norm": ("add", "relu")}  # what torch's function lacks


@pytest.mark.parametrize("name", WRITTEN_IN_PYTHON)
def test_arguments_have_the_names_and_defaults_of_torch(torch, name):
    theirs = inspect.signature(getattr(torch.nn.functional, name)).parameters
    for parameter in inspect.signature(getattr(F, name)).parameters.values():
        if parameter.name in OURS.get(name, ()):
            assert parameter.kind is parameter.KEYWORD_ONLY
            continue
        assert parameter.default == theirs[parameter.name].default, parameter.name


def test_plain_arrays_give_plain_arrays():
    x, w = integers((1, 2, 4, 4)), integers((1, 2, 3, 3))
    results = [
        F.conv2d(x, w), F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 1),
        F.unfold(x, 2), F.pad(x, (1, 1)), F.batch_norm(x, None, None, training=True),
        F.linear(x[0, 0], x[0, 1]), F.dropout(x), F.relu(x),
    ]  # fmt: skip
    assert {type(result) for result in results} == {np.ndarray}
