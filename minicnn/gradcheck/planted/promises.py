"""Broken promises: the values are often right, but the backward does what it must not do."""

from __future__ import annotations

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, planted, positive
from minicnn_kernels.arrays import Array

# --- what is returned -----------------------------------------------------------------------------


@planted("none")
def bias_without_gradient() -> Pair:
    """The bias gets None although the output depends on it."""

    def backward(dy: Array, x: Array, b: Array) -> Gradients:
        db = None
        # wrong: db = dy.sum(axis=0)
        return dy, db

    return Pair(np.add, backward, normal((3, 5), (5,)))


@planted("none")
def target_without_gradient() -> Pair:
    """The target of a loss gets None, but it is a floating-point input like any other."""

    def backward(dy: Array, x: Array, t: Array) -> Gradients:
        dx = 2 * dy * (x - t)
        dt = None
        # wrong: dt = -dx
        return dx, dt

    return Pair(lambda x, t: (x - t) ** 2, backward, normal((3, 5), (3, 5)))


@planted("count")
def linear_without_bias_gradient() -> Pair:
    """Three inputs, two gradients."""

    def backward(dy: Array, x: Array, w: Array, b: Array) -> Gradients:
        gradients = (dy @ w.T, x.T @ dy)
        # wrong: gradients = (dy @ w.T, x.T @ dy, dy.sum(axis=0))
        return gradients

    return Pair(lambda x, w, b: x @ w + b, backward, normal((3, 4), (4, 5), (5,)))


@planted("count")
def output_returned_among_the_gradients() -> Pair:
    """The backward returns the output as well."""

    def backward(dy: Array, x: Array) -> Gradients:
        y = np.exp(x)
        gradients: Gradients = (y, dy * y)
        # wrong: gradients = (dy * y,)
        return gradients

    return Pair(np.exp, backward, normal((3, 5)))


@planted("raises")
def matmul_shapes_do_not_fit() -> Pair:
    """dy (3, 5) is multiplied by a weight (4, 5) that was not transposed."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dx = dy @ w
        # wrong: dx = dy @ w.T
        return dx, x.T @ dy

    return Pair(np.matmul, backward, normal((3, 4), (4, 5)))


@planted("raises")
def difference_reads_behind_the_end() -> Pair:
    """y_i = x_(i+1) - x_i has one element less than x, and the loop runs over x."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        count = len(x)
        # wrong: count = len(dy)
        for i in range(count):
            dx[i] -= dy[i]
            dx[i + 1] += dy[i]
        return (dx,)

    return Pair(np.diff, backward, normal((7,)))


@planted("dtype", "precision")
def gradient_returned_in_float32() -> Pair:
    """The input is float64, its gradient float32."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = (dy * np.cos(x)).astype(np.float32)
        # wrong: dx = dy * np.cos(x)
        return (dx,)

    return Pair(np.sin, backward, normal((3, 5)))


@planted("dtype")
def fourier_gradient_left_complex() -> Pair:
    """A convolution by Fourier transform; the gradient is complex with imaginary part 0."""

    def forward(x: Array, w: Array) -> Array:
        return np.fft.ifft(np.fft.fft(x) * np.fft.fft(w)).real.copy()

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        f = np.fft.fft(dy)
        dx = np.fft.ifft(f * np.fft.fft(w).conj())
        # wrong: dx = np.fft.ifft(f * np.fft.fft(w).conj()).real.copy()
        return dx, np.fft.ifft(f * np.fft.fft(x).conj()).real.copy()

    return Pair(forward, backward, normal((7,), (7,)))


@planted("dtype")
def gradient_stored_in_integers() -> Pair:
    """The gradient is written into an array of integers, which cuts off all digits."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros(x.shape, dtype=np.int64)
        # wrong: dx = np.zeros(x.shape)
        dx[...] = 5 * dy
        return (dx,)

    return Pair(lambda x: 5 * x, backward, normal((3, 5)))


# --- what is changed ------------------------------------------------------------------------------


@planted("input-modified")
def softmax_shifts_its_input() -> Pair:
    """x -= max(x) keeps the exponentials small, and changes the caller's x."""

    def forward(x: Array) -> tuple[Array, tuple[Array]]:
        x -= x.max(axis=1, keepdims=True)
        # wrong: x = x - x.max(axis=1, keepdims=True)
        y = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        return y, (y,)

    def backward(dout: Array, cache: tuple[Array]) -> Gradients:
        (y,) = cache
        return (y * (dout - (dout * y).sum(axis=1, keepdims=True)),)

    return Pair(forward, backward, normal((3, 4)))


@planted("input-modified")
def relu_in_place() -> Pair:
    """The output is written over the input, which the gradient of x only survives by luck."""

    def forward(x: Array) -> Array:
        y = np.maximum(x, 0, out=x)
        # wrong: y = np.maximum(x, 0)
        return y.copy()

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy * (x > 0),)

    return Pair(forward, backward, normal((3, 5)))


@planted("input-modified")
def variance_centers_its_input() -> Pair:
    """The backward subtracts the mean from the caller's x."""

    def backward(dy: Array, x: Array) -> Gradients:
        x -= x.mean(axis=1, keepdims=True)
        # wrong: x = x - x.mean(axis=1, keepdims=True)
        return (2 * dy[:, None] * x / x.shape[1],)

    return Pair(lambda x: x.var(axis=1), backward, normal((3, 5)))


