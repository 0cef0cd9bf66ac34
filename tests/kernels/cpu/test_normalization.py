"""Compiled normalisation against the NumPy reference: every kind of group, layout and odd size."""

import numpy as np
import pytest

from minicnn_kernels import kernels, no_moments
from minicnn_kernels.reference import normalization as reference

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn_kernels.cpu import normalization

LAYOUTS = {
    "images first": (0, 1, 2, 3), "channels last": (0, 2, 3, 1), "images last": (1, 2, 3, 0)
}  # fmt: skip
GROUPS = {  # axes, shape of gamma
    "batch": ((0, 2, 3), lambda n, c, h, w: (1, c, 1, 1)),
    "instance": ((2, 3), lambda n, c, h, w: (1, c, 1, 1)),
    "layer": ((1, 2, 3), lambda n, c, h, w: (1, c, h, w)),
    "last": ((3,), lambda n, c, h, w: (1, 1, 1, w)),
    "unweighted": ((1, 2, 3), lambda n, c, h, w: (1, 1, 1, 1)),
    "channels": ((1,), lambda n, c, h, w: (1, c, 1, 1)),
}
SHAPES = [(4, 3, 5, 2), (1, 1, 1, 7), (1, 3, 2, 2), (5, 1, 3, 3), (3, 2, 1, 1), (2, 3, 40, 70)]
RTOL = {np.float32: 2e-5, np.float64: 1e-11}


def laid_out(x, order):
    """Return the same values with another order of the axes in memory."""
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def strides(x):
    return [stride for n, stride in zip(x.shape, x.strides, strict=True) if n > 1]


def both(module, forward, backward, x, dy, gamma, beta, **settings):
    """Return y, mean, var, dx, dgamma, dbeta."""
    statistics = no_moments(x, settings["axes"])
    y = getattr(module, forward)(x, gamma, beta, None, *statistics, **settings)
    *gradients, dadd = getattr(module, backward)(dy, x, gamma, None, None, *statistics, **settings)
    assert dadd is None
    return [y, *statistics, *gradients]


def compare(x, dy, gamma, beta, *, rtol, **settings):
    """Compare with the reference in float64."""
    given = [v.copy() for v in (x, dy, gamma, beta)]
    exact = (v.astype(np.float64) for v in given)
    expected = both(reference, "normalize_in_blocks", "gradients_in_blocks", *exact, **settings)
    found = both(normalization, "normalize", "normalize_gradients", x, dy, gamma, beta, **settings)
    for a, b in zip(found, expected, strict=True):
        scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)
    assert {v.dtype for v in (found[0], *found[3:])} == {x.dtype}
    for before, after in zip(given, (x, dy, gamma, beta), strict=True):
        np.testing.assert_array_equal(before, after)
    return found


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("centered", [True, False])
def test_as_the_reference(rng, dtype, order, group, shape, centered):
    axes, weights = GROUPS[group]
    x, dy = (laid_out(rng.normal(mean, 1, shape).astype(dtype), order) for mean in (2, 0))
    gamma, beta = (rng.normal(size=weights(*shape)).astype(dtype) for _ in range(2))
    found = compare(x, dy, gamma, beta, rtol=RTOL[dtype], axes=axes, eps=1e-2, centered=centered)
    assert strides(found[0]) == strides(found[3]) == strides(x)


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
def test_groups_of_channels(rng, order):
    x, dy = (laid_out(rng.normal(size=(3, 8, 5, 6)), order).reshape(3, 2, 4, 5, 6) for _ in "xy")
    gamma, beta = rng.normal(size=(2, 1, 2, 4, 1, 1))
    compare(x, dy, gamma, beta, rtol=1e-11, axes=(2, 3, 4), eps=1e-5)


