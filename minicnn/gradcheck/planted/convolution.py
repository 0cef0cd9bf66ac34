"""Mistakes in convolutions: where each cell of the filter meets the image, and who adds what.

Cell (i, j) of the filter meets the padded image in a window, a slice with steps; all forwards and
most backwards below are loops over the cells.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, planted
from minicnn_kernels.arrays import Array

Two = tuple[int, int]
Window = tuple[slice, slice, slice, slice]
ALL = slice(None)


def _window(i: int, j: int, out: Two, stride: Two = (1, 1), dilation: Two = (1, 1)) -> Window:
    """Return where cell (i, j) meets the padded image, for an output of size `out`."""
    top, left = i * dilation[0], j * dilation[1]
    rows = slice(top, top + stride[0] * (out[0] - 1) + 1, stride[0])
    columns = slice(left, left + stride[1] * (out[1] - 1) + 1, stride[1])
    return ALL, ALL, rows, columns


def _pad(x: Array, padding: Two) -> Array:
    return np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))


def _conv2d(
    x: Array, w: Array, stride: Two = (1, 1), padding: Two = (0, 0), dilation: Two = (1, 1)
) -> Array:
    """y[n,o,r,c] = sum_{i,j,k} x[n, k, r*stride + i*dilation, c*stride + j*dilation] w[o,k,i,j]."""
    x = _pad(x, padding)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    h, w_out = ((n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, stride, strict=True))
    y = np.zeros((len(x), len(w), h, w_out))
    for i, j in np.ndindex(w.shape[2:]):
        window = x[_window(i, j, (h, w_out), stride, dilation)]
        y += np.einsum("nkrc,ok->norc", window, w[:, :, i, j])
    return y


def _spread(
    dy: Array,
    x: Array,
    w: Array,
    stride: Two = (1, 1),
    padding: Two = (0, 0),
    dilation: Two = (1, 1),
) -> Array:
    """Compute the right gradient of `x` in `_conv2d`, still padded."""
    dx = np.zeros_like(_pad(x, padding))
    for i, j in np.ndindex(w.shape[2:]):
        window = _window(i, j, dy.shape[2:], stride, dilation)
        dx[window] += np.einsum("norc,ok->nkrc", dy, w[:, :, i, j])
    return dx


def _correlate(
    dy: Array,
    x: Array,
    w: Array,
    stride: Two = (1, 1),
    padding: Two = (0, 0),
    dilation: Two = (1, 1),
) -> Array:
    """Compute the right gradient of `w` in `_conv2d`."""
    x, dw = _pad(x, padding), np.zeros_like(w)
    for i, j in np.ndindex(w.shape[2:]):
        window = x[_window(i, j, dy.shape[2:], stride, dilation)]
        dw[:, :, i, j] = np.einsum("norc,nkrc->ok", dy, window)
    return dw


# --- the filter -----------------------------------------------------------------------------------


@planted("turned")
def conv2d_filter_not_turned() -> Pair:
    """The gradient of x is a convolution of dy with the filter, which should be turned by 180."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        turned = w.transpose(1, 0, 2, 3)
        # wrong: turned = w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        dx = _conv2d(_pad(dy, (2, 1)), turned)
        return dx, _correlate(dy, x, w)

    return Pair(_conv2d, backward, normal((3, 2, 5, 4), (4, 2, 3, 2)))


@planted("turned")
def conv_weight_gradient_turned() -> Pair:
    """The gradient of the filter is turned by 180 degrees, as for a true convolution."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dw = _correlate(dy, x, w)[:, :, ::-1, ::-1]
        # wrong: dw = _correlate(dy, x, w)
        return _spread(dy, x, w), dw

    return Pair(_conv2d, backward, normal((3, 2, 5, 4), (4, 2, 3, 2)))


@planted("transposed")
def conv2d_channels_not_exchanged() -> Pair:
    """dy is combined along the input channels of the filter instead of its output channels."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        back = w
        # wrong: back = w.transpose(1, 0, 2, 3)
        dx = _conv2d(_pad(dy, (2, 1)), back[:, :, ::-1, ::-1])
        return dx, _correlate(dy, x, w)

    return Pair(_conv2d, backward, normal((2, 3, 5, 4), (3, 3, 3, 2)))


