from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import models
from minicnn.data import Vowels
from minicnn.models import in_torch
from minicnn.models.deepspeech2 import Transcription, greedy
from minicnn.nn import functional as F
from minicnn.optim import Adam

TINY = {"num_classes": 4, "bands": 11, "layers": 2, "width": 1 / 16, "hidden": 80}


def tiny(**settings):
    return models.deepspeech2(**{**TINY, **settings}).double()


def spectrograms(batch=3, bands=11, frames=17):
    return np.random.default_rng(0).normal(size=(batch, 1, bands, frames))


def test_sizes_of_the_paper(undrawn):
    """Windows of 41x11 and 21x11, strides 2x2 and 2x1; 32 channels of 41 bands are left of 161."""
    model = models.deepspeech2()
    assert [tuple(c.conv.weight.shape) for c in model.convolutions] == [
        (32, 1, 41, 11),
        (32, 32, 21, 11),
    ]
    assert model.recurrent[0].rnn.input_size == 32 * 41
    assert models.deepspeech2(convolutions=3).recurrent[0].rnn.input_size == 96 * 21
    assert [r.rnn.hidden_size for r in model.recurrent] == [1280] * 7
    assert model.fc.out_features == 29


def test_parameters_by_hand(undrawn):
    convolutions = 32 * 41 * 11 + 2 * 32 + 32 * 32 * 21 * 11 + 2 * 32
    first, others = (2 * (1280 * (size + 1280) + 2 * 1280) for size in (32 * 41, 1280))
    expected = convolutions + first + 6 * others + 7 * 2 * 1280 + 1280 * 29 + 29
    assert sum(p.array.size for p in models.deepspeech2().parameters()) == expected


@pytest.mark.parametrize("convolutions", [1, 2, 3])
@pytest.mark.parametrize("frames", [16, 17])
def test_lengths_after_the_stride(seeded, convolutions, frames):
    """Only the first convolution takes steps of two frames; a started step counts."""
    y = tiny(convolutions=convolutions)(minicnn.tensor(spectrograms(3, 11, frames)), [16, 9, 1])
    assert y.log_probs.shape == ((frames + 1) // 2, 3, 4)
    assert y.lengths.numpy().tolist() == [8, 5, 1]
    np.testing.assert_allclose(np.exp(y.log_probs.detach().numpy()).sum(axis=2), 1, atol=1e-12)


def test_all_frames_are_taken_when_none_are_named(seeded):
    model, x = tiny().eval(), minicnn.tensor(spectrograms())
    y = model(x)
    assert y.lengths.numpy().tolist() == [9, 9, 9]
    np.testing.assert_array_equal(y.log_probs.array, model(x, [17, 17, 17]).log_probs.array)


@pytest.mark.parametrize("cell", ["RNN", "GRU"])
def test_a_sample_is_transcribed_as_if_it_were_alone(seeded, cell):
    """Whatever stands beyond its end, and however long the others are; in evaluation."""
    model = tiny(cell=cell, convolutions=2).eval()
    x, lengths = spectrograms(), np.array([9, 17, 4])
    together = model(minicnn.tensor(x), lengths)
    for n, length in enumerate(lengths):
        alone = model(minicnn.tensor(x[n : n + 1, :, :, :length]), [length])
        steps = (length + 1) // 2
        np.testing.assert_allclose(
            together.log_probs.detach().numpy()[:steps, n],
            alone.log_probs.detach().numpy()[:, 0],
            atol=1e-10,
        )


def test_statistics_are_those_of_the_steps_that_are_there(seeded):
    """Sequence-wise normalisation: over all samples and steps, padding left out."""
    layer = tiny().recurrent[0]
    outputs = []
    layer.bn.register_forward_hook(lambda module, inputs, y: outputs.append((*inputs, y)))
    size = layer.rnn.input_size
    steps = minicnn.tensor(np.random.default_rng(1).normal(size=(6, 3, size)))
    packed = minicnn.nn.utils.rnn.pack_padded_sequence(steps, [6, 3, 2])
    layer(packed)
    ((before, after),) = outputs
    assert before.shape[0] == 6 + 3 + 2
    both, _ = layer.rnn(packed)
    half = layer.rnn.hidden_size
    sums = both.data.array[:, :half] + both.data.array[:, half:]
    np.testing.assert_allclose(before.array, sums, atol=1e-12)
    expected = (sums - sums.mean(axis=0)) / np.sqrt(sums.var(axis=0) + 1e-5)
    np.testing.assert_allclose(after.array, expected, atol=1e-9)


def test_the_clipped_relu_ends_at_20(seeded):
    convolution = tiny().convolutions[0]
    convolution.bn.weight.array[...] = 50.0
    y, _ = convolution(minicnn.tensor(spectrograms()), minicnn.tensor([17, 17, 17]))
    assert y.array.min() == 0
    assert y.array.max() == 20


def test_greedy_merges_repeats_and_leaves_blanks_out():
    paths = [[0, 1, 1, 0, 1, 2], [2, 2, 2, 0, 0, 3], [0, 0, 0, 0, 0, 0], [3, 3, 1, 1, 3, 2]]
    log_probs = np.eye(4)[np.array(paths).T]
    found = greedy(Transcription(minicnn.tensor(log_probs), minicnn.tensor([6, 5, 6, 5])))
    assert found == [[1, 1, 2], [2], [], [3, 1, 3]]
    assert greedy(Transcription(log_probs[:, :1], [6]), blank=1) == [[0, 0, 2]]


def test_it_learns_to_transcribe_vowels(seeded):
    sounds, frames, letters, counts = Vowels("train", 64)[:]
    model = models.deepspeech2(
        Vowels.num_classes, 25, convolutions=1, layers=1, hidden=64, cell="GRU", width=0.5
    )
    optimizer, losses = Adam(model.parameters(), lr=0.01), []
    for step in range(24):
        part = slice(16 * (step % 4), 16 * (step % 4) + 16)
        optimizer.zero_grad()
        y = model(minicnn.tensor(sounds[part]), frames[part])
        loss = F.ctc_loss(y.log_probs, letters[part], y.lengths, counts[part])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-4:]) < 0.4 * np.mean(losses[:4])


@pytest.mark.parametrize("cell", ["RNN", "GRU"])
def test_as_in_torch(torch, seeded, cell):
    settings = {**TINY, "cell": cell}
    ours = models.deepspeech2(**settings).double()
    theirs = in_torch.load("deepspeech2").DeepSpeech2(**settings).double()
    state = {k: torch.tensor(p.array) for k, p in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x, frames = spectrograms(), np.array([9, 17, 12])
    letters, counts = np.array([[1, 2], [3, 3], [2, 0]]), np.array([2, 2, 1])
    y = ours(minicnn.tensor(x), frames)
    z = theirs(torch.tensor(x), torch.tensor(frames))
    np.testing.assert_array_equal(y.lengths.numpy(), z.lengths.numpy())
    np.testing.assert_allclose(
        y.log_probs.detach().numpy(), z.log_probs.detach().numpy(), atol=1e-9
    )
    F.ctc_loss(y.log_probs, letters, y.lengths, counts).backward()
    torch.nn.functional.ctc_loss(
        z.log_probs, torch.tensor(letters), z.lengths, torch.tensor(counts)
    ).backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == q[0]
        np.testing.assert_allclose(p.grad.numpy(), q[1].grad.numpy(), atol=1e-9, err_msg=name)
