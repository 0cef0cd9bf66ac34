"""Draw sequences.svg: vowels and what the network hears, a melody and how it goes on."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

import minicnn
from minicnn import models
from minicnn.data import Melodies, Vowels, mu_law_inverse
from minicnn.data.sequences import RATE, SCALE
from minicnn.models.deepspeech2 import greedy
from minicnn.nn import functional as F
from minicnn.optim import Adam

BLUE, ORANGE, GREY = "#2b6cb0", "#dd6b20", "#cbd5e0"
LEVELS, GIVEN, MORE = 64, 400, 800
PIECE = 50  # values that a frequency is looked for in
matplotlib.rcParams.update(
    {"svg.hashsalt": "minicnn", "font.size": 10, "font.family": "sans-serif"}
)


def taught_vowels(epochs=6):
    """Return a small Deep Speech 2 that has heard the 1,000 training samples several times."""
    minicnn.manual_seed(0)
    sounds, frames, letters, counts = Vowels("train")[:]
    model = models.deepspeech2(
        Vowels.num_classes, 25, convolutions=1, layers=1, hidden=64, cell="GRU", width=0.5
    )
    optimizer = Adam(model.parameters(), lr=0.005)
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(sounds))
        for start in range(0, len(sounds), 20):
            part = order[start : start + 20]
            optimizer.zero_grad()
            y = model(minicnn.tensor(sounds[part]), frames[part])
            F.ctc_loss(y.log_probs, letters[part], y.lengths, counts[part]).backward()
            optimizer.step()
    return model.eval()


def right_vowels(model):
    """Return the share of test samples of which every letter is right."""
    sounds, frames, letters, _ = Vowels("test")[:]
    with minicnn.no_grad():
        found = greedy(model(minicnn.tensor(sounds), frames))
    return np.mean([f == [k for k in row if k] for f, row in zip(found, letters, strict=True)])


def taught_melodies(steps=400):
    """Return a small WaveNet that has heard parts of the training melodies, and its losses."""
    minicnn.manual_seed(0)
    (codes,) = Melodies("train", levels=LEVELS)[:]
    model = models.wavenet(LEVELS, dilations=(1, 2, 4, 8, 16, 32), width=1.0)
    optimizer, losses, rng = Adam(model.parameters(), lr=0.003), [], np.random.default_rng(0)
    for _ in range(steps):
        start = rng.integers(0, codes.shape[1] - 257)
        batch = codes[rng.integers(0, len(codes), 8), start : start + 257]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[:, :-1]), batch[:, 1:])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def frequencies(wave):
    """Return the loudest frequency of each piece, in Hz."""
    spectra = np.abs(np.fft.rfft(wave.reshape(-1, PIECE), 16 * PIECE))
    return spectra.argmax(axis=1) * RATE / (16 * PIECE)


def continuations(network, count):
    """Return the waves of test melodies, the first 400 values as they are, 800 more by WaveNet."""
    minicnn.manual_seed(0)
    (codes,) = Melodies("test", count, levels=LEVELS)[:]
    continued = network.generate(minicnn.tensor(codes[:, :GIVEN]), MORE)
    return mu_law_inverse(continued.array, LEVELS)


def draw():
    """Return the figure."""
    fig, ((sound, wave), (heard, notes)) = plt.subplots(
        2, 2, figsize=(10, 4.2), width_ratios=(1, 1.4), layout="constrained"
    )
    model = taught_vowels()
    sounds, frames, letters, _ = (field[3:4] for field in Vowels("test")[:])
    with minicnn.no_grad():
        y = model(minicnn.tensor(sounds), frames)
    sound.imshow(sounds[0, 0, :, : frames[0]], origin="lower", aspect="auto", cmap="gray_r")
    sound.set_title("spoken: " + "".join(Vowels.classes[k] for k in letters[0]), fontsize=10)
    sound.set(xticks=[], ylabel="band")
    steps = int(y.lengths.array[0])
    for k, name in enumerate(Vowels.classes):
        chance = np.exp(y.log_probs.array[:steps, 0, k])
        color = f"C{k}" if k else GREY
        heard.plot(2 * np.arange(steps), chance, color=color, lw=1.5, label=name or "blank")
    heard.set(xlabel="frame", ylabel="probability", ylim=(0, 1.35), xlim=(0, frames[0] - 1))
    heard.legend(ncols=6, fontsize=8, handlelength=0.8, columnspacing=0.8, loc="upper center")
    network, _ = taught_melodies()
    values = continuations(network, 6)[0]
    time = np.arange(GIVEN + MORE)
    for part, color in ((slice(GIVEN + 1), BLUE), (slice(GIVEN, None), ORANGE)):
        wave.plot(time[part], values[part], color=color, lw=1)
    wave.set(xlim=(GIVEN - 100, GIVEN + 150), ylim=(-1, 1))
    wave.set_title("a melody, and how WaveNet goes on", fontsize=10)
    notes.hlines(SCALE, 0, GIVEN + MORE, color=GREY, lw=0.8)
    found = frequencies(values)
    middle = np.arange(len(found)) * PIECE + PIECE / 2
    for part, color in ((middle < GIVEN, BLUE), (middle > GIVEN, ORANGE)):
        notes.plot(middle[part], found[part], "s", ms=4, color=color)
    notes.set(xlabel="value (2,000 a second)", ylabel="Hz", xlim=(0, GIVEN + MORE))
    return fig


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
