from __future__ import annotations

import numpy as np
import pytest

from minicnn.errors import ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


@pytest.mark.parametrize(("x", "w", "b", "part"), [
    ((2, 3), (4, 2), None, "weight (4, 2)"), ((), (4, 2), None, "input ()"),
    ((2, 3), (3,), None, "weight (3,)"),
    ((2, 3), (4, 3), (3,), "bias must have shape (4,), got (3,)"),
])  # fmt: skip
def test_linear_names_what_does_not_fit(x, w, b, part):
    with pytest.raises(ShapeError) as error:
        F.linear(ones(*x), ones(*w), b and ones(*b))
    assert str(error.value).startswith("linear: ")
    assert part in str(error.value)