@planted("transposed")
def conv2d_filter_rows_and_columns_exchanged() -> Pair:
    """The gradient of the filter is written to [j, i] instead of [i, j]."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dw = np.zeros_like(w)
        for i, j in np.ndindex(w.shape[2:]):
            cell = np.einsum("norc,nkrc->ok", dy, x[_window(i, j, dy.shape[2:])])
            dw[:, :, j, i] = cell
            # wrong: dw[:, :, i, j] = cell
        return _spread(dy, x, w), dw

    return Pair(_conv2d, backward, normal((3, 2, 5, 4), (2, 2, 3, 3)))


# --- padding --------------------------------------------------------------------------------------


@planted("shifted")
def conv2d_padding_cut_off_by_one() -> Pair:
    """The padding of 2 is cut off dx from row and column 1 on."""

    def backward(dy: Array, x: Array, w: Array, padding: Two) -> Gradients:
        padded = _spread(dy, x, w, padding=padding)
        top, left = padding[0] - 1, padding[1] - 1
        # wrong: top, left = padding
        dx = padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        return dx, _correlate(dy, x, w, padding=padding)

    inputs = normal((3, 2, 4, 5), (2, 2, 3, 3))
    return Pair(partial(_conv2d, padding=(2, 2)), partial(backward, padding=(2, 2)), inputs)


@planted("geometry", "shifted")
def conv2d_padding_axes_exchanged() -> Pair:
    """The padding is (1, 2); dx is cut out as if it were (2, 1)."""

    def backward(dy: Array, x: Array, w: Array, padding: Two) -> Gradients:
        padded = _spread(dy, x, w, padding=padding)
        left, top = padding
        # wrong: top, left = padding
        dx = padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        return dx, _correlate(dy, x, w, padding=padding)

    inputs = normal((3, 2, 5, 4), (2, 2, 3, 3))
    return Pair(partial(_conv2d, padding=(1, 2)), partial(backward, padding=(1, 2)), inputs)


@planted("shifted")
def conv1d_padding_behind_instead_of_around() -> Pair:
    """For the gradient of the filter both zeros are added behind x, none in front."""

    def forward(x: Array, w: Array) -> Array:
        return _conv2d(x[:, :, None], w[:, :, None], padding=(0, 1))[:, :, 0]

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        padded = np.pad(x, ((0, 0), (0, 0), (0, 2)))
        # wrong: padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
        dw = _correlate(dy[:, :, None], padded[:, :, None], w[:, :, None])
        dx = _spread(dy[:, :, None], x[:, :, None], w[:, :, None], padding=(0, 1))
        return dx[:, :, 0, 1:-1], dw[:, :, 0]

    return Pair(forward, backward, normal((3, 2, 7), (4, 2, 3)))


# --- stride and dilation --------------------------------------------------------------------------


@planted("geometry")
def conv2d_stride_ignored() -> Pair:
    """The windows lie two apart in the forward, and side by side in the gradient of x."""

    def backward(dy: Array, x: Array, w: Array, stride: Two) -> Gradients:
        dx = _spread(dy, x, w)
        # wrong: dx = _spread(dy, x, w, stride)
        return dx, _correlate(dy, x, w, stride)

    inputs = normal((3, 1, 7, 5), (4, 1, 3, 3))
    return Pair(partial(_conv2d, stride=(2, 2)), partial(backward, stride=(2, 2)), inputs)


@planted("geometry")
def conv2d_stride_of_rows_for_both_axes() -> Pair:
    """The stride is (1, 2); the gradient of the filter takes 1 for the columns, too."""

    def backward(dy: Array, x: Array, w: Array, stride: Two) -> Gradients:
        dw = _correlate(dy, x, w, (stride[0], stride[0]))
        # wrong: dw = _correlate(dy, x, w, stride)
        return _spread(dy, x, w, stride), dw

    inputs = normal((3, 1, 5, 7), (4, 1, 2, 3))
    return Pair(partial(_conv2d, stride=(1, 2)), partial(backward, stride=(1, 2)), inputs)


@planted("geometry")
def conv2d_stride_axes_exchanged() -> Pair:
    """The stride is (2, 3); the gradient of x takes it for (3, 2)."""

    def backward(dy: Array, x: Array, w: Array, stride: Two) -> Gradients:
        dx = _spread(dy, x, w, (stride[1], stride[0]))
        # wrong: dx = _spread(dy, x, w, stride)
        return dx, _correlate(dy, x, w, stride)

    inputs = normal((3, 1, 5, 7), (4, 1, 2, 3))
    return Pair(partial(_conv2d, stride=(2, 3)), partial(backward, stride=(2, 3)), inputs)


@planted("geometry")
def conv2d_dilation_ignored() -> Pair:
    """The cells of the filter lie two apart in the forward, side by side in its gradient."""

    def backward(dy: Array, x: Array, w: Array, dilation: Two) -> Gradients:
        dw = _correlate(dy, x, w)
        # wrong: dw = _correlate(dy, x, w, dilation=dilation)
        return _spread(dy, x, w, dilation=dilation), dw

    inputs = normal((3, 1, 6, 7), (4, 1, 2, 3))
    return Pair(partial(_conv2d, dilation=(2, 2)), partial(backward, dilation=(2, 2)), inputs)


@planted("geometry")
def conv2d_dilation_axes_exchanged() -> Pair:
    """The dilation is (1, 2); the gradient of x takes it for (2, 1)."""

    def backward(dy: Array, x: Array, w: Array, stride: Two, dilation: Two) -> Gradients:
        dx = _spread(dy, x, w, stride, dilation=(dilation[1], dilation[0]))
        # wrong: dx = _spread(dy, x, w, stride, dilation=dilation)
        return dx, _correlate(dy, x, w, stride, dilation=dilation)

    forward = partial(_conv2d, stride=(3, 3), dilation=(1, 2))
    backward = partial(backward, stride=(3, 3), dilation=(1, 2))
    return Pair(forward, backward, normal((2, 1, 8, 8), (4, 1, 3, 3)))


@planted("geometry")
def conv2d_stride_and_dilation_exchanged() -> Pair:
    """Stride 2 and dilation 1 become stride 1 and dilation 2 in the gradient of the filter."""

    def backward(dy: Array, x: Array, w: Array, stride: Two) -> Gradients:
        dw = _correlate(dy, x, w, dilation=stride)
        # wrong: dw = _correlate(dy, x, w, stride=stride)
        return _spread(dy, x, w, stride), dw

    inputs = normal((3, 1, 7, 6), (4, 1, 3, 2))
    return Pair(partial(_conv2d, stride=(2, 2)), partial(backward, stride=(2, 2)), inputs)


# --- overlap and what no window covers ------------------------------------------------------------


@planted("assigned")
def conv2d_overlap_assigned() -> Pair:
    """Windows overlap, and dx keeps only what the last cell of the filter wrote."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dx = np.zeros_like(x)
        for i, j in np.ndindex(w.shape[2:]):
            part = np.einsum("norc,ok->nkrc", dy, w[:, :, i, j])
            dx[_window(i, j, dy.shape[2:])] = part
            # wrong: dx[_window(i, j, dy.shape[2:])] += part
        return dx, _correlate(dy, x, w)

    return Pair(_conv2d, backward, normal((3, 2, 5, 4), (4, 2, 2, 3)))


