"""The same training run in minicnn and in PyTorch: optimisers step by step, schedules as traces."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minicnn
from minicnn import optim
from minicnn.nn import Parameter

SHAPES = [(3, 4), (), (0, 2), (5,)]


@pytest.fixture
def doubles():
    """Let PyTorch keep its counters in float64, as Python numbers are."""
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def as_torch(doubles):
    """Return run(name, settings, dtype): the same ten steps in both, compared."""

    def run(name, settings, dtype=np.float64, steps=10):
        torch, draw = doubles, np.random.default_rng(3)
        arrays = [np.asarray(draw.standard_normal(shape), dtype) for shape in SHAPES]
        ours = [Parameter(array.copy()) for array in arrays]
        theirs = [torch.nn.Parameter(torch.tensor(array)) for array in arrays]
        groups = [slice(0, 2), slice(2, 4)]  # two groups, the second with an lr of its own
        first, second = (
            getattr(kind, name)(
                [{"params": p[groups[0]]}, {"params": p[groups[1]], "lr": 0.05}], **settings
            )
            for kind, p in ((optim, ours), (torch.optim, theirs))
        )
        for step in range(steps):
            for p, q in zip(ours, theirs, strict=True):
                gradient = np.asarray(draw.standard_normal(p.shape), dtype)
                late = p is ours[3] and step < 2  # this one has no gradient at first
                p.grad = None if late else minicnn.tensor(gradient)
                q.grad = None if late else torch.tensor(gradient)
            first.step()
            second.step()
        limits = (
            {"rtol": 1e-10, "atol": 1e-12} if dtype == np.float64 else {"rtol": 2e-4, "atol": 1e-5}
        )
        for p, q in zip(ours, theirs, strict=True):
            assert p.dtype == dtype
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), **limits)
        mine, expected = first.state_dict()["state"], second.state_dict()["state"]
        assert mine.keys() == expected.keys()
        for number, values in expected.items():
            assert mine[number].keys() == values.keys()
            for key, value in values.items():
                np.testing.assert_allclose(mine[number][key], value.numpy(), err_msg=key, **limits)
                if isinstance(mine[number][key], np.ndarray):
                    assert mine[number][key].dtype == dtype

    return run


def make_optimizer(kind, parameter, ones, name="SGD", **settings):
    parameters = [parameter(ones(1)) for _ in range(3)]
    groups = [{"params": [p]} for p in parameters]
    groups[1]["lr"], groups[2]["lr"] = 0.5, 3e-4
    return getattr(kind, name)(groups, lr=0.1, **settings)


@pytest.fixture
def optimizer():
    """Return make(name="SGD", **settings): one of ours with the rates 0.1, 0.5 and 3e-4."""
    return lambda name="SGD", **settings: make_optimizer(
        optim, Parameter, minicnn.ones, name, **settings
    )


def values(optimizer):
    """Return lr, momentum and betas of every group, flat."""
    found = []
    for group in optimizer.param_groups:
        for key in ("lr", "momentum", "betas"):
            value = group.get(key, ())
            found += value if isinstance(value, (tuple, list)) else [value]
    return found


def trace(optimizer, schedule, calls):
    """Return the settings at the start and after each call of `step`."""
    found = [values(optimizer)]
    for arguments in calls:
        schedule.step(*arguments)
        found.append(values(optimizer))
        assert list(schedule.get_last_lr()) == [g["lr"] for g in optimizer.param_groups]
    return np.array(found)


@pytest.fixture
def same_schedule(optimizer):
    """Return run(make, calls): compare make(lr_scheduler, optimizer) with PyTorch's, call by call.

    Then stop ours in the middle, save it as JSON, go on, and compare with the whole trace.
    """
    torch = pytest.importorskip("torch")

    def run(make, calls=25, name="SGD", **settings):
        calls = [()] * calls if isinstance(calls, int) else calls
        theirs = make_optimizer(torch.optim, torch.nn.Parameter, torch.ones, name, **settings)
        with pytest.MonkeyPatch.context() as patch:  # silences the warning about no optimizer.step
            patch.setattr("warnings.warn", lambda *args, **kwargs: None)
            schedule = make(torch.optim.lr_scheduler, theirs)
            expected = trace(theirs, schedule, calls)
        ours = optimizer(name, **settings)
        found = trace(ours, make(optim.lr_scheduler, ours), calls)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)

        half = len(calls) // 2
        stopped = optimizer(name, **settings)
        schedule = make(optim.lr_scheduler, stopped)
        trace(stopped, schedule, calls[:half])
        saved = json.loads(json.dumps([stopped.state_dict(), schedule.state_dict()]))
        resumed = optimizer(name, **settings)
        schedule = make(optim.lr_scheduler, resumed)
        resumed.load_state_dict(saved[0])
        schedule.load_state_dict(saved[1])
        np.testing.assert_array_equal(trace(resumed, schedule, calls[half:]), found[half:])

    return run
