from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

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


def by_definition(a, b):
    """Multiply two matrices with three loops."""
    y = np.zeros((len(a), b.shape[1]))
    for i in range(len(a)):
        for j in range(b.shape[1]):
            for k in range(len(b)):
                y[i, j] += a[i, k] * b[k, j]
    return y


def test_products_of_given_dimensions_by_definition(rng):
    a, b, v = rng.normal(size=(2, 3)), rng.normal(size=(3, 4)), rng.normal(size=3)
    batch, others = rng.normal(size=(5, 2, 3)), rng.normal(size=(5, 3, 4))
    products = np.stack([by_definition(p, q) for p, q in zip(batch, others, strict=True)])
    expected = {
        minicnn.mm(Tensor(a), Tensor(b)): by_definition(a, b),
        minicnn.mv(Tensor(a), Tensor(v)): by_definition(a, v[:, None])[:, 0],
        minicnn.dot(Tensor(v), Tensor(v)): sum(value**2 for value in v),
        minicnn.bmm(Tensor(batch), Tensor(others)): products,
        minicnn.inner(Tensor(a), Tensor(b.T)): by_definition(a, b),
        minicnn.outer(Tensor(v), Tensor(v)): by_definition(v[:, None], v[None]),
        minicnn.addmm(Tensor(b[:1]), Tensor(a), Tensor(b), beta=2, alpha=3): (
            2 * b[:1] + 3 * by_definition(a, b)
        ),
        minicnn.addbmm(Tensor(b[:2]), Tensor(batch), Tensor(others)): b[:2] + products.sum(0),
    }
    for ours, oracle in expected.items():
        np.testing.assert_allclose(ours.array, oracle, rtol=1e-12)


def test_kron_is_that_of_numpy(rng):
    for left, right in [((2, 3), (3, 2)), ((2,), (2, 1, 3)), ((), (2,)), ((1, 2, 2), (3, 2))]:
        a, b = rng.normal(size=left), rng.normal(size=right)
        np.testing.assert_allclose(minicnn.kron(Tensor(a), Tensor(b)).array, np.kron(a, b))


def test_a_factor_of_0_leaves_out_what_is_not_finite():
    nan, one = Tensor(np.full((2, 2), np.nan)), Tensor(np.ones((2, 2)))
    assert minicnn.addmm(nan, one, one, beta=0).tolist() == [[2, 2]] * 2


REFUSED = [
    refused("mm of a vector", lambda m: m.mm(m.ones(2, 3), m.ones(3)), "mm", "mat2", "(3,)"),
    refused("mm of other sizes", lambda m: m.mm(m.ones(2, 3), m.ones(4, 4)), "(2, 3)", "(4, 4)"),
    refused("mv of a vector", lambda m: m.mv(m.ones(3), m.ones(3)), "mv", "input"),
    refused("mv of other sizes", lambda m: m.mv(m.ones(2, 3), m.ones(2)), "(2,)"),
    refused("bmm that would broadcast", lambda m: m.bmm(m.ones(2, 3, 1), m.ones(1, 1, 4)), "bmm"),
    refused("bmm of matrices", lambda m: m.bmm(m.ones(2, 3), m.ones(2, 3)), "bmm", "(2, 3)"),
    refused("dot of other sizes", lambda m: m.dot(m.ones(3), m.ones(1)), "(3,)"),
    refused("dot of a matrix", lambda m: m.dot(m.ones(3, 1), m.ones(3)), "dot", "(3, 1)"),
    refused("inner of other sizes", lambda m: m.inner(m.ones(2, 3), m.ones(2)), "inner"),
    refused("outer of a matrix", lambda m: m.outer(m.ones(2, 1), m.ones(3)), "outer", "(2, 1)"),
    refused("addmm of a batch", lambda m: m.addmm(m.ones(1, 2, 4), m.ones(2, 3), m.ones(3, 4)),
            "addmm", "(1, 2, 4)"),
    refused("addmm of other rows", lambda m: m.addmm(m.ones(3, 4), m.ones(2, 3), m.ones(3, 4)),
            "(3, 4)", "(2, 4)"),
    refused("addmv of other rows", lambda m: m.addmv(m.ones(3), m.ones(2, 3), m.ones(3)), "addmv"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_what_torch_refuses(refusal, torch):
    refusal.check(torch)
