"""Compiled reductions against the NumPy reference: any dimensions, any layout, NaN and Inf."""

from itertools import chain, combinations

import numpy as np
import pytest

from minicnn_kernels.reference import reductions as reference

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn_kernels.cpu import reductions

NAMES = ["total", "product", "largest", "smallest"]
SHAPES = [
    (1,), (33,), (20000,), (3, 70), (200, 3), (2, 3, 5, 7), (1, 70, 1, 2), (3, 2, 40, 33),
    (2, 120, 5),  # of rows of 5, gcd(120, 128 // 5) are taken at a time
]  # fmt: skip
RTOL = {np.float32: 3e-6, np.float64: 1e-12}
CASES = [
    (shape, axes)
    for shape in SHAPES
    for axes in chain(*(combinations(range(len(shape)), k) for k in range(1, len(shape) + 1)))
]


def compare(name, x, axes, rtol=1e-12):
    before = x.copy()
    wanted = getattr(reference, f"{name}_by_numpy")(x.astype(np.float64), axes=axes)
    found = getattr(reductions, name)(x, axes=axes)
    assert (found.dtype, found.shape) == (x.dtype, wanted.shape)
    size = np.abs(x[np.isfinite(x)]).sum() / found.size if name == "total" else 0
    np.testing.assert_allclose(found, wanted, rtol=10 * rtol, atol=rtol * size)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "axes"), CASES, ids=str)
def test_as_the_reference(rng, dtype, name, shape, axes):
    x = rng.normal(size=shape)
    if name == "product":
        x = np.sign(x) * np.exp(0.1 * x)  # so that many factors neither overflow nor vanish
    x = x.astype(dtype)
    compare(name, x, axes, RTOL[dtype])
    compare(name, np.asfortranarray(x), axes, RTOL[dtype])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axes", [(0,), (1,), (1, 3), (2, 3), (0, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("view", [
    lambda x: np.moveaxis(x, 1, -1), lambda x: np.moveaxis(x, -1, 1), lambda x: x[:, ::-1],
    lambda x: x[..., 1:], lambda x: np.broadcast_to(x[:1], x.shape),
], ids=["moved back", "moved", "reversed", "cropped", "repeated"])  # fmt: skip
def test_any_strides(rng, name, axes, view):
    compare(name, view(rng.normal(size=(3, 4, 5, 6))), axes)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("place", [0, 1, 50, 69])
def test_nan_and_infinity(rng, name, axis, place):
    x = rng.normal(size=(70, 70))
    x[place, 3] = x[3, place] = np.nan
    x[place, 4], x[5, place] = np.inf, -np.inf
    compare(name, x, (axis,))


def test_a_million_float32_add_up_to_seven_digits(rng):
    x = rng.uniform(0, 1, (1000, 1000)).astype(np.float32)
    for axes in ((0, 1), (0,), (1,)):
        exact = x.astype(np.float64).sum(axes, keepdims=True)
        np.testing.assert_allclose(reductions.total(x, axes=axes), exact, rtol=4e-7)
