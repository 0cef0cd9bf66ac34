"""Mistakes with shapes and places: broadcasting, axes, reductions, indexing."""

from __future__ import annotations

from functools import partial

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, planted, positive
from minicnn_kernels.arrays import Array

# --- broadcasting ---------------------------------------------------------------------------------


@planted("broadcast")
def add_bias_not_summed() -> Pair:
    """The bias is added to every row, but its gradient is not summed over the rows."""

    def backward(dy: Array, x: Array, b: Array) -> Gradients:
        db = dy.copy()
        # wrong: db = dy.sum(axis=0)
        return dy, db

    return Pair(np.add, backward, normal((3, 5), (5,)))


@planted("broadcast")
def scale_summed_over_the_batch_only() -> Pair:
    """A scale per channel is summed over the batch, but not over the places."""

    def backward(dy: Array, x: Array, gamma: Array) -> Gradients:
        dgamma = (dy * x).sum(axis=0, keepdims=True)
        # wrong: dgamma = (dy * x).sum(axis=(0, 2, 3), keepdims=True)
        return dy * gamma, dgamma

    return Pair(np.multiply, backward, normal((3, 2, 3, 4), (1, 2, 1, 1)))


@planted("broadcast")
def scalar_factor_not_summed() -> Pair:
    """One number multiplies every element, but its gradient has the shape of all of them."""

    def backward(dy: Array, x: Array, scale: Array) -> Gradients:
        dscale = dy * x
        # wrong: dscale = (dy * x).sum()
        return dy * scale, dscale

    return Pair(np.multiply, backward, (*normal((3, 5)), np.array(0.7)))


@planted("shape")
def add_bias_keeps_an_axis() -> Pair:
    """The gradient of the bias is summed with keepdims, so it is (1, 5) instead of (5,)."""

    def backward(dy: Array, x: Array, b: Array) -> Gradients:
        db = dy.sum(axis=0, keepdims=True)
        # wrong: db = dy.sum(axis=0)
        return dy, db

    return Pair(np.add, backward, normal((3, 5), (5,)))


@planted("transposed")
def add_bias_summed_over_the_wrong_axis() -> Pair:
    """The bias differs from column to column, and its gradient is summed over the columns."""

    def backward(dy: Array, x: Array, b: Array) -> Gradients:
        db = dy.sum(axis=1)
        # wrong: db = dy.sum(axis=0)
        return dy, db

    return Pair(np.add, backward, normal((5, 5), (5,)))


@planted("assigned", "partial")
def tile_counts_the_last_copy_only() -> Pair:
    """Three copies of x stand side by side, and only the last one's gradient is kept."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        for copy in np.split(dy, 3, axis=1):
            dx[:] = copy
            # wrong: dx[:] += copy
        return (dx,)

    return Pair(lambda x: np.tile(x, (1, 3)), backward, normal((3, 4)))


# --- reductions -----------------------------------------------------------------------------------


@planted("factor")
def mean_not_divided() -> Pair:
    """The gradient of a mean is that of the sum: 1/N is missing."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x) + dy
        # wrong: dx = np.zeros_like(x) + dy / x.size
        return (dx,)

    return Pair(np.mean, backward, normal((3, 5)))


@planted("factor")
def mean_divided_by_the_other_axis() -> Pair:
    """The mean runs over 5 columns, and its gradient is divided by the 3 rows."""

    def backward(dy: Array, x: Array) -> Gradients:
        rows, columns = x.shape
        dx = np.repeat(dy[:, None], columns, axis=1) / rows
        # wrong: dx = np.repeat(dy[:, None], columns, axis=1) / columns
        return (dx,)

    return Pair(lambda x: x.mean(axis=1), backward, normal((3, 5)))


@planted("zero")
def mean_with_integer_division() -> Pair:
    """1 // N is 0, so nothing gets a gradient."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.full(x.shape, dy) * (1 // x.size)
        # wrong: dx = np.full(x.shape, dy) * (1 / x.size)
        return (dx,)

    return Pair(np.mean, backward, normal((3, 5)))


@planted("factor")
def variance_divided_by_n() -> Pair:
    """The variance is divided by N - 1 (ddof=1), its gradient by N."""

    def backward(dy: Array, x: Array) -> Gradients:
        n = x.shape[1]
        centered = x - x.mean(axis=1, keepdims=True)
        dx = 2 * dy[:, None] * centered / n
        # wrong: dx = 2 * dy[:, None] * centered / (n - 1)
        return (dx,)

    return Pair(lambda x: x.var(axis=1, ddof=1), backward, normal((3, 5)))


@planted("upstream-misused")
def row_sums_share_one_upstream() -> Pair:
    """Every element gets the sum of dy instead of the dy of its own row."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x) + dy.sum()
        # wrong: dx = np.zeros_like(x) + dy[:, None]
        return (dx,)

    return Pair(lambda x: x.sum(axis=1), backward, normal((3, 5)))


