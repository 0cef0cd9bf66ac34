"""Compiled softmax against the NumPy reference: along rows, columns and in between."""

import numpy as np
import pytest

from minicnn_kernels.reference import softmax as reference

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn_kernels.cpu import softmax

SHAPES = [(5,), (1, 7), (3, 1), (4, 300), (3, 5, 2), (2, 7, 4, 70), (2, 300, 1, 3)]
RTOL = {np.float32: 2e-6, np.float64: 1e-13}


def everything(module, suffix, x, dy, scale, dim):
    """Return what all five kernels make of x, by name."""
    call = {
        name: getattr(module, name + suffix)
        for name in ("softmax", "log_softmax", "softmax_gradient", "log_softmax_gradient")
    }
    y, logarithm = call["softmax"](x, dim=dim), call["log_softmax"](x, dim=dim)
    top, rest = getattr(module, "log_total" + suffix)(x, dim=dim)
    return {
        "softmax": y, "scaled": call["softmax"](x, scale, dim=dim), "log_softmax": logarithm,
        "gradient": call["softmax_gradient"](dy, y, dim=dim),
        "log_gradient": call["log_softmax_gradient"](dy, logarithm, dim=dim),
        "top": top, "rest": rest,
    }  # fmt: skip


def compare(x, dy, dim, rtol):
    before = x.copy(), dy.copy()
    scale = np.random.default_rng(1).normal(size=x.max(axis=dim, keepdims=True).shape)
    scale = scale.astype(x.dtype)
    exact = (v.astype(np.float64) for v in (x, dy, scale))
    expected = everything(reference, "_by_numpy", *exact, dim)
    found = everything(softmax, "", x, dy, scale, dim)
    for name, wanted in expected.items():
        assert found[name].dtype == x.dtype, name
        size = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
        np.testing.assert_allclose(
            found[name], wanted, rtol=10 * rtol, atol=rtol * size, err_msg=name
        )
    for now, then in zip((x, dy), before, strict=True):
        np.testing.assert_array_equal(now, then)
    return found


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize(
    ("shape", "dim"), [(shape, dim) for shape in SHAPES for dim in range(len(shape))], ids=str
)
def test_as_the_reference(rng, dtype, shape, dim):
    x, dy = (3 * rng.normal(size=(2, *shape))).astype(dtype)
    compare(x, dy, dim, RTOL[dtype])


@pytest.mark.parametrize("dim", range(4))
@pytest.mark.parametrize("view", [
    lambda x: np.moveaxis(x, 1, -1), lambda x: np.moveaxis(x, -1, 1), lambda x: x[:, ::-1],
    lambda x: x[..., 1:], lambda x: x.T, lambda x: np.broadcast_to(x[:1], x.shape),
], ids=["moved back", "moved", "reversed", "cropped", "turned", "repeated"])  # fmt: skip
def test_any_strides(rng, view, dim):
    x, dy = (view(v) for v in rng.normal(size=(2, 3, 4, 5, 6)))
    compare(x, dy, dim, 1e-13)
    compare(x.copy(), dy, dim, 1e-13)


def test_results_lie_in_memory_as_x(rng):
    x = np.moveaxis(rng.normal(size=(2, 5, 6, 3)), -1, 1)
    found = compare(x, x, 1, 1e-13)
    assert all(found[name].strides == x.strides for name in ("softmax", "log_gradient"))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("dtype", RTOL)
def test_odd_numbers(dtype, dim):
    x = np.array([
        [0, -np.inf, 1], [np.nan, 1, 2], [np.inf, 1, 2], [-np.inf, -np.inf, -np.inf],
        [1e4, 1e4 + 1, -1e4], [-200, 0, -1000],
    ], dtype)  # fmt: skip
    x = x if dim == 1 else x.T
    compare(x, np.ones_like(x), dim, RTOL[dtype])
