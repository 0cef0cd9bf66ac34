from __future__ import annotations

import numpy as np
import pytest
from geometries import integers

from minicnn import nn
from minicnn.errors import ShapeError
from minicnn.tensor import Tensor


@pytest.mark.parametrize(("kind", "numpy_name"), [
    ("Reflection", "reflect"), ("Replication", "edge"), ("Circular", "wrap"), ("Zero", "constant"),
])  # fmt: skip
@pytest.mark.parametrize("sides", [1, 2, 3])
def test_one_width_counts_for_all_sides(kind, numpy_name, sides):
    x = integers((2, 1, 3, 3, 3)[: sides + 2])
    widths = ((0, 0), (0, 0), *((2, 2),) * sides)
    layer = getattr(nn, f"{kind}Pad{sides}d")(2)
    np.testing.assert_array_equal(layer(Tensor(x)).array, np.pad(x, widths, numpy_name))


@pytest.mark.parametrize("sides", [1, 2, 3])
def test_circular_padding_names_itself(torch, sides):
    layer = getattr(nn, f"CircularPad{sides}d")(1)
    with pytest.raises(ShapeError, match=rf"CircularPad{sides}d: input must have {sides + 1} or"):
        layer(Tensor(np.ones((1,) * (sides + 3))))
    with pytest.raises(ValueError, match="expected"):
        getattr(torch.nn, f"CircularPad{sides}d")(1)(torch.ones((1,) * (sides + 3)))


def test_constants_pad_any_tensor():
    assert nn.ConstantPad1d((1, 0), 5.0)(Tensor(np.zeros(2))).tolist() == [5, 0, 0]
    assert nn.ZeroPad2d(1)(Tensor(np.ones((1, 1)))).array.sum() == 1
