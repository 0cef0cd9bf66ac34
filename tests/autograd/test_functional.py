from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.autograd import functional
from minicnn.errors import DTypeError, GradientError, ShapeError
from minicnn.tensor import Tensor

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 2))
V, U = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 2))
W, C = RNG.normal(size=(2, 2)), np.array(0.7)


def two_results(m):
    return lambda x, y: (m.tanh(x @ y), (x * x).sum())


def one_value(m):
    return lambda x, y: (m.tanh(x @ y) ** 2).sum() + (x**3).sum()


def flat(value):
    """Return all arrays of nested tuples."""
    if isinstance(value, (tuple, list)):
        return [array for part in value for array in flat(part)]
    return [value.detach().numpy()]


def structure(value):
    return tuple(map(structure, value)) if isinstance(value, (tuple, list)) else tuple(value.shape)


CALLS = {
    "vjp": (two_results, (W, C)), "jvp": (two_results, (V, U)), "jacobian": (two_results, None),
    "hessian": (one_value, None), "vhp": (one_value, (V, U)), "hvp": (one_value, (V, U)),
}  # fmt: skip


def both(name, torch, create_graph=False):
    """Return what minicnn and torch give for one function of two inputs."""
    make, direction = CALLS[name]
    results = []
    for m, of in ((minicnn, lambda a: Tensor(a, requires_grad=True)),
                  (torch, lambda a: torch.tensor(a, requires_grad=True))):  # fmt: skip
        inputs = (of(X), of(Y))
        extra = () if direction is None else (tuple(map(of, direction)),)
        compute = getattr(m.autograd.functional, name)
        found = compute(make(m), inputs, *extra, create_graph=create_graph)
        results.append((found, (*inputs, *(extra[0] if extra else ()))))
    return results


@pytest.mark.parametrize("name", CALLS)
def test_values_and_structure_are_those_of_torch(name, torch):
    (ours, _), (theirs, _) = both(name, torch)
    assert structure(ours) == structure(theirs)
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CALLS)
def test_results_can_be_differentiated_again(name, torch):
    found = []
    for m, (values, inputs) in zip((minicnn, torch), both(name, torch, True), strict=True):
        tensors = [t for t in leaves_of(values) if t.requires_grad]
        total = sum(((t * t).sum() for t in tensors[1:]), start=(tensors[0] ** 2).sum())
        grad = m.grad if m is minicnn else m.autograd.grad
        found.append(flat(grad(total, inputs, allow_unused=True)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def leaves_of(value):
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in leaves_of(part)]
    return [value]


@pytest.mark.parametrize("name", CALLS)
def test_results_are_out_of_the_graph_and_nothing_is_left_behind(name, torch):
    (found, inputs), _ = both(name, torch)
    assert not any(t.requires_grad for t in leaves_of(found))
    assert all(x.grad is None for x in inputs)


def test_a_single_tensor_in_and_out():
    x = minicnn.tensor([1.0, 2.0])
    cubes = lambda x: x**3  # noqa: E731
    assert functional.jacobian(cubes, x).tolist() == [[3, 0], [0, 12]]
    assert functional.jacobian(cubes, (x,))[0].tolist() == [[3, 0], [0, 12]]
    assert functional.hessian(lambda x: cubes(x).sum(), x).tolist() == [[6, 0], [0, 12]]
    y, dx = functional.vjp(lambda x: cubes(x).sum(), x)
    assert (y.item(), dx.tolist()) == (9, [3, 12])
    value, product = functional.hvp(lambda x: cubes(x).sum(), x, minicnn.tensor([1.0, 1.0]))
    assert (value.item(), product.tolist()) == (9, [6, 12])


def test_the_jacobian_is_that_of_differences():
    def function(x):
        return minicnn.softmax(x, 1)

    step, found = 1e-6, functional.jacobian(function, Tensor(X)).array
    for place in np.ndindex(X.shape):
        ahead, behind = X.copy(), X.copy()
        ahead[place] += step
        behind[place] -= step
        slope = (function(Tensor(ahead)).array - function(Tensor(behind)).array) / (2 * step)
        np.testing.assert_allclose(found[(..., *place)], slope, atol=1e-8)


def test_vjp_and_jvp_are_adjoint():
    def function(x, y):
        return minicnn.tanh(x @ y)

    inputs = Tensor(X), Tensor(Y)
    _, dy = functional.jvp(function, inputs, (Tensor(V), Tensor(U)))
    _, (dx, dz) = functional.vjp(function, inputs, Tensor(W))
    np.testing.assert_allclose((dy.array * W).sum(), (dx.array * V).sum() + (dz.array * U).sum())


def test_what_does_not_depend_on_an_input_has_derivative_0():
    x = minicnn.tensor([1.0, 2.0])
    y = minicnn.tensor([5.0])
    assert functional.vjp(lambda x, y: x.sum(), (x, y))[1][1].tolist() == [0]
    assert functional.jacobian(lambda x: minicnn.ones(3), x).tolist() == [[0, 0]] * 3
    assert functional.hessian(lambda x: x.sum(), x).tolist() == [[0, 0], [0, 0]]
    assert functional.jvp(lambda x: minicnn.ones(3), x, x)[1].tolist() == [0, 0, 0]
    assert functional.jacobian(lambda x: x[:0], x).shape == (0, 2)


def test_float32_stays_float32():
    x = minicnn.tensor([1.0, 2.0])
    assert functional.jacobian(lambda x: x * 2, x).dtype == np.float32
    assert functional.jvp(lambda x: x * 2, x, x)[1].dtype == np.float32


@pytest.mark.parametrize("name", ["vjp", "jvp", "jacobian", "vhp", "hvp"])
def test_strict_refuses_what_does_not_depend_on_an_input(name):
    x, y = minicnn.tensor([1.0]), minicnn.tensor([5.0])
    v = () if name == "jacobian" else (None,) if name == "vjp" else ((x, y),)
    with pytest.raises(GradientError, match=rf"{name}: .*strict"):
        getattr(functional, name)(lambda x, y: (x * x).sum(), (x, y), *v, strict=True)
    with pytest.raises(GradientError, match=rf"{name}: .*strict"):
        getattr(functional, name)(lambda x, y: minicnn.ones(()), (x, y), *v, strict=True)


def test_what_is_refused():
    x = minicnn.tensor([1.0, 2.0])
    with pytest.raises(ShapeError, match="vjp: v may be left out only if the result"):
        functional.vjp(lambda x: x, x)
    with pytest.raises(ShapeError, match="jvp: v may be left out only if the input"):
        functional.jvp(lambda x: x, x)
    with pytest.raises(ShapeError, match=r"vjp: v has shapes \[\(2,\)\], the result has \[\(\)\]"):
        functional.vjp(lambda x: x.sum(), x, x)
    with pytest.raises(ShapeError, match="hessian: the function must return a single value"):
        functional.hessian(lambda x: x, x)
    with pytest.raises(DTypeError, match="jacobian: inputs must be a tensor or a tuple"):
        functional.jacobian(lambda x: x, 3.0)
    with pytest.raises(DTypeError, match="vjp: the result of the function must be a tensor"):
        functional.vjp(lambda x: 3.0, x)
