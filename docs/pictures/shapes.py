"""Draw shapes.png: a few pictures of the shapes, with their classes, boxes and masks."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

from minicnn.data import Shapes

ACROSS = 6
matplotlib.rcParams.update({"font.family": "sans-serif"})


def draw(path):
    """Write the picture: one shape each, several with their boxes, and their masks."""
    several = {"size": 64, "objects": 4, "normalize": False}
    pictures, labels = Shapes("test", labels="both", normalize=False)[:ACROSS]
    scenes, _, boxes = Shapes("test", targets="boxes", **several)[:ACROSS]
    _, masks = Shapes("test", targets="masks", **several)[:ACROSS]
    names = Shapes(labels="both").classes
    figure, axes = plt.subplots(3, ACROSS, figsize=(9, 4.8), layout="constrained")
    for i in range(ACROSS):
        axes[0, i].imshow(pictures[i].transpose(1, 2, 0))
        axes[0, i].set_title(names[labels[i]], fontsize=9)
        axes[1, i].imshow(scenes[i].transpose(1, 2, 0))
        for left, top, right, bottom in boxes[i]:
            corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            axes[1, i].add_patch(plt.Rectangle(corner, *size, fill=False, ec="w"))
        axes[2, i].imshow(masks[i], vmin=0, vmax=8, cmap="magma", interpolation="nearest")
    for each in axes.flat:
        each.set_axis_off()
    figure.savefig(path, dpi=64, metadata={"Software": None})


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
