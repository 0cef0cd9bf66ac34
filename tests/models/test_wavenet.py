from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import models
from minicnn.data import Melodies
from minicnn.models import in_torch
from minicnn.nn import functional as F
from minicnn.optim import Adam

TINY = {"num_classes": 5, "dilations": (1, 2, 4), "width": 0.125}


def tiny(**settings):
    return models.wavenet(**{**TINY, **settings}).double()


def test_layers_and_receptive_field_of_the_paper():
    """Dilations 1 to 512; a block of ten layers sees 1,024 values, three blocks 3,070."""
    model = models.wavenet()
    assert [layer.dilation for layer in model.layers] == [2**k for k in range(10)] * 3
    assert model.receptive_field == 3 * 1023 + 1
    assert models.wavenet(dilations=[2**k for k in range(10)], width=1 / 32).receptive_field == 1024


def test_parameters_by_hand():
    layer = 2 * (32 * 32 * 2 + 32) + (32 * 256 + 256)
    others = 29 * (32 * 32 + 32) + 256 * 32 + (256 * 256 + 256) * 2
    assert sum(p.array.size for p in models.wavenet().parameters()) == 30 * layer + others


@pytest.mark.parametrize("dilations", [(1, 2, 4), (2, 1), (1, 1, 3)])
def test_an_output_sees_its_receptive_field_and_nothing_else(seeded, dilations):
    """Change one input; see which outputs change."""
    model = tiny(dilations=dilations)
    assert model.receptive_field == 1 + sum(dilations)
    classes = np.random.default_rng(0).integers(0, 4, (1, 20))
    before = model(classes).detach().numpy()
    seen = []
    for place in range(20):
        other = classes.copy()
        other[0, place] += 1
        changed = (model(other).detach().numpy() != before).any(axis=(0, 1))
        assert not changed[:place].any()  # no output sees the future
        seen.append(np.flatnonzero(changed) - place)
    assert seen[0][0] == 0
    assert seen[0][-1] == model.receptive_field - 1


def test_a_layer_by_its_definition(seeded):
    (layer, *_) = tiny(dilations=(3, 1)).layers
    x = np.random.default_rng(0).normal(size=(1, 4, 6))
    passed, part = (y.detach().numpy()[0] for y in layer(minicnn.tensor(x)))
    for t in range(6):
        now, past = x[0, :, t], x[0, :, t - 3] if t >= 3 else np.zeros(4)

        def seen(convolution, now=now, past=past):
            w = convolution.weight.array
            return w[:, :, 0] @ past + w[:, :, 1] @ now + convolution.bias.array

        z = np.tanh(seen(layer.filter)) / (1 + np.exp(-seen(layer.gate)))
        residual = layer.residual.weight.array[:, :, 0] @ z + layer.residual.bias.array
        skip = layer.skip.weight.array[:, :, 0] @ z + layer.skip.bias.array
        np.testing.assert_allclose(passed[:, t], now + residual, atol=1e-12)
        np.testing.assert_allclose(part[:, t], skip, atol=1e-12)


def test_generated_values_follow_their_distribution(seeded):
    model, count = tiny(), 4000
    for parameter in model.parameters():
        parameter.array *= 3  # so that one distribution differs from another
    start = np.array([[1, 4, 2, 0, 3, 3, 1, 2, 2, 4, 0, 1]])
    continued = model.generate(minicnn.tensor(start.repeat(count, axis=0)), 2).numpy()
    np.testing.assert_array_equal(continued[:, :12], start.repeat(count, axis=0))
    first = np.bincount(continued[:, 12], minlength=5) / count

    def distribution(classes):
        logits = model(classes).detach().numpy()[0, :, -1]
        return np.exp(logits) / np.exp(logits).sum()

    bound = 5 * 0.5 / np.sqrt(count)
    np.testing.assert_allclose(first, distribution(start), atol=bound)
    assert np.abs(distribution(start[:, :-1]) - distribution(start)).max() > 2 * bound
    k = int(first.argmax())
    second = continued[continued[:, 12] == k, 13]
    expected = distribution(np.append(start, [[k]], axis=1))
    shares = np.bincount(second, minlength=5) / len(second)
    np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / np.sqrt(len(second)))


def test_each_generated_value_is_drawn_from_the_whole_receptive_field(seeded):
    model, seen = tiny(), []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].array))
    continued = model.generate(minicnn.tensor([[1, 4, 2, 0, 3, 3, 1]]), 3).array
    assert [classes.shape[1] for classes in seen] == [7, 8, 8]
    np.testing.assert_array_equal(seen[2], continued[:, 1:9])


def test_it_learns_to_continue_melodies(seeded):
    (codes,) = Melodies("train", 32, levels=16)[:]
    model = models.wavenet(16, dilations=(1, 2, 4, 8), width=0.5)
    optimizer, losses = Adam(model.parameters(), lr=0.01), []
    for step in range(40):
        start = 40 * (step % 10)
        batch = codes[8 * (step % 4) : 8 * (step % 4) + 8, start : start + 121]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[:, :-1]), batch[:, 1:])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[:3]) > 2.3  # of 16 classes: ln 16 = 2.77
    assert np.mean(losses[-5:]) < 1.5


def test_as_in_torch(torch, seeded):
    ours, theirs = tiny(), in_torch.load("wavenet").WaveNet(**TINY).double()
    theirs.load_state_dict({k: torch.tensor(p.array) for k, p in ours.state_dict().items()})
    classes = np.random.default_rng(0).integers(0, 5, (2, 12))
    y, z = ours(classes[:, :-1]), theirs(torch.tensor(classes[:, :-1]))
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), atol=1e-12)
    F.cross_entropy(y, classes[:, 1:]).backward()
    torch.nn.functional.cross_entropy(z, torch.tensor(classes[:, 1:])).backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-12, err_msg=name)
    assert theirs.generate(torch.tensor(classes), 3).shape == (2, 15)