@planted("left-over")
def conv2d_left_over_rows_repeat_the_last() -> Pair:
    """No window covers the last row and columns; they get a copy of their neighbours' gradient."""

    def backward(dy: Array, x: Array, w: Array, stride: Two) -> Gradients:
        covered = _spread(dy, x, w, stride)[:, :, :5, :5]
        left_over = ((0, 0), (0, 0), (0, x.shape[2] - 5), (0, x.shape[3] - 5))
        dx = np.pad(covered, left_over, mode="edge")
        # wrong: dx = np.pad(covered, left_over)
        return dx, _correlate(dy, x, w, stride)

    inputs = normal((3, 1, 6, 7), (4, 1, 2, 2))
    return Pair(partial(_conv2d, stride=(3, 3)), partial(backward, stride=(3, 3)), inputs)


@planted("shifted", "left-over")
def conv2d_left_over_row_put_in_front() -> Pair:
    """The zeros for the rows that no window covers are put above dx instead of below."""

    def backward(dy: Array, x: Array, w: Array, stride: Two) -> Gradients:
        covered = _spread(dy, x, w, stride)[:, :, :5]
        dx = np.pad(covered, ((0, 0), (0, 0), (1, 0), (0, 0)))
        # wrong: dx = np.pad(covered, ((0, 0), (0, 0), (0, 1), (0, 0)))
        return dx, _correlate(dy, x, w, stride)

    inputs = normal((2, 2, 6, 5), (4, 2, 3, 3))
    return Pair(partial(_conv2d, stride=(2, 1)), partial(backward, stride=(2, 1)), inputs)


# --- batch, groups, bias --------------------------------------------------------------------------


