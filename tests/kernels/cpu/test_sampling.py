"""Compiled sampling, against NumPy's."""

import numpy as np
import pytest

from minicnn_kernels import match_samples, sample, spread_samples, threads

sampling = pytest.importorskip("minicnn_kernels.cpu.sampling", reason="Numba is not installed")

SIZES = [(6, 2, 3, 5), (1, 1, 1, 1), (4, 3, 0, 5), (4, 0, 2, 3), (5, 2, 4, 0), (40, 70, 4, 50)]
LAYOUTS = {
    "in reading order": lambda x: x,
    "the other way round": np.asfortranarray,
    "backwards": np.flip,
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
}


@pytest.fixture(autouse=True, params=[1, 3], ids=lambda n: f"{n} threads")
def number_of_threads(request, monkeypatch):
    monkeypatch.setattr(sampling, "PRODUCTS_A_PART", 1)
    monkeypatch.setattr(threads, "_pool", pool := threads._Pool(request.param))
    yield
    pool.stop()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(("size", "channels", "count", "points"), SIZES)
def test_as_numpy(rng, size, channels, count, points, layout, dtype):
    def values(*shape):
        return layout(rng.normal(size=shape).astype(dtype))

    x, w, dy = values(size, channels), values(count, points), values(points, channels)
    pixels = layout(rng.integers(-1, size, (count, points)))
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype == np.float32 else {"atol": 1e-12}
    for kernel, compiled, inputs, more in (
        (sample, sampling.sample, (x, w), {}),
        (spread_samples, sampling.spread_samples, (dy, w), {"size": size}),
        (match_samples, sampling.match_samples, (x, dy), {}),
    ):
        found = compiled(*inputs, pixels=pixels, **more)
        expected = kernel(*inputs, pixels=pixels, algorithm="numpy", **more)
        assert found.dtype == expected.dtype == dtype
        np.testing.assert_allclose(found, expected, **close)


def test_large_images_are_compiled():
    x, w, pixels = np.zeros((100, 64)), np.zeros((4, 100)), np.zeros((4, 100), int)
    for kernel, inputs, more in (
        (sample, (x, w), {}),
        (spread_samples, (x, w), {"size": 7}),
        (match_samples, (x, x), {}),
    ):
        assert kernel.choose(*inputs, pixels=pixels, **more).name == "rows"
        as_integers = [given.astype(int) for given in inputs]
        assert kernel.choose(*as_integers, pixels=pixels, **more).name == "numpy"
