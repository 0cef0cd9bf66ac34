"""The stand-in for CuPy itself."""

from __future__ import annotations

import json

import cupy_names
import numpy as np
import pytest
from numpy.testing import assert_allclose

from minicnn_kernels.arrays import device_of, to_device
from minicnn_kernels.errors import DeviceError


@pytest.fixture
def x(card):
    return card.array(np.arange(6, dtype=np.float32).reshape(2, 3))


def test_numpy_functions_give_arrays_on_the_card(card, x):
    with card.no_copies():
        y = np.exp(x) + 2 * x.sum(axis=0) - np.maximum(x, 1).T[0, 0]
        z = np.concatenate([y, np.zeros((1, 3), np.float32, like=x)])
    assert isinstance(z, card.cupy.ndarray)
    assert device_of(z) == "cuda:0"
    expected = np.arange(6).reshape(2, 3)
    expected = np.exp(expected) + 2 * expected.sum(axis=0) - 1
    assert_allclose(z.get()[:2], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "copy",
    [
        "float(x[0, 0])",
        "x.tolist()",
        "x[0, 0].item()",
        "bool(x[0, 0])",
        "x[np.array([0, 1])]",
        "x[[0, 1]]",
        "x[x > 0]",
        "np.nonzero(x)",
        "np.asarray([1, 2], like=x)",
        "np.take(x, [0, 1])",
        "np.argpartition(x, 1)",
        "np.unravel_index(x.astype(int), (3, 3))",
        "np.lib.stride_tricks.sliding_window_view(x, 2, 1)",
        "np.stack([x] * 9)",
        "x.get()",
        "repr(x)",
    ],
)
def test_copies_are_seen(card, x, copy):
    with card.no_copies(), pytest.raises(AssertionError, match="between host and card"):
        eval(copy)
    eval(copy)
    assert card.seen("copy") or card.seen("wait")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("np.asarray(x)", TypeError),
        ("np.array(x)", TypeError),
        ("x[0, 0].sum(axis=0)", ValueError),
        ("np.max(x[0, 0], 0)", ValueError),
        ("np.add.reduce(x[0, 0])", ValueError),
        ("np.unique(x > 1, axis=0)", TypeError),
        ("x + np.zeros(3, np.float32)", TypeError),
        ("np.zeros(3, np.float32) + x", TypeError),
        ("np.where(x > 0, np.zeros(3), x)", TypeError),
        ("np.concatenate([x, np.zeros((1, 3))])", TypeError),
        ("np.sum(x, where=x > 0)", TypeError),
        ("np.sum(x, initial=0)", TypeError),
        ("x.max(initial=0)", TypeError),
        ("np.exp(x, where=True)", TypeError),
        ('np.exp(x, order="F")', TypeError),
        ("np.maximum.reduce(x)", NotImplementedError),
        ("np.maximum.accumulate(x)", NotImplementedError),
        ("np.insert(x, 0, 1)", TypeError),
        ("np.block([x])", TypeError),
        ("np.argsort(x, stable=True)", TypeError),
        ("np.full(2, 1.0, like=x)", TypeError),
        ("np.ascontiguousarray(x)", TypeError),
        ("np.lib.stride_tricks.as_strided(x, (1, 1), (4, 4))", TypeError),
        ("x.astype(object)", ValueError),
        ("np.empty(2, object, like=x)", ValueError),
        ("x.setflags(write=False)", AttributeError),
        ("x.ctypes", AttributeError),
        ("x.__array_interface__", AttributeError),
        ("x.flags.writeable", AttributeError),
        ("x.__setitem__(0, np.zeros(3))", ValueError),
        ("hash(x)", TypeError),
    ],
)
def test_what_cupy_refuses_is_refused(x, call, error):
    with pytest.raises(error):
        eval(call)


def test_no_shape_is_taken_for_none(x):
    assert np.full_like(x, 1, shape=()).shape == np.empty_like(x, shape=()).shape == (2, 3)
    assert np.zeros((), like=x).shape == ()


def test_new_memory_is_poisoned(x):
    assert np.isnan(np.empty((2, 2), like=x).get()).all()
    assert (np.empty_like(x, np.int32).get() == 0x7F7F7F7F).all()


def test_ufuncs_give_rows_and_copies_keep_the_layout(x):
    assert np.exp(x.T).flags.c_contiguous
    assert x.T.copy("K").flags.f_contiguous
    assert np.zeros_like(x.T).flags.f_contiguous


