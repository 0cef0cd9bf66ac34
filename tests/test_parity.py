"""A network on two sides: right ones agree, and a wrong kernel is named by its layer."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from small_models import pictures, small

import minicnn
from minicnn import nn
from minicnn.errors import AlgorithmError, ArgumentError
from minicnn.nn import functional as F
from minicnn.parity import Run, Side, compare, relative_error
from minicnn_kernels.registry import kernels


@pytest.fixture(autouse=True)
def _seeded(seeded):
    """Draw the same weights every time."""


def network():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6, 5),
    )  # fmt: skip


def images(batch=2):
    return [np.random.default_rng(1).standard_normal((batch, 2, 10, 12)).astype(np.float32)]


NUMPY = Side("cpu", numpy=True)


@contextmanager
def wrong(kernel, change, base):
    """Register an algorithm "wrong": what `base` computes, changed."""
    right = kernels[kernel].algorithms[base].compute

    def compute(*arrays, **settings):
        return change(right(*arrays, **settings))

    kernels[kernel].algorithm("wrong")(compute)
    try:
        yield Side("cpu", algorithms={kernel: "wrong"})
    finally:
        del kernels[kernel].algorithms["wrong"]


def test_right_kernels_agree():
    report = compare(network(), images(), (NUMPY, Side("cpu")))
    assert report.first is None
    assert [row.layer for row in report.rows] == [str(i) for i in range(9)]
    assert max(max(row.forward + row.backward) for row in report.rows) < 2e-6
    assert all(row.whole < 1e-5 for row in report.rows)
    assert report.verdict().startswith("all 9 layers compute the same")


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "squeezenet1_0", "densenet40"])
def test_whole_networks_agree(name):
    report = compare(small(name), [pictures(name)], (NUMPY, NUMPY), seed=3)
    assert report.first is None, report.verdict()
    assert len(report.rows) > 10


def last_pixel(y):
    y = y.copy()
    y[-1, -1, -1, -1] += 0.01 * abs(y).max()
    return y


def rounded(y):
    """Keep 11 bits, as TF32 would."""
    mantissa, exponent = np.frexp(y)
    return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent).astype(y.dtype)


PLANTED = {  # kernel, the change, the algorithm it changes, the layer, the direction
    "one pixel of a convolution": ("conv", last_pixel, "im2col", "0", "forward"),
    "a gradient of filters": ("conv_weight", lambda dw: 1.001 * dw, "im2col", "0", "backward"),
    "a gradient of pixels": ("conv_input", last_pixel, "im2col", "0", "backward"),
    "a convolution in TF32": ("conv", rounded, "im2col", "0", "forward"),
    "winners": ("max_winners", lambda found: (found[0], 0 * found[1]), "taps", "3", "backward"),
    "the way back to winners": ("route_to_winners", last_pixel, "taps", "3", "backward"),
    "a sum of windows": ("window_sum", lambda y: y * 2, "taps", "6", "forward"),
    "NaN": ("window_spread", lambda dx: dx * np.nan, "taps", "6", "backward"),
    "another shape": ("window_sum", lambda y: y[..., :1], "taps", "6", "forward"),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_a_wrong_kernel_is_named_by_its_layer(planted):
    kernel, change, base, layer, direction = planted
    with wrong(kernel, change, base) as side:
        report = compare(network(), images(), (NUMPY, side))
    assert report.first is not None
    assert report.first.layer == layer
    assert report.first.wrong == (False, True)
    assert f"{kernel}=wrong) is off by" in report.verdict()
    assert (report.first.forward[1] > 1e-5) == (direction == "forward")


def test_the_side_that_is_wrong_is_named():
    with wrong("conv", last_pixel, "im2col") as side:
        report = compare(network(), images(), (side, NUMPY))
    assert report.first.wrong == (True, False)
    assert "cpu (conv=wrong) is off" in report.verdict()


def test_what_is_wrong_on_both_sides_is_seen_by_float64(monkeypatch):
    compute = nn.Tanh.forward
    monkeypatch.setattr(
        nn.Tanh, "forward",
        lambda self, x: compute(self, x) * (2 if x.dtype == np.float32 else 1),
    )  # fmt: skip
    report = compare(network(), images(), (NUMPY, NUMPY))
    assert (report.first.kind, report.first.wrong) == ("Tanh", (True, True))
    assert "both sides are off by 1.0e+00 forward" in report.verdict()


def test_a_kernel_that_raises_is_named_too():
    def refuse(y):
        raise RuntimeError("an illegal memory access was encountered")

    with wrong("window_sum", refuse, "taps") as side:
        report = compare(network(), images(), (NUMPY, side))
    assert report.first.layer == "6"
    assert report.verdict().endswith(
        "fails: RuntimeError: an illegal memory access was encountered"
    )
    assert report.failure.startswith("RuntimeError")


def test_what_cannot_be_computed_exactly_on_either_side_is_no_mistake():
    class Cancels(nn.Module):
        def forward(self, x):
            return (x + 3e5) - 3e5

    report = compare(nn.Sequential(Cancels()), images(), (NUMPY, NUMPY))
    assert max(report.rows[0].forward) > 1e-5
    assert report.first is None


def test_operations_outside_of_layers_are_compared(monkeypatch):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x):
            y = F.relu(self.conv(x)) + x
            return self.conv(y) + x

    report = compare(nn.Sequential(Block()), images(), (NUMPY, NUMPY))
    assert [row.layer for row in report.rows] == [
        "0.conv", "0.relu", "0.add", "0.conv 2", "0.add 2",
    ]  # fmt: skip
    assert report.first is None


def test_dropout_draws_the_same_on_both_sides():
    model = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(240, 3))
    report = compare(model, images(), (NUMPY, NUMPY))
    assert report.rows[0].forward == (0, 0)
    assert report.first is None


def test_the_model_stays_as_it_was():
    model = network()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    state = minicnn.random.default.get_state()
    compare(model, images(), (NUMPY, NUMPY))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    assert minicnn.random.default.get_state() == state
    assert not any("forward" in vars(module) for module in model.modules())


def test_an_error_takes_the_listeners_away():
    model, run = network(), Run()
    with pytest.raises(KeyError), run.listening(model):
        raise KeyError
    assert not any("forward" in vars(module) for module in model.modules())


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match=r"Sequential on cpu \(NumPy\) does not take \(2, 9\)"):
        compare(network(), [np.zeros((2, 9), np.float32)], (NUMPY, NUMPY))


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(AlgorithmError, match="unknown algorithm"):
        compare(network(), images(), (NUMPY, Side("cpu", algorithms={"conv": "magic"})))


def test_what_is_allowed_depends_on_device_mode_and_operation():
    assert Side("cuda").expected({"conv"}) == Side("cuda", "tf32").expected({"relu"}) == 1e-5
    assert Side("cuda", "tf32").expected({"affine"}) == 1e-3
    assert Side("cuda", "bf16").expected({"conv_bias", "relu"}) == 1e-2
    assert NUMPY.expected({"conv"}) == Side("cpu").expected({"affine"}) == 1e-5


def test_everything_as_plain_values():
    with wrong("window_sum", lambda y: y * np.nan, "taps") as side:
        found = compare(network(), images(), (NUMPY, side)).as_dict()
    assert found["sides"] == ["cpu (NumPy)", "cpu (window_sum=wrong)"]
    assert found["first"] == "6"
    assert found["layers"][6]["forward"][1] == "inf"
    assert found["layers"][6]["wrong"] == [False, True]


def test_relative_errors():
    x = np.array([1.0, -2.0])
    assert relative_error(x, x) == 0
    assert relative_error(np.zeros(2), np.zeros(2)) == 0
    assert relative_error(x, np.zeros(2)) == np.inf
    assert relative_error(x[:1], x) == np.inf
    assert relative_error(np.array([np.nan, 1.0]), x) == np.inf
    same = np.array([np.nan, np.inf, 1.0])
    assert relative_error(same, same) == 0
    assert relative_error(np.array([3.0, 0.0]), np.array([3.0, 4.0])) == pytest.approx(0.8)


@pytest.mark.parametrize(("math", "error"), {"fp32": 1e-7, "tf32": 3e-4, "bf16": 2e-3}.items())
def test_a_card_beside_the_cpu(card, math, error):
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4))
    x = np.random.default_rng(1).standard_normal((3, 8, 4, 6)).astype(np.float32)
    report = compare(model, [x], (NUMPY, Side("cuda", math)))
    assert report.first is None, report.verdict()
    assert report.failure == ""
    assert str(report.sides[1]) == f"cuda ({math})"
    errors = [row.forward[1] for row in report.rows]
    assert errors[0] == pytest.approx(error, rel=0.7)
    assert errors[1] == errors[2] == 0  # nothing but products is rounded
