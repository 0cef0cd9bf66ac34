from __future__ import annotations

import itertools

import numpy as np
import pytest

import minicnn
from minicnn import models
from minicnn.data import Digits
from minicnn.models import in_torch
from minicnn.models.rbm import RBM
from minicnn.optim import SGD

PATTERNS = np.array(list(itertools.product((0.0, 1.0), repeat=3)))  # of three visible units
HIDDEN = np.array(list(itertools.product((0.0, 1.0), repeat=2)))


def small_machine(scale=0.8):
    """Three visible and two hidden units in float64, their parameters far from 0."""
    machine, rng = RBM(3, 2).double(), np.random.default_rng(3)
    for parameter in machine.parameters():
        parameter.array[...] = rng.normal(0, scale, parameter.shape)
    return machine


def joint(machine):
    """Return P(v, h) of every pair of patterns, from the energy by its definition."""
    w, b, c = (p.array for p in (machine.weight, machine.visible_bias, machine.hidden_bias))
    energy = [[-(v @ b) - h @ c - h @ w @ v for h in HIDDEN] for v in PATTERNS]
    weights = np.exp(-np.array(energy))
    return weights / weights.sum()


def likelihood_gradients(machine, shares):
    """Return d mean ln P(v) / d parameter over all 32 states; `shares` of the eight patterns."""
    model = joint(machine)
    given = model / model.sum(axis=1, keepdims=True)  # P(h | v)
    data = shares[:, None] * given
    difference = data - model
    return {
        "weight": np.einsum("vh,hi,vj->ij", difference, HIDDEN, PATTERNS),
        "visible_bias": np.einsum("vh,vj->j", difference, PATTERNS),
        "hidden_bias": np.einsum("vh,hi->i", difference, HIDDEN),
    }


def chain(machine):
    """Return P(next v | v), one step of Gibbs sampling."""
    model = joint(machine)
    given_v = model / model.sum(axis=1, keepdims=True)
    given_h = model / model.sum(axis=0, keepdims=True)
    return given_v @ given_h.T


def test_the_parameters_of_the_paper():
    assert sum(p.array.size for p in models.rbm().parameters()) == 256 * 500 + 256 + 500


def test_probabilities_by_enumeration():
    machine = small_machine()
    model = joint(machine)
    given_v = model / model.sum(axis=1, keepdims=True)
    given_h = model / model.sum(axis=0, keepdims=True)
    np.testing.assert_allclose(
        machine.hidden(minicnn.tensor(PATTERNS)).detach().numpy(), given_v @ HIDDEN, atol=1e-12
    )
    np.testing.assert_allclose(
        machine.visible(minicnn.tensor(HIDDEN)).detach().numpy(), given_h.T @ PATTERNS, atol=1e-12
    )


def test_free_energy_by_enumeration():
    machine = small_machine()
    weights = np.exp(-machine(minicnn.tensor(PATTERNS)).detach().numpy())
    np.testing.assert_allclose(weights / weights.sum(), joint(machine).sum(axis=1), atol=1e-12)


def test_reconstruct_asks_the_expected_hidden_units():
    machine = small_machine()
    v = minicnn.tensor(PATTERNS)
    np.testing.assert_array_equal(
        machine.reconstruct(v).array, machine.visible(machine.hidden(v)).array
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_samples_follow_the_chain(seeded, steps):
    machine, count = small_machine(scale=3.0), 20_000
    v = minicnn.tensor(np.repeat(PATTERNS[[5]], count, axis=0))
    found = machine.sample(v, steps).array @ [4, 2, 1]
    shares = np.bincount(found.astype(int), minlength=8) / count
    expected = np.linalg.matrix_power(chain(machine), steps)[5]
    np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / np.sqrt(count))


SHARES = np.array([0.1, 0.3, 0.0, 0.1, 0.2, 0.0, 0.2, 0.1])


