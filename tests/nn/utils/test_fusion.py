from __future__ import annotations

import numpy as np
import pytest
from small_models import pictures, small

import minicnn
from minicnn import nn
from minicnn.errors import ArgumentError
from minicnn.nn.utils import fuse_all_bn_eval, fuse_conv_bn_eval, fuse_linear_bn_eval

PAIRS = {
    "conv2d": (lambda n: n.Conv2d(4, 6, (2, 3), groups=2), lambda n: n.BatchNorm2d(6), False),
    "no bias": (lambda n: n.Conv1d(4, 6, 2, bias=False), lambda n: n.BatchNorm1d(6), False),
    "not affine": (
        lambda n: n.Conv3d(4, 6, 2), lambda n: n.BatchNorm3d(6, affine=False), False,
    ),
    "transposed": (lambda n: n.ConvTranspose2d(4, 6, 2), lambda n: n.BatchNorm2d(6), True),
}  # fmt: skip


def sample(conv):
    return minicnn.randn(2, 4, *[5] * (conv.weight.ndim - 2), dtype=np.float64)


@pytest.mark.parametrize(("conv", "bn", "transpose"), PAIRS.values(), ids=list(PAIRS))
def test_the_fused_layer_computes_both(conv, bn, transpose):
    minicnn.manual_seed(0)
    conv, bn = conv(nn).double(), bn(nn).double()
    for _ in range(3):
        bn(conv(sample(conv)))
    conv.eval()
    bn.eval()
    fused, x = fuse_conv_bn_eval(conv, bn, transpose), sample(conv)
    np.testing.assert_allclose(fused(x).array, bn(conv(x)).array, rtol=1e-9, atol=1e-12)
    assert fused is not conv
    assert type(fused) is type(conv)
    assert fused.bias.shape == (6,)


def test_weights_are_those_of_torch(torch, rng):
    w, b = rng.normal(size=(3, 2, 2, 2)), rng.normal(size=3)
    mean, gamma, beta = rng.normal(size=(3, 3))
    variance = rng.uniform(0.5, 2, 3)
    for bias, scale, shift in ((b, gamma, beta), (None, gamma, None), (b, None, beta)):
        given = [w, bias, mean, variance, 1e-3, scale, shift]

        def as_tensors(m, given=given):
            return [m.tensor(v) if isinstance(v, np.ndarray) else v for v in given]

        ours = nn.utils.fuse_conv_bn_weights(*as_tensors(minicnn))
        theirs = torch.nn.utils.fuse_conv_bn_weights(*as_tensors(torch))
        for a, z in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.array, z.detach(), rtol=1e-12)
            assert a.requires_grad == z.requires_grad


def test_only_layers_in_evaluation_can_be_fused():
    conv, bn = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)
    with pytest.raises(ArgumentError, match="eval"):
        fuse_conv_bn_eval(conv.eval(), bn)
    with pytest.raises(ArgumentError, match="no running statistics"):
        fuse_conv_bn_eval(conv, nn.BatchNorm2d(2, track_running_stats=False).eval())


def test_a_linear_layer_is_fused_too(torch, seeded):
    linear, bn = nn.Linear(4, 6).double(), nn.BatchNorm1d(6).double()
    x = minicnn.randn(5, 4, dtype=np.float64)
    bn(linear(x))
    fused = fuse_linear_bn_eval(linear.eval(), bn.eval())
    np.testing.assert_allclose(fused(x).array, bn(linear(x)).array, rtol=1e-9, atol=1e-12)
    given = [
        linear.weight, linear.bias, bn.running_mean, bn.running_var, 1e-5, bn.weight, bn.bias
    ]  # fmt: skip
    theirs = torch.nn.utils.fuse_linear_bn_weights(
        *(v if isinstance(v, float) else torch.tensor(v.array) for v in given)
    )
    ours = nn.utils.fuse_linear_bn_weights(*given)
    for a, z in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.array, z.detach(), rtol=1e-12)
    with pytest.raises(ArgumentError, match="fuse_linear_bn_eval: call"):
        fuse_linear_bn_eval(linear.train(), bn)


# --- a whole model --------------------------------------------------------------------------------


def norms_of(model):
    return sum(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in model.modules())


@pytest.mark.parametrize(("name", "left"), [
    ("resnet18", 0), ("googlenet", 2), ("mobilenet_v2", 0), ("vgg13_bn", 0), ("densenet121", 62),
])  # fmt: skip
def test_a_fused_model_computes_the_same(name, left, seeded):
    """DenseNet normalises what it has put together; GoogLeNet's heads do not run in evaluation."""
    model = small(name).double()
    x = minicnn.tensor(pictures(name, dtype=np.float64))
    for _ in range(2):
        model(x)
    before = norms_of(model)
    state = {key: value.array.copy() for key, value in model.state_dict().items()}
    fused = fuse_all_bn_eval(model, x)
    assert (norms_of(fused), norms_of(model)) == (left, before)
    np.testing.assert_allclose(fused(x).array, model.eval()(x).array, rtol=1e-6, atol=1e-9)
    for key, value in model.state_dict().items():  # the model itself is left alone
        np.testing.assert_array_equal(value.array, state[key])


class Branching(nn.Module):
    """Uses the result of its convolution twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.conv(x)
        return self.bn(y) + y


def test_what_a_batch_norm_adds_is_still_added(seeded):
    model = small("resnet18")
    fused = fuse_all_bn_eval(model, minicnn.tensor(pictures("resnet18")))
    x, shortcut = minicnn.randn(2, 1, 3, 3), minicnn.randn(2, 1, 3, 3)
    rest = fused.layer1[0].bn2
    assert repr(rest) == "Rest()"
    assert rest(x) is x
    expected = np.maximum(x.array + shortcut.array, 0)
    np.testing.assert_array_equal(rest(x, add=shortcut, relu=True).array, expected)


def test_what_cannot_be_fused_is_refused_or_left(seeded):
    x = minicnn.randn(2, 1, 3, 3)
    model = Branching()
    model.bn.running_mean.fill_(1)
    with pytest.raises(ArgumentError, match="computes something else"):
        fuse_all_bn_eval(model, x)
    conv, bn = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)
    assert norms_of(fuse_all_bn_eval(nn.Sequential(conv, bn, conv), x)) == 1
    assert norms_of(fuse_all_bn_eval(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), bn), x)) == 1
    forgetful = nn.BatchNorm2d(1, track_running_stats=False)
    assert norms_of(fuse_all_bn_eval(nn.Sequential(conv, forgetful), x)) == 1
