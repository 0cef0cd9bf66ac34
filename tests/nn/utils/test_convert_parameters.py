from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import DTypeError, ShapeError
from minicnn.nn.utils import parameters_to_vector, vector_to_parameters


def test_there_and_back():
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    vector = parameters_to_vector(layer.parameters())
    assert vector.tolist() == [*layer.weight.array.ravel().tolist(), *layer.bias.tolist()]
    vector_to_parameters(vector, other.parameters())
    assert other.weight.tolist() == layer.weight.tolist()
    assert other.bias.tolist() == layer.bias.tolist()
    assert all(parameter.is_leaf for parameter in other.parameters())


def test_gradients_flow_through_the_vector():
    layer = nn.Linear(3, 2)
    (parameters_to_vector(layer.parameters()) ** 2).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.array, 2 * layer.weight.array, rtol=1e-6)


def test_parameters_look_at_the_memory_of_the_vector():
    layer, vector = nn.Linear(2, 1), minicnn.zeros(3)
    vector_to_parameters(vector, layer.parameters())
    vector.fill_(7)
    assert layer.weight.tolist() == [[7, 7]]
    assert layer.bias.tolist() == [7]


def test_what_is_refused():
    layer = nn.Linear(3, 2)
    with pytest.raises(ShapeError, match="vec has 7 values"):
        vector_to_parameters(minicnn.zeros(7), layer.parameters())
    with pytest.raises(DTypeError, match="vec must be a Tensor, got ndarray"):
        vector_to_parameters(np.zeros(8), layer.parameters())
