"""Mistakes in pooling and upsampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, planted
from minicnn_kernels.arrays import Array

Two = tuple[int, int]
Place = tuple[slice, slice, int, int]
Part = tuple[slice, slice, slice, slice]
ALL = slice(None)


def _windows(x: Array, window: Two, stride: Two) -> Iterator[tuple[Place, Part]]:
    """Yield where each output stands in y, and which part of x it sees."""
    size = zip(x.shape[2:], window, stride, strict=True)
    for r, c in np.ndindex(*((n - k) // s + 1 for n, k, s in size)):
        top, left = r * stride[0], c * stride[1]
        yield (
            (ALL, ALL, r, c),
            (ALL, ALL, slice(top, top + window[0]), slice(left, left + window[1])),
        )


def _pool(reduce: Callable[..., Array], x: Array, window: Two, stride: Two) -> Array:
    size = zip(x.shape[2:], window, stride, strict=True)
    y = np.zeros((*x.shape[:2], *((n - k) // s + 1 for n, k, s in size)))
    for place, part in _windows(x, window, stride):
        y[place] = reduce(x[part], axis=(2, 3))
    return y


def _winner(part: Array) -> Array:
    """Mark the largest cell of each window with 1, the first one if several are tied."""
    cells = part.reshape(*part.shape[:2], -1)
    return np.asarray(np.eye(cells.shape[2])[cells.argmax(axis=2)].reshape(part.shape))


def _second(part: Array) -> Array:
    """Return the second largest value of each window."""
    return np.sort(part.reshape(*part.shape[:2], -1))[:, :, -2, None, None]


def _spread(share: Array, place: Place, dy: Array) -> Array:
    """Multiply each output's dy into its window."""
    return np.asarray(share * dy[place][:, :, None, None])


def _max_pool(
    backward: Callable[..., Gradients], inputs: tuple[Array, ...], window: Two, stride: Two
) -> Pair:
    forward = partial(_pool, np.max, window=window, stride=stride)
    return Pair(forward, partial(backward, window=window, stride=stride), inputs)


def _mean_pool(
    backward: Callable[..., Gradients], inputs: tuple[Array, ...], window: Two, stride: Two
) -> Pair:
    forward = partial(_pool, np.mean, window=window, stride=stride)
    return Pair(forward, partial(backward, window=window, stride=stride), inputs)


# --- maximum --------------------------------------------------------------------------------------


@planted("assigned")
def max_pool_overlap_assigned() -> Pair:
    """A cell can win in several windows, and keeps the gradient of the last one only."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        for place, part in _windows(x, window, stride):
            won = _winner(x[part]) > 0
            dx[part] = np.where(won, _spread(won, place, dy), dx[part])
            # wrong: dx[part] += _spread(won, place, dy)
        return (dx,)

    return _max_pool(backward, normal((3, 2, 5, 5)), window=(3, 2), stride=(1, 1))


@planted("ties")
def max_pool_all_tied_cells() -> Pair:
    """Every cell that equals the maximum gets the full gradient."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        for place, part in _windows(x, window, stride):
            share = x[part] == x[part].max(axis=(2, 3), keepdims=True)
            # wrong: share = _winner(x[part])
            dx[part] += _spread(share, place, dy)
        return (dx,)

    (x,) = normal((3, 2, 4, 6))
    x[1, 0, 0:2, 0:3] = 2
    return _max_pool(backward, (x,), window=(2, 3), stride=(2, 3))


@planted("ties")
def max_pool_no_tied_cell() -> Pair:
    """The winner must be larger than all others, so a window of equal cells passes nothing on."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        for place, part in _windows(x, window, stride):
            share = x[part] > _second(x[part])
            # wrong: share = _winner(x[part])
            dx[part] += _spread(share, place, dy)
        return (dx,)

    (x,) = normal((3, 2, 4, 6))
    x[1, 0, 0:2, 0:3] = 2
    return _max_pool(backward, (x,), window=(2, 3), stride=(2, 3))


@planted("permuted", "geometry")
def max_pool_winner_read_with_the_wrong_width() -> Pair:
    """The number of the winning cell is decoded with the height of the window, not its width."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        for place, part in _windows(x, window, stride):
            share = _winner(x[part]).reshape(*x.shape[:2], window[1], window[0]).swapaxes(2, 3)
            # wrong: share = _winner(x[part])
            dx[part] += _spread(share, place, dy)
        return (dx,)

    return _max_pool(backward, normal((3, 2, 4, 6)), window=(2, 3), stride=(2, 3))


@planted("local-derivative")
def max_pool_of_absolute_values() -> Pair:
    """The winner is looked for among |x|, so windows with large negative cells are wrong."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        for place, part in _windows(x, window, stride):
            share = _winner(np.abs(x[part]))
            # wrong: share = _winner(x[part])
            dx[part] += _spread(share, place, dy)
        return (dx,)

    return _max_pool(backward, normal((3, 2, 4, 6)), window=(2, 2), stride=(2, 2))


@planted("geometry")
def max_pool_stride_taken_for_window() -> Pair:
    """Windows of 2 x 2 every 3 cells; the gradient goes to windows every 2 cells."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        seen = _windows(x, window, stride)
        written = _windows(x, window, window)
        # wrong: written = _windows(x, window, stride)
        for (place, part), (_, target) in zip(seen, written, strict=True):
            dx[target] += _spread(_winner(x[part]), place, dy)
        return (dx,)

    return _max_pool(backward, normal((3, 2, 5, 5)), window=(2, 2), stride=(3, 3))


