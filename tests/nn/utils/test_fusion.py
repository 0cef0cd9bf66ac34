from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import ArgumentError
from minicnn.nn.utils import fuse_conv_bn_eval

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
