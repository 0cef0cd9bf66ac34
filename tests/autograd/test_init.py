from __future__ import annotations

import pytest

import minicnn
from minicnn import autograd
from minicnn.errors import GradientError, ShapeError


def leaf(*values):
    return minicnn.tensor(values, requires_grad=True)


def test_backward_of_several_tensors_that_share_a_graph():
    x = leaf(1.0, 2.0)
    h = x * x
    autograd.backward([h.sum(), h * 3], [None, minicnn.tensor([1.0, 10.0])])
    assert x.grad.tolist() == [2 + 6, 4 + 120]


def test_backward_of_one_tensor_adds_up():
    x = leaf(1.0, 2.0)
    autograd.backward(x * 2, minicnn.ones(2))
    autograd.backward((x * 2).sum())
    assert x.grad.tolist() == [4, 4]


def test_only_the_named_leaves_are_served():
    x, y = leaf(1.0), leaf(3.0)
    autograd.backward(x * y, inputs=[x])
    assert x.grad.tolist() == [3]
    assert y.grad is None
    autograd.backward(x * y, inputs=x)
    assert x.grad.tolist() == [6]


def test_a_recorded_backward_can_be_differentiated():
    x = leaf(2.0)
    autograd.backward((x**3).sum(), create_graph=True)
    (second,) = autograd.grad(x.grad, x)
    assert second.tolist() == [12]


def test_what_is_refused():
    x = leaf(1.0, 2.0)
    with pytest.raises(ShapeError, match="needs gradient"):
        autograd.backward(x * 2)
    with pytest.raises(GradientError, match="2 tensors but 1 grad_tensors"):
        autograd.backward([x * 2, x], [None])
    with pytest.raises(ShapeError, match=r"shape \(1,\)"):
        autograd.backward(x * 2, minicnn.ones(1))


def test_the_names_of_torch():
    assert autograd.grad is minicnn.grad
    assert autograd.no_grad is minicnn.no_grad
    assert autograd.detect_anomaly is minicnn.detect_anomaly
