"""A detector: a grid of cells, each of which says whether an object's middle is in it, and which.

Paper: Redmon, Divvala, Girshick, Farhadi 2015, "You only look once: unified, real-time object
detection", section 2, arXiv:1506.02640.

Deviations: a network at the size of a lesson, its last layer a 1x1 convolution instead of dense
ones, so that the grid grows with the image; batch normalisation, as in the paper's second version.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minicnn import nn
from minicnn.factories import as_tensor
from minicnn.models.catalogue import published
from minicnn.ops.shape import permute

__all__ = ["detect", "detector", "detector_loss", "detector_targets", "iou", "nms"]

CHANNELS = (16, 32, 64)  # of each 3x3 convolution; each is followed by a 2x2 max-pooling
COORDINATES, NO_OBJECT = 5.0, 0.5  # the paper's lambdas


class GridOutputs(NamedTuple):
    """What each of the S x T cells says.

    Shapes:
        boxes: (N, S, T, B, 4): x and y of the middle, from 0 to 1 within the cell, and the square
            roots of width and height, in parts of the image
        confidence: (N, S, T, B): P(object) times the overlap that the box is expected to have
        classes: (N, S, T, C): P(class | object)
    """

    boxes: Any
    confidence: Any
    classes: Any


class Detections(NamedTuple):
    """What was found in an image, best first: boxes (D, 4), scores (D,), labels (D,)."""

    boxes: Any
    scores: Any
    labels: Any


class Detector(nn.Module):
    """Three stages of 3x3 convolution and max-pooling: a cell for each 8x8 pixels.

    `boxes` is how many boxes a cell proposes.  `width` is the part of the channels to have.
    """

    def __init__(
        self, num_classes: int = 8, in_channels: int = 3, boxes: int = 2, width: float = 1.0
    ) -> None:
        super().__init__()
        self.boxes = boxes
        self.layers, channels = nn.Sequential(), in_channels
        for wanted in CHANNELS:
            out = round(wanted * width)
            self.layers.extend([
                nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out),
                nn.LeakyReLU(0.1, inplace=True), nn.MaxPool2d(2),
            ])  # fmt: skip
            channels = out
        self.layers.extend([
            nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(channels, 5 * boxes + num_classes, 1),
        ])  # fmt: skip

    def forward(self, x: Any) -> GridOutputs:
        """Return what each cell says."""
        y = permute(self.layers(x), (0, 2, 3, 1))
        boxes = y[..., : 5 * self.boxes].reshape(*y.shape[:3], self.boxes, 5)
        return GridOutputs(boxes[..., :4], boxes[..., 4], y[..., 5 * self.boxes :])


# --- boxes, as arrays of corners: left, top, right, bottom ----------------------------------------


def iou(a: Any, b: Any) -> Any:
    """Return intersection over union of boxes (..., 4), which broadcast.

    >>> iou(np.array([0, 0, 2, 2]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]]))
    array([0.33333333, 0.        ])
    """
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    both = np.prod(np.maximum(high - low, 0), axis=-1)
    of_a, of_b = (np.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b))
    return both / np.maximum(of_a + of_b - both, 1e-12)


def nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Return which boxes to keep, best first: each that overlaps no better one too much.

    >>> boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 3], [5, 0, 9, 4]])
    >>> nms(boxes, np.array([0.5, 0.9, 0.7]), iou_threshold=0.5)
    array([1, 2])
    """
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if not (iou(boxes[i], boxes[kept]) > iou_threshold).any():
            kept.append(i)
    return np.array(kept, dtype=np.int64)


def to_corners(boxes: Any) -> Any:
    """Turn the boxes of the cells, (N, S, T, B, 4), into corners in parts of the image."""
    rows, columns = boxes.shape[1:3]
    row, column = np.ogrid[:rows, :columns]
    x = (boxes[..., 0] + column[..., np.newaxis]) / columns
    y = (boxes[..., 1] + row[..., np.newaxis]) / rows
    middle, half = np.stack([x, y], axis=-1), boxes[..., 2:] ** 2 / 2
    return np.concatenate([middle - half, middle + half], axis=-1)


