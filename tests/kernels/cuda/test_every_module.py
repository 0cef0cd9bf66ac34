"""Every layer, model and optimiser on a card, against the CPU; and the way there and back."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy

import numpy as np
import pytest
from numpy.testing import assert_allclose
from rows_on_card import moved, results

import minicnn
from minicnn import Tensor, nn, optim
from minicnn.errors import DeviceError
from minicnn.io import load_file, save_file
from minicnn.testing.cases import LAYERS
from minicnn.testing.cases.case import repeatable
from minicnn.testing.modules import MODELS
from minicnn_kernels.pointwise import record_from

WAITS = {
    "BatchNorm2d: mean over all batches": "it asks how many batches there were",
    "BatchNorm2d: by position": "it asks how many batches there were",
    "CTCLoss": "lengths and labels are checked, and said to the card, by the host",
    "Embedding: all settings": "rows that are named twice are shortened once",
    "MultiLabelMarginLoss": "it lists all pairs of labels",
}
"""The rows that ask the card for values, and why."""

NEEDS_LENGTHS = "deepspeech2: narrow"

CLOSE = {np.float64: {"rtol": 1e-9, "atol": 1e-11}, np.float32: {"rtol": 3e-4, "atol": 3e-5}}


def first_of_each(rows):
    """Return a row for each layer."""
    return list({row.kind: row for row in reversed(rows)}.values())


def flat(value):
    """Return the tensors in nested tuples."""
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in flat(part)]
    return results(value)


def computed(row, arrays, module, loss):
    """Return results, inputs and the module, with gradients."""
    xs = [Tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]
    y = module(*xs)
    ys = flat(y if loss is None else loss(y))
    for y in ys:
        if y.requires_grad:
            steps = np.arange(y.array.size, like=y.array)
            y.backward(Tensor(np.cos(steps).reshape(y.shape).astype(y.dtype)), retain_graph=True)
    return [*ys, *xs, *module.parameters(), *module.buffers()]


def check(card, row, dtype):
    """Compare a row on the card with the CPU; the second time nothing may cross."""
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in row.arrays()]
    compute = repeatable(computed)
    expected = compute(row, arrays, row.module().to(dtype), row.loss)
    loss, there = moved(card, row.loss), [card.array(array) for array in arrays]
    compute(row, there, row.module().to(dtype).to("cuda"), loss)  # takes its tables to the card
    module = row.module().to(dtype).to("cuda")
    waits = any(str(row).startswith(name) for name in WAITS)
    with card.copies() if waits else card.no_copies():
        found = compute(row, there, module, loss)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.device == "cuda:0"
        assert_allclose(ours.detach().cpu().array, theirs.array, **CLOSE[dtype])
        if theirs.grad is not None:
            assert ours.grad.device == "cuda:0"
            assert_allclose(ours.grad.cpu().array, theirs.grad.array, **CLOSE[dtype])


@pytest.mark.parametrize("row", first_of_each(LAYERS), ids=str)
def test_a_layer(card, row):
    """Compute formulas step by step: compiled for the emulation, each takes half a second."""
    with record_from(2**40):
        check(card, row, np.float64)


@pytest.mark.slow_emulation
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "row", [row for row in (*LAYERS, *MODELS) if str(row) != NEEDS_LENGTHS], ids=str
)
def test_every_row(card, row, dtype):
    """Compute formulas step by step in float64, and compiled in float32."""
    with record_from(2**40) if dtype == np.float64 else nullcontext():
        check(card, row, dtype)


# --- optimisers -----------------------------------------------------------------------------------


OPTIMISERS = {
    "Adadelta": {},
    "Adagrad": {"lr_decay": 0.1, "weight_decay": 0.1},
    "Adam": {"amsgrad": True, "weight_decay": 0.1},
    "AdamW": {},
    "Adamax": {},
    "LARS": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    "LBFGS": {"line_search_fn": "strong_wolfe"},
    "NAdam": {},
    "RAdam": {},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
}
ASKS = {"LBFGS"}  # it looks at losses to decide how far to go


def network():
    """Return a small network with weights of its own."""
    minicnn.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)
    ).double()


def images(device):
    """Return a batch with labels."""
    rng = np.random.default_rng(7)
    x, labels = rng.normal(size=(6, 1, 4, 4)), rng.integers(0, 4, 6)
    return Tensor(x).to(device), Tensor(labels).to(device)


def step(model, optimizer, batch):
    """Train with one batch."""
    x, labels = batch

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        return loss

    if isinstance(optimizer, optim.LBFGS):
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()


def same(found, expected):
    """Compare the values of two state dicts, wherever they lie."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        pairs = [(found[key], value) for key, value in expected.items()]
    elif isinstance(expected, (list, tuple)):
        pairs = list(zip(found, expected, strict=True))
    else:
        found, expected = (
            minicnn.tensor(v, device="cpu").array if hasattr(v, "dtype") else v
            for v in (found, expected)
        )
        if isinstance(expected, (np.ndarray, float)):
            assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
        else:
            assert found == expected
        return
    for pair in pairs:
        same(*pair)


