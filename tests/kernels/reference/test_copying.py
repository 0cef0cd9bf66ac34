"""Copies in parts, against NumPy's."""

import numpy as np
import pytest

from minicnn_kernels import threads
from minicnn_kernels.reference import copying


def channels_first(x):
    """Return (N, ..., C) with the memory of (N, C, ...)."""
    place = min(1, x.ndim - 1)
    return np.moveaxis(np.array(np.moveaxis(x, -1, place)), place, -1)


LAYOUTS = {
    "in reading order": lambda x: x,
    "the other way round": np.asfortranarray,
    "backwards": np.flip,
    "with gaps": lambda x: np.repeat(x, 2, -1)[..., ::2],
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
    "exchanged": lambda x: np.array(x.swapaxes(0, -1)).swapaxes(0, -1),
    "images with their channels first": lambda x: channels_first(x),
    "every value repeated": lambda x: np.broadcast_to(x[..., :1], x.shape),
}
SHAPES = [(7,), (1, 5), (4, 3, 2), (1, 1, 6, 1), (3, 1, 4, 4), (0, 3), (3, 0, 2)]
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


@pytest.fixture(params=[1, 3], ids=lambda n: f"{n} threads", autouse=True)
def small_parts(request, monkeypatch):
    """Let small arrays be copied in parts."""
    monkeypatch.setattr(copying, "PART_BYTES", 1)
    monkeypatch.setattr(threads, "_pool", pool := threads._Pool(request.param))
    yield
    pool.stop()


@each_layout
@pytest.mark.parametrize("shape", SHAPES)
def test_copied(rng, shape, layout):
    x = layout(rng.normal(size=shape))
    y = copying.copied(x)
    np.testing.assert_array_equal(y, x)
    assert y.flags.c_contiguous
    assert not np.shares_memory(x, y)


@each_layout
@pytest.mark.parametrize("to", [*list(LAYOUTS)[:4], "exchanged"])
@pytest.mark.parametrize("shape", SHAPES)
def test_assign(rng, shape, layout, to):
    x, y = layout(rng.normal(size=shape)), LAYOUTS[to](np.zeros(shape))
    copying.assign(y, x)
    np.testing.assert_array_equal(y, x)


def test_assign_broadcasts(rng):
    y = np.zeros((3, 4, 2))
    copying.assign(y, x := rng.normal(size=(4, 1)))
    np.testing.assert_array_equal(y, np.broadcast_to(x, y.shape))
    copying.assign(y, np.array(5))
    assert (y == 5).all()


@each_layout
@pytest.mark.parametrize(("shape", "dim"), [(s, d) for s in SHAPES for d in range(len(s))])
def test_concatenated(rng, shape, dim, layout):
    others = ((*shape[:dim], n, *shape[dim + 1 :]) for n in (0, 2))
    arrays = [layout(rng.normal(size=shape)), *(rng.normal(size=other) for other in others)]
    np.testing.assert_array_equal(copying.concatenated(arrays, dim), np.concatenate(arrays, dim))


def test_images_with_the_channels_last_stay_so(rng):
    images = [rng.normal(size=(2, 5, 4, c)).transpose(0, 3, 1, 2) for c in (3, 6)]
    for dim in (0, 1):
        y = copying.concatenated([images[dim - 1]] * 2, dim)
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert copying.concatenated(images, 1).transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("dim", range(4))
def test_images_on_a_card_keep_their_order(card, rng, dim):
    images = [rng.standard_normal((2, 3, 4, 5)) for _ in range(2)]
    last = [card.array(np.moveaxis(x, 1, -1).copy()).transpose(0, 3, 1, 2) for x in images]
    with card.no_copies():
        y = copying.concatenated(last, dim)
    np.testing.assert_array_equal(y.get(), np.concatenate(images, dim))
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous


def test_types_that_differ_are_left_to_numpy():
    assert copying.concatenated([np.ones(2, int), np.ones(2, bool)], 0).dtype == np.int64


def test_every_part_is_computed_once_and_without_warnings():
    y = np.zeros(10)

    def compute(part):
        y[part] += np.log(np.zeros(1)) == -np.inf

    copying.in_parts(compute, 10, nbytes=10)
    assert (y == 1).all()
    copying.in_parts(compute, 0, nbytes=0)


def test_outermost():
    assert copying.outermost(np.zeros((3, 4))) == 0
    assert copying.outermost(np.zeros((4, 3)).T) == 1
    assert copying.outermost(np.zeros((1, 4))) == 1
    assert copying.outermost(np.zeros((4, 3))[::-1]) == 0