# --- what the cells should say, and what they said ------------------------------------------------


def detector_targets(boxes: Any, labels: Any, grid: tuple[int, int]) -> tuple[Any, Any]:
    """Give each object to the cell that its middle is in; of two in a cell the last remains.

    Args:
        boxes: corners (N, M, 4), in parts of the image.
        labels: classes (N, M), -1 where there is no object.
        grid: S and T, the rows and columns of cells.

    Shapes:
        results: (N, S, T, 1, 4) as in `GridOutputs`, and classes (N, S, T), -1 for no object
    """
    cells = np.zeros((len(boxes), *grid, 1, 4))
    classes = np.full((len(boxes), *grid), -1)
    n, m = np.nonzero(labels >= 0)
    low, high = boxes[n, m, :2], boxes[n, m, 2:]
    columns_rows = np.array(grid[::-1])
    middle = (low + high) / 2 * columns_rows
    corner = middle.astype(int).clip(0, columns_rows - 1)
    column, row = corner.T
    cells[n, row, column, 0] = np.concatenate([middle - corner, np.sqrt(high - low)], axis=1)
    classes[n, row, column] = labels[n, m]
    return cells, classes


def detector_loss(outputs: GridOutputs, targets: tuple[Any, Any]) -> Any:
    """Return the sum of squared errors of an image, equation (3) of the paper.

    Of the boxes of a cell with an object only that counts which overlaps it most, r = 1:

    5 sum r |box - box'|^2 + sum r (confidence - iou)^2 + 0.5 sum (1 - r) confidence^2
    + sum over cells with an object |classes - classes'|^2

    Shapes:
        result: (), the mean over the batch
    """
    boxes, confidence, classes = outputs
    true_boxes, labels = targets
    overlap = iou(to_corners(boxes.detach().numpy()), to_corners(true_boxes))
    best = overlap.argmax(axis=-1)[..., np.newaxis] == np.arange(overlap.shape[-1])
    found = labels[..., np.newaxis] >= 0
    is_class = labels[..., np.newaxis] == np.arange(classes.shape[-1])
    responsible, overlap, true_boxes, is_class, found = (
        as_tensor(value).to(boxes.dtype)
        for value in (best & found, overlap, true_boxes, is_class, found)
    )
    distance = (COORDINATES * (boxes - true_boxes) ** 2).sum(-1) + (confidence - overlap) ** 2
    silent = NO_OBJECT * (1 - responsible) * confidence**2
    loss = (responsible * distance + silent).sum() + (found * (classes - is_class) ** 2).sum()
    return loss / len(labels)


def detect(
    outputs: GridOutputs, threshold: float = 0.2, iou_threshold: float = 0.5
) -> list[Detections]:
    """Return for each image the boxes whose confidence times P(class) is above the threshold.

    Of boxes of the same class that overlap by more than `iou_threshold`, the best is left.
    """
    boxes, confidence, classes = (values.detach().numpy() for values in outputs)
    found = []
    for corners, scores in zip(
        to_corners(boxes), confidence[..., np.newaxis] * classes[..., np.newaxis, :], strict=True
    ):
        corners, scores = corners.reshape(-1, 4), scores.reshape(-1, classes.shape[-1])
        labels, scores = scores.argmax(axis=1), scores.max(axis=1)
        apart = corners + 10.0 * labels[:, np.newaxis]  # other classes never overlap
        kept = nms(apart, scores, iou_threshold)
        kept = kept[scores[kept] > threshold]
        found.append(Detections(corners[kept], scores[kept], labels[kept]))
    return found


@published(
    2015,
    "Redmon: You only look once: unified, real-time object detection",
    parameters=61_794,
    multiply_adds=13_639_680,
    input_shape=(3, 64, 64),
)
def detector(**settings: Any) -> Detector:
    """Build a small detector; the settings are those of the class."""
    return Detector(**settings)
