"""Draw winograd.svg: from tiles of pixels over points and their products to tiles of results."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, Rectangle

INK, BLUE, ORANGE, GREY = "#222222", "#2b6cb0", "#dd6b20", "#cbd5e0"
matplotlib.rcParams.update(
    {"svg.hashsalt": "minicnn", "font.size": 10, "font.family": "sans-serif"}
)


def grid(ax, x, y, n, size, color=GREY):
    """Draw n x n cells from the upper left corner."""
    for i in range(n + 1):
        ax.plot([x, x + n * size], [y - i * size] * 2, color=color, lw=0.7)
        ax.plot([x + i * size] * 2, [y, y - n * size], color=color, lw=0.7)


def frame(ax, x, y, width, height, color, fill=0.15):
    """Draw a box with a light filling, from its upper left corner."""
    ax.add_patch(Rectangle((x, y - height), width, height, fc=color, alpha=fill, lw=0))
    ax.add_patch(Rectangle((x, y - height), width, height, fill=False, ec=color, lw=2))


def arrow(ax, x0, x1, y, text):
    """Draw an arrow to the right with a formula above it."""
    ax.add_patch(FancyArrowPatch((x0, y), (x1, y), arrowstyle="-|>", mutation_scale=14, color=INK))
    ax.text((x0 + x1) / 2, y + 0.12, text, ha="center", va="bottom", color=INK)


def draw():
    """Return the figure."""
    fig, ax = plt.subplots(figsize=(10, 3.6))
    ax.set_xlim(-0.1, 13)
    ax.set_ylim(-0.75, 3.3)
    ax.set_aspect("equal")
    ax.axis("off")
    cell = 0.26
    grid(ax, 0, 2.6, 10, cell)
    frame(ax, 0, 2.6, 6 * cell, 6 * cell, BLUE)
    frame(ax, 4 * cell, 2.6, 6 * cell, 6 * cell, ORANGE)
    ax.text(5 * cell, 2.72, "pixels, C channels", ha="center", va="bottom")
    ax.text(5 * cell, -0.15, "tiles d of 6x6, 4 apart", ha="center", va="top")

    arrow(ax, 2.75, 3.95, 1.3, "$B^T d\\,B$")
    for k in range(4, -1, -1):
        shift = 0.13 * k
        for x, width, color in ((4.05, 0.8, INK), (5.55, 1.15, BLUE)):
            ax.add_patch(
                Rectangle((x + shift, 0.75 + shift), width, 0.8, fc="white", ec=color, lw=1.3)
            )
    ax.add_patch(Rectangle((5.55, 0.75), 0.28, 0.8, fc=BLUE, alpha=0.3, lw=0))
    ax.add_patch(Rectangle((5.83, 0.75), 0.28, 0.8, fc=ORANGE, alpha=0.4, lw=0))
    ax.text(4.45, 1.15, "U", ha="center", va="center")
    ax.text(6.4, 1.15, "V", ha="center", va="center")
    ax.text(5.45, 1.0, "@", ha="center", va="center")
    ax.text(5.5, 2.72, "36 points", ha="center", va="bottom")
    ax.text(4.45, 0.62, "O x C", ha="center", va="top", fontsize=9)
    ax.text(6.12, 0.62, "C x tiles", ha="center", va="top", fontsize=9)
    ax.text(5.4, -0.15, "one matrix product a point\n$U = G\\,g\\,G^T$, once for all tiles",
            ha="center", va="top")  # fmt: skip

    arrow(ax, 7.35, 7.85, 1.3, "")
    for k in range(4, -1, -1):
        shift = 0.13 * k
        ax.add_patch(Rectangle((8.0 + shift, 0.75 + shift), 1.0, 0.8, fc="white", ec=INK, lw=1.3))
    ax.text(8.5, 1.15, "M", ha="center", va="center")
    ax.text(8.5, 0.62, "O x tiles", ha="center", va="top", fontsize=9)

    arrow(ax, 9.65, 10.55, 1.3, "$A^T M A$")
    grid(ax, 10.75, 2.3, 8, cell)
    frame(ax, 10.75, 2.3, 4 * cell, 4 * cell, BLUE)
    frame(ax, 10.75 + 4 * cell, 2.3, 4 * cell, 4 * cell, ORANGE)
    ax.text(10.75 + 4 * cell, 2.72, "results, O channels", ha="center", va="bottom")
    ax.text(10.75 + 4 * cell, -0.15, "tiles Y of 4x4, side by side", ha="center", va="top")
    return fig


if __name__ == "__main__":
    target = Path(__file__).with_suffix(".svg")
    draw().savefig(target, bbox_inches="tight", metadata={"Date": None})
