from __future__ import annotations

import numpy as np
import pytest

from minicnn.data.sequences import (
    ADJECTIVES,
    BEAT,
    FORMANTS,
    LENGTHS,
    RATE,
    SCALE,
    Melodies,
    Sentences,
    Vowels,
    mu_law,
    mu_law_inverse,
)
from minicnn.errors import ArgumentError

KINDS = [Vowels, Melodies, Sentences]


@pytest.mark.parametrize("kind", KINDS)
def test_splits_and_seeds_differ_and_the_same_ones_repeat(kind):
    made = [kind(split, 4, seed=seed) for split in LENGTHS for seed in (0, 1)]
    assert len({dataset.arrays[0].tobytes() for dataset in made}) == len(made)
    for first, again in zip(made[0].arrays, kind("train", 4).arrays, strict=True):
        np.testing.assert_array_equal(first, again)


def test_the_samples_never_change():
    """Results of years apart are compared; other samples here make all of them worthless."""
    letters = ["".join(Vowels.classes[k] for k in row) for row in Vowels("test")[:4][2]]
    assert letters == ["uuae", "e", "u", "ueiae"]
    assert Melodies("train", 1)[0][0][[1, 150, 333, 790]].tolist() == [248, 250, 37, 6]
    assert [Sentences.text(words) for words in Sentences("validation")[:2][0]] == [
        "after two hours i did not find the film very clever as we all know",
        "after two hours it is by no means a really dull plot as we all know",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_set_begins_in_the_same_way(kind):
    short, long = kind("test", 3), kind("test", 5)
    for a, b in zip(short.arrays, long.arrays, strict=True):
        np.testing.assert_array_equal(a, b[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_types_and_lengths(kind):
    dataset = kind("validation")
    assert len(dataset) == 200
    assert dataset.arrays[0].shape[1:] == dataset.input_shape
    assert {array.dtype.name for array in dataset.arrays} <= {"float32", "int64"}
    assert dataset.num_classes == len(dataset.classes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{"split": "exam"}, {"length": 0}, {"seed": -1}])
def test_arguments_out_of_range(kind, settings):
    with pytest.raises(ArgumentError, match=f"{kind.__name__}: {next(iter(settings))} must"):
        kind(**settings)


# --- vowels ---------------------------------------------------------------------------------------


def test_vowels_by_their_loudest_bands():
    """Without noise: which letters stand in which frames, read off the spectrogram."""
    sounds, frames, letters, counts = Vowels("test", 50, noise=0.0)[:]
    assert not Vowels("test", 50)[:][0].max() > 2
    for sound, frame_count, row, count in zip(sounds[:, 0], frames, letters, counts, strict=True):
        assert not sound[:, frame_count:].any()
        heard = sound.max(axis=0) > 0.5
        starts = np.flatnonzero(heard & ~np.roll(heard, 1))
        assert len(starts) == count
        assert not heard[0]
        assert not row[count:].any()
        for start, k in zip(starts, row, strict=False):
            formants = FORMANTS[Vowels.classes[k]]
            loudest = 150 + 100 * sound[:, start].argmax()
            assert min(abs(loudest / f - 1) for f in formants) < 0.3
            run = heard[start:]
            assert 4 <= (np.argmin(run) or len(run)) <= 8
    assert set(counts) == {1, 2, 3, 4, 5}
    assert set(letters[letters > 0]) == {1, 2, 3, 4, 5}


def test_noise_fills_the_frames_that_belong_to_the_sample():
    sounds, frames, *_ = Vowels("test", 20, noise=0.1)[:]
    for sound, count in zip(sounds[:, 0], frames, strict=True):
        assert np.all(sound[:, :count] != 0)
        assert not sound[:, count:].any()
    with pytest.raises(ArgumentError, match=r"noise must lie in 0 to 1, got 2"):
        Vowels(noise=2)


# --- melodies -------------------------------------------------------------------------------------


def test_melodies_have_the_frequencies_of_the_scale():
    waves = mu_law_inverse(Melodies("test", 10)[:][0])
    assert np.abs(waves).max() <= 1
    for wave in waves:
        for beat in wave.reshape(-1, BEAT):
            spectrum = np.abs(np.fft.rfft(beat, 8 * BEAT))
            loudest = np.fft.rfftfreq(8 * BEAT, 1 / RATE)[spectrum.argmax()]
            assert np.abs(SCALE - loudest).min() < 10


def test_notes_last_one_or_two_beats_and_fill_the_tune():
    melodies, rng = Melodies("test", 1), np.random.default_rng(0)
    for _ in range(50):
        notes, lasting = melodies.compose(rng)
        assert len(notes) == len(lasting)
        assert sum(lasting) == 8
        assert set(lasting) <= {1, 2}
        assert np.abs(np.diff(notes)).max() <= 2


@pytest.mark.parametrize("levels", [2, 16, 255, 256])
def test_mu_law_there_and_back(levels):
    """Every class has a middle that belongs to it, and a value goes to the nearest class."""
    classes = np.arange(levels)
    np.testing.assert_array_equal(mu_law(mu_law_inverse(classes, levels), levels), classes)
    wave = np.random.default_rng(0).uniform(-1, 1, 200)
    mu = levels - 1
    squeezed = np.sign(wave) * np.log(1 + mu * np.abs(wave)) / np.log(levels)
    nearest = np.abs(squeezed[:, None] - np.linspace(-1, 1, levels)).argmin(axis=1)
    np.testing.assert_array_equal(mu_law(wave, levels), nearest)


def test_mu_law_is_finer_where_it_is_quiet():
    steps = np.diff(mu_law_inverse(np.arange(256)))
    assert steps[127] < 1e-3 < 40 * steps[127] < steps[0]


def test_mu_law_refuses():
    with pytest.raises(ArgumentError, match="at least 2 levels, got 1"):
        mu_law([0.0], 1)
    for value in (1.01, np.nan):
        with pytest.raises(ArgumentError, match="must lie in -1 to 1"):
            mu_law([value])


# --- sentences ------------------------------------------------------------------------------------


def test_every_sentence_is_judged_by_its_adjective_and_its_denial():
    numbers, praise = Sentences("test")[:]
    for row, label in zip(numbers, praise, strict=True):
        words = Sentences.text(row).split()
        (good,) = [word in ADJECTIVES[1] for word in words if word in ADJECTIVES[0] + ADJECTIVES[1]]
        denied = bool({"not", "no", "nobody"} & set(words))
        assert label == (good != denied)
        assert not row[len(words) :].any()


def test_no_single_word_tells():
    """Of the sentences with a word about half are praise, whatever the word."""
    numbers, praise = Sentences("train", 3000)[:]
    for place in range(1, len(Sentences.words)):
        with_it = praise[(numbers == place).any(axis=1)]
        assert len(with_it) > 50
        assert abs(with_it.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(with_it))


def test_the_first_word_is_padding_and_the_others_differ():
    assert Sentences.words[0] == ""
    assert len(set(Sentences.words)) == len(Sentences.words)
    assert list(Sentences.words) == sorted(Sentences.words)
