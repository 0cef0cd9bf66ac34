from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import ShapeError
from minicnn.tensor import Tensor


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def pair_of(make, torch):
    """Return our layer and torch's in float64, with equal random weights."""
    ours, theirs = make(nn).double(), make(torch.nn).double()
    for number, parameter in enumerate(ours.parameters()):
        minicnn.nn.init.constant_(parameter, 0)
        parameter.data = Tensor(data(*parameter.shape, seed=number + 1))
    state = {key: torch.tensor(tensor.numpy()) for key, tensor in ours.state_dict().items()}
    theirs.load_state_dict(state)
    return ours, theirs


def assert_same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.array, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, None], ids=str)
def test_running_statistics_are_those_of_torch(torch, momentum):
    ours, theirs = pair_of(lambda n: n.BatchNorm2d(4, momentum=momentum), torch)
    for step in range(4):
        x = data(3, 4, 2, 5, seed=step) * (step + 1) + step
        ours(Tensor(x))
        theirs(torch.tensor(x))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            assert_same(getattr(ours, name), getattr(theirs, name))
    assert ours.num_batches_tracked.item() == 4
    assert ours.num_batches_tracked.dtype == np.int64
    ours.eval()(Tensor(x))
    assert ours.num_batches_tracked.item() == 4


def test_running_statistics_are_the_same_objects_all_along():
    layer = nn.BatchNorm2d(2)
    buffers = [*layer.buffers()]
    memory = [buffer.array for buffer in buffers]
    layer(minicnn.rand(2, 2, 3, 3))
    assert all(a is b for a, b in zip(layer.buffers(), buffers, strict=True))
    assert all(b.array is array for b, array in zip(buffers, memory, strict=True))


def test_without_running_statistics_evaluation_uses_the_batch():
    layer = nn.BatchNorm2d(2, track_running_stats=False).eval()
    y = layer(minicnn.rand(4, 2, 3, 3))
    np.testing.assert_allclose(y.array.mean((0, 2, 3)), 0, atol=1e-5)
    assert list(layer.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 2, 1, 1), (2, 2), (2, 2, 3)], ids=str)
def test_a_batch_that_is_refused_leaves_the_statistics_alone(shape):
    layer = nn.BatchNorm2d(2)
    before = {key: tensor.tolist() for key, tensor in layer.state_dict().items()}
    with pytest.raises(ShapeError, match=r"BatchNorm2d|batch_norm"):
        layer(minicnn.rand(*shape))
    assert {key: tensor.tolist() for key, tensor in layer.state_dict().items()} == before
