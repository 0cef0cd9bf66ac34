from __future__ import annotations

import math

import numpy as np
import pytest

import minicnn
from minicnn.errors import GradientError
from minicnn.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from minicnn.tensor import Tensor

GRADIENTS = ([[3.0, -4.0]], [12.0], None, [[-0.5], [2.0]])


def parameters_of(m):
    """Return parameters with gradients, and one without."""
    made = []
    for values in GRADIENTS:
        array = np.zeros(2) if values is None else np.array(values)
        parameter = m.tensor(array, requires_grad=True)
        parameter.grad = None if values is None else m.tensor(array)
        made.append(parameter)
    return made


def gradients_of(parameters):
    return [None if p.grad is None else p.grad.tolist() for p in parameters]


@pytest.mark.parametrize("norm_type", [2.0, 1, 3.5, math.inf, -math.inf, 0])
@pytest.mark.parametrize("max_norm", [0.7, 5, 1e3])
def test_norms_and_gradients_are_those_of_torch(torch, norm_type, max_norm):
    ours, theirs = parameters_of(minicnn), parameters_of(torch)
    total = clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    for a, b in zip(gradients_of(ours), gradients_of(theirs), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_clipped_norm_is_the_largest_allowed():
    parameters = parameters_of(minicnn)
    assert clip_grad_norm_(parameters, 1.0).item() == pytest.approx(math.sqrt(173.25))
    gradients = [p.grad for p in parameters if p.grad is not None]
    assert get_total_norm(gradients).item() == pytest.approx(1, rel=1e-6)


def test_small_gradients_stay_as_they_are():
    parameters = parameters_of(minicnn)
    before = gradients_of(parameters)
    clip_grad_norm_(iter(parameters), 100.0)
    assert gradients_of(parameters) == before


def test_values_are_clipped_in_place():
    parameters = parameters_of(minicnn)
    gradients = [p.grad for p in parameters]
    clip_grad_value_(parameters, 2.5)
    assert gradients_of(parameters) == [[[2.5, -2.5]], [2.5], None, [[-0.5], [2.0]]]
    assert all(p.grad is g for p, g in zip(parameters, gradients, strict=True))


def test_one_parameter_needs_no_list():
    parameter = parameters_of(minicnn)[0]
    assert clip_grad_norm_(parameter, 1.0).item() == 5
    np.testing.assert_allclose(parameter.grad.array, [[0.6, -0.8]], rtol=1e-6)
    clip_grad_value_(parameter, 0.5)
    np.testing.assert_allclose(parameter.grad.array, [[0.5, -0.5]])
    clip_grads_with_norm_(parameter, 1.0, Tensor(np.array(4.0)))
    np.testing.assert_allclose(parameter.grad.array, [[0.125, -0.125]], rtol=1e-6)


def test_gradients_of_a_backward_pass_can_be_clipped():
    layer = minicnn.nn.Linear(3, 2)
    layer(minicnn.ones(4, 3)).sum().backward()
    total = clip_grad_norm_(layer.parameters(), 0.5)
    assert total.dtype == np.float32
    assert get_total_norm(p.grad for p in layer.parameters()).item() == pytest.approx(0.5, 1e-4)
    assert {p.grad.dtype for p in layer.parameters()} == {np.dtype(np.float32)}


def test_nothing_to_clip():
    assert clip_grad_norm_([], 1.0).item() == 0
    assert clip_grad_norm_([minicnn.ones(2, requires_grad=True)], 1.0).item() == 0
    assert get_total_norm([minicnn.zeros(0), minicnn.ones(1)], math.inf).item() == 1


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_norm_that_is_no_number(value):
    parameter = minicnn.ones(2, requires_grad=True)
    parameter.grad = minicnn.tensor([1.0, value])
    with pytest.raises(GradientError, match=f"the norm of order 2.0 is {value}"):
        clip_grad_norm_([parameter], 1.0, error_if_nonfinite=True)
    assert parameter.grad.array[0] == 1
    assert not math.isfinite(clip_grad_norm_([parameter], 1.0).item())


def test_on_a_card_nothing_is_waited_for(card):
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal(shape).astype(np.float32) for shape in ((3,), (4, 5), (2, 3, 2))]
    here = [Tensor(array.copy(), requires_grad=True) for array in arrays]
    there = [Tensor(card.array(array), requires_grad=True) for array in arrays]
    for ours, put in ((here, np.array), (there, card.array)):
        for p, array in zip(ours, arrays, strict=True):
            p.grad = Tensor(put(array))
    expected = clip_grad_norm_(here, 1.5)
    with card.no_copies():
        total = clip_grad_norm_(there, 1.5)
        assert sum(card.seen("launch").values()) == 4
    clip_grad_value_(here, 0.3)
    clip_grad_value_(there, 0.3)
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    for p, q in zip(there, here, strict=True):
        np.testing.assert_allclose(p.grad.array.get(), q.grad.array, rtol=1e-6)
        assert p.grad.version[0] == q.grad.version[0] == 2
    there[1].grad = Tensor(card.array(np.full((4, 5), np.nan, np.float32)))
    with pytest.raises(GradientError, match="is nan"):
        clip_grad_norm_(there, 1.0, error_if_nonfinite=True)
