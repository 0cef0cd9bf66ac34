from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("kind", "shape"), [
    ("BatchNorm1d", (4, 2)), ("BatchNorm2d", (2, 2, 3, 1)), ("BatchNorm3d", (2, 2, 1, 3, 2)),
])  # fmt: skip
def test_a_shortcut_and_relu_in_one_call(kind, shape, training):
    layer = getattr(nn, kind)(2).double().train(training)
    x, shortcut = Tensor(data(*shape)), Tensor(data(*shape, seed=1))
    y = layer(x, add=shortcut, relu=True)
    expected = np.maximum(layer(x).array + shortcut.array, 0)
    np.testing.assert_allclose(y.array, expected, rtol=0, atol=1e-12)


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


# --- what the generic tests of layers do not show -------------------------------------------------


LAYERS = [
    lambda n: n.BatchNorm1d(4), lambda n: n.BatchNorm3d(4, track_running_stats=False),
    lambda n: n.BatchNorm2d(4, affine=False), lambda n: n.BatchNorm1d(4, bias=False),
    lambda n: n.InstanceNorm2d(4), lambda n: n.InstanceNorm1d(4, affine=True),
    lambda n: n.InstanceNorm3d(4, track_running_stats=True), lambda n: n.GroupNorm(2, 4),
    lambda n: n.GroupNorm(2, 4, affine=False), lambda n: n.LayerNorm((2, 3)),
    lambda n: n.LayerNorm(3, bias=False), lambda n: n.LayerNorm(3, elementwise_affine=False),
    lambda n: n.RMSNorm(3), lambda n: n.RMSNorm(3, elementwise_affine=False),
    lambda n: n.LocalResponseNorm(3),
]  # fmt: skip


@pytest.mark.parametrize("make", LAYERS, ids=lambda make: repr(make(nn)))
def test_a_new_layer_has_the_state_of_torchs(torch, make):
    ours, theirs = make(nn).state_dict(), make(torch.nn).state_dict()
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert ours[key].tolist() == value.tolist()


@pytest.mark.parametrize(
    "make", [lambda n: n.BatchNorm1d(2), lambda n: n.LayerNorm(2)], ids=["batch", "layer"]
)
def test_parameters_can_be_reset(make):
    layer = make(nn)
    for tensor in layer.state_dict().values():
        tensor.copy_(tensor.array + 3)
    layer.reset_parameters()
    fresh = make(nn).state_dict()
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == {
        k: v.tolist() for k, v in fresh.items()
    }


def test_momentum_of_one_layer_of_instances(torch):
    ours, theirs = pair_of(lambda n: n.InstanceNorm1d(3, track_running_stats=True), torch)
    for step in range(3):
        x = data(2, 3, 5, seed=step)
        assert_same(ours(Tensor(x)), theirs(torch.tensor(x)))
    assert_same(ours.running_mean, theirs.running_mean)
    assert_same(ours.running_var, theirs.running_var)
    assert ours.num_batches_tracked.item() == theirs.num_batches_tracked.item() == 0


REFUSED = [
    refused("4 dimensions", lambda m: m.nn.BatchNorm1d(3)(m.zeros(2, 3, 4, 5)), "BatchNorm1d"),
    refused("3 dimensions", lambda m: m.nn.BatchNorm2d(3)(m.zeros(2, 3, 4)), "(N, C, H, W)"),
    refused("no volume", lambda m: m.nn.BatchNorm3d(3)(m.zeros(2, 3, 4)), "(N, C, D, H, W)"),
    refused("channels", lambda m: m.nn.BatchNorm2d(3)(m.zeros(2, 4, 4, 4)), "(4,)", "(3,)"),
    refused("1 dimension", lambda m: m.nn.InstanceNorm1d(3)(m.zeros(4)), "(C, L) or (N, C, L)"),
    refused("affine", lambda m: m.nn.InstanceNorm1d(3, affine=True)(m.zeros(4, 4)), "3", "(4, 4)"),
    refused("groups", lambda m: m.nn.GroupNorm(3, 4), "num_channels 4", "num_groups 3"),
    refused("another group", lambda m: m.nn.GroupNorm(2, 4)(m.zeros(2, 6, 3)), "weight", "(6,)"),
    refused("last size", lambda m: m.nn.LayerNorm(3)(m.zeros(3, 2)), "(3,)", "(3, 2)"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_refused(case, torch):
    case.check(torch)


def test_the_convention_of_the_paper_shows():
    layer = nn.LocalResponseNorm(5, k=2, average=False)
    assert repr(layer) == "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=2, average=False)"
