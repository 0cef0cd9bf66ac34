"""Groups, state and refusals that all optimisers share."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError
from minicnn.nn import Parameter
from minicnn.optim import SGD, Adam, Optimizer


def parameter(*values: float) -> Parameter:
    return Parameter(np.array(values))


def test_groups_have_settings_of_their_own():
    slow, fast = parameter(1.0), parameter(1.0)
    optimizer = SGD([{"params": [slow]}, {"params": fast, "lr": 0.5}], lr=0.1)
    slow.grad = fast.grad = minicnn.tensor(np.array([1.0]))
    optimizer.step()
    assert slow.item() == pytest.approx(0.9)
    assert fast.item() == pytest.approx(0.5)


def test_a_parameter_without_a_gradient_stays():
    used, unused = parameter(1.0), parameter(2.0)
    optimizer = SGD([used, unused], lr=0.1, weight_decay=0.5)
    used.grad = minicnn.tensor(np.array([1.0]))
    optimizer.step()
    assert unused.item() == 2.0
    assert used.item() == pytest.approx(0.85)


def test_the_gradient_itself_is_not_changed():
    p = parameter(1.0, -2.0)
    for optimizer in (
        SGD([p], lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
        Adam([p], weight_decay=0.1),
    ):
        p.grad = minicnn.tensor(np.array([3.0, 4.0]))
        for _ in range(2):
            optimizer.step()
        assert p.grad.tolist() == [3.0, 4.0]


def test_zero_grad_forgets():
    p = parameter(1.0)
    p.grad = minicnn.tensor(np.array([1.0]))
    SGD([p]).zero_grad()
    assert p.grad is None


def test_closure_recomputes_the_loss():
    p = parameter(3.0)
    optimizer = SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert p.item() == 0.0


def test_a_step_between_forward_and_backward_is_noticed():
    p = parameter(2.0)
    loss = (p * p).sum()
    p.grad = minicnn.tensor(np.array([1.0]))
    SGD([p], lr=0.1).step()
    with pytest.raises(minicnn.errors.GradientError, match=r"mul.*changed in place"):
        loss.backward()


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_state_dict_carries_on_exactly(kind: type[Optimizer]):
    def steps(optimizer, p, count):
        for i in range(count):
            p.grad = minicnn.tensor(np.array([float(i), 1.0]))
            optimizer.step()

    settings = {"momentum": 0.9} if kind is SGD else {}
    p, q = parameter(1.0, 2.0), parameter(1.0, 2.0)
    first = kind([p], lr=0.1, **settings)
    steps(first, p, 3)
    q.data = minicnn.tensor(p.detach())
    second = kind([q], lr=99.0, **settings)
    second.load_state_dict(first.state_dict())
    steps(first, p, 3)
    steps(second, q, 3)
    assert np.array_equal(p.detach().numpy(), q.detach().numpy())


def test_loaded_state_is_a_copy():
    p = parameter(1.0)
    optimizer = SGD([p], momentum=0.9)
    p.grad = minicnn.tensor(np.array([1.0]))
    optimizer.step()
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)
    optimizer.step()
    assert saved["state"][0]["momentum_buffer"].tolist() == [1.0]


def test_a_state_of_other_groups_is_refused_and_changes_nothing():
    optimizer = SGD([parameter(1.0)], lr=0.1)
    other = SGD([parameter(1.0), parameter(2.0)], lr=0.7).state_dict()
    with pytest.raises(ArgumentError, match=r"\[2\] parameters do not fit groups of \[1\]"):
        optimizer.load_state_dict(other)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_refusals():
    p = parameter(1.0)
    with pytest.raises(ArgumentError, match="no parameters"):
        SGD([])
    with pytest.raises(ArgumentError, match="twice"):
        SGD([p, p])
    with pytest.raises(ArgumentError, match="leaf"):
        SGD([p * 2])
    with pytest.raises(ArgumentError, match="lr must be at least 0, got -1"):
        SGD([p], lr=-1)
    with pytest.raises(ArgumentError, match="eps must be at least 0, got nan"):
        Adam([p], eps=float("nan"))


def test_repr_names_the_settings():
    assert "lr=0.25" in repr(SGD([parameter(1.0)], lr=0.25))
