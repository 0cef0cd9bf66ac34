"""Images laid out with their channels last, against NumPy's copies."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn_kernels import threads
from minicnn_kernels.cpu import layout

SHAPES = [
    (1, 2, 3), (2, 3, 5, 7), (3, 16, 8, 8), (2, 17, 9, 15), (1, 33, 2, 3, 11), (2, 1, 4, 4),
    (2, 5, 1, 1), (0, 3, 4, 4), (2, 3, 0, 4),
]  # fmt: skip


@pytest.fixture(params=[1, 3], ids=lambda n: f"{n} threads", autouse=True)
def small_parts(request, monkeypatch):
    monkeypatch.setattr(layout, "GRAIN", 1)
    monkeypatch.setattr(threads, "_pool", pool := threads._Pool(request.param))
    yield
    pool.stop()


def read_only(x):
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("view", [
    np.array, read_only, lambda x: x[..., ::-1], lambda x: x[:, ::-1],
    lambda x: np.repeat(x, 2, 1)[:, ::2], lambda x: np.broadcast_to(x[:1], x.shape),
], ids=["dense", "read-only", "mirrored", "backwards", "gaps", "repeated"])  # fmt: skip
def test_channels_last(view, shape, dtype):
    x = view(np.random.default_rng(0).integers(0, 99, shape).astype(dtype))
    before = x.copy()
    y = layout.channels_last(x)
    assert y.flags.c_contiguous
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.moveaxis(before, 1, -1))
    np.testing.assert_array_equal(x, before)


def test_what_lies_so_is_not_copied():
    x = np.moveaxis(np.zeros((2, 4, 5, 3)), -1, 1)
    assert np.shares_memory(layout.channels_last(x), x)
