from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import ShapeError
from minicnn.models.lenet import Subsampling, lenet5

# LeCun et al. 1998, section II.B; C3 sees all six maps here (Table I of the paper gives 1516)
PARAMETERS = {"c1": 156, "s2": 12, "c3": 2416, "s4": 32, "c5": 48120, "f6": 10164, "output": 850}
SHAPES = {
    "c1": (6, 28, 28),
    "squash1": (6, 28, 28),
    "s2": (6, 14, 14),
    "c3": (16, 10, 10),
    "squash3": (16, 10, 10),
    "s4": (16, 5, 5),
    "c5": (120, 1, 1),
    "squash5": (120, 1, 1),
    "flatten": (120,),
    "f6": (84,),
    "squash6": (84,),
    "output": (10,),
}


def count(module):
    return sum(parameter.array.size for parameter in module.parameters())


def test_every_layer_has_the_parameters_of_the_paper():
    model = lenet5()
    counts = {name: count(module) for name, module in model.named_children()}
    assert {name: n for name, n in counts.items() if n} == PARAMETERS
    assert count(model) == sum(PARAMETERS.values()) == 61_750


@pytest.mark.parametrize("modern", [False, True], ids=["1998", "modern"])
def test_every_layer_has_the_shape_of_the_paper(modern):
    x = minicnn.rand(2, 1, 32, 32)
    for name, module in lenet5(modern=modern).named_children():
        x = module(x)
        assert x.shape == (2, *SHAPES[name]), name


def test_the_modern_form_has_other_pooling_and_squashing():
    model = lenet5(modern=True)
    kinds = {name: type(module) for name, module in model.named_children()}
    assert {kinds[f"squash{i}"] for i in (1, 3, 5, 6)} == {nn.ReLU}
    assert {kinds["s2"], kinds["s4"]} == {nn.MaxPool2d}
    assert count(model) == sum(PARAMETERS.values()) - 12 - 32


def test_the_form_of_1998_has_trainable_pooling_and_tanh():
    kinds = {name: type(module) for name, module in lenet5().named_children()}
    assert {kinds[f"squash{i}"] for i in (1, 3, 5, 6)} == {nn.Tanh}
    assert {kinds["s2"], kinds["s4"]} == {Subsampling}


def test_other_numbers_of_classes_and_channels():
    model = lenet5(num_classes=3, in_channels=2)
    assert model(minicnn.rand(4, 2, 32, 32)).shape == (4, 3)
    assert count(model.c1) == (5 * 5 * 2 + 1) * 6


def test_images_of_another_size_are_refused():
    with pytest.raises(ShapeError):
        lenet5()(minicnn.rand(1, 1, 28, 28))


def test_names_of_the_state():
    assert list(lenet5().state_dict()) == [
        "c1.weight",
        "c1.bias",
        "s2.coefficient",
        "s2.bias",
        "c3.weight",
        "c3.bias",
        "s4.coefficient",
        "s4.bias",
        "c5.weight",
        "c5.bias",
        "f6.weight",
        "f6.bias",
        "output.weight",
        "output.bias",
    ]


def test_subsampling_by_its_definition():
    layer = Subsampling(2).double()
    layer.coefficient.data = minicnn.tensor([[[2.0]], [[3.0]]], dtype=np.float64)
    layer.bias.data = minicnn.tensor([[[10.0]], [[20.0]]], dtype=np.float64)
    x = np.arange(32.0).reshape(1, 2, 4, 4)
    expected = np.empty((1, 2, 2, 2))
    for c in range(2):
        for i in range(2):
            for j in range(2):
                window = x[0, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                expected[0, c, i, j] = (2, 3)[c] * window.mean() + (10, 20)[c]
    np.testing.assert_array_equal(layer(minicnn.tensor(x)).array, expected)


@pytest.mark.parametrize("modern", [False, True], ids=["1998", "modern"])
def test_the_gradient_reaches_every_parameter(modern):
    minicnn.manual_seed(0)
    model = lenet5(modern=modern)
    loss = nn.functional.cross_entropy(model(minicnn.rand(4, 1, 32, 32)), np.array([0, 1, 2, 3]))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert np.abs(parameter.grad.array).max() > 0, name
