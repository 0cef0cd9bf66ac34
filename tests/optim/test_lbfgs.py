"""LBFGS against PyTorch, iterate by iterate, and against what it must reach."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import Parameter
from minicnn.optim import LBFGS
from minicnn.optim.lbfgs import Point, strong_wolfe


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def quartic(x):
    return ((x - 3) ** 2).sum() + (x**4).sum()


def steep(x):
    return ((1e3 * x - 1) ** 2).sum()


def wavy(x):
    return (0.1 * x * x + (3 * x).tanh()).sum()


LOSSES = [rosenbrock, quartic, steep, wavy]
SETTINGS = [
    {},
    {"line_search_fn": "strong_wolfe"},
    {"lr": 0.1, "max_iter": 5, "history_size": 3},
    {"lr": 0.5, "max_iter": 7, "history_size": 2, "max_eval": 6, "line_search_fn": "strong_wolfe"},
    {"max_iter": 4, "max_eval": 1, "line_search_fn": "strong_wolfe"},
    {"lr": 10.0, "max_iter": 3, "line_search_fn": "strong_wolfe"},
    {"max_iter": 30, "tolerance_grad": 1e-2, "tolerance_change": 1e-3},
]


def closure(optimizer, loss, concatenate, parameters):
    def evaluate():
        optimizer.zero_grad()
        value = loss(concatenate(parameters[:2]))
        value.backward()
        return value

    return evaluate


def start(dtype=np.float64):
    """Two parts of a vector, and a parameter that the loss does not see."""
    first, second = np.array([-0.3], dtype), np.array([0.4, -0.2, 0.1], dtype)
    return [Parameter(first), Parameter(second), Parameter(np.ones((2, 1), dtype))]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_against_torch(doubles, loss, settings):
    torch, ours = doubles, start()
    theirs = [torch.nn.Parameter(torch.tensor(p.detach().numpy())) for p in ours]
    first, second = LBFGS(ours, **settings), torch.optim.LBFGS(theirs, **settings)
    for _ in range(6):
        found = first.step(closure(first, loss, minicnn.cat, ours)).item()
        assert found == pytest.approx(second.step(closure(second, loss, torch.cat, theirs)).item())
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), atol=1e-8)
    mine, expected = first.state[ours[0]], second.state[theirs[0]]
    assert mine["n_iter"] == expected["n_iter"]
    assert mine["func_evals"] == expected["func_evals"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_finds_the_valley_of_rosenbrock(dtype):
    parameters = start(dtype)
    optimizer = LBFGS(parameters, max_iter=100, line_search_fn="strong_wolfe")
    optimizer.step(closure(optimizer, rosenbrock, minicnn.cat, parameters))
    for p in parameters:
        assert p.dtype == dtype
        np.testing.assert_allclose(p.detach().numpy(), 1.0, atol=1e-3)


# These waves reach every branch: the later ones steps that get stuck, and losses that rise late.
WAVES = (*range(9), 128, 156, 177, 257, 271, 292, 726, 745)


@pytest.mark.parametrize("seed", WAVES)
def test_the_line_search_against_that_of_torch(doubles, seed):
    """Waves with several valleys: brackets that shrink from both ends, steps that get stuck."""
    torch, draw = doubles, np.random.default_rng(seed)
    a, k, phase = draw.normal(size=4), 3 * draw.uniform(size=4), draw.uniform(0, 6, size=4)
    d, t, trials = np.array([draw.uniform(0.5, 2)]), 10 ** draw.uniform(-2, 1), 3 + seed % 9

    def loss(t):
        x = t * d[0]
        value = np.sum(a * np.sin(k * x + phase)) + 0.01 * x * x
        return float(value), np.array([np.sum(a * k * np.cos(k * x + phase)) + 0.02 * x])

    f, g = loss(0.0)
    if g @ d > 0:
        d = -d
    f, g = loss(0.0)
    found, used = strong_wolfe(loss, Point(0.0, f, g, g @ d), t, d, 1e-9, trials)
    expected = importlib.import_module("torch.optim.lbfgs")._strong_wolfe(
        lambda x, t, d: (loss(float(t))[0], torch.tensor(loss(float(t))[1])),
        None, t, torch.tensor(d), f, torch.tensor(g), torch.tensor(g @ d), max_ls=trials,
    )  # fmt: skip
    assert used == expected[3]
    assert found.t == pytest.approx(float(expected[2]), rel=1e-8)
    assert found.f == pytest.approx(expected[0], rel=1e-8)


def test_steps_of_no_length_end():
    p = Parameter(np.zeros(2))
    optimizer = LBFGS([p], lr=0.0, line_search_fn="strong_wolfe")
    optimizer.step(closure(optimizer, quartic, lambda parts: parts[0] * 1, [p]))
    assert p.tolist() == [0.0, 0.0]


def test_state_takes_the_type_of_the_parameters():
    p, q = Parameter(np.zeros(2)), Parameter(np.zeros(2, np.float32))
    first, second = LBFGS([p], max_iter=3), LBFGS([q])
    first.step(closure(first, quartic, lambda parts: parts[0] * 1, [p]))
    second.load_state_dict(first.state_dict())
    state = second.state[q]
    assert all(a.dtype == np.float32 for a in (state["d"], *state["old_dirs"]))


def test_a_loss_without_end_is_followed():
    """Along a straight line the search has no curvature to divide by."""
    p = Parameter(np.zeros(2))
    optimizer = LBFGS([p], max_iter=3, line_search_fn="strong_wolfe")
    optimizer.step(closure(optimizer, lambda x: x.sum(), lambda parts: parts[0] * 1, [p]))
    assert (p.detach().numpy() < -10).all()


def test_at_the_minimum_nothing_moves():
    p = Parameter(np.ones(2))
    optimizer = LBFGS([p])
    optimizer.step(closure(optimizer, lambda x: ((x - 1) ** 2).sum(), lambda x: x[0] * 1, [p]))
    assert p.tolist() == [1.0, 1.0]
    assert optimizer.state[p] == {"func_evals": 1, "n_iter": 0}


def test_a_state_dict_carries_on_exactly():
    def run(optimizer, parameters, steps):
        for _ in range(steps):
            optimizer.step(closure(optimizer, rosenbrock, minicnn.cat, parameters))

    settings = {"max_iter": 3, "history_size": 4, "line_search_fn": "strong_wolfe"}
    first_parameters, second_parameters = start(), start()
    first, second = LBFGS(first_parameters, **settings), LBFGS(second_parameters, lr=9.0)
    run(first, first_parameters, 3)
    for p, q in zip(first_parameters, second_parameters, strict=True):
        q.data = minicnn.tensor(p.detach())
    second.load_state_dict(first.state_dict())
    run(first, first_parameters, 3)
    run(second, second_parameters, 3)
    for p, q in zip(first_parameters, second_parameters, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_a_state_of_pytorch_carries_on(doubles):
    torch, ours = doubles, start()
    theirs = [torch.nn.Parameter(torch.tensor(p.detach().numpy())) for p in ours]
    first, second = LBFGS(ours, max_iter=3), torch.optim.LBFGS(theirs, max_iter=3)
    second.step(closure(second, quartic, torch.cat, theirs))
    for p, q in zip(ours, theirs, strict=True):
        p.data = minicnn.tensor(q.detach().numpy().copy())
    first.load_state_dict(as_arrays(second.state_dict()))
    first.step(closure(first, quartic, minicnn.cat, ours))
    second.step(closure(second, quartic, torch.cat, theirs))
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12)


def as_arrays(value):
    """Turn the tensors of PyTorch in a state dict into arrays."""
    if isinstance(value, dict):
        return {key: as_arrays(part) for key, part in value.items()}
    if isinstance(value, list):
        return [as_arrays(part) for part in value]
    return value.numpy().copy() if hasattr(value, "numpy") else value


def test_a_wrong_state_changes_nothing():
    p, other = Parameter(np.zeros(2)), Parameter(np.zeros(3))
    optimizer, larger = LBFGS([p]), LBFGS([other])
    larger.step(closure(larger, quartic, lambda x: x[0] * 1, [other]))
    saved = larger.state_dict()
    with pytest.raises(
        ShapeError, match=r"parameter 0: old_dirs has shape \(3,\), .* have 2 values"
    ):
        optimizer.load_state_dict(saved)
    del saved["state"][0]["old_dirs"]
    with pytest.raises(ArgumentError, match="LBFGS needs old_dirs of parameter 0"):
        larger.load_state_dict(saved)
    assert optimizer.state_dict()["state"] == {}


def test_refusals():
    p, q = Parameter(np.ones(1)), Parameter(np.ones(1))
    with pytest.raises(ArgumentError, match="all parameters must be in one group"):
        LBFGS([{"params": [p]}, {"params": [q]}])
    with pytest.raises(ArgumentError, match="must be None or \"strong_wolfe\", got 'armijo'"):
        LBFGS([p], line_search_fn="armijo")
    with pytest.raises(ArgumentError, match="step needs a closure"):
        LBFGS([p]).step()
    with pytest.raises(ArgumentError, match="LBFGS: lr must be at least 0"):
        LBFGS([p], lr=-1)
