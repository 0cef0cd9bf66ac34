"""Draw neocognitron.svg: what S-cells have learned, and where digits are recognised."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

import minicnn
from minicnn import models
from minicnn.data import Digits

INK, BLUE = "#222222", "#2b6cb0"
SELECTIVITY = 4.0, 2.5, 1.5
MOST = 4  # pixels that a digit is shifted by
matplotlib.rcParams.update(
    {"svg.hashsalt": "minicnn", "font.size": 10, "font.family": "sans-serif"}
)


def retina(digit, down=0, right=0):
    """Put a digit of 8x8 pixels on the middle of the retina, or beside it."""
    pixels = np.zeros((1, 1, 16, 16))
    pixels[0, 0, 4 + down : 12 + down, 4 + right : 12 + right] = digit
    return pixels


def some_digits():
    """Return one handwriting of each of 0 to 4, ink or paper."""
    images, labels = Digits("train", 8, normalize=False)[:]
    return [images[np.flatnonzero(labels == k)[3], 0] > 0.5 for k in range(5)]


def taught(digits, seed, selectivity=SELECTIVITY):
    """Return a Neocognitron that was shown each digit four times, always in the middle."""
    minicnn.manual_seed(seed)
    net = models.neocognitron(selectivity=selectivity).double()
    for _ in range(4):
        for digit in digits:
            net.present(minicnn.tensor(retina(digit)))
    return net


def cells(net, pixels):
    """Return the number of the most active last cell for each retina, -1 where none is."""
    activities = net(minicnn.tensor(np.concatenate(pixels))).array
    return np.where(activities.max(axis=1) > 0.05, activities.argmax(axis=1), -1)


def recognised(answer, digits):
    """Return, for each shift, the share of digits that get the answer they get in the middle."""
    middle = answer([retina(digit) for digit in digits])
    shifts = range(-MOST, MOST + 1)
    return np.array([
        [(answer([retina(d, i, j) for d in digits]) == middle).mean() for j in shifts]
        for i in shifts
    ])  # fmt: skip


def nearest(digits):
    """Return an answerer that compares pixels: the digit with the smallest squared distance."""
    known = np.stack([retina(digit).ravel() for digit in digits])

    def answer(pixels):
        seen = np.stack([p.ravel() for p in pixels])
        return ((seen[:, np.newaxis] - known) ** 2).sum(axis=2).argmin(axis=1)

    return answer


def draw():
    """Return the figure."""
    digits = some_digits()
    net = taught(digits, seed=0)
    fig = plt.figure(figsize=(10, 3.6))
    left, middle, right = fig.subfigures(1, 3, width_ratios=(1.5, 1, 1))
    left.suptitle("first S-planes: their 24 windows", fontsize=10)
    a = net.stages[0][0].a.array[:, 0] / net.stages[0][0].c.array[0, 0]
    for ax, window in zip(left.subplots(4, 6).flat, a, strict=True):
        ax.imshow(window, cmap="gray_r")
        ax.axis("off")
    for figure, answer, title in (
        (middle, lambda pixels: cells(net, pixels), "Neocognitron"),
        (right, nearest(digits), "nearest digit by pixels"),
    ):
        ax = figure.subplots()
        shares = recognised(answer, digits)
        extent = [-MOST - 0.5, MOST + 0.5, MOST + 0.5, -MOST - 0.5]
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.4, extent=extent)
        for (i, j), share in np.ndenumerate(shares):
            text = f"{5 * share:.0f}"
            ax.text(j - MOST, i - MOST, text, ha="center", va="center", color=INK, fontsize=8)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("pixels to the right")
        ax.set_ylabel("pixels down")
    return fig


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".svg"), bbox_inches="tight", metadata={"Date": None})