@planted("upstream-ignored")
def sum_gets_ones() -> Pair:
    """The derivative of a sum is one, but dy still multiplies it."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.ones_like(x)
        # wrong: dx = np.ones_like(x) * dy[:, None]
        return (dx,)

    return Pair(lambda x: x.sum(axis=1), backward, normal((3, 5)))


@planted("local-derivative")
def row_length_not_divided() -> Pair:
    """The derivative of the length |x| of a row is taken for x instead of x / |x|."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy[:, None] * x
        # missing: dx /= np.sqrt((x**2).sum(axis=1, keepdims=True))
        return (dx,)

    return Pair(lambda x: np.sqrt((x**2).sum(axis=1)), backward, normal((3, 5)))


@planted("not-finite")
def product_divided_by_a_zero() -> Pair:
    """The product of the others is found as y / x, which is 0 / 0 where x is 0."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        for i in range(x.size):
            with np.errstate(invalid="ignore"):
                others = np.prod(x) / x[i]
                # wrong: others = np.prod(np.delete(x, i))
            dx[i] = dy * others
        return (dx,)

    (x,) = normal((6,))
    x[2] = 0
    return Pair(np.prod, backward, (x,))


@planted("not-finite")
def length_of_a_zero_row() -> Pair:
    """sqrt(1e-6 + |x|**2) is smooth at 0, but its gradient is divided by |x| alone."""

    def forward(x: Array) -> Array:
        return np.asarray(np.sqrt(1e-6 + (x**2).sum(axis=1)))

    def backward(dy: Array, x: Array) -> Gradients:
        lengths = np.sqrt((x**2).sum(axis=1))
        # wrong: lengths = forward(x)
        with np.errstate(invalid="ignore"):
            return (dy[:, None] * x / lengths[:, None],)

    (x,) = normal((3, 5))
    x[1] = 0
    return Pair(forward, backward, (x,))


@planted("ties")
def maximum_of_a_row_all_winners() -> Pair:
    """Every one of the tied maxima gets the full gradient."""

    def backward(dy: Array, x: Array) -> Gradients:
        winners = (x == x.max(axis=1, keepdims=True)).astype(float)
        # missing: winners /= winners.sum(axis=1, keepdims=True)
        return (dy[:, None] * winners,)

    (x,) = normal((3, 5))
    x[1, 1:4] = 3
    return Pair(lambda x: x.max(axis=1), backward, (x,))


@planted("ties")
def maximum_of_a_row_no_winner() -> Pair:
    """A maximum is taken to be larger than all others, so none of the tied ones gets any."""

    def backward(dy: Array, x: Array) -> Gradients:
        winners = (x == x.max(axis=1, keepdims=True)).astype(float)
        share = winners.sum(axis=1, keepdims=True) == 1
        # wrong: share = 1 / winners.sum(axis=1, keepdims=True)
        return (dy[:, None] * winners * share,)

    (x,) = normal((3, 5))
    x[1, 1:4] = 3
    return Pair(lambda x: x.max(axis=1), backward, (x,))


# --- axes -----------------------------------------------------------------------------------------


@planted("transposed")
def transpose_not_undone() -> Pair:
    """y is x transposed, and dy is handed on as it is."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy.copy()
        # wrong: dx = dy.T.copy()
        return (dx,)

    return Pair(np.transpose, backward, normal((5, 5)))


@planted("transposed")
def permute_applied_again() -> Pair:
    """The axes are permuted by (1, 2, 0) once more instead of by the inverse (2, 0, 1)."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy.transpose(1, 2, 0)
        # wrong: dx = dy.transpose(2, 0, 1)
        return (dx,)

    return Pair(lambda x: x.transpose(1, 2, 0), backward, normal((4, 4, 4)))


@planted("permuted", "transposed")
def reshape_instead_of_transpose() -> Pair:
    """dy is brought to the shape of x by reshape, which mixes up rows and columns."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy.reshape(x.shape)
        # wrong: dx = dy.T
        return (dx,)

    return Pair(np.transpose, backward, normal((3, 5)))


@planted("transposed")
def matmul_weight_transposed() -> Pair:
    """The gradient of W in x @ W is computed as dy' x instead of x' dy."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dw = dy.T @ x
        # wrong: dw = x.T @ dy
        return dy @ w.T, dw

    return Pair(np.matmul, backward, normal((3, 5), (5, 5)))


@planted("transposed")
def matmul_input_by_untransposed_weight() -> Pair:
    """The gradient of x in x @ W is computed with W instead of W'."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dx = dy @ w
        # wrong: dx = dy @ w.T
        return dx, x.T @ dy

    return Pair(np.matmul, backward, normal((3, 5), (5, 5)))


