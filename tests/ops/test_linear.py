from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.errors import DTypeError, ShapeError
from minicnn.ops.linear import affine
from minicnn.tensor import Tensor

SHAPES = [
    ((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)), ((5, 2, 3), (3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)),
    ((2, 0), (0, 3)), ((0, 2), (2, 3)), ((0,), (0,)), ((1, 1), (1, 1)), ((0, 2, 3), (3, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_matmul_is_that_of_numpy(rng, left, right):
    a, b = rng.integers(-4, 5, left), rng.integers(-4, 5, right)
    for dtype in (np.float64, np.float32, np.int64):
        result = minicnn.matmul(Tensor(a.astype(dtype)), Tensor(b.astype(dtype)))
        expected = np.matmul(a, b)
        assert result.dtype == dtype
        assert result.shape == expected.shape
        np.testing.assert_array_equal(result.array, expected)


@pytest.mark.parametrize(("left", "right"), [
    ((2, 3), (4, 3)), ((3,), (4,)), ((2, 3), (2,)), ((), (3,)), ((3,), ()), ((), ()),
    ((2, 3, 4), (3, 4)),
])  # fmt: skip
def test_matmul_names_inner_sizes_that_do_not_meet(left, right):
    with pytest.raises(ShapeError) as error:
        minicnn.matmul(Tensor(np.zeros(left)), Tensor(np.zeros(right)))
    assert str(error.value) == f"matmul: the last size of {left} must meet the first of {right}"


def test_matmul_names_batches_that_do_not_broadcast():
    with pytest.raises(ShapeError, match=r"matmul: the batches of \(2, 3, 4\) and \(3, 4, 5\)"):
        minicnn.matmul(Tensor(np.zeros((2, 3, 4))), Tensor(np.zeros((3, 4, 5))))


def test_two_floating_point_types_are_refused():
    with pytest.raises(DTypeError, match="float32 and float64"):
        minicnn.ones(2, 2) @ minicnn.ones(2, 2, dtype=np.float64)


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (0, 3), (1, 3)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_affine_by_definition(rng, shape, with_bias):
    x, w, b = rng.integers(-4, 5, shape), rng.integers(-4, 5, (2, 3)), rng.integers(-4, 5, 2)
    bias = b.astype(float) if with_bias else None
    y = affine(Tensor(x.astype(float)), Tensor(w.astype(float)), bias)
    expected = np.einsum("...i,oi->...o", x, w) + (b if with_bias else 0)
    np.testing.assert_array_equal(y.array, expected)


def test_affine_does_not_compute_gradients_nobody_asked_for(monkeypatch):
    x, w = Tensor(np.ones((4, 3))), Tensor(np.ones((2, 3)), requires_grad=True)
    y = affine(x, w, None)
    monkeypatch.setattr("minicnn.ops.linear.matmul", lambda *_: pytest.fail("dx was computed"))
    y.sum().backward()
    assert w.grad.array.tolist() == [[4, 4, 4]] * 2
