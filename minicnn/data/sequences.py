"""Sequences made on the spot: vowels to transcribe, melodies to continue, sentences to judge.

All of them are small, need no files, and are the same in every run: sample i of a split follows
from the seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.data.dataset import TensorDataset, check_choice
from minicnn.errors import ArgumentError
from minicnn_kernels.arrays import Array

LENGTHS = {"train": 1000, "validation": 200, "test": 200}  # samples of each split


def generator_of(name: str, split: str, length: int | None, seed: int) -> tuple[Any, int]:
    """Return the random generator of a split, and its number of samples."""
    check_choice(name, "split", split, list(LENGTHS))
    if not 0 <= seed < 2**64:
        raise ArgumentError(f"{name}: seed must lie in [0, 2**64), got {seed}")
    if length is not None and length < 1:
        raise ArgumentError(f"{name}: length must be at least 1 sample, got {length}")
    key = np.array([seed, list(LENGTHS).index(split)], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)), length or LENGTHS[split]


# --- vowels ---------------------------------------------------------------------------------------

FORMANTS = {  # Hz; Peterson, Barney 1952, table II, the means of men: heed, head, hod, hawed, who'd
    "i": (270, 2290),
    "e": (530, 1840),
    "a": (730, 1090),
    "o": (570, 840),
    "u": (300, 870),
}
BANDS = np.linspace(150, 2550, 25)  # middle of each band of the spectrogram, Hz, 100 Hz apart
MOST_VOWELS, LONGEST, LONGEST_PAUSE = 5, 8, 4  # in a sample; frames of a vowel; of a pause
FRAMES = (MOST_VOWELS + 1) * LONGEST_PAUSE + MOST_VOWELS * LONGEST


class Vowels(TensorDataset):
    """Speak one to five vowels with pauses between them; a sample is a spectrogram and its letters.

    Each vowel lasts 4 to 8 frames and has two resonances, those of its sound and a voice that is up
    to 8 % higher or lower; a pause lasts 1 to 4 frames. When which letter is spoken is not told,
    so the loss to learn it with is CTC, whose blank is class 0.

    Args:
        split: "train", "validation" or "test", of 1,000, 200 and 200 samples.
        length: another number of samples.
        noise: the standard deviation of the noise in each frame and band, where 1 is loud.
        seed: an integer in [0, 2**64).

    Shapes:
        spectrogram: float32 (1, 25, 64), bands of 100 Hz, 0 beyond the last frame
        frames: int64, how many of them belong to the sample
        letters: int64 (5,), 0 beyond the last letter
        count: int64, the number of letters

    >>> spectrograms, frames, letters, counts = Vowels("test")[:3]
    >>> spectrograms.shape, frames, counts
    ((3, 1, 25, 64), array([36, 10, 12]), array([4, 1, 1]))
    >>> ["".join(Vowels.classes[k] for k in row if k) for row in letters]
    ['uuae', 'e', 'u']

    Raises:
        ArgumentError: an argument is out of its range.
    """

    classes = ("", *FORMANTS)
    num_classes = len(classes)
    input_shape = (1, len(BANDS), FRAMES)

    def __init__(
        self, split: str = "train", length: int | None = None, noise: float = 0.1, seed: int = 0
    ) -> None:
        rng, length = generator_of("Vowels", split, length, seed)
        if not 0 <= noise <= 1:
            raise ArgumentError(f"Vowels: noise must lie in 0 to 1, got {noise}")
        sounds = np.zeros((length, *self.input_shape), np.float32)
        frames = np.zeros(length, np.int64)
        letters = np.zeros((length, MOST_VOWELS), np.int64)
        counts = np.zeros(length, np.int64)
        for n in range(length):
            counts[n] = count = rng.integers(1, MOST_VOWELS + 1)
            letters[n, :count] = rng.integers(1, self.num_classes, count)
            voice = rng.uniform(0.92, 1.08)
            starts = np.cumsum(rng.integers(1, LONGEST_PAUSE + 1, count + 1))
            lasting = rng.integers(4, LONGEST + 1, count)
            starts[1:] += np.cumsum(lasting)
            frames[n] = starts[-1]
            for k, start, frame_count in zip(letters[n], starts, lasting, strict=False):
                spectrum = spectrum_of(self.classes[k], voice)
                sounds[n, 0, :, start : start + frame_count] = spectrum[:, np.newaxis]
            heard = sounds[n, 0, :, : frames[n]]
            heard += rng.normal(0, noise, heard.shape)
        super().__init__(sounds, frames, letters, counts)


def spectrum_of(letter: str, voice: float) -> Array:
    """Return how loud each band is: two resonances with a standard deviation of 120 Hz."""
    away = BANDS[:, np.newaxis] - voice * np.array(FORMANTS[letter])
    loud: Array = np.exp(-((away / 120) ** 2) / 2).sum(axis=1)
    return loud


# --- melodies -------------------------------------------------------------------------------------

RATE, BEAT = 2000, 100  # values a second; values of a beat
SCALE = 220 * 2 ** (np.array([0, 2, 4, 7, 9, 12]) / 12)  # Hz; pentatonic, from A3 to A4


class Melodies(TensorDataset):
    """Play tunes of eight beats that wander up and down a pentatonic scale: waves as whole numbers.

    A note lasts one or two beats, fades, and has a weaker octave. The wave lies in [-1, 1], has
    2,000 values a second, and `mu_law` turns it into classes.

    Args:
        split: "train", "validation" or "test", of 1,000, 200 and 200 samples.
        length: another number of samples.
        levels: the number of classes.
        seed: an integer in [0, 2**64).

    Shapes: classes int64 (800,)

    >>> (classes,) = Melodies("test", levels=64)[0]
    >>> classes[:8]
    array([32, 62, 55, 33,  9,  1, 17, 62])

    Raises:
        ArgumentError: an argument is out of its range.
    """

    beats = 8
    input_shape = (beats * BEAT,)

    def __init__(
        self, split: str = "train", length: int | None = None, levels: int = 256, seed: int = 0
    ) -> None:
        rng, length = generator_of("Melodies", split, length, seed)
        waves = np.stack([self.play(*self.compose(rng)) for _ in range(length)])
        super().__init__(mu_law(waves, levels))
        self.num_classes = levels
        self.classes = tuple(map(str, range(levels)))

    def compose(self, rng: Any) -> tuple[list[int], list[int]]:
        """Draw notes, as places on the scale, and the beats that each lasts."""
        notes: list[int] = [int(rng.integers(len(SCALE)))]
        lasting: list[int] = []
        while sum(lasting) < self.beats:
            lasting.append(int(min(rng.integers(1, 3), self.beats - sum(lasting))))
            step = int(rng.choice([-2, -1, 1, 2]))
            notes.append(int(np.clip(notes[-1] + step, 0, len(SCALE) - 1)))
        return notes[:-1], lasting

    def play(self, notes: list[int], lasting: list[int]) -> Array:
        """Return the wave, e^(-3 t) (0.7 sin(2 pi f t) + 0.3 sin(4 pi f t)) for each note."""
        parts = []
        for note, beats in zip(notes, lasting, strict=True):
            t = np.arange(beats * BEAT) / RATE
            turns = 2 * np.pi * SCALE[note] * t
            parts.append(np.exp(-3 * t) * (0.7 * np.sin(turns) + 0.3 * np.sin(2 * turns)))
        return np.concatenate(parts)


def mu_law(wave: Any, levels: int = 256) -> Array:
    """Turn values in [-1, 1] into classes 0 to levels - 1, finer where it is quiet.

    f(x) = sign(x) ln(1 + mu |x|) / ln(1 + mu), mu = levels - 1

    Class k stands for f = 2 k / mu - 1; the nearest one is taken.

    Raises:
        ArgumentError: there are fewer than two levels, or a value lies outside.

    Recommendation: CCITT G.711, which has 256 levels.

    >>> mu_law([-1.0, -0.01, 0.0, 0.01, 1.0])
    array([  0,  98, 128, 157, 255])
    """
    wave = np.asarray(wave, dtype=np.float64)
    if levels < 2:
        raise ArgumentError(f"mu_law: needs at least 2 levels, got {levels}")
    if not np.all(np.abs(wave) <= 1):
        raise ArgumentError("mu_law: values must lie in -1 to 1; divide the wave by its largest")
    mu = levels - 1
    squeezed = np.sign(wave) * np.log1p(mu * np.abs(wave)) / np.log1p(mu)
    nearest: Array = np.floor((squeezed + 1) / 2 * mu + 0.5).astype(np.int64)
    return nearest


def mu_law_inverse(classes: Any, levels: int = 256) -> Array:
    """Return the value in the middle of each class: x = sign(f) ((1 + mu)^|f| - 1) / mu.

    >>> mu_law_inverse([0, 64, 255]).round(2)
    array([-1.  , -0.06,  1.  ])
    """
    mu = levels - 1
    squeezed = 2 * np.asarray(classes) / mu - 1
    wave: Array = np.sign(squeezed) * np.expm1(np.abs(squeezed) * np.log1p(mu)) / mu
    return wave


# --- sentences ------------------------------------------------------------------------------------

ADJECTIVES = (
    ("bad", "awful", "boring", "dull", "silly", "weak"),
    ("good", "great", "funny", "moving", "clever", "lovely"),
)
OPINIONS = (  # N is a thing, A an adjective; the second form means the opposite
    ("the N was A", "the N was not A"),
    ("i found the N very A", "i did not find the N very A"),
    ("it is a really A N", "it is by no means a really A N"),
    ("everyone said that the N is A", "nobody said that the N is A"),
)
THINGS = ("film", "plot", "cast", "music", "ending", "picture")
BEFORE = ("", "we saw it on sunday and", "after two hours", "to be honest")
AFTER = ("", "at our cinema", "if you ask me", "as we all know")
MOST_WORDS = 20


class Sentences(TensorDataset):
    """Write opinions about films; a sample is the number of each word, and whether it is praise.

    Every adjective is as often denied as it is not, so no single word tells: who wants to know has
    to see "not", some words and "good" together.

    Args:
        split: "train", "validation" or "test", of 1,000, 200 and 200 samples.
        length: another number of samples.
        seed: an integer in [0, 2**64).

    Shapes:
        words: int64 (20,), their places in `Sentences.words`, 0 after the last
        praise: int64, 0 or 1

    >>> words, praise = Sentences("test")[0]
    >>> Sentences.text(words), Sentences.classes[praise]
    ('we saw it on sunday and nobody said that the plot is funny as we all know', 'negative')

    Raises:
        ArgumentError: an argument is out of its range.
    """

    classes = ("negative", "positive")
    num_classes = 2
    input_shape = (MOST_WORDS,)
    words = (
        "",
        *sorted({
            *ADJECTIVES[0], *ADJECTIVES[1], *THINGS,
            *" ".join([*BEFORE, *AFTER, *(form for pair in OPINIONS for form in pair)]).split(),
        } - {"N", "A"}),
    )  # fmt: skip

    def __init__(self, split: str = "train", length: int | None = None, seed: int = 0) -> None:
        rng, length = generator_of("Sentences", split, length, seed)
        place = {word: number for number, word in enumerate(self.words)}
        numbers = np.zeros((length, MOST_WORDS), np.int64)
        praise = np.zeros(length, np.int64)
        for n in range(length):
            good, denied = rng.integers(0, 2, 2)
            opinion = rng.choice(OPINIONS)[denied]
            adjective, thing = rng.choice(ADJECTIVES[good]), rng.choice(THINGS)
            filled = opinion.replace("N", thing).replace("A", adjective)
            text = f"{rng.choice(BEFORE)} {filled} {rng.choice(AFTER)}".split()
            numbers[n, : len(text)] = [place[word] for word in text]
            praise[n] = good ^ denied
        super().__init__(numbers, praise)

    @classmethod
    def text(cls, numbers: Any) -> str:
        """Return the words with these numbers, as one text."""
        return " ".join(cls.words[int(number)] for number in numbers if number)
