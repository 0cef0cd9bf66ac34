"""Compiled kernels by position, against those of NumPy."""

import numpy as np
import pytest

from minicnn_kernels import add_along, add_lines, take_along, take_lines, threads

gather = pytest.importorskip("minicnn_kernels.cpu.gather", reason="Numba is not installed")

SHAPES = [(5,), (3, 40), (40, 3), (2, 3, 35), (1, 6, 1), (9, 2, 1), (2, 3, 4, 5)]
CASES = [(shape, dim) for shape in SHAPES for dim in range(len(shape))]
LAYOUTS = {
    "in reading order": lambda x: x,
    "the other way round": lambda x: np.asfortranarray(x),
    "backwards": lambda x: x[::-1],
    "with gaps": lambda x: np.repeat(x, 2, -1)[..., ::2],
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
    "read-only": lambda x: np.lib.stride_tricks.as_strided(x, writeable=False),
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(autouse=True, params=[1, 2, 3], ids=lambda n: f"{n} threads")
def number_of_threads(request, monkeypatch):
    monkeypatch.setattr(gather, "VALUES_A_PART", 1)
    monkeypatch.setattr(threads, "_pool", pool := threads._Pool(request.param))
    yield
    pool.stop()


@each_dtype
@each_layout
@pytest.mark.parametrize(("shape", "dim"), CASES)
def test_taking_and_adding_along_a_dimension(rng, shape, dim, layout, dtype):
    x = layout(rng.normal(size=shape).astype(dtype))
    sizes = (*shape[:dim], 7, *shape[dim + 1 :])
    chosen = layout(rng.integers(0, shape[dim], sizes))
    y = gather.take_along(x, chosen, dim=dim)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, take_along(x, chosen, dim=dim, algorithm="numpy"))
    values = layout(rng.normal(size=sizes).astype(dtype))
    found, expected = (np.ones(shape, dtype) for _ in range(2))
    gather.add_along(found, values, chosen, dim=dim)
    add_along(expected, values, chosen, dim=dim, algorithm="numpy")
    np.testing.assert_array_equal(found, expected)


@each_dtype
@each_layout
@pytest.mark.parametrize(("shape", "dim"), CASES)
def test_taking_and_adding_lines(rng, shape, dim, layout, dtype):
    chosen = layout(rng.integers(0, shape[dim], 7))
    x = layout(rng.normal(size=shape).astype(dtype))
    y = gather.take_lines(x, chosen, dim=dim)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, take_lines(x, chosen, dim=dim, algorithm="numpy"))
    values = layout(rng.normal(size=(*shape[:dim], 7, *shape[dim + 1 :])).astype(dtype))
    found, expected = (np.ones(shape, dtype) for _ in range(2))
    gather.add_lines(found, values, chosen, dim=dim)
    add_lines(expected, values, chosen, dim=dim, algorithm="numpy")
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_nothing_to_do():
    chosen = np.zeros((0, 3), int)
    assert gather.take_along(np.ones((4, 3)), chosen, dim=0).shape == (0, 3)
    y = np.ones((4, 3))
    gather.add_along(y, np.ones((0, 3)), chosen, dim=0)
    gather.add_lines(y, np.ones((0, 3)), chosen[:, 0], dim=0)
    assert (y == 1).all()
    assert gather.take_along(np.ones((0, 3)), np.zeros((0, 2), int), dim=1).shape == (0, 2)
    assert gather.take_lines(np.ones((4, 3)), chosen[:, 0], dim=0).shape == (0, 3)


def test_large_arrays_are_compiled(rng):
    x = np.zeros((16, 2000), np.float32)
    chosen = rng.integers(0, 16, x.shape)
    assert take_along.choose(x, chosen, dim=0).name == "columns"
    assert add_along.choose(x, x, chosen, dim=0).name == "columns"
    assert add_lines.choose(x, x, chosen[:, 0], dim=0).name == "columns"
    assert take_lines.choose(x, chosen[:, 0], dim=0).name == "lines"
    assert take_lines.choose(x, chosen[0], dim=1).name == "numpy"
    assert take_lines.choose(x, chosen[:3, 0], dim=0).name == "numpy"
    assert take_lines.choose(x.T, chosen[:, 0], dim=1).name == "numpy"
    assert add_lines.choose(x.astype(int), x, chosen[:, 0], dim=0).name == "numpy"
