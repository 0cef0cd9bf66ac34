"""Right backwards that a careless checker takes for wrong ones.

At a kink every value between the one-sided derivatives is right; tied maxima share one dy in any
way; dy itself may be passed on as a gradient.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from minicnn.gradcheck.planted import Gradients, Pair, normal, positive, tricky
from minicnn_kernels.arrays import Array

Cached = tuple[Array, tuple[Array, ...]]


# --- kinks ----------------------------------------------------------------------------------------


def _with_zeros() -> Array:
    (x,) = normal((3, 5))
    x[0, 1] = x[1, 1:4] = x[2, 4] = 0
    return x


def _relu(slope_at_zero: float) -> Pair:
    def backward(dy: Array, x: Array) -> Gradients:
        return (dy * np.where(x == 0, slope_at_zero, x > 0),)

    return Pair(lambda x: np.maximum(x, 0), backward, (_with_zeros(),))


@tricky
def relu_flat_at_zero() -> Pair:
    """Some inputs are exactly 0, and get no gradient."""
    return _relu(0.0)


@tricky
def relu_halfway_at_zero() -> Pair:
    """Some inputs are exactly 0, and get half the gradient."""
    return _relu(0.5)


@tricky
def relu_steep_at_zero() -> Pair:
    """Some inputs are exactly 0, and get the full gradient."""
    return _relu(1.0)


def _absolute(slope_at_zero: float) -> Pair:
    def backward(dy: Array, x: Array) -> Gradients:
        return (dy * np.where(x == 0, slope_at_zero, np.sign(x)),)

    return Pair(np.abs, backward, (_with_zeros(),))


@tricky
def absolute_value_flat_at_zero() -> Pair:
    """|x| is given the slope 0 at 0."""
    return _absolute(0.0)


@tricky
def absolute_value_rising_at_zero() -> Pair:
    """|x| is given the slope 1 at 0."""
    return _absolute(1.0)


@tricky
def absolute_value_falling_at_zero() -> Pair:
    """|x| is given the slope -1 at 0."""
    return _absolute(-1.0)


@tricky
def square_with_sign() -> Pair:
    """x |x| is smooth at 0, but its second derivative jumps there."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy * 2 * np.abs(x),)

    return Pair(lambda x: x * np.abs(x), backward, (_with_zeros(),))


@tricky
def huber_at_its_joints() -> Pair:
    """A parabola goes over into straight lines at -1 and 1, and some inputs lie there."""

    def forward(x: Array) -> Array:
        return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy * np.clip(x, -1, 1),)

    return Pair(forward, backward, (np.array([-2.0, -1.0, -0.3, 0.0, 0.6, 1.0, 1.7]),))


@tricky
def clip_at_its_bounds() -> Pair:
    """Some inputs lie exactly on the bounds, where the gradient still passes."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy * ((x >= -1) & (x <= 0.5)),)

    x = np.array([[-3.0, -1.0, -0.2], [0.1, 0.5, 2.0]])
    return Pair(lambda x: np.clip(x, -1, 0.5), backward, (x,))


@tricky
def relu_next_to_zero() -> Pair:
    """Some inputs are 1e-7 away from the kink: closer than the usual step."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy * (x > 0),)

    x = np.array([[1e-7, -1e-7, 0.4], [-0.9, 3e-7, -2e-7]])
    return Pair(lambda x: np.maximum(x, 0), backward, (x,))