@pytest.mark.parametrize("view", [
    lambda x: x[:, :, ::-1], lambda x: x[::2], lambda x: x[..., 1:-1], lambda x: x[:, ::-2],
    lambda x: np.broadcast_to(x[:1], x.shape), lambda x: x.swapaxes(2, 3),
], ids=["reversed", "every other", "cropped", "backwards", "repeated", "turned"])  # fmt: skip
@pytest.mark.parametrize("group", ["batch", "layer"])
def test_any_strides(rng, view, group):
    x, dy = (view(rng.normal(size=(4, 5, 6, 6))) for _ in range(2))
    axes, weights = GROUPS[group]
    gamma, beta = (rng.normal(size=weights(*x.shape)) for _ in range(2))
    compare(x, dy, gamma, beta, rtol=1e-11, axes=axes, eps=1e-5)
    compare(x.copy(), dy, gamma, beta, rtol=1e-11, axes=axes, eps=1e-5)


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_spoils_its_own_group_only(rng, order, value):
    x, dy = (laid_out(v, order) for v in rng.normal(size=(2, 2, 3, 4, 5)))
    x[1, 1, 2, 3] = value
    gamma, beta = np.ones((2, 1, 3, 1, 1))
    y, *_, dx, dgamma, _ = both(
        normalization, "normalize", "normalize_gradients", x, dy, gamma, beta,
        axes=(0, 2, 3), eps=1e-5,
    )  # fmt: skip
    for v in (y, dx, dgamma):
        assert np.isfinite(v[:, [0, 2]]).all()
        assert np.isnan(v[:, 1]).any()


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize("axes", [(0, 2, 3), (1, 2, 3)])
def test_a_large_mean_does_not_swallow_the_variance(rng, order, axes):
    x = laid_out((rng.normal(0, 1, (8, 4, 16, 16)) + 1e4).astype(np.float32), order)
    statistics = no_moments(x, axes)
    one = np.ones((1, 1, 1, 1), np.float32)
    y = normalization.normalize(x, one, 0 * one, None, *statistics, axes=axes, eps=0)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(statistics.var, exact.var(axes, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(statistics.mean, exact.mean(axes, keepdims=True), rtol=1e-7)
    distance = exact - exact.mean(axes, keepdims=True)
    np.testing.assert_allclose(y, distance / exact.std(axes, keepdims=True), atol=2e-3)


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
def test_many_values_lose_no_digits(rng, order):
    x = laid_out(rng.normal(3, 1, (32, 3, 64, 65)).astype(np.float32), order)
    for axes in ((0, 2, 3), (1, 2, 3), (2, 3)):
        statistics = no_moments(x, axes)
        one = np.ones((1, 1, 1, 1), np.float32)
        normalization.normalize(x, one, one, None, *statistics, axes=axes, eps=1e-5)
        exact = x.astype(np.float64)
        np.testing.assert_allclose(statistics.mean, exact.mean(axes, keepdims=True), rtol=1e-6)
        np.testing.assert_allclose(statistics.var, exact.var(axes, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), None], ids=["one weight", "of channels"])
def test_rescale_as_the_reference(rng, dtype, order, shape, weights):
    x = laid_out(rng.normal(2, 1, shape).astype(dtype), order)
    mean, var = (rng.uniform(1, 2, (1, shape[1], 1, 1)).astype(dtype) for _ in range(2))
    gamma, beta = (rng.normal(size=weights or mean.shape).astype(dtype) for _ in range(2))
    add = laid_out(rng.normal(size=shape).astype(dtype), order)
    for given, relu in ((None, False), (None, True), (add, False), (add, True)):
        arrays = x, gamma, beta, given, mean, var
        expected = reference.rescale_by_broadcasting(*arrays, eps=1e-3, relu=relu)
        found = normalization.rescale(*arrays, eps=1e-3, relu=relu)
        assert (found.dtype, strides(found)) == (x.dtype, strides(x))
        np.testing.assert_allclose(found, expected, rtol=RTOL[dtype], atol=RTOL[dtype])


# --- rectified, after something was added ---------------------------------------------------------


def rectified(module, forward, backward, x, dy, gamma, beta, add, **settings):
    """Return y, mean, var, dx, dgamma, dbeta, and dadd if there is something to add."""
    statistics = no_moments(x, settings["axes"])
    y = getattr(module, forward)(x, gamma, beta, add, *statistics, relu=True, **settings)
    again = beta if add is None else None
    gradients = getattr(module, backward)(dy, x, gamma, again, y, *statistics, **settings)
    assert (gradients[-1] is None) == (add is None)
    return [y, *statistics, *gradients[: 3 if add is None else 4]]


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("group", ["batch", "instance", "unweighted"])
def test_rectified_as_the_reference(rng, dtype, order, shape, added, group):
    axes, weights = GROUPS[group]
    x, dy, add = (laid_out(rng.normal(size=shape).astype(dtype), order) for _ in range(3))
    gamma, beta = (rng.normal(size=weights(*shape)).astype(dtype) for _ in range(2))
    given = [x, dy, gamma, beta, add if added else None]
    exact = [None if v is None else v.astype(np.float64) for v in given]
    settings = {"axes": axes, "eps": 1e-2}
    expected = rectified(
        reference, "normalize_in_blocks", "gradients_in_blocks", *exact, **settings
    )
    found = rectified(normalization, "normalize", "normalize_gradients", *given, **settings)
    for a, b in zip(found, expected, strict=True):
        scale = np.abs(b).max(initial=1.0)
        np.testing.assert_allclose(a, b, rtol=RTOL[dtype], atol=RTOL[dtype] * scale)
    for v in (found[0], found[3], *found[6:]):
        assert (v.dtype, strides(v)) == (x.dtype, strides(x))


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
def test_the_gradient_knows_to_the_last_bit_where_the_result_is_0(rng, order):
    """Results that all but cancel: rounded otherwise, many would have another sign."""
    x = laid_out(rng.normal(3, 1e-3, (8, 16, 9, 33)).astype(np.float32), order)
    gamma, beta = np.ones((2, 1, 16, 1, 1), np.float32)
    settings = {"axes": (0, 2, 3), "eps": 1e-5}
    values = normalization.normalize(
        x, gamma, 0 * beta, None, *no_moments(x, (0, 2, 3)), **settings
    )
    beta[...] = -np.median(values, (0, 2, 3), keepdims=True)
    x = np.where(np.abs(values + beta) < 0.05, np.float32(x.mean()), x)
    x = laid_out(x, order)
    moments = no_moments(x, (0, 2, 3))
    y = normalization.normalize(x, gamma, beta, None, *moments, relu=True, **settings)
    ones = np.ones_like(x)
    dbeta = normalization.normalize_gradients(ones, x, gamma, beta, y, *moments, **settings)[2]
    np.testing.assert_array_equal(dbeta, (y != 0).sum((0, 2, 3), keepdims=True))


@pytest.mark.parametrize("added", [False, True])
def test_no_gradient_passes_where_the_result_is_exactly_0(rng, added):
    x, zero = rng.normal(size=(2, 3, 4, 5)), np.zeros((1, 3, 1, 1))
    given = [x, np.ones_like(x), zero, zero, np.zeros_like(x) if added else None]
    found = rectified(
        normalization, "normalize", "normalize_gradients", *given, axes=(0, 2, 3), eps=1e-5
    )
    for gradient in found[3:]:
        assert not gradient.any()


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize("added", [False, True])
def test_rectified_nan_as_the_reference(rng, order, added):
    x, dy, add = (laid_out(v, order) for v in rng.normal(size=(3, 2, 4, 4, 5)))
    x[1, 1, 2, 3], dy[0, 2, 1, 1], add[1, 3, 0, 0] = np.nan, np.nan, np.nan
    gamma, beta = np.ones((1, 4, 1, 1)), np.zeros((1, 4, 1, 1))
    given = [x, dy, gamma, beta, add if added else None]
    settings = {"axes": (0, 2, 3), "eps": 1e-5}
    expected = rectified(
        reference, "normalize_in_blocks", "gradients_in_blocks", *given, **settings
    )
    found = rectified(normalization, "normalize", "normalize_gradients", *given, **settings)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert np.isnan(found[0][:, 1]).all()
    assert np.isfinite(found[0][:, 0]).all()


def test_negative_zero_stays(rng):
    x = np.array([[-1.0], [1.0]])
    moments = np.zeros((1, 1)), np.ones((1, 1))
    zero, one = moments
    y = normalization.rescale(0 * x, -one, -zero, None, *moments, eps=0.0, relu=True)
    expected = np.maximum(normalization.rescale(0 * x, -one, -zero, None, *moments, eps=0.0), 0)
    np.testing.assert_array_equal(y, expected)


def test_weights_inside_a_group_are_left_to_the_reference(rng):
    x, gamma = rng.normal(size=(3, 4, 5)), np.ones((1, 4, 5))
    arrays = x, gamma, gamma, None, *no_moments(x, (1, 2))
    for relu, expected in ((False, {"blocks", "compiled"}), (True, {"blocks"})):
        able = {
            a.name
            for a in kernels["normalize"].algorithms.values()
            if a.serves(*arrays, axes=(1, 2), eps=1e-5, relu=relu)
        }
        assert able == expected
