from __future__ import annotations

import copy

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn import nn
from minicnn.nn.utils import parametrize


class Doubled(nn.Module):
    def forward(self, w):
        return w * 2

    def right_inverse(self, w):
        return w / 2


class Squared(nn.Module):
    calls = 0

    def forward(self, w):
        Squared.calls += 1
        return w * w


class Product(nn.Module):
    """A matrix of rank one, from two vectors."""

    def forward(self, a, b):
        return a.reshape(-1, 1) * b

    def right_inverse(self, w):
        return w[:, 0] / w[0, 0], w[0]


def linear(*parametrizations, **settings):
    layer = nn.Linear(3, 2)
    for each in parametrizations:
        parametrize.register_parametrization(layer, "weight", each, **settings)
    return layer


def test_the_parameter_is_computed_and_its_original_learned():
    layer = linear(Squared())
    original = layer.parametrizations.weight.original
    np.testing.assert_array_equal(layer.weight.array, original.array**2)
    layer(minicnn.ones(1, 3)).sum().backward()
    np.testing.assert_allclose(original.grad.array, 2 * original.array)
    assert [name for name, _ in layer.named_parameters()] == [
        "bias", "parametrizations.weight.original"
    ]  # fmt: skip


def test_the_first_value_stays_where_there_is_an_inverse():
    layer = nn.Linear(3, 2)
    before = layer.weight
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert layer.parametrizations.weight.original is before
    np.testing.assert_allclose(layer.parametrizations.weight.original.array * 2, layer.weight.array)


def test_a_second_parametrization_is_applied_to_the_first():
    layer = linear(Doubled(), Squared())
    original = layer.parametrizations.weight.original.array
    np.testing.assert_allclose(layer.weight.array, (original * 2) ** 2)
    assert len(layer.parametrizations["weight"]) == 2


def test_several_originals(rng):
    layer = linear(Product())
    assert list(layer.state_dict()) == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1"
    ]  # fmt: skip
    assert layer.weight.shape == (2, 3)
    assert all(p.requires_grad for p in layer.parameters())


def test_assigning_goes_through_the_inverse():
    layer = linear(Doubled())
    layer.weight = minicnn.ones(2, 3)
    assert layer.parametrizations.weight.original.tolist() == [[0.5] * 3] * 2
    assert layer.weight.tolist() == [[1.0] * 3] * 2
    layer.bias = nn.Parameter(minicnn.ones(2))
    assert layer.bias.tolist() == [1, 1]


def test_buffers_can_be_parametrized():
    layer = nn.BatchNorm1d(2)
    parametrize.register_parametrization(layer, "running_var", Doubled())
    assert layer.running_var.tolist() == [1, 1]
    assert "parametrizations.running_var.original" in layer.state_dict()
    assert "parametrizations.running_var.original" not in dict(layer.named_parameters())


@pytest.mark.parametrize("leave_parametrized", [True, False])
def test_removing(leave_parametrized):
    layer = linear(Squared())
    original, value = layer.parametrizations.weight.original.tolist(), layer.weight.tolist()
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized)
    assert layer.weight.tolist() == (value if leave_parametrized else original)
    assert isinstance(layer.weight, nn.Parameter)
    assert type(layer) is nn.Linear
    assert not parametrize.is_parametrized(layer)
    assert repr(layer) == repr(nn.Linear(3, 2))


def test_removing_one_of_two_and_one_of_a_copy():
    layer = linear(Doubled())
    parametrize.register_parametrization(layer, "bias", Squared())
    twin = copy.deepcopy(layer)
    parametrize.remove_parametrizations(layer, "weight")
    assert parametrize.is_parametrized(layer, "bias")
    assert not parametrize.is_parametrized(layer, "weight")
    assert parametrize.is_parametrized(twin, "weight")
    assert twin.weight.tolist() == layer.weight.tolist()
    twin.parametrizations.weight.original.detach().fill_(0)
    assert layer.weight.array.any()


def test_several_originals_become_one_parameter():
    layer = linear(Product())
    value = layer.weight.tolist()
    parametrize.remove_parametrizations(layer, "weight")
    assert layer.weight.tolist() == value
    assert layer.weight.requires_grad
    assert layer.weight.is_leaf


def test_inside_cached_a_tensor_is_computed_once():
    layer = linear(Squared())
    Squared.calls = 0
    with parametrize.cached():
        first = layer.weight
        with parametrize.cached():
            assert layer.weight is first
        assert layer.weight is first
    assert Squared.calls == 1
    assert layer.weight is not first


def test_names_of_types():
    layer = linear(Doubled())
    assert type(layer).__name__ == "ParametrizedLinear"
    assert isinstance(layer, nn.Linear)
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert parametrize.type_before_parametrizations(nn.Linear(1, 1)) is nn.Linear
    assert list(layer.parametrizations) == ["weight"]
    assert len(layer.parametrizations) == 1


def test_a_state_dict_fits_a_layer_parametrized_alike():
    layer, other = linear(Squared()), linear(Squared())
    other.load_state_dict(layer.state_dict())
    assert other.weight.tolist() == layer.weight.tolist()


def test_training_reaches_the_parametrization():
    layer = nn.Linear(3, 2).eval()
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert not layer.parametrizations.weight[0].training


def parametrization(m, function):
    class Chosen(m.nn.Module):
        def forward(self, w):
            return function(w)

    return Chosen()


def registered(m, function, name="weight"):
    layer = m.nn.Linear(3, 2)
    return m.nn.utils.parametrize.register_parametrization(
        layer, name, parametrization(m, function)
    )


REFUSED = [
    refused("no such tensor", lambda m: registered(m, lambda w: w, "wait"), "Linear", "wait"),
    refused("another shape", lambda m: registered(m, lambda w: w[0]), "(2, 3)", "(3,)"),
    refused("another type", lambda m: registered(m, lambda w: w.double()), "float64"),
    refused("no tensor", lambda m: registered(m, lambda w: 3), "int"),
    refused("assigned without inverse",
            lambda m: setattr(registered(m, lambda w: w * w), "weight", m.ones(2, 3)), "inverse"),
    refused("removed without being there",
            lambda m: m.nn.utils.parametrize.remove_parametrizations(m.nn.Linear(1, 1), "weight")),
    refused("several originals", lambda m: m.nn.utils.parametrize.remove_parametrizations(
        m.nn.utils.parametrizations.weight_norm(m.nn.Linear(1, 1)), "weight", False), "several"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_refused(case, torch):
    case.check(torch)


def test_unsafe_allows_another_shape():
    layer = nn.Linear(3, 2)
    halved = parametrization(minicnn, lambda w: w[:1])
    parametrize.register_parametrization(layer, "weight", halved, unsafe=True)
    assert layer.weight.shape == (1, 3)
    with pytest.raises(minicnn.errors.ShapeError):
        parametrize.register_parametrization(
            layer, "weight", parametrization(minicnn, lambda w: w[0])
        )