@planted("upstream-modified")
def relu_clears_the_upstream() -> Pair:
    """dy[x <= 0] = 0 spares a copy, and takes dy away from every other user of y."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy
        # wrong: dx = dy.copy()
        dx[x <= 0] = 0
        return (dx,)

    return Pair(lambda x: np.maximum(x, 0), backward, normal((3, 5)))


@planted("upstream-modified")
def linear_scales_the_upstream() -> Pair:
    """dy is divided by the batch size in place before it is used."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dy /= len(x)
        # wrong: dy = dy / len(x)
        return dy @ w.T, x.T @ dy

    return Pair(lambda x, w: x @ w / len(x), backward, normal((3, 4), (4, 5)))


# --- memory ---------------------------------------------------------------------------------------


@planted("aliased")
def one_array_for_two_inputs() -> Pair:
    """Both summands get the very same array: clipping one gradient changes the other."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        da = 2 * dy
        db = da
        # wrong: db = da.copy()
        return da, db

    return Pair(lambda a, b: 2 * (a + b), backward, normal((3, 5), (3, 5)))


@planted("aliased")
def gradient_in_a_reused_buffer() -> Pair:
    """The gradient is written into a buffer that the next call overwrites."""
    buffer = np.empty((3, 5))

    def backward(dy: Array, x: Array) -> Gradients:
        dx = buffer
        # wrong: dx = np.empty_like(buffer)
        np.multiply(dy, 2 * x, out=dx)
        return (dx,)

    return Pair(np.square, backward, normal((3, 5)))


@planted("aliased")
def gradients_in_overlapping_slices() -> Pair:
    """Two gradients are cut out of one array and have a column in common."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        both = 3 * dy
        da, db = both[:, :3], both[:, 2:]
        # wrong: da, db = both[:, :3].copy(), both[:, 2:].copy()
        return da, db

    def forward(a: Array, b: Array) -> Array:
        return np.asarray(3 * np.pad(a, ((0, 0), (0, 2))) + 3 * np.pad(b, ((0, 0), (2, 0))))

    return Pair(forward, backward, normal((4, 3), (4, 3)))


@planted("aliased", "input-modified")
def product_written_into_the_other_factor() -> Pair:
    """dy * b is computed in the memory of b, and returned as the gradient of a."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        db = dy * a
        da = np.multiply(dy, b, out=b)
        # wrong: da = np.multiply(dy, b)
        return da, db

    return Pair(np.multiply, backward, normal((3, 5), (3, 5)))


# --- what must not matter -------------------------------------------------------------------------


@planted("nonlinear")
def gradient_clipped() -> Pair:
    """The gradient is clipped to [-0.4, 0.4], which is a matter for the optimizer."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy * np.cos(x)
        dx = np.clip(dx, -0.4, 0.4)
        # superfluous
        return (dx,)

    return Pair(np.sin, backward, normal((3, 5)))


@planted("nonlinear")
def gradient_scaled_to_length_one() -> Pair:
    """The gradient is divided by its own length."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = dy * np.cos(x)
        dx = dx / np.linalg.norm(dx)
        # superfluous
        return (dx,)

    return Pair(np.sin, backward, normal((3, 5)))


@planted("layout")
def product_in_memory_order() -> Pair:
    """ravel("K") reads the elements as they lie in memory, reshape puts them back row by row."""

    def backward(dy: Array, x: Array) -> Gradients:
        flat = dy.ravel("K") * np.cos(x.ravel("K"))
        # wrong: flat = dy.ravel() * np.cos(x.ravel())
        return (flat.reshape(x.shape),)

    return Pair(np.sin, backward, normal((3, 5)))


@planted("layout")
def gradient_written_through_a_copy() -> Pair:
    """If x lies column by column in memory, so does dx, and dx.reshape(-1) is a copy of it."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        # wrong: dx = np.zeros_like(x, order="C")
        dx.reshape(-1)[:] = 2 * (dy * x).reshape(-1)
        return (dx,)

    return Pair(np.square, backward, normal((3, 5)))


@planted("layout")
def upstream_sent_as_bytes() -> Pair:
    """The bytes of dy are taken in the order in which they lie, and read row by row."""

    def backward(dy: Array, x: Array) -> Gradients:
        received = np.frombuffer(dy.tobytes(order="A")).reshape(dy.shape)
        # wrong: received = np.frombuffer(dy.tobytes(order="C")).reshape(dy.shape)
        return (received * np.exp(x),)

    return Pair(np.exp, backward, normal((3, 5)))


@planted("precision")
def exponential_in_float32() -> Pair:
    """The exponential is computed in float32; the gradient is float64 with seven right digits."""

    def backward(dy: Array, x: Array) -> Gradients:
        y = np.exp(x.astype(np.float32))
        # wrong: y = np.exp(x)
        return (dy * y,)

    return Pair(np.exp, backward, positive((4, 5)))


@planted("precision")
def output_saved_in_float32() -> Pair:
    """The forward saves its output in float32 to spare memory."""

    def forward(x: Array) -> tuple[Array, tuple[Array]]:
        y = np.tanh(x)
        cache = (y.astype(np.float32),)
        # wrong: cache = (y,)
        return y, cache

    def backward(dout: Array, cache: tuple[Array]) -> Gradients:
        (y,) = cache
        return (dout * (1 - y.astype(np.float64) ** 2),)

    return Pair(forward, backward, normal((4, 5)))


@planted("precision")
def matmul_in_float32() -> Pair:
    """The matrix product of the backward runs in float32."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dw = (x.T.astype(np.float32) @ dy.astype(np.float32)).astype(np.float64)
        # wrong: dw = x.T @ dy
        return dy @ w.T, dw

    return Pair(np.matmul, backward, normal((5, 4), (4, 3)))
