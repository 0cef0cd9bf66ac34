from __future__ import annotations

import minicnn
from minicnn import nn


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
