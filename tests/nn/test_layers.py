from __future__ import annotations

import re

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import ArgumentError, ShapeError
from minicnn.models import lenet5
from minicnn.tensor import Tensor

pytestmark = pytest.mark.usefixtures("seeded")


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# --- every layer against torch --------------------------------------------------------------------

IMAGES = (2, 4, 7, 6)
LAYERS = {
    "Linear": (lambda n: n.Linear(5, 3), (2, 5)),
    "Linear, no bias": (lambda n: n.Linear(5, 3, bias=False), (2, 5)),
    "Linear, one sample": (lambda n: n.Linear(5, 3), (5,)),
    "Linear, more dimensions": (lambda n: n.Linear(5, 3), (2, 3, 5)),
    "Linear, no sample": (lambda n: n.Linear(5, 3), (0, 5)),
    "Conv2d": (lambda n: n.Conv2d(4, 3, 3), IMAGES),
    "Conv2d, by position": (
        lambda n: n.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2, False),
        IMAGES,
    ),
    "Conv2d, depthwise": (lambda n: n.Conv2d(4, 8, 3, stride=2, padding=1, groups=4), IMAGES),
    "Conv2d, same": (lambda n: n.Conv2d(4, 3, (3, 5), padding="same"), IMAGES),
    "Conv2d, valid": (lambda n: n.Conv2d(4, 3, 2, padding="valid"), IMAGES),
    "Conv2d, one image": (lambda n: n.Conv2d(4, 3, 3), (4, 7, 6)),
    "Conv2d, stride over kernel": (lambda n: n.Conv2d(4, 3, 2, stride=3), IMAGES),
    "MaxPool2d": (lambda n: n.MaxPool2d(2), IMAGES),
    "MaxPool2d, by position": (lambda n: n.MaxPool2d((3, 2), (2, 1), 1, 1, ceil_mode=True), IMAGES),
    "MaxPool2d, dilated": (lambda n: n.MaxPool2d(2, 1, dilation=2), IMAGES),
    "AvgPool2d": (lambda n: n.AvgPool2d(2), IMAGES),
    "AvgPool2d, by position": (lambda n: n.AvgPool2d(3, 2, 1, True, False), IMAGES),
    "AvgPool2d, divisor": (lambda n: n.AvgPool2d(2, divisor_override=3), IMAGES),
    "AdaptiveAvgPool2d, 1": (lambda n: n.AdaptiveAvgPool2d(1), IMAGES),
    "AdaptiveAvgPool2d, pair": (lambda n: n.AdaptiveAvgPool2d((3, None)), IMAGES),
    "BatchNorm2d": (lambda n: n.BatchNorm2d(4), IMAGES),
    "BatchNorm2d, not affine": (lambda n: n.BatchNorm2d(4, affine=False), IMAGES),
    "BatchNorm2d, no average": (lambda n: n.BatchNorm2d(4, track_running_stats=False), IMAGES),
    "BatchNorm2d, by position": (lambda n: n.BatchNorm2d(4, 0.1, None, True, True), IMAGES),
    "Dropout, 0": (lambda n: n.Dropout(0.0), (3, 4)),
    "Dropout, 1": (lambda n: n.Dropout(1.0), (3, 4)),
    "Dropout, inplace": (lambda n: n.Dropout(0.0, inplace=True), (3, 4)),
    "Flatten": (lambda n: n.Flatten(), IMAGES),
    "Flatten, middle": (lambda n: n.Flatten(1, 2), IMAGES),
    "Identity": (lambda n: n.Identity(), (3, 4)),
    "ReLU": (lambda n: n.ReLU(), (3, 4)),
    "ReLU, inplace": (lambda n: n.Sequential(n.Linear(4, 3), n.ReLU(inplace=True)), (3, 4)),
    "Tanh": (lambda n: n.Tanh(), (3, 4)),
    "Sigmoid": (lambda n: n.Sigmoid(), (3, 4)),
    "Softmax": (lambda n: n.Softmax(dim=1), IMAGES),
    "LogSoftmax": (lambda n: n.LogSoftmax(dim=-1), IMAGES),
}


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


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)
def test_a_layer_is_that_of_torch(torch, make, shape, training):
    ours, theirs = (layer.train(training) for layer in pair_of(make, torch))
    for step in range(2):
        x = data(*shape, seed=10 + step)
        mine = Tensor(x.copy(), requires_grad=True)
        other = torch.tensor(x, requires_grad=True)
        y, expected = ours(mine), theirs(other)
        assert_same(y, expected)
        weights = data(*y.shape, seed=20)
        (y * weights).sum().backward()
        (expected * torch.tensor(weights)).sum().backward()
        assert_same(mine.grad, other.grad)
    for (name, parameter), (same, wanted) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == same
        assert_same(parameter.grad, wanted.grad)
    for key, tensor in theirs.state_dict().items():
        assert_same(ours.state_dict()[key], tensor)