@planted("shape", "transposed")
def linear_weight_of_the_transposed_shape() -> Pair:
    """The gradient of a weight (out, in) comes out as (in, out)."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dw = x.T @ dy
        # wrong: dw = dy.T @ x
        return dy @ w, dw

    return Pair(lambda x, w: x @ w.T, backward, normal((3, 5), (4, 5)))


@planted("shape")
def flatten_not_undone() -> Pair:
    """y is x flattened, and dy is not brought back to the shape of x."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = 2 * dy
        # wrong: dx = 2 * dy.reshape(x.shape)
        return (dx,)

    return Pair(lambda x: 2 * x.reshape(len(x), -1), backward, normal((3, 2, 4)))


# --- indexing -------------------------------------------------------------------------------------


@planted("permuted")
def flip_not_undone() -> Pair:
    """y is x in reverse, and dy is not reversed."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy.copy()
        # wrong: dx = dy[:, ::-1].copy()
        return (dx,)

    return Pair(lambda x: x[:, ::-1], backward, normal((3, 5)))


@planted("permuted")
def sort_order_applied_again() -> Pair:
    """dy[order] sorts dy along with x; dx[order] = dy would undo the sorting."""

    def backward(dy: Array, x: Array) -> Gradients:
        order = np.argsort(x)
        dx = np.zeros_like(x)
        dx[:] = dy[order]
        # wrong: dx[order] = dy
        return (dx,)

    return Pair(np.sort, backward, normal((7,)))


@planted("shifted")
def roll_in_the_same_direction() -> Pair:
    """y is x rolled by two places, and dy is rolled forward again instead of back."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.roll(dy, 2, axis=1)
        # wrong: dx = np.roll(dy, -2, axis=1)
        return (dx,)

    return Pair(lambda x: np.roll(x, 2, axis=1), backward, normal((3, 7)))


@planted("shifted")
def pad_cropped_too_late() -> Pair:
    """One zero is added in front and two behind; dx is cut out one place too far back."""

    def backward(dy: Array, x: Array) -> Gradients:
        start = 2
        # wrong: start = 1
        return (dy[:, start : start + x.shape[1]].copy(),)

    return Pair(lambda x: np.pad(x, ((0, 0), (1, 2))), backward, normal((3, 5)))


@planted("shifted")
def slice_put_back_at_the_start() -> Pair:
    """y is x[2:5], and dy is put back to dx[0:3]."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        dx[:3] = dy
        # wrong: dx[2:5] = dy
        return (dx,)

    return Pair(lambda x: x[2:5], backward, normal((7, 2)))


@planted("swapped")
def concatenate_parts_exchanged() -> Pair:
    """dy is cut in two, and each input gets the part of the other."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        db, da = np.split(dy, 2)
        # wrong: da, db = np.split(dy, 2)
        return da, db

    return Pair(lambda a, b: np.concatenate([a, b]), backward, normal((3, 4), (3, 4)))


@planted("assigned")
def embedding_repeated_words_counted_once() -> Pair:
    """dw[words] += dy adds once per row even where a word occurs several times."""

    def backward(dy: Array, w: Array, words: Array) -> Gradients:
        dw = np.zeros_like(w)
        dw[words] += dy
        # wrong: np.add.at(dw, words, dy)
        return dw, None

    words = np.array([4, 1, 4, 0, 4])
    return Pair(lambda w, words: w[words], backward, (*normal((6, 3)), words))


@planted("assigned")
def gather_last_reader_wins() -> Pair:
    """Several outputs read one element of x, and the last one's gradient overwrites the others."""

    def backward(dy: Array, x: Array, places: Array) -> Gradients:
        dx = np.zeros_like(x)
        for row, (targets, values) in enumerate(zip(places, dy, strict=True)):
            for target, value in zip(targets, values, strict=True):
                dx[row, target] = value
                # wrong: dx[row, target] += value
        return dx, None

    places = np.array([[0, 2, 2, 4], [1, 1, 1, 3]])
    forward = partial(np.take_along_axis, axis=1)
    return Pair(forward, backward, (*normal((2, 5)), places))


@planted("partial")
def row_scaling_returns_inside_the_loop() -> Pair:
    """The return is indented too far: only the first row gets a gradient."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        for i in range(len(x)):
            total = x[i].sum()
            dx[i] = dy[i] / total - (dy[i] * x[i]).sum() / total**2
            return (dx,)
            # superfluous
        return (dx,)

    return Pair(lambda x: x / x.sum(axis=1, keepdims=True), backward, positive((4, 5)))
