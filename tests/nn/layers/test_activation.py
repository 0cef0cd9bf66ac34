from __future__ import annotations

import inspect

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn.layers import activation
from minicnn.tensor import Tensor


@pytest.mark.parametrize("name", sorted(set(activation.__all__) - {"Maxout"}))
def test_settings_have_the_names_order_and_defaults_of_torch(torch, name):
    left_out = {"self", "min_value", "max_value", "device", "dtype"}
    theirs = inspect.signature(getattr(torch.nn, name)).parameters.values()
    expected = [
        (p.name, p.default)
        for p in theirs
        if p.name not in left_out and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    ours = inspect.signature(getattr(nn, name)).parameters.values()
    assert [(p.name, p.default) for p in ours if p.name not in left_out] == expected


@pytest.mark.parametrize("name", ["Hardsigmoid", "Hardswish", "RReLU", "ReLU6", "Threshold"])
def test_in_place_is_shown_as_in_torch(torch, name):
    given = (0.1, 2) if name == "Threshold" else ()
    ours, theirs = (getattr(m, name)(*given, inplace=True) for m in (nn, torch.nn))
    assert repr(ours) == repr(theirs)


def test_prelu_learns_its_weight():
    layer = nn.PReLU(2, init=0.5)
    assert layer.state_dict()["weight"].tolist() == [0.5, 0.5]
    x = Tensor(np.float32([[-2.0, -3.0], [1.0, -1.0]]))
    layer(x).sum().backward()
    assert layer.weight.grad.tolist() == [-2, -4]
    layer.weight.array.fill(7)
    layer.reset_parameters()
    assert layer.weight.tolist() == [0.5, 0.5]


@pytest.mark.usefixtures("seeded")
def test_rrelu_is_random_in_training_only():
    layer, x = nn.RReLU(0.1, 0.3), minicnn.ones(100) * -1
    slopes = -layer(x).array
    assert 0.1 <= slopes.min() < slopes.max() < 0.3
    np.testing.assert_allclose(-layer.eval()(x).array, 0.2, rtol=1e-6)


def test_relu6_is_a_hardtanh():
    layer = nn.ReLU6()
    assert isinstance(layer, nn.Hardtanh)
    assert (layer.min_val, layer.max_val) == (0, 6)


def test_maxout_shows_its_settings():
    assert repr(nn.Maxout(3)) == "Maxout(pieces=3, dim=1)"


@pytest.mark.parametrize("layer", [nn.Softmax, nn.Softmin, nn.LogSoftmax])
def test_the_dimension_of_classes_is_not_guessed(layer):
    with pytest.raises(ArgumentError, match="name the dimension"):
        layer()(minicnn.ones(2, 3))


def test_what_layers_refuse():
    with pytest.raises(ShapeError, match=r"Softmax2d: input must be .*\(2, 3\)"):
        nn.Softmax2d()(minicnn.ones(2, 3))
    with pytest.raises(ArgumentError, match="max_val=1 must be above min_val=1"):
        nn.Hardtanh(1, 1)
