from __future__ import annotations

import numpy as np
import pytest
from small_models import count
from twins import assert_twins

import minicnn
from minicnn import models
from minicnn.data import Digits
from minicnn.models import evidence_loss, in_torch
from minicnn.models.vae import VAEOutputs
from minicnn.nn import functional as F
from minicnn.optim import Adam


def test_parameters():
    assert count(models.vae()) == 815_824
    assert count(models.vae(hidden=400)) == 652_824  # PyTorch's example, which has 400


def test_outputs_are_named():
    outputs = models.vae(6, 5, 2)(minicnn.zeros(3, 6))
    assert outputs._fields == ("logits", "mean", "logvar")
    assert [y.shape for y in outputs] == [(3, 6), (3, 2), (3, 2)]


def test_codes_are_drawn_from_the_distribution(seeded):
    model = models.vae(3, 4, 2)
    seen = []
    model.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].array))
    outputs = model(minicnn.tensor(np.full((20_000, 3), 0.5, dtype=np.float32)))
    z, mean, deviation = seen[0], outputs.mean.array[0], np.exp(outputs.logvar.array[0] / 2)
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(z.std(axis=0), deviation, rtol=0.03)
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.03


def test_draws_repeat_with_the_seed_and_evaluation_draws_nothing(seeded):
    model, x = models.vae(6, 5, 2), minicnn.rand(3, 6)
    first, second = (model(x).logits.array for _ in range(2))
    assert (first != second).any()
    minicnn.manual_seed(3)
    first = model(x).logits.array
    minicnn.manual_seed(3)
    np.testing.assert_array_equal(model(x).logits.array, first)
    model.eval()
    outputs = model(x)
    np.testing.assert_array_equal(outputs.logits.array, model.decoder(outputs.mean).array)


def test_the_gradient_passes_the_draw(seeded):
    model = models.vae(6, 5, 2)
    model(minicnn.rand(3, 6)).logits.sum().backward()
    assert model.mean.weight.grad.array.any()
    assert model.logvar.weight.grad.array.any()


def test_samples_are_probabilities(seeded):
    samples = models.vae(6, 5, 2).sample(7)
    assert samples.shape == (7, 6)
    assert (samples.array > 0).all()
    assert (samples.array < 1).all()


def test_divergence_by_drawing(seeded, rng):
    """KL(q || p) is the mean of log q(z) - log p(z) over draws from q."""
    mean, logvar = np.array([[0.7, -0.2, 0.0]]), np.array([[-0.5, 0.3, -1.0]])
    z = mean + np.exp(logvar / 2) * rng.normal(size=(400_000, 3))
    log_q = -((z - mean) ** 2 / np.exp(logvar) + logvar) / 2
    expected = (log_q + z**2 / 2).sum(axis=1).mean()
    certain = minicnn.tensor(np.array([[40.0, -40.0]]))  # costs no cross-entropy
    outputs = VAEOutputs(certain, minicnn.tensor(mean), minicnn.tensor(logvar))
    loss = evidence_loss(outputs, minicnn.tensor(np.array([[1.0, 0.0]])))
    assert loss.item() == pytest.approx(expected, rel=0.01)


def test_nothing_is_lost_between_equal_distributions():
    nothing = minicnn.zeros(4, 2)
    outputs = VAEOutputs(minicnn.zeros(4, 3), nothing, nothing)
    loss = evidence_loss(outputs, minicnn.zeros(4, 3)).item()
    assert loss == pytest.approx(3 * np.log(2), rel=1e-6)


def test_the_same_in_torch(torch, rng, seeded):
    ours, theirs = (make("vae", inputs=7, hidden=5, latent=3).eval()
                    for make in (models.create, in_torch.create))  # fmt: skip
    x = rng.uniform(size=(4, 7))
    assert_twins(torch, ours, theirs, x)
    ours.zero_grad()
    theirs.zero_grad()
    expected = in_torch.load("vae").evidence_loss(theirs(torch.tensor(x)), torch.tensor(x))
    loss = evidence_loss(ours(minicnn.tensor(x)), minicnn.tensor(x))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    loss.backward()
    expected.backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad.array, other.grad.numpy(), rtol=1e-7, atol=1e-9)


def test_it_learns_digits(seeded):
    """The bound rises, and new digits have ink where digits have it."""
    images = Digits(size=8, normalize=False)[:256][0].reshape(256, 64)
    x = minicnn.tensor(images)
    model = models.vae(64, 48, 6)
    optimizer = Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = evidence_loss(model(x), x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    best_without_code = (
        F.binary_cross_entropy(
            minicnn.tensor(np.broadcast_to(images.mean(axis=0), images.shape).clip(1e-3, 1 - 1e-3)),
            x,
        ).item()
        * 64
    )
    assert losses[-1] < 0.97 * best_without_code < 0.8 * losses[0]
    samples = model.sample(400).array
    assert np.corrcoef(samples.mean(axis=0), images.mean(axis=0))[0, 1] > 0.95