@tricky
def rounding_has_no_slope() -> Pair:
    """floor is constant wherever it has a derivative."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (np.zeros_like(x),)

    return Pair(np.floor, backward, (np.array([-1.7, -0.4, 0.3, 0.6, 2.2]),))


# --- ties -----------------------------------------------------------------------------------------


def _max_pool(share: str, stride: int, x: Array) -> Pair:
    """Pool windows of 2 x 2; give dy to the first or last of the tied cells, or to all evenly."""
    height, width = ((n - 2) // stride + 1 for n in x.shape)

    def parts(x: Array) -> list[Array]:
        corners = np.ndindex(height, width)
        return [x[r * stride : r * stride + 2, c * stride : c * stride + 2] for r, c in corners]

    def forward(x: Array) -> Array:
        return np.array([part.max() for part in parts(x)]).reshape(height, width)

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        for source, target, d in zip(parts(x), parts(dx), dy.flat, strict=True):
            winners = np.argwhere(source == source.max())
            chosen = {"first": winners[:1], "last": winners[-1:], "split": winners}[share]
            for i, j in chosen:
                target[i, j] += d / len(chosen)
        return (dx,)

    return Pair(forward, backward, (x,))


@tricky
def max_pool_constant_first_winner() -> Pair:
    """All inputs are equal; the first cell of each window gets the gradient."""
    return _max_pool("first", 2, np.ones((4, 6)))


@tricky
def max_pool_constant_last_winner() -> Pair:
    """All inputs are equal; the last cell of each window gets the gradient."""
    return _max_pool("last", 2, np.ones((4, 6)))


@tricky
def max_pool_constant_split() -> Pair:
    """All inputs are equal; the cells of each window share the gradient."""
    return _max_pool("split", 2, np.ones((4, 6)))


@tricky
def max_pool_overlapping_with_ties() -> Pair:
    """Windows overlap and whole blocks are tied; the cells of each window share the gradient."""
    (x,) = normal((4, 5))
    x[1:3, 1:4] = 1.5
    return _max_pool("split", 1, x)


@tricky
def maximum_of_equal_inputs() -> Pair:
    """a and b are equal in places; there each gets half the gradient."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        first = np.where(a == b, 0.5, a > b)
        return dy * first, dy * (1 - first)

    a, b = normal((3, 4), (3, 4))
    b[1] = a[1]
    return Pair(np.maximum, backward, (a, b))


@tricky
def sort_undone() -> Pair:
    """The order changes with the input, but not within a small step."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.empty_like(x)
        dx[np.argsort(x)] = dy
        return (dx,)

    return Pair(np.sort, backward, normal((8,)))


@tricky
def median_of_an_even_number() -> Pair:
    """The two middle values share the gradient, the others get none."""

    def backward(dy: Array, x: Array) -> Gradients:
        dx = np.zeros_like(x)
        dx[np.argsort(x)[3:5]] = dy / 2
        return (dx,)

    return Pair(np.median, backward, normal((8,)))


# --- scales ---------------------------------------------------------------------------------------


@tricky
def gradient_of_1e_minus_20() -> Pair:
    """Far below any absolute tolerance, and right."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (1e-20 * dy * np.cos(x),)

    return Pair(lambda x: 1e-20 * np.sin(x), backward, normal((3, 4)))


@tricky
def output_of_1e8() -> Pair:
    """The outputs are so large that a small step hardly changes them."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (2 * dy * x,)

    return Pair(lambda x: 1e8 + x**2, backward, normal((3, 4)))


@tricky
def logarithm_near_zero() -> Pair:
    """The smallest input is 1e-6: a step to the other side of 0 gives NaN."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy / x,)

    return Pair(np.log, backward, (np.array([1e-6, 3e-5, 1e-3, 0.2, 1.5]),))


@tricky
def root_near_zero() -> Pair:
    """The smallest input is 1e-8: the derivative there is 5000, and steeply changing."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy / (2 * np.sqrt(x)),)

    return Pair(np.sqrt, backward, (np.array([1e-8, 2e-6, 1e-3, 0.2, 1.5]),))


@tricky
def exponential_of_large_inputs() -> Pair:
    """Values and gradients range from 1e-13 to 1e130."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy * np.exp(x),)

    return Pair(np.exp, backward, (np.array([-30.0, -1.0, 2.0, 50.0, 300.0]),))


@tricky
def sine_of_large_curvature() -> Pair:
    """sin(50 x) bends so fast that a large step sees another slope."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (50 * dy * np.cos(50 * x),)

    return Pair(lambda x: np.sin(50 * x), backward, normal((3, 4)))


@tricky
def sum_that_cancels() -> Pair:
    """Terms of 1e6 cancel to a small output; what remains is rounded coarsely."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy[:, None] * (1e6 - 1e6 + 2 * x),)

    def forward(x: Array) -> Array:
        return np.asarray((1e6 * x + x**2 - 1e6 * x).sum(axis=1))

    return Pair(forward, backward, normal((3, 4)))


