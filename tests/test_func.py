from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import func
from minicnn.errors import GradientError, ShapeError
from minicnn.tensor import Tensor

X, Y = np.array([1.0, 2.0]), np.array([[3.0, -1.0], [0.5, 2.0]])


def function(x, y):
    return (y @ x * x).sum()


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_results_are_those_of_torch(torch):
    calls = [
        lambda f: f.grad(function), lambda f: f.grad(function, argnums=1),
        lambda f: f.grad(function, argnums=(0, 1)), lambda f: f.grad_and_value(function),
        lambda f: f.hessian(function), lambda f: f.hessian(function, argnums=1),
        lambda f: f.jacrev(lambda x, y: y @ x), lambda f: f.jacrev(lambda x, y: y @ x, 1),
        lambda f: f.grad(lambda x, y: f.grad(function)(x, y).sum()),
        lambda f: f.jacrev(f.grad(function)),
    ]  # fmt: skip
    for call in calls:
        ours = call(func)(Tensor(X), Tensor(Y))
        theirs = call(torch.func)(torch.tensor(X), torch.tensor(Y))
        ours, theirs = ((v if isinstance(v, tuple) else (v,)) for v in (ours, theirs))
        for a, b in zip(ours, theirs, strict=True):
            assert not a.requires_grad
            np.testing.assert_allclose(a.array, b, rtol=1e-12)


def test_something_else_comes_back_beside_the_gradient():
    dx, aux = func.grad(lambda x: ((x * x).sum(), "seen"), has_aux=True)(Tensor(X))
    assert (dx.tolist(), aux) == ([2, 4], "seen")
    both = func.grad_and_value(lambda x: ((x * x).sum(), "seen"), has_aux=True)
    dx, (value, aux) = both(Tensor(X))
    assert (dx.tolist(), value.item(), aux) == ([2, 4], 5, "seen")


def test_products_with_the_jacobian():
    y, product = func.vjp(lambda x, y: y @ x, Tensor(X), Tensor(Y))
    assert y.tolist() == (Y @ X).tolist()
    dx, dy = product(Tensor(np.array([1.0, 10.0])))
    assert dx.tolist() == (np.array([1.0, 10.0]) @ Y).tolist()
    assert dy.tolist() == np.outer([1.0, 10.0], X).tolist()
    y, moved = func.jvp(lambda x: x**2, (Tensor(X),), (Tensor(np.ones(2)),))
    assert (y.tolist(), moved.tolist()) == ([1, 4], [2, 4])


def test_an_argument_that_requires_a_gradient_stays_connected():
    x = Tensor(X, requires_grad=True)
    func.grad(lambda x: (x**3).sum())(x).sum().backward()
    assert x.grad.tolist() == [6, 12]


def test_keyword_arguments_are_handed_on():
    assert func.grad(lambda x, *, n: (x**n).sum())(Tensor(X), n=3).tolist() == [3, 12]


def test_what_is_refused():
    with pytest.raises(ShapeError, match="single value"):
        func.grad(lambda x: x)(Tensor(X))
    with pytest.raises(GradientError, match="argnums 1 names no argument; there are 1"):
        func.grad(minicnn.sum, 1)(Tensor(X))
