from __future__ import annotations

import numpy as np
import pytest
from geometries import integers

from minicnn.errors import DTypeError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


@pytest.mark.parametrize("size", [1, 3, (2, 5), (None, 2), (4, None), [3, 1], (7, 9), 0, (2,)])
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (3, 4, 6), (0, 3, 4, 6)])
def test_adaptive_means_are_those_of_torch(torch, shape, size):
    x = integers(shape)
    wanted = size * 2 if size == (2,) else size
    ours = F.adaptive_avg_pool2d(Tensor(x), size)
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.tensor(x), wanted)
    assert ours.shape == tuple(expected.shape)
    np.testing.assert_allclose(ours.array, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shape", "size", "part"), [
    ((4, 4), 1, "(4, 4)"), ((1, 1, 0, 4), 2, "(1, 1, 0, 4)"), ((1, 1, 4, 4), -1, "output_size"),
    ((1, 1, 4, 4), 1.5, "output_size"), ((1, 1, 4, 4), (1, 2, 3), "output_size"),
])  # fmt: skip
def test_adaptive_pooling_names_what_does_not_fit(shape, size, part):
    with pytest.raises((ShapeError, DTypeError)) as error:
        F.adaptive_avg_pool2d(ones(*shape), size)
    assert str(error.value).startswith("adaptive_avg_pool2d: ")
    assert part in str(error.value)


@pytest.mark.parametrize("size", [(2, 3), (4, 1), 3, (None, 2)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maxima_of_bins_and_where_they_lie(torch, rng, size, dtype):
    x = rng.normal(size=(2, 3, 5, 4)).astype(dtype)
    y, indices = F.adaptive_max_pool2d(Tensor(x), size, return_indices=True)
    expected, where = torch.nn.functional.adaptive_max_pool2d(
        torch.tensor(x), size, return_indices=True
    )
    np.testing.assert_array_equal(y.array, expected.numpy())
    np.testing.assert_array_equal(indices.array, where.numpy())
    assert F.adaptive_max_pool2d(Tensor(x), size).tolist() == y.tolist()


def test_bins_that_overlap_add_their_gradients():
    x = Tensor(np.array([[[1.0, 5.0, 2.0]]]), requires_grad=True)
    F.adaptive_max_pool1d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[0, 2, 0]]]
