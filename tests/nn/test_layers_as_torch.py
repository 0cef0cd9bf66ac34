"""Every layer of the table beside the layer of the same name in torch, with the same parameters."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import nn
from minicnn.tensor import Tensor
from minicnn.testing.cases import LAYERS

pytestmark = pytest.mark.filterwarnings("ignore:.*Using padding='same' with even kernel")
each_layer = pytest.mark.parametrize("case", [c for c in LAYERS if c.torch], ids=str)
RANDOM = ("Dropout", "RReLU")  # their draws differ from torch's


def assert_same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.array, theirs.numpy(force=True), rtol=1e-10, atol=1e-12)


def parts(value):
    """Return all tensors of a result, which may be a tuple of tuples."""
    if not isinstance(value, (tuple, list)):
        return [value]
    return [part for piece in value for part in parts(piece)]


def pair_of(case, torch, training):
    """Return our layer and torch's in float64, with equal parameters and buffers."""
    ours = case.module().double().train(training)
    theirs = case.make(torch.nn).double().train(training)
    state = {key: torch.tensor(value.numpy()) for key, value in ours.state_dict().items()}
    theirs.load_state_dict(state)
    return ours, theirs


@each_layer
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_a_layer_computes_as_in_torch(torch, case, training):
    if training and any(name in case.kind for name in RANDOM):
        training = False
    ours, theirs = pair_of(case, torch, training)
    for step in range(2):
        arrays = [a * (1 + step) if a.dtype == np.float64 else a for a in case.arrays()]
        mine = [Tensor(a.copy(), requires_grad=a.dtype == np.float64) for a in arrays]
        others = [torch.tensor(a, requires_grad=a.dtype == np.float64) for a in arrays]
        results, expected = parts(ours(*mine)), parts(theirs(*others))
        total, wanted = 0.0, 0.0
        for y, z in zip(results, expected, strict=True):
            assert_same(y, z)
            if z.requires_grad:
                weight = np.cos(np.arange(y.array.size)).reshape(y.shape)
                total, wanted = (
                    total + (y * weight).sum(),
                    wanted + (z * torch.tensor(weight)).sum(),
                )
        total.backward()
        wanted.backward()
        for x, z in zip(mine, others, strict=True):
            if z.grad is not None:
                assert_same(x.grad, z.grad)
    named = zip(ours.named_parameters(), theirs.named_parameters(), strict=True)
    for (name, parameter), (same, z) in named:
        assert name == same
        if z.grad is not None:
            assert_same(parameter.grad, z.grad)
    for key, tensor in theirs.state_dict().items():
        assert_same(ours.state_dict()[key], tensor)


@each_layer
def test_a_layer_shows_itself_as_in_torch(torch, case):
    assert repr(case.make(nn)) == repr(case.make(torch.nn))


@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_float32_stays_float32(case):
    layer = case.module()
    inputs = [
        Tensor(a.astype(np.float32), requires_grad=True) if a.dtype == np.float64 else Tensor(a)
        for a in case.arrays()
    ]
    results = [y for y in parts(layer(*inputs)) if y.requires_grad]
    sum((y.sum() for y in results[1:]), start=results[0].sum()).backward()
    found = {y.dtype for y in results} | {x.grad.dtype for x in inputs if x.grad is not None}
    found |= {p.grad.dtype for p in layer.parameters() if p.grad is not None}
    assert found == {np.dtype(np.float32)}
