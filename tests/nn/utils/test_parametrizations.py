from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn import nn
from minicnn.nn.utils import parametrize
from minicnn.nn.utils.parametrizations import spectral_norm, weight_norm
from minicnn.tensor import Tensor

LAYERS = {
    "linear": (lambda n: n.Linear(5, 4), (3, 5)),
    "conv": (lambda n: n.Conv2d(2, 4, (2, 3)), (2, 2, 4, 5)),
    "transposed": (lambda n: n.ConvTranspose2d(2, 4, 2), (2, 2, 3, 4)),
}
each_layer = pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=list(LAYERS))


def pair_of(make, change, torch):
    """Return our parametrised layer and torch's in float64, in equal states."""
    made = []
    for m in (minicnn, torch):
        layer = make(m.nn).double()
        made.append(change(m.nn.utils.parametrizations, layer))
    ours, theirs = made
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    return ours, theirs


def assert_same(ours, theirs):
    np.testing.assert_allclose(ours.array, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


def check(ours, theirs, x, torch):
    """Compare value, gradients and state of both layers, twice in a row."""
    for _ in range(2):
        y, z = ours(Tensor(x)), theirs(torch.tensor(x))
        assert_same(y, z)
        weight = np.cos(np.arange(y.array.size)).reshape(y.shape)
        (y * weight).sum().backward()
        (z * torch.tensor(weight)).sum().backward()
    for (name, p), (other, q) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == other
        assert_same(p.grad, q.grad)
    for key, value in theirs.state_dict().items():
        assert_same(ours.state_dict()[key], value)
    assert repr(ours) == repr(theirs)


@each_layer
@pytest.mark.parametrize("dim", [0, 1, None, -1])
def test_weight_norm_is_that_of_torch(torch, rng, make, shape, dim):
    ours, theirs = pair_of(make, lambda u, layer: u.weight_norm(layer, dim=dim), torch)
    check(ours, theirs, rng.normal(size=shape), torch)


@each_layer
@pytest.mark.parametrize("training", [True, False])
def test_spectral_norm_is_that_of_torch(torch, rng, make, shape, training):
    def change(u, layer):
        return u.spectral_norm(layer, n_power_iterations=2).train(training)

    check(*pair_of(make, change, torch), rng.normal(size=shape), torch)


def test_spectral_norm_of_a_vector_is_its_length(torch, rng):
    ours, theirs = pair_of(lambda n: n.Linear(5, 4), lambda u, l: u.spectral_norm(l, "bias"), torch)
    check(ours, theirs, rng.normal(size=(3, 5)), torch)
    assert np.linalg.norm(ours.bias.array) == pytest.approx(1)


def test_length_and_direction_are_learned_apart():
    layer = nn.Linear(3, 2)
    before = layer.weight.array.copy()
    weight_norm(layer)
    np.testing.assert_allclose(layer.weight.array, before, rtol=1e-6)
    g, v = layer.parametrizations.weight.originals()
    np.testing.assert_allclose(g.array.ravel(), np.linalg.norm(before, axis=1), rtol=1e-6)
    v.detach().copy_(v.array * 3)
    np.testing.assert_allclose(layer.weight.array, before, rtol=1e-6)
    parametrize.remove_parametrizations(layer, "weight")
    np.testing.assert_allclose(layer.weight.array, before, rtol=1e-6)


def test_the_largest_singular_value_becomes_1():
    layer = spectral_norm(nn.Linear(6, 4), n_power_iterations=50)
    assert np.linalg.norm(layer.weight.array, 2) == pytest.approx(1, rel=1e-3)
    conv = spectral_norm(nn.ConvTranspose1d(3, 2, 2), n_power_iterations=50)
    matrix = conv.weight.array.transpose(1, 0, 2).reshape(2, 6)
    assert np.linalg.norm(matrix, 2) == pytest.approx(1, rel=1e-3)


def test_evaluation_leaves_the_vectors_alone():
    layer = spectral_norm(nn.Linear(6, 4)).eval()
    before = layer.parametrizations.weight[0]._u.tolist()
    assert layer.weight.tolist() == layer.weight.tolist()
    assert layer.parametrizations.weight[0]._u.tolist() == before


def test_two_readings_before_one_backward():
    layer = spectral_norm(nn.Linear(6, 4))
    x = minicnn.ones(1, 6)
    (layer(x).sum() - layer(2 * x).sum()).backward()
    assert np.isfinite(layer.parametrizations.weight.original.grad.array).all()


def test_both_can_be_differentiated_twice():
    for change in (weight_norm, spectral_norm):
        layer = change(nn.Linear(3, 2)).eval()
        original = layer.parametrizations.weight.originals()[-1]
        (dw,) = minicnn.grad((layer.weight**3).sum(), original, create_graph=True)
        (ddw,) = minicnn.grad((dw**2).sum(), original)
        assert ddw.array.any()


def of(m):
    return m.nn.utils.parametrizations


REFUSED = [
    refused("no such tensor", lambda m: of(m).spectral_norm(m.nn.Linear(2, 2), "wait"), "wait"),
    refused("no dimension", lambda m: of(m).spectral_norm(m.nn.Linear(2, 2), dim=2), "(2, 2)"),
    refused("no iterations",
            lambda m: of(m).spectral_norm(m.nn.Linear(2, 2), n_power_iterations=0), "positive"),
    refused("nothing to normalise", lambda m: of(m).weight_norm(m.nn.Linear(2, 2), "wait"), "wait"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_refused(case, torch):
    case.check(torch)
