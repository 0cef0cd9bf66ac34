from __future__ import annotations

import numpy as np
import pytest
from geometries import integers
from refusals import refused

import minicnn
from minicnn import nn
from minicnn.errors import ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor
from minicnn_kernels import kernels
from minicnn_kernels.errors import AlgorithmError

KINDS = [
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
]


@pytest.mark.parametrize("kind", KINDS)
def test_first_values_are_drawn_as_in_torch(torch, kind):
    minicnn.manual_seed(0)
    ours = kind(64, 32, 3, groups=4)
    theirs = getattr(torch.nn, kind.__name__)(64, 32, 3, groups=4)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, parameter in ours.named_parameters():
        other = theirs.state_dict()[name]
        assert parameter.shape == tuple(other.shape)
        assert parameter.dtype == np.float32
        bound = 1 / (np.prod(ours.weight.shape[1:])) ** 0.5
        assert abs(parameter.array).max() <= bound
        assert abs(other).max() <= bound  # torch's bound is ours
        if name == "weight":
            assert abs(parameter.array).max() > 0.99 * bound
            assert abs(parameter.array.mean()) < 0.05 * bound


def test_without_a_bias_there_is_none():
    layer = nn.ConvTranspose1d(1, 1, 2, bias=False)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [(1, 2), "same"])
def test_a_border_is_put_on_before_the_convolution(mode, padding):
    layer = nn.Conv2d(1, 1, (3, 4), padding=padding, padding_mode=mode, bias=False)
    x = Tensor(integers((1, 1, 4, 5)).astype(np.float32))
    widths = (1, 2, 1, 1) if padding == "same" else (2, 2, 1, 1)
    expected = F.conv2d(F.pad(x, widths, mode=mode), layer.weight)
    np.testing.assert_array_equal(layer(x).array, expected.array)


@pytest.mark.parametrize("size", [(11, 8), (12, 8), (11, 9), (12, 9)])
def test_a_transposed_convolution_finds_back_to_the_size(size):
    down, up = nn.Conv2d(1, 2, (3, 4), 2), nn.ConvTranspose2d(2, 1, (3, 4), 2)
    y = down(minicnn.zeros(1, 1, *size))
    assert y.shape == (1, 2, 5, 3)
    assert up(y).shape == (1, 1, 11, 8)
    assert up(y, output_size=size).shape == (1, 1, *size)


def test_the_output_size_is_asked_of_images_only():
    with pytest.raises(ShapeError, match=r"ConvTranspose3d: .* got shape \(3, 3\)"):
        nn.ConvTranspose3d(1, 1, 3)(minicnn.zeros(3, 3), (5, 5, 5))


def test_the_output_size_may_name_batch_and_channels_too():
    layer = nn.ConvTranspose2d(2, 3, 3, 2)
    x = minicnn.zeros(4, 2, 3, 5)
    assert layer(x, output_size=(4, 3, 8, 11)).shape == (4, 3, 8, 11)
    assert layer(x[0], output_size=(3, 7, 12)).shape == (3, 7, 12)
    assert layer(x[0], (7, 12)).shape == (3, 7, 12)


