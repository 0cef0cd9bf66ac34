"""Softmax and its relatives on a card against the NumPy reference in float64."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import kernels
from minicnn_kernels.cuda import softmax
from minicnn_kernels.registry import only_numpy

CASES = [((5,), 0), ((3, 10), 1), ((3, 10), 0), ((1, 1), 1), ((4, 33), 1), ((2, 1500), 1),
         ((2, 3, 4, 5), 1), ((2, 3, 4, 5), -1), ((2, 1100, 3), 1)]  # fmt: skip


def last(x):
    """Return the same values with their dimension 1 last in memory, if there is one."""
    return x if x.ndim < 3 else np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)


def compare(card, name, *arrays, dim, rtol=2e-6):
    """Compare a kernel with the reference in float64; return what the card has found."""
    exact = [v.astype(np.float64) if v.dtype.kind == "f" else v for v in arrays]
    with only_numpy():
        expected = kernels[name](*exact, dim=dim)
    given = [card.array(v) for v in arrays]
    with card.no_copies():
        found = kernels[name](*given, dim=dim, algorithm="cuda")
    several = found if isinstance(found, tuple) else (found,)
    for a, b in zip(several, expected if several is found else (expected,), strict=True):
        assert (a.shape, a.dtype) == (b.shape, arrays[0].dtype)
        assert np.linalg.norm(a.get() - b) <= rtol * np.linalg.norm(b) + 1e-7
    return found


@pytest.mark.parametrize("seen", [lambda x: x, last], ids=["as it is", "channels last"])
@pytest.mark.parametrize(("shape", "dim"), CASES, ids=str)
def test_as_the_reference(card, rng, shape, dim, seen):
    x, dy = (seen(v) for v in rng.normal(0, 4, (2, *shape)).astype(np.float32))
    dim %= len(shape)
    scale = rng.normal(size=[1 if i == dim else n for i, n in enumerate(shape)]).astype(np.float32)
    y = compare(card, "softmax", x, dim=dim).get()
    compare(card, "softmax", x, scale, dim=dim)
    compare(card, "softmax_gradient", dy, y, dim=dim)
    y = compare(card, "log_softmax", x, dim=dim).get()
    compare(card, "log_softmax_gradient", dy, y, dim=dim, rtol=1e-5)
    compare(card, "log_total", x, dim=dim)


@pytest.mark.parametrize("seen", [lambda x: x, last], ids=["as it is", "channels last"])
@pytest.mark.parametrize(("shape", "dim"), CASES, ids=str)
def test_cross_entropy_as_the_reference(card, rng, shape, dim, seen):
    x, dim = seen(rng.normal(0, 4, shape).astype(np.float32)), dim % len(shape)
    labels = rng.integers(0, shape[dim], shape[:dim] + shape[dim + 1 :])
    compare(card, "cross_entropy", x, labels, dim=dim)
    compare(card, "cross_entropy", x, np.array(labels, np.int32, order="F"), dim=dim)
    for ignore in (-100, 0):
        compare_means(card, rng, x, labels, dim, ignore)
    for dy in (rng.normal(size=labels.shape), np.broadcast_to(0.25, labels.shape)):
        arrays = np.asarray(dy, np.float32), x, labels
        compare(card, "cross_entropy_gradient", *arrays, dim=dim)


def compare_means(card, rng, x, labels, dim, ignore):
    """Compare mean and gradient, where the last label is not used."""
    labels = np.array(labels)
    labels.reshape(-1)[-1:] = ignore
    exact, dy = x.astype(np.float64), rng.normal(size=()).astype(np.float32)
    count, settings = np.empty(()), {"dim": dim, "ignore": ignore}
    y = kernels["mean_cross_entropy"](exact, labels, count, **settings)
    dx = kernels["cross_entropy_gradient"](dy.astype(np.float64), exact, labels, count, **settings)
    x, dy, labels = map(card.array, (x, dy, labels))
    counted = card.cupy.empty((), np.float32)
    given = {**settings, "algorithm": "cuda"}
    with card.no_copies():
        found = kernels["mean_cross_entropy"](x, labels, counted, **given)
        slopes = kernels["cross_entropy_gradient"](dy, x, labels, counted, **given)
    assert counted.get() == count
    np.testing.assert_allclose(found.get(), y, rtol=2e-6)
    assert np.linalg.norm(slopes.get() - dx) <= 2e-6 * np.linalg.norm(dx) + 1e-9


def test_many_samples_have_several_blocks(card, rng):
    x, labels = rng.normal(size=(300, 5)).astype(np.float32), rng.integers(0, 5, 300)
    compare_means(card, rng, x, labels, 1, ignore=2)
    compare_means(card, rng, np.asfortranarray(x), labels, 1, ignore=2)


def test_one_slope_for_all_is_not_copied(card):
    slope = card.cupy.broadcast_to(card.array(np.float32(0.5)), (3, 4))
    numbers, step = softmax.each_of(slope)
    assert numbers is slope
    assert step == 0
    turned = card.array(np.ones((4, 3), np.float32)).T
    numbers, step = softmax.each_of(turned)
    assert numbers.flags.c_contiguous
    assert step == 1


def test_what_is_no_label_loses_nan(card):
    x, labels = card.array(np.zeros((3, 4), np.float32)), card.array(np.array([-1, 4, 3]))
    y = kernels["cross_entropy"](x, labels, dim=1, algorithm="cuda").get()
    np.testing.assert_allclose(y, [np.nan, np.nan, np.log(4)], rtol=1e-6)
    for ignore, expected in ((-1, np.nan), (4, np.nan), (-100, np.nan)):
        count = card.cupy.empty((), np.float32)
        mean = kernels["mean_cross_entropy"](
            x, labels, count, dim=1, ignore=ignore, algorithm="cuda"
        )
        np.testing.assert_equal(mean.get(), expected)


@pytest.mark.parametrize("length", [7, 2000])
def test_large_numbers_and_nan(card, length):
    x = np.full((4, length), -1e30, np.float32)
    x[0, 3], x[1, :2], x[3, 5] = 1e30, 88, np.nan
    y = kernels["softmax"](card.array(x), dim=1, algorithm="cuda").get()
    assert y[0, 3] == 1
    assert y[0].sum() == 1
    assert y[1, :2].tolist() == [0.5, 0.5]
    np.testing.assert_allclose(y[2], 1 / length, rtol=1e-6)
    assert np.isnan(y[3]).all()


def test_the_structure_is_that_of_the_source():
    assert softmax.ROWS.itemsize == 12