@planted("partial")
def max_pool_winners_of_the_first_image() -> Pair:
    """Only the first image is right: its winners are used for the whole batch."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        for place, part in _windows(x, window, stride):
            share = _winner(x[part])[:1]
            # wrong: share = _winner(x[part])
            dx[part] += _spread(share, place, dy)
        return (dx,)

    return _max_pool(backward, normal((3, 2, 4, 6)), window=(2, 2), stride=(2, 2))


# --- mean -----------------------------------------------------------------------------------------


@planted("factor")
def mean_pool_not_divided() -> Pair:
    """Every cell gets all of dy instead of its share of the window's area."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        for place, part in _windows(x, window, stride):
            share = np.ones(window)
            # missing: share = share / share.size
            dx[part] += _spread(share, place, dy)
        return (dx,)

    return _mean_pool(backward, normal((3, 2, 4, 6)), window=(2, 3), stride=(2, 3))


@planted("factor")
def mean_pool_divided_by_the_height() -> Pair:
    """dy is divided by the height of the window instead of its area."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        for place, part in _windows(x, window, stride):
            share = np.ones(window) / window[0]
            # wrong: share = np.ones(window) / (window[0] * window[1])
            dx[part] += _spread(share, place, dy)
        return (dx,)

    return _mean_pool(backward, normal((4, 1, 5, 6)), window=(2, 3), stride=(1, 3))


@planted("assigned")
def mean_pool_overlap_assigned() -> Pair:
    """Windows overlap, and each overwrites what the earlier ones left in the common cells."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        for place, part in _windows(x, window, stride):
            dx[part] = _spread(np.ones(window) / 6, place, dy)
            # wrong: dx[part] += _spread(np.ones(window) / 6, place, dy)
        return (dx,)

    return _mean_pool(backward, normal((3, 1, 5, 7)), window=(2, 3), stride=(1, 2))


@planted("left-over")
def mean_pool_left_over_cells_share() -> Pair:
    """The last row and column lie in no window, but get the gradient of the nearest one."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        covered = dy.repeat(2, axis=2).repeat(2, axis=3) / 4
        left_over = ((0, 0), (0, 0), (0, 1), (0, 1))
        dx = np.pad(covered, left_over, mode="edge")
        # wrong: dx = np.pad(covered, left_over)
        return (dx,)

    return _mean_pool(backward, normal((3, 1, 5, 7)), window=(2, 2), stride=(2, 2))


@planted("geometry")
def mean_pool_stride_axes_exchanged() -> Pair:
    """The stride is (2, 3); the gradient takes it for (3, 2)."""

    def backward(dy: Array, x: Array, window: Two, stride: Two) -> Gradients:
        dx = np.zeros_like(x)
        windows = _windows(x, window, stride[::-1])
        # wrong: windows = _windows(x, window, stride)
        for place, part in windows:
            dx[part] += _spread(np.ones(window) / 6, place, dy)
        return (dx,)

    return _mean_pool(backward, normal((4, 1, 5, 6)), window=(2, 3), stride=(2, 3))


@planted("geometry", "local-derivative")
def mean_pool_padding_counted() -> Pair:
    """At the border the forward divides by the cells inside the image, the backward by all."""

    def forward(x: Array) -> Array:
        y = np.zeros_like(x)
        for r, c in np.ndindex(x.shape[2:]):
            y[:, :, r, c] = x[_around(r, c)].mean(axis=(2, 3))
        return y

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        for r, c in np.ndindex(x.shape[2:]):
            area = 9
            # wrong: area = x[_around(r, c)][0, 0].size
            dx[_around(r, c)] += dy[:, :, r, c, None, None] / area
        return (dx,)

    return Pair(forward, backward, normal((3, 2, 4, 5)))


def _around(r: int, c: int) -> Part:
    """Return a window of 3 x 3 about a cell, cut at the border."""
    return ALL, ALL, slice(max(0, r - 1), r + 2), slice(max(0, c - 1), c + 2)


@planted("factor")
def global_mean_divided_by_the_height() -> Pair:
    """The mean over height and width is divided by the height alone."""

    def backward(dy: Array, x: Array) -> Gradients:
        area = x.shape[2]
        # wrong: area = x.shape[2] * x.shape[3]
        return (np.zeros_like(x) + dy[:, :, None, None] / area,)

    return Pair(lambda x: x.mean(axis=(2, 3)), backward, normal((3, 2, 4, 5)))


# --- upsampling -----------------------------------------------------------------------------------


@planted("assigned", "partial")
def upsample_takes_one_of_four_copies() -> Pair:
    """Each cell is copied to 2 x 2 places, and only the first copy's gradient comes back."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy[:, :, ::2, ::2].copy()
        # missing: dx += dy[:, :, 1::2, ::2] + dy[:, :, ::2, 1::2] + dy[:, :, 1::2, 1::2]
        return (dx,)

    return Pair(lambda x: x.repeat(2, axis=2).repeat(2, axis=3), backward, normal((3, 2, 3, 4)))


@planted("permuted", "transposed")
def pixel_shuffle_axes_exchanged() -> Pair:
    """Four channels become 2 x 2 pixels; on the way back rows and columns of them are exchanged."""

    def forward(x: Array) -> Array:
        n, _, h, w = x.shape
        return x.reshape(n, 2, 2, h, w).transpose(0, 3, 1, 4, 2).reshape(n, 2 * h, 2 * w)

    def backward(dy: Array, x: Array) -> Gradients:
        n, _, h, w = x.shape
        cells = dy.reshape(n, h, 2, w, 2)
        dx = cells.transpose(0, 4, 2, 1, 3)
        # wrong: dx = cells.transpose(0, 2, 4, 1, 3)
        return (dx.reshape(x.shape),)

    return Pair(forward, backward, normal((3, 4, 2, 3)))
