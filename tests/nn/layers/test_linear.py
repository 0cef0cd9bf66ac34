from __future__ import annotations

import pytest
from refusals import refused

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


def test_first_values_lie_in_the_interval_of_torch(seeded):
    for layer, bound in (
        (nn.Linear(16, 200), 1 / 4), (nn.Bilinear(16, 3, 100), 1 / 4),
    ):  # fmt: skip
        for parameter in layer.parameters():
            largest = abs(parameter.array).max()
            assert 0.9 * bound < largest <= bound
            assert abs(parameter.array.mean()) < bound / 5


def test_first_vectors_are_normal_and_those_of_the_padding_0(seeded):
    weight = nn.Embedding(200, 50, padding_idx=-1).weight
    assert abs(weight.array.std() - 1) < 0.05
    assert not weight.array[199].any()
    assert weight.array[:199].any(1).all()


def test_a_given_table_is_shared_and_not_learned():
    table = minicnn.tensor([[1.0, 2.0], [3.0, 4.0]])
    layer = nn.Embedding.from_pretrained(table)
    assert not layer.weight.requires_grad
    assert layer.weight.array is table.array
    assert (layer.num_embeddings, layer.embedding_dim) == (2, 2)
    learned = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0)
    learned(minicnn.tensor([0, 1, 1])).sum().backward()
    assert learned.weight.grad.tolist() == [[0, 0], [2, 2]]


REFUSED = [
    refused("no inputs", lambda m: m.nn.Bilinear(0, 2, 3), "in1_features", "0"),
    refused("padding out of range", lambda m: m.nn.Embedding(3, 2, 3), "padding_idx 3"),
    refused("a vector as table", lambda m: m.nn.Embedding.from_pretrained(m.ones(3)), "(3,)"),
    refused("a size without a tuple", lambda m: m.nn.Unflatten(1, 6), "6"),
    refused("sizes that do not fit", lambda m: m.nn.Unflatten(1, (2, 4))(m.ones(4, 6)), "(2, 4)"),
]


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_what_torch_refuses(refusal, torch):
    refusal.check(torch)