def test_results_lie_in_the_order_of_their_axes(card):
    x = card.array(np.ones((2, 3, 4, 5), np.float32)).transpose(0, 3, 1, 2)
    rows = card.array(np.array([1, 0]))
    for y in (x.max(axis=1), np.clip(x, 0, 1), np.concatenate([x, x]), x[:, rows]):
        assert y.flags.c_contiguous
    assert card.cupy.asarray(x.get()).flags.c_contiguous
    assert not x.copy("K").flags.c_contiguous


def test_bfloat16_is_widened_where_cupy_has_no_code_for_it(card, x):
    short = x.astype(pytest.importorskip("ml_dtypes").bfloat16)
    assert np.where(x > 1, short, 0).dtype == np.float32
    assert short.var().dtype == (short**0.5).dtype == np.float64
    assert (short * short).dtype == np.maximum(short, 0).dtype == short.dtype


def test_captured_work_is_done_when_the_graph_is_launched(card, x):
    total = np.zeros(3, np.float32, like=x)
    stream = card.cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        y = np.exp(x)
        total += y.sum(axis=0)
        x[0] = 0
        graph = stream.end_capture()
    assert np.isnan(y.get()).all()
    assert_allclose(total.get(), 0)
    expected = np.zeros(3)
    values = x.get().astype(float)
    for _ in range(3):
        expected += np.exp(values).sum(axis=0)
        values[0] = 0
        graph.launch()
    assert_allclose(total.get(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("x @ x.T", NotImplementedError),
        ("x.get()", RuntimeError),
        ("np.sort(x)", RuntimeError),
        ("x[x > 0]", RuntimeError),
    ],
)
def test_what_cannot_be_captured(card, x, call, error):
    stream = card.cupy.cuda.Stream()
    with stream:
        stream.begin_capture()
        with pytest.raises(error, match=r"captur"):
            eval(call)


def test_a_pool_counts_what_arrays_hold(card, x):
    pool = card.cupy.cuda.MemoryPool()
    before = card.cupy.get_default_memory_pool().used_bytes()
    with card.cupy.cuda.using_allocator(pool.malloc):
        y = np.zeros(1000, np.float32, like=x)
        z = y.reshape(10, 100)
    assert (pool.used_bytes(), pool.total_bytes()) == (4096, 4096)
    assert card.cupy.get_default_memory_pool().used_bytes() == before
    del y
    assert pool.used_bytes() == 4096  # a view holds it
    del z
    assert (pool.used_bytes(), pool.free_bytes()) == (0, 4096)
    pool.free_all_blocks()
    assert pool.total_bytes() == 0


def test_out_of_memory(card, x):
    card.cupy.get_default_memory_pool().set_limit(size=10_000)
    with pytest.raises(card.cupy.cuda.memory.OutOfMemoryError, match="Out of memory allocating"):
        np.zeros(10_000, like=x)


def test_several_cards(card):
    card.machine.cards = 2
    y = to_device(np.ones(2), "cuda:1")
    assert device_of(y) == "cuda:1"
    with pytest.raises(ValueError, match="device"):
        y + 1
    with card.cupy.cuda.Device(1):
        assert_allclose((y + 1).get(), 2)
    with pytest.raises(DeviceError, match="cuda:2 is not there"):
        to_device(np.ones(2), "cuda:2")


@pytest.mark.parametrize("missing", ["driver", "cards"])
def test_without_driver_or_card(card, missing):
    setattr(card.machine, missing, 0)
    assert not card.cupy.cuda.is_available()
    with pytest.raises(DeviceError, match=r"no NVIDIA driver|the driver sees no card"):
        to_device(np.ones(2), "cuda")


def test_the_table_of_names_is_that_of_cupy():
    cupy = pytest.importorskip("cupy")
    table = json.loads(cupy_names.FILE.read_text())
    if cupy.__version__ != table["cupy"]:
        pytest.skip(f"CuPy {cupy.__version__} is installed, the table is of {table['cupy']}")
    assert cupy_names.names() == table


def test_a_view_knows_whose_memory_it_is(card):
    x = card.array(np.zeros((2, 3)))
    assert x.base is None
    assert x.T.base is x
    assert x.reshape(6)[2:].base is x
    assert (x + 1).base is None
    view = card.array(np.zeros(4)).reshape(2, 2)
    assert view[0].base is view.base is view.T.base
