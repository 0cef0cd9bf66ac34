from __future__ import annotations

import numpy as np
import pytest
from geometries import integers

from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


def same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.array, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "widths", [(1, 2), (1, 0, 0, 2), (0, 0, 1, 1, 2, 0), (-1, 2), (-1, -2, 1, -1), ()]
)
def test_pad_is_that_of_torch(torch, widths):
    x = integers((2, 3, 4))
    expected = torch.nn.functional.pad(torch.tensor(x), widths, value=7)
    same(F.pad(Tensor(x), widths, value=7), expected)


@pytest.mark.parametrize(("widths", "kind", "part"), [
    ((1,), ArgumentError, "(1,)"), ((1,) * 6, ArgumentError, "at most 2 dimensions"),
    ((-5, 4), ShapeError, "(-5, 4) cuts more than there is from shape (2, 3)"),
    ((0, 0, -2, -1), ShapeError, "cuts more than there is"),
])  # fmt: skip
def test_pad_names_what_does_not_fit(widths, kind, part):
    with pytest.raises(kind) as error:
        F.pad(ones(2, 3), widths)
    assert str(error.value).startswith("pad: ")
    assert part in str(error.value)


def test_pad_knows_constants_only():
    with pytest.raises(ArgumentError, match="pad: mode must be \"constant\", got 'reflect'"):
        F.pad(ones(2, 3), (1, 1), mode="reflect")
