from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import ArgumentError, DeviceError, DTypeError, ShapeError
from minicnn.models import lenet5
from minicnn.tensor import Tensor
from minicnn.testing.cases import LAYERS


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ArgumentError, "in_channels=3 .*groups=2"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), ArgumentError, "out_channels=3 .*groups=2"),
        (lambda: nn.Conv2d(4, 4, 3, groups=0), ShapeError, "Conv2d: groups"),
        (lambda: nn.Conv2d(4, 4, 0), ShapeError, "Conv2d: kernel_size"),
        (lambda: nn.Conv2d(4, 4, 3, stride=0), ShapeError, "Conv2d: stride"),
        (lambda: nn.Conv2d(4, 4, 3, padding=-1), ShapeError, "Conv2d: padding"),
        (lambda: nn.Conv2d(4, 4, 3, dilation=0), ShapeError, "Conv2d: dilation"),
        (lambda: nn.Conv2d(4, 4, (3, 3, 3)), ShapeError, "Conv2d: kernel_size"),
        (lambda: nn.Dropout(1.5), ArgumentError, r"p must be in \[0, 1\], got 1.5"),
        (lambda: nn.Dropout(-0.1), ArgumentError, "got -0.1"),
        (lambda: nn.Linear(-1, 3), ShapeError, r"got \(3, -1\)"),
        (lambda: nn.BatchNorm2d(-1), ShapeError, r"got \(-1,\)"),
    ],
    ids=[
        "in_channels",
        "out_channels",
        "groups",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "three sizes",
        "p above 1",
        "p below 0",
        "Linear",
        "BatchNorm2d",
    ],
)
def test_impossible_settings_are_refused_when_the_layer_is_made(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (nn.Linear(3, 2), (2, 4), r"linear: weight \(2, 3\).*\(2, 4\)"),
        (nn.Conv2d(3, 2, 3), (1, 4, 5, 5), r"conv2d: .*\(1, 4, 5, 5\)"),
        (nn.Conv2d(3, 2, 3), (5, 5), r"conv2d: input must be"),
        (nn.Conv2d(3, 2, 9), (1, 3, 5, 5), "conv2d: a kernel of"),
        (nn.MaxPool2d(9), (1, 3, 5, 5), "max_pool2d: a kernel of"),
        (nn.AvgPool2d(2), (5, 5), "avg_pool2d: input must be"),
    ],
    ids=["linear", "channels", "dimensions", "large kernel", "large window", "pool dimensions"],
)
def test_an_input_that_does_not_fit_is_named(layer, shape, text):
    with pytest.raises(ShapeError, match=text):
        layer(minicnn.ones(*shape))


def torch_lenet(torch, modern):
    layers = torch.nn

    class Subsampling(layers.Module):
        def __init__(self, channels):
            super().__init__()
            self.coefficient = layers.Parameter(torch.ones(channels, 1, 1))
            self.bias = layers.Parameter(torch.zeros(channels, 1, 1))

        def forward(self, x):
            return self.coefficient * layers.functional.avg_pool2d(x, 2) + self.bias

    def pooling(channels):
        return layers.MaxPool2d(2) if modern else Subsampling(channels)

    squash = layers.ReLU if modern else layers.Tanh
    parts = {
        "c1": layers.Conv2d(1, 6, 5), "squash1": squash(), "s2": pooling(6),
        "c3": layers.Conv2d(6, 16, 5), "squash3": squash(), "s4": pooling(16),
        "c5": layers.Conv2d(16, 120, 5), "squash5": squash(), "flatten": layers.Flatten(),
        "f6": layers.Linear(120, 84), "squash6": squash(), "output": layers.Linear(84, 10),
    }  # fmt: skip
    model = layers.Sequential()
    for name, part in parts.items():
        model.add_module(name, part)
    return model.double()


@pytest.mark.parametrize("modern", [False, True], ids=["1998", "modern"])
def test_one_step_of_training_is_that_of_torch(torch, modern):
    ours, theirs = lenet5(modern=modern).double(), torch_lenet(torch, modern)
    state = {key: torch.tensor(tensor.numpy()) for key, tensor in ours.state_dict().items()}
    theirs.load_state_dict(state)  # strict: the names are the same
    x, labels = data(4, 1, 32, 32), np.array([3, 1, 4, 1])

    def step(model, images, targets, loss, no_grad):
        total = loss(model(images), targets)
        total.backward()
        with no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        return total.item()

    mine = step(ours, Tensor(x), Tensor(labels), nn.functional.cross_entropy, minicnn.no_grad)
    other = step(
        theirs,
        torch.tensor(x),
        torch.tensor(labels),
        torch.nn.functional.cross_entropy,
        torch.no_grad,
    )
    assert mine == pytest.approx(other, rel=1e-10)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(a.grad.array, b.grad.numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(a.array, b.detach().numpy(), rtol=1e-10, atol=1e-12)


# --- where parameters are, and of what type -------------------------------------------------------

WITH_PARAMETERS = {
    nn.Linear: (3, 2), nn.Bilinear: (3, 2, 4), nn.Embedding: (5, 2),
    nn.Conv1d: (2, 4, 3), nn.Conv2d: (2, 4, 3), nn.Conv3d: (2, 4, 3),
    nn.ConvTranspose1d: (2, 4, 3), nn.ConvTranspose2d: (2, 4, 3), nn.ConvTranspose3d: (2, 4, 3),
    nn.BatchNorm1d: (3,), nn.BatchNorm2d: (3,), nn.BatchNorm3d: (3,),
    nn.InstanceNorm1d: (3, 1e-5, 0.1, True, True), nn.InstanceNorm2d: (3, 1e-5, 0.1, True, True),
    nn.InstanceNorm3d: (3, 1e-5, 0.1, True, True),
    nn.GroupNorm: (2, 4), nn.LayerNorm: (3,), nn.RMSNorm: (3,), nn.PReLU: (2,),
    nn.RNN: (3, 2), nn.LSTM: (3, 2), nn.GRU: (3, 2),
    nn.RNNCell: (3, 2), nn.LSTMCell: (3, 2), nn.GRUCell: (3, 2),
}  # fmt: skip
each_layer = pytest.mark.parametrize(
    ("layer", "settings"),
    WITH_PARAMETERS.items(),
    ids=[layer.__name__ for layer in WITH_PARAMETERS],
)


@each_layer
def test_a_layer_is_made_in_the_type_asked_for(layer, settings):
    minicnn.manual_seed(1)
    usual = layer(*settings).state_dict()
    minicnn.manual_seed(1)
    double = layer(*settings, dtype=minicnn.float64)
    assert all(parameter.dtype == minicnn.float64 for parameter in double.parameters())
    for name, value in double.state_dict().items():
        whole = usual[name].dtype.kind == "i"
        assert value.dtype == (usual[name].dtype if whole else minicnn.float64)
        assert value.tolist() == usual[name].tolist()  # the same numbers in every type
    assert all(
        parameter.device == "cpu" for parameter in layer(*settings, device="cpu").parameters()
    )


@each_layer
def test_a_layer_is_not_made_of_integers_or_on_no_device(layer, settings):
    with pytest.raises(DTypeError, match="floating-point"):
        layer(*settings, dtype=minicnn.int64)
    with pytest.raises(DeviceError, match="nowhere"):
        layer(*settings, device="nowhere")


def test_every_layer_with_parameters_is_in_the_table():
    made = [layer for case in LAYERS if case.torch for layer in case.module().modules()]
    learning = {type(layer) for layer in made if list(layer.parameters(recurse=False))}
    assert learning == set(WITH_PARAMETERS)