@pytest.mark.parametrize(("name", "settings"), OPTIMISERS.items(), ids=OPTIMISERS)
def test_an_optimiser(card, seeded, name, settings):
    trained = {}
    for device in ("cpu", "cuda"):
        model, batch = network().to(device), images(device)
        optimizer = getattr(optim, name)(model.parameters(), **settings)
        with record_from(2**40):
            step(model, optimizer, batch)
            with card.copies() if device == "cpu" or name in ASKS else card.no_copies():
                step(model, optimizer, batch)
                step(model, optimizer, batch)
        trained[device] = model, optimizer
    for ours, theirs in zip(trained["cuda"], trained["cpu"], strict=True):
        same(ours.state_dict(), theirs.state_dict())


# --- there and back -------------------------------------------------------------------------------


def test_a_module_moves_with_its_gradients_and_stays_the_same_objects(card, seeded):
    model = network()
    parameters, before = list(model.parameters()), deepcopy(model.state_dict())
    model(images("cpu")[0]).sum().backward()
    assert model.to("cuda") is model
    assert [id(p) for p in model.parameters()] == [id(p) for p in parameters]
    assert {p.device for p in (*parameters, *model.buffers())} == {"cuda:0"}
    assert {p.grad.device for p in parameters} == {"cuda:0"}
    assert model[0].weight.array.transpose(0, 2, 3, 1).flags.c_contiguous
    model.to("cpu")
    for key, value in before.items():
        if "running" not in key and "num_batches" not in key:
            assert_allclose(model.state_dict()[key].array, value.array)


@pytest.mark.parametrize(("source", "target"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_a_state_dict_is_loaded_from_the_other_device(card, seeded, source, target):
    saved, model = network().to(source).state_dict(), network().to(target)
    for parameter in model.parameters():
        parameter.data = parameter.detach() * 0
    model.load_state_dict(saved)
    assert {p.device for p in (*model.parameters(), *model.buffers())} == {
        "cpu" if target == "cpu" else "cuda:0"
    }
    same(model.state_dict(), saved)


@pytest.mark.parametrize(("source", "target"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_training_continues_on_the_other_device(card, seeded, source, target, tmp_path):
    def begun(device):
        model = network().to(device)
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        step(model, optimizer, images(device))
        return model, optimizer

    with record_from(2**40):
        model, optimizer = begun(source)
        save_file(dict(model.state_dict()), tmp_path / "w.safetensors")
        other = network().to(target)
        other.load_state_dict(load_file(tmp_path / "w.safetensors"))
        adam = optim.Adam(other.parameters(), lr=0.1)
        adam.load_state_dict(optimizer.state_dict())
        step(model, optimizer, images(source))
        step(other, adam, images(target))
    same(other.state_dict(), model.state_dict())
    same(adam.state_dict(), optimizer.state_dict())


# --- gradient checks ------------------------------------------------------------------------------


def test_gradients_on_a_card_are_checked_there(card):
    devices = set()

    def function(x, w):
        devices.add(x.device)
        return nn.functional.conv2d(x, w).tanh()

    x, w = (Tensor(card.array(np.cos(np.arange(n)).reshape(shape)), requires_grad=True)
            for n, shape in ((24, (1, 2, 3, 4)), (8, (1, 2, 2, 2))))  # fmt: skip
    with record_from(2**40):
        assert minicnn.gradcheck.gradcheck(function, (x, w))
        assert minicnn.gradcheck.gradgradcheck(function, (x, w))
    assert devices == {"cuda:0"}


def test_gradients_of_a_module_on_a_card(card, seeded):
    with record_from(2**40):
        assert minicnn.gradcheck.gradcheck(network().to("cuda"), images("cuda")[:1])


def test_a_wrong_gradient_on_a_card_is_found(card):
    @minicnn.differentiable
    def twice(x, /):
        return 2 * x

    @twice.gradient()
    def _(dy, y, x):
        return lambda: 3 * dy

    x = Tensor(card.array(np.arange(3.0)), requires_grad=True)
    with pytest.raises(minicnn.gradcheck.GradcheckError):
        minicnn.gradcheck.gradcheck(twice, x)


# --- refusals -------------------------------------------------------------------------------------


def test_arrays_of_another_card_are_refused_with_the_way_out(card):
    card.machine.cards = 2
    x = minicnn.ones(2, device="cuda:1")
    with pytest.raises(DeviceError, match=r"mul: .* another card .*cuda\.device"):
        x * 2
    with minicnn.cuda.device(1):
        assert (x * 2).device == "cuda:1"


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, y: x + y,
        lambda x, y: minicnn.where(x > 0, x, y),
        lambda x, y: minicnn.where(y > 0, x, 0.0),
        lambda x, y: nn.functional.linear(x, y),
        lambda x, y: nn.functional.cross_entropy(x, y.long()[:, 0]),
    ],
    ids=["operands", "choices", "a condition", "weights", "labels"],
)
def test_a_tensor_on_the_cpu_is_refused_beside_one_on_a_card(card, mix):
    x, y = minicnn.ones(2, 2, device="cuda"), minicnn.ones(2, 2)
    with record_from(2**40), pytest.raises(DeviceError, match=r"\.to\(device\)"):
        mix(x, y)


def test_a_single_value_on_the_cpu_is_a_number_to_a_card(card):
    x, two = minicnn.ones(2, device="cuda"), minicnn.tensor(2.0)
    with record_from(2**40), card.no_copies():
        y = x * two
    assert y.device == "cuda:0"
    assert y.tolist() == [2, 2]
