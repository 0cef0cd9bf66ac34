"""The same file with PyTorch's layers and the same weights computes the same."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from small_models import SMALL, count, loss_of, pictures, small

import minicnn
from minicnn import models
from minicnn.errors import UsageError
from minicnn.models import in_torch

pytestmark = pytest.mark.usefixtures("torch")
TOLERANCE = {np.float32: 1e-4, np.float64: 1e-9}


def pair(torch, name, dtype):
    """Build the narrow copy twice, with the same weights and with running statistics of its own."""
    minicnn.manual_seed(0)
    ours, theirs = small(name), small(name, in_torch.create)
    if dtype == np.float64:
        ours, theirs = ours.double(), theirs.double()
    rng = np.random.default_rng(1)
    for key, value in ours.state_dict().items():
        if "running" in key:
            value.array[...] = rng.uniform(0.5, 1.5, value.shape)
        elif key.endswith("bias") or value.ndim == 1:
            value.array[...] += rng.uniform(-0.1, 0.1, value.shape).astype(value.dtype)
    state = {key: torch.tensor(value.array) for key, value in ours.state_dict().items()}
    theirs.load_state_dict(state)  # strict: the keys are the same
    return ours, theirs


def assert_close(ours, theirs, tolerance, scale=None):
    """Compare to a part of the largest value."""
    theirs = theirs.detach().numpy()
    scale = np.abs(theirs).max() if scale is None else scale
    assert ours.array.shape == theirs.shape
    assert ours.array.dtype == theirs.dtype
    np.testing.assert_allclose(ours.array, theirs, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_logits_in_evaluation(torch, name, dtype, seeded):
    ours, theirs = (model.eval() for model in pair(torch, name, dtype))
    x = pictures(name, dtype=dtype)
    with minicnn.no_grad(), torch.no_grad():
        assert_close(ours(minicnn.tensor(x)), theirs(torch.tensor(x)), TOLERANCE[dtype])


@pytest.mark.parametrize("name", SMALL)
def test_a_training_step(torch, name, seeded):
    """Outputs, the gradient of every parameter and of the picture, the running statistics."""
    ours, theirs = pair(torch, name, np.float64)
    x, labels = pictures(name, dtype=np.float64), np.array([1, 3])
    ours_x = minicnn.tensor(x, requires_grad=True)
    theirs_x = torch.tensor(x, requires_grad=True)
    ours_y, theirs_y = ours(ours_x), theirs(theirs_x)
    several = isinstance(ours_y, tuple)
    for y, z in zip(*((ours_y, theirs_y) if several else ([ours_y], [theirs_y])), strict=True):
        assert_close(y, z, 1e-9)
    loss_of(ours_y, labels).backward()
    cross_entropy, t = torch.nn.functional.cross_entropy, torch.tensor(labels)
    losses = [cross_entropy(z, t) for z in (theirs_y if several else [theirs_y])]
    (losses[0] + 0.3 * sum(losses[1:])).backward()
    assert_close(ours_x.grad, theirs_x.grad, 1e-9)
    gradients = [parameter.grad for parameter in theirs.parameters()]
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    for ours_parameter, gradient in zip(ours.parameters(), gradients, strict=True):
        # before a normalisation the gradient of a bias is 0 but for rounding
        scale = max(float(gradient.abs().max()), 1e-6 * largest)
        assert_close(ours_parameter.grad, gradient, 1e-8, scale)
    buffers = dict(theirs.named_buffers())
    for key, value in ours.named_buffers():
        assert_close(value, buffers[key], 1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_keys_are_in_the_same_order(name):
    assert list(small(name).state_dict()) == list(small(name, in_torch.create).state_dict())


def test_one_in_full_size(torch):
    model = in_torch.create("resnet18")
    assert isinstance(model, torch.nn.Module)
    assert sum(p.numel() for p in model.parameters()) == count(models.resnet18()) == 11_689_512


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="did you mean 'lenet5'"):
        in_torch.create("lenet")


def test_files_are_executed_once_and_ours_are_left_alone(torch):
    file = in_torch.load("inception_v3")
    assert in_torch.load("inception_v3") is file
    assert issubclass(file.ConvBNReLU, torch.nn.Module)
    assert file.ConvBNReLU is in_torch.load("googlenet").ConvBNReLU
    assert sys.modules["minicnn.models.inception_v3"].nn is minicnn.nn


def test_what_batch_norm_does_besides_is_written_out(torch):
    """So PyTorch's side has plain layers, which its own tools know how to fuse."""
    block = in_torch.create("resnet18").layer1[0].eval()
    assert type(block.bn2) is torch.nn.BatchNorm2d
    x = torch.randn(1, 64, 3, 3)
    y = torch.relu(block.bn1(block.conv1(x)))
    torch.testing.assert_close(block(x), torch.relu(block.bn2(block.conv2(y)) + x))
