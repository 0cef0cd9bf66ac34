"""Operations in one pass: same values and gradients of every order, fewer passes."""

import numpy as np
import pytest

import minicnn
from minicnn.differentiable import Op
from minicnn.ops.broadcast import unbroadcast
from minicnn.pointwise import PointwiseOp, pointwise
from minicnn_kernels.pointwise import record_from


@pointwise
def scaled_cube(x, factor, /, power=3):
    """y = factor * x^3."""
    return factor * x * x * x


@scaled_cube.gradient(saves="x factor")
def _(dy, y, x, factor, *, power):
    return (
        lambda: unbroadcast(dy * factor * 3 * x * x, x),
        lambda: unbroadcast(dy * x * x * x, factor),
    )


def test_it_is_an_operation_like_others():
    assert isinstance(scaled_cube, (Op, PointwiseOp))
    assert scaled_cube.name == "scaled_cube"
    assert scaled_cube.tensor_names == ["x", "factor"]
    assert scaled_cube.setting_defaults == {"power": 3}
    assert scaled_cube.__doc__ == "y = factor * x^3."


@pytest.mark.parametrize("least", [1, 2**30])
def test_values_and_derivatives(least):
    if least == 1:
        pytest.importorskip("numba", reason="Numba is not installed")
    with record_from(least):
        x = minicnn.tensor(np.array([[1.0, 2, 3], [4, 5, 6]], np.float32), requires_grad=True)
        factor = minicnn.tensor(np.array([1.0, 2, 3], np.float32), requires_grad=True)
        y = scaled_cube(x, factor)
        assert y.tolist() == [[1, 16, 81], [64, 250, 648]]
        dx, dfactor = minicnn.grad(y.sum(), [x, factor], create_graph=True)
        assert dx.tolist() == [[3, 24, 81], [48, 150, 324]]
        assert dfactor.tolist() == [65, 133, 243]
        (ddx,) = minicnn.grad(dx.sum(), [x])
        assert ddx.tolist() == [[6, 24, 54], [24, 60, 108]]


def test_formula_and_gradients_are_recorded_once_each(monkeypatch):
    pytest.importorskip("numba", reason="Numba is not installed")
    from minicnn_kernels.cpu import pointwise as loops

    passes, run = [], loops._run
    monkeypatch.setattr(loops, "_run", lambda *given: (passes.append(1), run(*given)))
    with record_from(1):
        x = minicnn.tensor(np.ones(4, np.float32), requires_grad=True)
        y = minicnn.nn.functional.silu(x)
        assert len(passes) == 1
        y.backward(minicnn.ones(4))
    assert len(passes) == 2