@tricky
def bias_in_front_of_batch_norm() -> Pair:
    """Batch norm subtracts the bias again: its gradient is 0 but for rounding."""

    def normalized(x: Array, b: Array) -> tuple[Array, Array]:
        h = x + b
        deviation = np.sqrt(h.var(axis=0) + 1e-5)
        return (h - h.mean(axis=0)) / deviation, deviation

    def backward(dy: Array, x: Array, b: Array) -> Gradients:
        xhat, deviation = normalized(x, b)
        dx = (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0)) / deviation
        return dx, dx.sum(axis=0)

    return Pair(lambda x, b: normalized(x, b)[0], backward, normal((6, 3), (3,)))


# --- zeros and shapes -----------------------------------------------------------------------------


@tricky
def linear_function() -> Pair:
    """A large step is exact, a small one is not."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        return dy @ w.T, x.T @ dy

    return Pair(np.matmul, backward, normal((3, 4), (4, 2)))


@tricky
def constant_function() -> Pair:
    """The output does not depend on the input."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (np.zeros_like(x),)

    return Pair(lambda x: np.full((2, 3), 1.25), backward, normal((3, 4)))


@tricky
def unused_input() -> Pair:
    """The second input has no effect, and a gradient of zeros."""

    def backward(dy: Array, x: Array, unused: Array) -> Gradients:
        return 2 * dy * x, np.zeros_like(unused)

    return Pair(lambda x, unused: x**2, backward, normal((3, 4), (5,)))


@tricky
def labels_without_gradient() -> Pair:
    """Whole numbers have no gradient: None is right."""

    def probabilities(x: Array) -> Array:
        return np.asarray(np.exp(x) / np.exp(x).sum(axis=1, keepdims=True))

    def forward(x: Array, labels: Array) -> Array:
        return np.asarray(-np.log(probabilities(x)[np.arange(len(x)), labels]).mean())

    def backward(dy: Array, x: Array, labels: Array) -> Gradients:
        dx = probabilities(x)
        dx[np.arange(len(x)), labels] -= 1
        return dy * dx / len(x), None

    return Pair(forward, backward, (*normal((3, 4)), np.array([3, 0, 1])))


@tricky
def empty_batch() -> Pair:
    """There is no row, so the weight's gradient is a sum of nothing."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        return dy @ w.T, x.T @ dy

    return Pair(np.matmul, backward, (np.empty((0, 4)), *normal((4, 2))))


@tricky
def single_number() -> Pair:
    """The input is an array without axes."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy * np.cos(x),)

    return Pair(np.sin, backward, (np.array(0.7),))


@tricky
def second_output_does_not_depend() -> Pair:
    """The second output depends on the second input only."""

    def backward(d1: Array, d2: Array, a: Array, b: Array) -> Gradients:
        return 2 * d1 * a * b, d1 * a**2 + d2 * np.cos(b)

    return Pair(lambda a, b: (a**2 * b, np.sin(b)), backward, normal((3, 4), (3, 4)))


@tricky
def windows_that_leave_rows_over() -> Pair:
    """The last two elements lie in no window; their gradient is 0."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for i, d in enumerate(dy):
            dx[3 * i : 3 * i + 3] += d * w
            dw += d * x[3 * i : 3 * i + 3]
        return dx, dw

    return Pair(lambda x, w: x[:9].reshape(3, 3) @ w, backward, normal((11,), (3,)))


@tricky
def norm_over_two_axes() -> Pair:
    """The p-norm (sum |x|**3)**(1/3) of each channel, over batch and place."""

    def forward(x: Array) -> Array:
        return np.asarray((np.abs(x) ** 3).sum(axis=(0, 2)) ** (1 / 3))

    def backward(dy: Array, x: Array) -> Gradients:
        return ((dy / forward(x) ** 2)[None, :, None] * x * np.abs(x),)

    return Pair(forward, backward, normal((3, 2, 4)))


# --- memory ---------------------------------------------------------------------------------------


@tricky
def add_passes_the_upstream_on_twice() -> Pair:
    """Both summands get dy itself."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        return dy, dy

    return Pair(np.add, backward, normal((3, 4), (3, 4)))


@tricky
def reshape_returns_a_view() -> Pair:
    """The gradient is a view of dy."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy.reshape(x.shape),)

    return Pair(np.ravel, backward, normal((3, 4)))


@tricky
def sum_returns_a_read_only_gradient() -> Pair:
    """The gradient is dy, spread by broadcast_to: read-only, every row in the same memory."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (np.broadcast_to(dy, x.shape),)

    return Pair(lambda x: x.sum(axis=0), backward, normal((3, 4)))