@planted("assigned", "partial")
def conv2d_last_image_only() -> Pair:
    """The gradient of the filter is that of the last image; the others are overwritten."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dw = np.zeros_like(w)
        for n in range(len(x)):
            one = slice(n, n + 1)
            dw = _correlate(dy[one], x[one], w)
            # wrong: dw += _correlate(dy[one], x[one], w)
        return _spread(dy, x, w), dw

    return Pair(_conv2d, backward, normal((3, 2, 5, 4), (4, 2, 3, 2)))


@planted("factor")
def conv_weight_gradient_averaged_over_batch() -> Pair:
    """The gradient of the filter is the mean over the batch where the sum is due."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dw = _correlate(dy, x, w) / len(x)
        # wrong: dw = _correlate(dy, x, w)
        return _spread(dy, x, w), dw

    return Pair(_conv2d, backward, normal((3, 2, 5, 4), (4, 2, 3, 2)))


@planted("partial")
def conv2d_groups_read_the_first_group() -> Pair:
    """Only the first group is right: the filters of the second see the first one's channels."""

    def forward(x: Array, w: Array, groups: int) -> Array:
        parts = zip(np.split(x, groups, axis=1), np.split(w, groups), strict=True)
        return np.concatenate([_conv2d(a, b) for a, b in parts], axis=1)

    def backward(dy: Array, x: Array, w: Array, groups: int) -> Gradients:
        xs, ws = np.split(x, groups, axis=1), np.split(w, groups)
        dys = np.split(dy, groups, axis=1)
        dx = [_spread(dys[g], xs[g], ws[g]) for g in range(groups)]
        dw = [_correlate(dys[g], xs[0], ws[g]) for g in range(groups)]
        # wrong: dw = [_correlate(dys[g], xs[g], ws[g]) for g in range(groups)]
        return np.concatenate(dx, axis=1), np.concatenate(dw)

    inputs = normal((2, 4, 4, 4), (6, 2, 3, 2))
    return Pair(partial(forward, groups=2), partial(backward, groups=2), inputs)


@planted("partial")
def depthwise_last_channel_forgotten() -> Pair:
    """One filter per channel, and the loop in the backward ends one channel too early."""

    def forward(x: Array, w: Array) -> Array:
        parts = [_conv2d(x[:, c : c + 1], w[c : c + 1]) for c in range(len(w))]
        return np.concatenate(parts, axis=1)

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        channels = len(w) - 1
        # wrong: channels = len(w)
        for c in range(channels):
            one = slice(c, c + 1)
            dx[:, one] = _spread(dy[:, one], x[:, one], w[one])
            dw[one] = _correlate(dy[:, one], x[:, one], w[one])
        return dx, dw

    return Pair(forward, backward, normal((2, 4, 4, 4), (4, 1, 2, 3)))


@planted("factor")
def conv_bias_gradient_averaged() -> Pair:
    """The gradient of the bias is the mean of dy over images and places instead of the sum."""

    def backward(dy: Array, x: Array, w: Array, b: Array) -> Gradients:
        db = dy.mean(axis=(0, 2, 3))
        # wrong: db = dy.sum(axis=(0, 2, 3))
        return _spread(dy, x, w), _correlate(dy, x, w), db

    inputs = normal((3, 2, 5, 4), (4, 2, 3, 2), (4,))
    return Pair(lambda x, w, b: _conv2d(x, w) + b[:, None, None], backward, inputs)


@planted("broadcast")
def conv_bias_gradient_per_place() -> Pair:
    """The gradient of the bias is summed over the batch only."""

    def backward(dy: Array, x: Array, w: Array, b: Array) -> Gradients:
        db = dy.sum(axis=0)
        # wrong: db = dy.sum(axis=(0, 2, 3))
        return _spread(dy, x, w), _correlate(dy, x, w), db

    inputs = normal((3, 2, 5, 4), (4, 2, 3, 2), (4,))
    return Pair(lambda x, w, b: _conv2d(x, w) + b[:, None, None], backward, inputs)


# --- im2col: the windows as rows of a matrix ------------------------------------------------------


def _im2col(x: Array, kernel: Two) -> Array:
    """Return a matrix with a row (channel, i, j) per cell and a column (n, r, c) per window."""
    h, w = (n - k + 1 for n, k in zip(x.shape[2:], kernel, strict=True))
    cells = [x[_window(i, j, (h, w))] for i, j in np.ndindex(kernel)]
    return np.stack(cells, axis=2).transpose(1, 2, 0, 3, 4).reshape(x.shape[1] * len(cells), -1)