@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)
def test_a_layer_shows_itself_as_in_torch(torch, make, shape):
    # since version 2.13 torch's batch normalisation shows a `bias` of its own
    expected = re.sub(r"(affine=\w+), bias=\w+", r"\1", repr(make(torch.nn)))
    assert repr(make(nn)) == expected


@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)
def test_float32_in_float32_out(make, shape):
    x = minicnn.randn(*shape, requires_grad=True)
    layer = make(nn)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in layer.parameters())


LOSSES = {
    "CrossEntropyLoss": lambda n, w: n.CrossEntropyLoss(),
    "CrossEntropyLoss, settings": lambda n, w: n.CrossEntropyLoss(
        w, ignore_index=1, label_smoothing=0.2
    ),
    "CrossEntropyLoss, sum": lambda n, w: n.CrossEntropyLoss(reduction="sum"),
    "NLLLoss": lambda n, w: n.NLLLoss(),
    "NLLLoss, settings": lambda n, w: n.NLLLoss(w, ignore_index=1, reduction="sum"),
}


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
def test_a_loss_of_classes_is_that_of_torch(torch, make):
    x, labels, weights = data(4, 3), np.array([0, 2, 1, 2]), np.array([1.0, 2.0, 0.5])
    ours, theirs = make(nn, Tensor(weights)), make(torch.nn, torch.tensor(weights))
    mine, other = Tensor(x.copy(), requires_grad=True), torch.tensor(x, requires_grad=True)
    loss, expected = ours(mine, Tensor(labels)), theirs(other, torch.tensor(labels))
    loss.backward()
    expected.backward()
    assert_same(loss, expected)
    assert_same(mine.grad, other.grad)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours(mine, labels).item() == loss.item()  # labels may be a plain array


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_squared_error_is_that_of_torch(torch, reduction):
    x, target = data(4, 3), data(4, 3, seed=1)
    loss = nn.MSELoss(reduction=reduction)(Tensor(x), Tensor(target))
    assert_same(loss, torch.nn.MSELoss(reduction=reduction)(torch.tensor(x), torch.tensor(target)))


# --- first values ---------------------------------------------------------------------------------


def test_first_values_differ_between_layers_and_repeat_with_the_seed():
    def values():
        minicnn.manual_seed(1)
        return [nn.Linear(3, 2).weight.tolist(), nn.Linear(3, 2).weight.tolist()]

    first, second = values()
    assert first != second
    assert values() == [first, second]


def test_a_layer_without_bias_has_none():
    for layer in (nn.Linear(3, 2, bias=False), nn.Conv2d(3, 2, 1, bias=False)):
        assert layer.bias is None
        assert list(layer.state_dict()) == ["weight"]


def test_layers_without_inputs_or_outputs(torch):
    for sizes in ((0, 3), (3, 0)):
        layer = nn.Linear(*sizes)
        layer(minicnn.ones(2, sizes[0])).sum().backward()
        assert layer.weight.grad.shape == (sizes[1], sizes[0])
    assert nn.Linear(0, 3)(minicnn.ones(2, 0)).tolist() == [[0.0] * 3] * 2


# --- batch normalisation --------------------------------------------------------------------------


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


# --- dropout --------------------------------------------------------------------------------------


def test_dropout_in_evaluation_is_the_identity():
    x = minicnn.rand(3, 4)
    assert nn.Dropout(0.7).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_dropout_in_training_drops_and_scales():
    x = minicnn.ones(200, 100, requires_grad=True)
    y = nn.Dropout(0.25)(x)
    kept = y.array != 0
    np.testing.assert_allclose(y.array[kept], 1 / 0.75, rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 20_000)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, y.array)


def test_dropout_draws_anew_each_time_and_repeats_with_the_seed():
    layer, x = nn.Dropout(0.5), minicnn.ones(50)
    minicnn.manual_seed(3)
    first, second = layer(x).tolist(), layer(x).tolist()
    assert first != second
    minicnn.manual_seed(3)
    assert layer(x).tolist() == first


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ArgumentError, "in_channels=3 .*groups=2"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), ArgumentError, "out_channels=3 .*groups=2"),
        (lambda: nn.Conv2d(4, 4, 3, groups=0), ArgumentError, "groups=0"),
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


# --- a whole network ------------------------------------------------------------------------------


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
