from __future__ import annotations

import numpy as np
import pytest
from geometries import integers

from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


def same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.array, theirs, rtol=1e-12, atol=1e-12)


POOLS = [F.max_pool2d, F.avg_pool2d]


each_pool = pytest.mark.parametrize("pool", POOLS, ids=lambda f: f.__name__)


@each_pool
def test_the_stride_is_the_kernel_unless_given(pool):
    x = Tensor(integers((1, 1, 5, 7)))
    for stride in (None, (), (2, 3)):
        same(pool(x, (2, 3), stride), pool(x, (2, 3), (2, 3)).array)


@each_pool
def test_one_image(pool):
    x = integers((2, 3, 5, 7))
    same(pool(Tensor(x[1]), 2, 1), pool(Tensor(x), 2, 1).array[1])


@each_pool
@pytest.mark.parametrize(("shape", "settings", "kind", "parts"), [
    ((5, 5), {"kernel_size": 2}, ShapeError, ["input", "(5, 5)"]),
    ((1, 1, 5, 5), {"kernel_size": 0}, ShapeError, ["kernel_size", "at least 1"]),
    ((1, 1, 5, 5), {"kernel_size": 2, "stride": 0}, ShapeError, ["stride", "0"]),
    ((1, 1, 5, 5), {"kernel_size": 6}, ShapeError, ["(6, 6)", "(5, 5)"]),
    ((1, 1, 5, 5), {"kernel_size": 2, "padding": 2}, ArgumentError, ["padding (2, 2)", "(2, 2)"]),
    ((1, 1, 5, 5), {"kernel_size": (3, 1), "padding": 1}, ArgumentError, ["(1, 1)", "(3, 1)"]),
    ((1, 1, 0, 5), {"kernel_size": 1}, ShapeError, ["(0, 5)"]),
])  # fmt: skip
def test_pooling_names_what_does_not_fit(pool, shape, settings, kind, parts):
    with pytest.raises(kind) as error:
        pool(ones(*shape), **settings)
    for part in (pool.__name__, *parts):
        assert part in str(error.value)


def test_a_divisor_is_not_zero():
    with pytest.raises(ArgumentError, match="avg_pool2d: divisor_override must not be zero"):
        F.avg_pool2d(ones(1, 1, 4, 4), 2, divisor_override=0)


@pytest.mark.parametrize("pool", [F.avg_pool2d, F.adaptive_avg_pool2d], ids=lambda f: f.__name__)
def test_means_of_integers_are_refused(pool):
    with pytest.raises(
        DTypeError, match=f"{pool.__name__}: input must be floating-point, got int64"
    ):
        pool(ones(1, 1, 4, 4, dtype=int), 2)


def test_maxima_of_integers_are_not():
    assert F.max_pool2d(Tensor(np.arange(4).reshape(1, 1, 2, 2)), 2).tolist() == [[[[3]]]]


@pytest.mark.parametrize("size", [1, 3, (2, 5), (None, 2), (4, None), [3, 1], (7, 9), 0, (2,)])
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (3, 4, 6), (0, 3, 4, 6)])
def test_adaptive_means_are_those_of_torch(torch, shape, size):
    x = integers(shape)
    wanted = size * 2 if size == (2,) else size
    same(
        F.adaptive_avg_pool2d(Tensor(x), size),
        torch.nn.functional.adaptive_avg_pool2d(torch.tensor(x), wanted),
    )


@pytest.mark.parametrize(("shape", "size", "part"), [
    ((4, 4), 1, "(4, 4)"), ((1, 1, 0, 4), 2, "(1, 1, 0, 4)"), ((1, 1, 4, 4), -1, "output_size"),
    ((1, 1, 4, 4), 1.5, "output_size"), ((1, 1, 4, 4), (1, 2, 3), "output_size"),
])  # fmt: skip
def test_adaptive_pooling_names_what_does_not_fit(shape, size, part):
    with pytest.raises(ShapeError) as error:
        F.adaptive_avg_pool2d(ones(*shape), size)
    assert str(error.value).startswith("adaptive_avg_pool2d: ")
    assert part in str(error.value)