def _im2col_forward(x: Array, w: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    columns = _im2col(x, w.shape[2:])
    return _conv2d(x, w), (x, w, columns)


@planted("permuted")
def im2col_filter_gradient_channels_last() -> Pair:
    """The columns are ordered channel, row, column; they are read as row, column, channel."""

    def backward(dout: Array, cache: tuple[Array, Array, Array]) -> Gradients:
        x, w, columns = cache
        o, k, rows, cols = w.shape
        dw = dout.transpose(1, 0, 2, 3).reshape(o, -1) @ columns.T
        dw = dw.reshape(o, rows, cols, k).transpose(0, 3, 1, 2)
        # wrong: dw = dw.reshape(w.shape)
        return _spread(dout, x, w), dw

    return Pair(_im2col_forward, backward, normal((3, 2, 5, 4), (4, 2, 3, 2)))


@planted("permuted", "transposed")
def im2col_upstream_not_transposed() -> Pair:
    """dy is (image, channel, ...); reshape to (channel, ...) without transposing mixes them up."""

    def backward(dout: Array, cache: tuple[Array, Array, Array]) -> Gradients:
        x, w, columns = cache
        rows = dout.reshape(len(w), -1)
        # wrong: rows = dout.transpose(1, 0, 2, 3).reshape(len(w), -1)
        return _spread(dout, x, w), (rows @ columns.T).reshape(w.shape)

    return Pair(_im2col_forward, backward, normal((3, 2, 5, 4), (4, 2, 3, 2)))


@planted("assigned")
def col2im_repeated_places_counted_once() -> Pair:
    """dx[places] += columns adds once per place, however many windows share it."""

    def backward(dout: Array, cache: tuple[Array, Array, Array]) -> Gradients:
        x, w, columns = cache
        places = _im2col(np.arange(x.size).reshape(x.shape), w.shape[2:])
        rows = dout.transpose(1, 0, 2, 3).reshape(len(w), -1)
        dcolumns = w.reshape(len(w), -1).T @ rows
        dx = np.zeros(x.size)
        dx[places] += dcolumns
        # wrong: np.add.at(dx, places, dcolumns)
        return dx.reshape(x.shape), (rows @ columns.T).reshape(w.shape)

    return Pair(_im2col_forward, backward, normal((3, 2, 5, 4), (4, 2, 3, 2)))


# --- transposed convolution -----------------------------------------------------------------------


def _conv_transpose2d(x: Array, w: Array, stride: Two) -> Array:
    """Place x[n,k,r,c] * w[k,o] at (r * stride, c * stride) and add up."""
    size = [s * (n - 1) + k for n, s, k in zip(x.shape[2:], stride, w.shape[2:], strict=True)]
    return _spread(x, np.zeros((len(x), w.shape[1], *size)), w, stride)


@planted("turned")
def conv_transpose2d_filter_turned() -> Pair:
    """The gradient of x is a plain convolution; the filter is turned by 180 degrees as well."""

    def backward(dy: Array, x: Array, w: Array, stride: Two) -> Gradients:
        dx = _conv2d(dy, w[:, :, ::-1, ::-1], stride)
        # wrong: dx = _conv2d(dy, w, stride)
        return dx, _correlate(x, dy, w, stride)

    forward = partial(_conv_transpose2d, stride=(2, 1))
    return Pair(forward, partial(backward, stride=(2, 1)), normal((3, 2, 3, 4), (2, 4, 3, 2)))


@planted("geometry")
def conv_transpose2d_stride_ignored() -> Pair:
    """The windows lie two rows apart; the gradient of the filter takes them side by side."""

    def backward(dy: Array, x: Array, w: Array, stride: Two) -> Gradients:
        dw = _correlate(x, dy, w)
        # wrong: dw = _correlate(x, dy, w, stride)
        return _conv2d(dy, w, stride), dw

    forward = partial(_conv_transpose2d, stride=(2, 1))
    return Pair(forward, partial(backward, stride=(2, 1)), normal((3, 2, 3, 4), (2, 4, 3, 2)))


@planted("transposed")
def conv_transpose2d_channels_exchanged() -> Pair:
    """The gradient of the filter (in, out) is written as (out, in)."""

    def backward(dy: Array, x: Array, w: Array, stride: Two) -> Gradients:
        dw = _correlate(x, dy, w, stride).transpose(1, 0, 2, 3)
        # wrong: dw = _correlate(x, dy, w, stride)
        return _conv2d(dy, w, stride), dw

    forward = partial(_conv_transpose2d, stride=(2, 1))
    return Pair(forward, partial(backward, stride=(2, 1)), normal((3, 3, 3, 4), (3, 3, 3, 2)))