REFUSALS = [
    refused("channels and groups", lambda m: m.nn.Conv2d(3, 4, 3, groups=2), "in_channels=3"),
    refused("filters and groups", lambda m: m.nn.Conv1d(4, 3, 3, groups=2), "out_channels=3"),
    refused("no groups", lambda m: m.nn.Conv3d(4, 4, 3, groups=0), "groups", "0"),
    refused("unknown padding", lambda m: m.nn.Conv2d(4, 4, 3, padding="full"), "'full'"),
    refused("same and a stride", lambda m: m.nn.Conv2d(4, 4, 3, 2, "same"), "stride 1", "(2, 2)"),
    refused("unknown mode", lambda m: m.nn.Conv2d(4, 4, 3, padding_mode="x"),
            "padding_mode", "'x'"),
    refused("half a pixel", lambda m: m.nn.Conv2d(4, 4, 1.5), "kernel_size", "1.5"),
    refused("mode of a transpose", lambda m: m.nn.ConvTranspose2d(
        4, 4, 3, padding_mode="reflect"), "zeros", "'reflect'"),
    refused("groups of a transpose", lambda m: m.nn.ConvTranspose1d(4, 5, 3, groups=2),
            "out_channels=5"),
    refused("too large", lambda m: m.nn.ConvTranspose2d(1, 1, 3, 2)(
        m.zeros(1, 1, 3, 3), (9, 7)), "between (7, 7) and (8, 8)", "(9, 7)"),
    refused("too small", lambda m: m.nn.ConvTranspose2d(1, 1, 3, 2)(
        m.zeros(1, 1, 3, 3), (7, 6)), "between (7, 7) and (8, 8)", "(7, 6)"),
    refused("too few sizes", lambda m: m.nn.ConvTranspose2d(1, 1, 3)(
        m.zeros(1, 1, 3, 3), (5,)), "2 or 4 numbers"),
    refused("a number", lambda m: m.nn.ConvTranspose2d(1, 1, 3)(m.zeros(1, 1, 3, 3), 5), "5"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_in_torch(refusal, torch):
    refusal.check(torch)


def test_a_separable_convolution_is_that_of_the_product_of_its_filters():
    x = Tensor(integers((2, 3, 5, 4)))
    depth, point = integers((3, 1, 3, 2), 1), integers((4, 3, 1, 1), 2)
    apart = F.conv2d(F.conv2d(x, Tensor(depth), groups=3), Tensor(point))
    together = F.conv2d(x, Tensor(point * depth.swapaxes(0, 1)))
    np.testing.assert_array_equal(apart.array, together.array)


# --- algorithms -----------------------------------------------------------------------------------


@pytest.fixture
def computed(monkeypatch):
    """The algorithms that convolutions were computed by, as "kernel=algorithm"."""
    found = []
    for name in ("conv", "conv_input", "conv_weight"):
        kernel = kernels[name]

        def choose(*arrays, choose=kernel.choose, name=name, **settings):
            algorithm = choose(*arrays, **settings)
            found.append(f"{name}={algorithm.name}")
            return algorithm

        monkeypatch.setattr(kernel, "choose", choose)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [False, True])
def test_an_algorithm_computes_the_layer_and_its_gradients(kind, bias, computed):
    x = minicnn.tensor(integers((2, 4, *[6] * kind.ndim)).astype(np.float32), requires_grad=True)
    minicnn.manual_seed(1)
    layer, other = (kind(4, 6, 3, groups=2, bias=bias, algorithm=a) for a in ("loops", None))
    assert repr(layer).endswith(", algorithm='loops')")
    assert "algorithm" not in repr(other)
    other.load_state_dict(layer.state_dict())
    y = layer(x)
    y.backward(minicnn.ones(*y.shape))
    names = "conv=loops", "conv_input=loops", "conv_weight=loops"
    assert sorted(computed) == sorted(names)
    found = x.grad.array
    x.grad = None
    expected = other(x)
    np.testing.assert_allclose(y.array, expected.array, atol=1e-4)
    expected.backward(minicnn.ones(*y.shape))
    np.testing.assert_allclose(found, x.grad.array, atol=1e-4)


def test_each_kernel_may_have_its_own_and_it_may_change_later(computed):
    layer = nn.Conv2d(4, 4, 3, algorithm={"conv": "fft", "conv_weight": "loops"})
    assert "algorithm={'conv': 'fft', 'conv_weight': 'loops'}" in repr(layer)
    x = minicnn.ones(1, 4, 5, 5, requires_grad=True)
    y = layer(x)
    layer.algorithm = "im2col"
    layer(x)
    with minicnn.use_algorithms(conv="loops", conv_weight="fft"):
        y.sum().backward()  # as it was when y was computed
    assert [name for name in computed if "input" not in name] == [
        "conv=fft", "conv=im2col", "conv_weight=loops"]  # fmt: skip


def test_gradients_of_a_block_are_computed_as_it_says(computed):
    x = minicnn.ones(1, 4, 5, 5, requires_grad=True)
    with minicnn.use_algorithms(conv="fft", conv_input="loops"):
        y = nn.Conv2d(4, 4, 3)(x)
    y.sum().backward()
    assert computed[:2] == ["conv=fft", "conv_input=loops"]


def test_unknown_algorithms_are_refused():
    with pytest.raises(AlgorithmError, match=r"conv: unknown algorithm 'fast'; there are .*im2col"):
        nn.Conv2d(1, 1, 3, algorithm="fast")
    with pytest.raises(AlgorithmError, match="unknown kernel 'weight'"):
        nn.Conv2d(1, 1, 3, algorithm={"weight": "fft"})
    with pytest.raises(AlgorithmError, match="'depthwise' does not serve this call"):
        nn.Conv2d(2, 2, 3, algorithm="depthwise")(minicnn.ones(1, 2, 4, 4))