@tricky
def gradient_column_by_column() -> Pair:
    """The gradient is right, but lies in memory column by column."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (np.asfortranarray(2 * dy * x),)

    return Pair(np.square, backward, normal((3, 4)))


@tricky
def gradients_in_one_block() -> Pair:
    """Two gradients are slices of one array, but have no element in common."""

    def backward(dy: Array, a: Array, b: Array) -> Gradients:
        both = 2 * dy
        return both[:3], both[3:]

    def forward(a: Array, b: Array) -> Array:
        return 2 * np.concatenate([a, b])

    return Pair(forward, backward, normal((3, 4), (2, 4)))


@tricky
def one_gradient_without_a_tuple() -> Pair:
    """A single gradient is returned as it is, not in a tuple."""

    def backward(dy: Array, x: Array) -> Array:
        return np.asarray(dy * np.cos(x))

    return Pair(np.sin, backward, normal((3, 4)))


# --- randomness and state -------------------------------------------------------------------------


@tricky
def dropout_with_the_saved_mask() -> Pair:
    """The mask comes from NumPy's global generator and is handed to the backward."""

    def forward(x: Array, p: float) -> Cached:
        mask = np.random.random(x.shape) >= p
        return x * mask / (1 - p), (mask,)

    def backward(dout: Array, cache: tuple[Array, ...], p: float) -> Gradients:
        (mask,) = cache
        return (dout * mask / (1 - p),)

    return Pair(partial(forward, p=0.4), partial(backward, p=0.4), normal((4, 5)))


@tricky
def noise_from_an_own_generator() -> Pair:
    """The noise comes from a generator that the forward holds."""
    generator = np.random.default_rng(7)

    def forward(x: Array) -> Cached:
        noise = generator.normal(1, 0.3, x.shape)
        return x * noise, (noise,)

    def backward(dout: Array, cache: tuple[Array, ...]) -> Gradients:
        return (dout * cache[0],)

    return Pair(forward, backward, normal((4, 5)))


@tricky
def calls_are_counted() -> Pair:
    """State changes with every call, the values do not."""
    calls = {"forward": 0, "backward": 0}

    def forward(x: Array) -> Array:
        calls["forward"] += 1
        return np.asarray(np.tanh(x))

    def backward(dy: Array, x: Array) -> Gradients:
        calls["backward"] += 1
        return (dy * (1 - np.tanh(x) ** 2),)

    return Pair(forward, backward, normal((3, 4)))


@tricky
def running_mean_is_updated() -> Pair:
    """The forward moves a running mean, which the output does not depend on."""
    running = np.zeros(3)

    def forward(x: Array) -> Array:
        running[:] = 0.9 * running + 0.1 * x.mean(axis=0)
        return np.asarray(x - x.mean(axis=0))

    def backward(dy: Array, x: Array) -> Gradients:
        return (dy - dy.mean(axis=0),)

    return Pair(forward, backward, normal((6, 3)))


class _Square:
    """A layer as many write it: the backward uses what the last forward remembered."""

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.asarray(x**2)

    def backward(self, dy: Array, x: Array) -> Gradients:
        return (2 * dy * self.x,)


@tricky
def layer_remembers_its_input() -> Pair:
    """The backward uses the input of the last forward, which is the one it belongs to."""
    layer = _Square()
    return Pair(layer.forward, layer.backward, normal((3, 4)))


@tricky
def steep_but_smooth_step() -> Pair:
    """tanh(1000 x) looks like a jump to a large step, and is smooth to a small one."""

    def backward(dy: Array, x: Array) -> Gradients:
        return (1000 * dy / np.cosh(1000 * x) ** 2,)

    return Pair(lambda x: np.tanh(1000 * x), backward, (np.array([-2e-3, -4e-4, 1e-4, 7e-4]),))


@tricky
def gradients_of_very_different_size() -> Pair:
    """One input is a million times as influential as another."""

    def backward(dy: Array, x: Array, w: Array) -> Gradients:
        scale = np.array([1e6, 1.0, 1e-6])
        return dy * scale * w, (dy * scale * x).sum(axis=0)

    def forward(x: Array, w: Array) -> Array:
        return np.asarray(x * np.array([1e6, 1.0, 1e-6]) * w)

    return Pair(forward, backward, (*normal((4, 3)), *positive((3,))))
