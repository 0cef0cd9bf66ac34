from __future__ import annotations

import numpy as np
import pytest

from minicnn import Tensor
from minicnn.testing.cases.loss import loss

LABELS = np.array([1, 0])


def test_settings_reach_the_function():
    x = np.log(np.array([[1.0, 3.0], [1.0, 4.0]]))  # softmax: 1/4 3/4, 1/5 4/5
    each = -np.log([3 / 4, 1 / 5])
    plain = loss("log_softmax", "name", "cross_entropy", x.shape, LABELS)
    assert plain.function(Tensor(x)).item() == pytest.approx(each.mean())
    weights = np.array([3.0, 1.0])
    weighted = loss(
        "log_softmax", "name", "cross_entropy", x.shape, LABELS, weight=weights, reduction="none"
    )
    np.testing.assert_allclose(weighted.function(Tensor(x)).numpy(), each * [1, 3])
    assert (weighted.op, weighted.through) == ("log_softmax", "cross_entropy")