@pytest.mark.parametrize("steps", [1, 3])
def test_the_mean_of_the_rule_by_enumeration(seeded, steps):
    """E dw = sum_v' P(v' after k steps) P(h | v') v' - sum_v share(v) P(h | v) v."""
    machine, count = small_machine(scale=3.0), 40_000
    v = np.repeat(PATTERNS, (SHARES * count).astype(int), axis=0)
    machine.contrastive_divergence(minicnn.tensor(v), steps)
    after, other = (SHARES @ np.linalg.matrix_power(chain(machine), k) for k in (steps, 4 - steps))
    assert np.abs((after - other) @ PATTERNS).max() > 0.05  # one step and three are told apart
    p = machine.hidden(minicnn.tensor(PATTERNS)).detach().numpy()
    change = after - SHARES
    expected = {
        "weight": np.einsum("v,vi,vj->ij", change, p, PATTERNS),
        "visible_bias": change @ PATTERNS,
        "hidden_bias": change @ p,
    }
    for name, parameter in machine.named_parameters():
        np.testing.assert_allclose(
            parameter.grad.numpy(), expected[name], atol=5 * 0.5 / np.sqrt(count), err_msg=name
        )


def test_many_steps_give_the_gradient_of_the_likelihood(seeded):
    machine, count = small_machine(), 40_000
    v = np.repeat(PATTERNS, (SHARES * count).astype(int), axis=0)
    machine.contrastive_divergence(minicnn.tensor(v), 15)
    bound = 5 * 0.5 / np.sqrt(count)
    expected = likelihood_gradients(machine, SHARES)
    assert max(np.abs(value).max() for value in expected.values()) > 5 * bound
    for name, value in expected.items():
        got = getattr(machine, name).grad.numpy()
        np.testing.assert_allclose(got, -value, atol=bound, err_msg=name)


def test_the_gradient_of_the_likelihood_is_that_of_free_energies():
    """What the rule estimates, by backprop through `forward`: for those who compare."""
    machine = small_machine()
    change = SHARES - joint(machine).sum(axis=1)
    (machine(minicnn.tensor(PATTERNS)) * minicnn.tensor(change)).sum().backward()
    for name, expected in likelihood_gradients(machine, SHARES).items():
        np.testing.assert_allclose(getattr(machine, name).grad.numpy(), -expected, atol=1e-12)


def test_nothing_is_recorded_and_the_seed_decides(seeded):
    drawn = []
    for _ in range(2):
        minicnn.manual_seed(4)
        machine = RBM(5, 4)
        drawn.append(machine.contrastive_divergence(minicnn.ones(3, 5), 2))
        assert not drawn[-1].requires_grad
        assert not machine.weight.grad.requires_grad
    np.testing.assert_array_equal(drawn[0].array, drawn[1].array)


def test_it_learns_digits(seeded):
    images = Digits("train", 8, normalize=False)[:][0].reshape(-1, 64)
    unseen = minicnn.tensor(Digits("test", 8, normalize=False)[:][0].reshape(-1, 64))
    machine = models.rbm(visible=64, hidden=32)
    optimizer = SGD(machine.parameters(), lr=0.5)

    def error():
        with minicnn.no_grad():
            return ((machine.reconstruct(unseen) - unseen) ** 2).mean().item()

    before = error()
    for _ in range(6):
        for start in range(0, len(images), 32):
            machine.contrastive_divergence(minicnn.tensor(images[start : start + 32]))
            optimizer.step()
    variance = unseen.array.var(axis=0).mean()  # the error of always expecting the mean digit
    assert error() < 0.75 * variance < 0.5 * before
    noise = minicnn.bernoulli(minicnn.full((300, 64), float(unseen.array.mean())))
    with minicnn.no_grad():
        assert machine(unseen).mean().item() < machine(noise).mean().item() - 10


def test_as_in_torch(torch):
    ours, theirs = small_machine(), in_torch.load("rbm").RBM(3, 2).double()
    theirs.load_state_dict({k: torch.tensor(p.array) for k, p in ours.state_dict().items()})
    v = np.random.default_rng(0).random((5, 3))
    for name in ("forward", "hidden", "reconstruct"):
        got = getattr(ours, name)(minicnn.tensor(v)).array
        expected = getattr(theirs, name)(torch.tensor(v)).detach().numpy()
        np.testing.assert_allclose(got, expected, atol=1e-12)
    assert theirs.contrastive_divergence(torch.tensor(v)).shape == (5, 3)
    assert theirs.weight.grad.shape == (2, 3)
