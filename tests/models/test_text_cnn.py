from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import models
from minicnn.data import Sentences
from minicnn.models import in_torch
from minicnn.nn import functional as F
from minicnn.optim import Adam

TINY = {"vocabulary": 13, "dimension": 6, "width": 0.04, "num_classes": 3, "dropout": 0.0}


def count(module):
    return sum(p.array.size for p in module.parameters())


def test_parameters_of_the_paper():
    """300 numbers for each of 18,765 words; 100 windows of 3, 4 and 5 words; 300 features."""
    model = models.text_cnn()
    assert count(model.vectors) == 18_765 * 300
    assert count(model.convolutions) == 300 * (3 + 4 + 5) * 100 + 300
    assert count(model.fc) == 300 * 2 + 2


def test_by_definition(seeded):
    model = models.text_cnn(**TINY).double()
    words = np.random.default_rng(0).integers(1, 13, (2, 7))
    got = model(words).detach().numpy()
    for sentence, logits in zip(words, got, strict=True):
        table = model.vectors.weight.array[sentence]  # (places, dimension)
        features = []
        for convolution in model.convolutions:
            w, bias = convolution.weight.array, convolution.bias.array
            for k in range(len(w)):
                size = w.shape[2]
                answers = [
                    (w[k].T * table[i : i + size]).sum() + bias[k] for i in range(7 - size + 1)
                ]
                features.append(max(0, *answers))
        expected = model.fc.weight.array @ features + model.fc.bias.array
        np.testing.assert_allclose(logits, expected, atol=1e-12)


def test_where_the_words_stand_does_not_matter(seeded):
    """With padding around, so that the same windows are there."""
    model, sentence = models.text_cnn(**TINY), [5, 3, 9, 1]
    rows = [[0] * (4 + k) + sentence + [0] * (8 - k) for k in range(5)]
    logits = model(np.array(rows)).detach().numpy()
    np.testing.assert_allclose(logits, logits[:1].repeat(5, axis=0), atol=1e-6)
    assert not model.vectors.weight.array[0].any()


@pytest.mark.parametrize("static", [False, True])
def test_pretrained_vectors(seeded, static):
    given = np.random.default_rng(1).normal(size=(13, 8)).astype("float32")
    model = models.text_cnn(vectors=minicnn.tensor(given), static=static, width=0.02)
    np.testing.assert_array_equal(model.vectors.weight.array, given)
    assert model.convolutions[0].in_channels == 8
    F.cross_entropy(model(np.array([[1, 2, 3, 4, 5]])), np.array([1])).backward()
    assert (model.vectors.weight.grad is None) == static


def test_it_learns_what_not_means(seeded):
    """No single word tells whether a sentence is praise; a window of words does."""
    words, praise = Sentences("train")[:]
    unseen, truth = Sentences("test")[:]
    model = models.text_cnn(vocabulary=len(Sentences.words), dimension=16, width=0.2)
    optimizer, losses = Adam(model.parameters(), lr=0.01), []
    for epoch in range(6):
        order = np.random.default_rng(epoch).permutation(len(words))
        for start in range(0, len(words), 50):
            chosen = order[start : start + 50]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(words[chosen]), praise[chosen])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:10])
    with minicnn.no_grad():
        found = model.eval()(unseen).array.argmax(axis=1)
    assert (found == truth).mean() > 0.95


def test_as_in_torch(torch, seeded):
    ours = models.text_cnn(**TINY).double()
    theirs = in_torch.load("text_cnn").TextCNN(**TINY).double()
    theirs.load_state_dict({k: torch.tensor(p.array) for k, p in ours.state_dict().items()})
    words, labels = np.random.default_rng(0).integers(0, 13, (4, 9)), np.array([0, 2, 1, 1])
    y, z = ours(words), theirs(torch.tensor(words))
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), atol=1e-12)
    F.cross_entropy(y, labels).backward()
    torch.nn.functional.cross_entropy(z, torch.tensor(labels)).backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-12, err_msg=name)
