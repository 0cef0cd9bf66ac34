from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

import minicnn
from minicnn import models
from minicnn.data import Shapes
from minicnn.models import in_torch
from minicnn.models.detector import (
    GridOutputs,
    detect,
    detector_loss,
    detector_targets,
    iou,
    nms,
    to_corners,
)
from minicnn.optim import Adam


def random_boxes(rng, *shape):
    low = rng.uniform(0, 0.6, size=(*shape, 2))
    return np.concatenate([low, low + rng.uniform(0.1, 0.4, size=(*shape, 2))], axis=-1)


# --- boxes ----------------------------------------------------------------------------------------


def test_overlap_by_counting_pixels(rng):
    boxes = rng.integers(0, 12, size=(40, 2, 2))
    boxes = np.concatenate([boxes.min(axis=1), boxes.max(axis=1) + 1], axis=1)

    def filled(box):
        image = np.zeros((13, 13), dtype=bool)
        image[box[1] : box[3], box[0] : box[2]] = True
        return image

    found = iou(boxes[:, np.newaxis], boxes)
    for i, a in enumerate(map(filled, boxes)):
        for j, b in enumerate(map(filled, boxes)):
            assert found[i, j] == pytest.approx((a & b).sum() / (a | b).sum())


def test_boxes_without_an_area_overlap_nothing():
    assert iou(np.zeros(4), np.zeros(4)) == 0


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_suppression_by_its_definition(rng, threshold):
    boxes, scores = random_boxes(rng, 60), rng.permutation(60)
    kept = nms(boxes, scores, threshold)
    assert (np.diff(scores[kept]) < 0).all()
    for i in range(60):
        better = [j for j in kept if scores[j] > scores[i]]
        suppressed = any(iou(boxes[i], boxes[j]) > threshold for j in better)
        assert (i in kept) == (not suppressed)


def test_suppression_of_nothing_and_of_equals():
    assert nms(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []
    same = np.tile([0.0, 0.0, 1.0, 1.0], (3, 1))
    assert nms(same, np.ones(3), 0.5).tolist() == [0]  # the first of equals


# --- the grid -------------------------------------------------------------------------------------


def test_cells_give_the_boxes_back(rng):
    boxes, labels = random_boxes(rng, 20, 1), rng.integers(0, 5, size=(20, 1))
    cells, classes = detector_targets(boxes, labels, (3, 5))
    assert cells.shape == (20, 3, 5, 1, 4)
    corners = to_corners(cells)
    for n, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        ((row, column),) = np.argwhere(classes[n] >= 0)
        x, y = (box[0, :2] + box[0, 2:]) / 2
        assert (row, column) == (int(y * 3), int(x * 5))
        assert classes[n, row, column] == label[0]
        np.testing.assert_allclose(corners[n, row, column, 0], box[0], rtol=1e-12)


def test_an_object_at_the_edge_is_in_the_last_cell():
    _, classes = detector_targets(np.array([[[0.9, 0.9, 1.1, 1.1]]]), np.array([[3]]), (4, 4))
    assert np.argwhere(classes == 3).tolist() == [[0, 3, 3]]


def random_outputs(rng, n=2, grid=(3, 4), boxes=2, classes=3):
    shape = (n, *grid, boxes)
    return GridOutputs(*(minicnn.tensor(rng.uniform(0.1, 0.9, size=size)) for size in (
        (*shape, 4), shape, (n, *grid, classes),
    )))  # fmt: skip


def random_targets(rng, n=2, objects=4, grid=(3, 4), classes=3):
    labels = rng.integers(-1, classes, size=(n, objects))
    return detector_targets(random_boxes(rng, n, objects), labels, grid)


def test_loss_by_its_definition(rng):
    outputs, targets = random_outputs(rng), random_targets(rng)
    boxes, confidence, classes = (values.array for values in outputs)
    corners, true_corners = to_corners(boxes), to_corners(targets[0])
    expected = 0.0
    for cell in np.ndindex(targets[1].shape):
        label, candidates = targets[1][cell], range(2)
        overlap = [iou(corners[cell][b], true_corners[cell][0]) for b in candidates]
        best = int(np.argmax(overlap)) if label >= 0 else None
        for b in candidates:
            if b == best:
                expected += 5 * ((boxes[cell][b] - targets[0][cell][0]) ** 2).sum()
                expected += (confidence[cell][b] - overlap[b]) ** 2
            else:
                expected += 0.5 * confidence[cell][b] ** 2
        if label >= 0:
            expected += ((classes[cell] - np.eye(3)[label]) ** 2).sum()
    assert detector_loss(outputs, targets).item() == pytest.approx(expected / 2, rel=1e-9)


def test_outputs_that_say_the_truth_cost_nothing(rng):
    boxes, labels = random_targets(rng)
    outputs = GridOutputs(
        minicnn.tensor(boxes), minicnn.tensor((labels[..., None] >= 0) * 1.0),
        minicnn.tensor(np.eye(3)[labels]),
    )  # fmt: skip
    assert detector_loss(outputs, (boxes, labels)).item() == pytest.approx(0, abs=1e-12)
    for n, found in enumerate(detect(outputs)):
        assert sorted(found.labels) == sorted(labels[n][labels[n] >= 0])
        assert (found.scores > 0.99).all()


def test_of_one_class_only_the_best_box_is_left():
    """Two boxes at the same place: both are left where they are of different classes."""
    boxes = np.tile([0.5, 0.5, 0.7, 0.7], (1, 1, 2, 1, 1))
    boxes[0, 0, :, 0, 0] = 1, 0  # their middles meet between the cells
    confidence = np.array([0.9, 0.8]).reshape(1, 1, 2, 1)
    for second, left in ((0, [0.9]), (1, [0.9, 0.8])):
        classes = np.eye(2)[[0, second]].reshape(1, 1, 2, 2)
        (found,) = detect(GridOutputs(*map(minicnn.tensor, (boxes, confidence, classes))))
        assert found.scores.tolist() == left
        assert found.labels.tolist() == [0, second][: len(left)]


# --- the network ----------------------------------------------------------------------------------


def test_a_cell_for_each_eight_pixels():
    model = models.detector(num_classes=3, in_channels=2, boxes=4, width=1 / 4)
    outputs = model(minicnn.zeros(2, 2, 41, 56))
    assert [y.shape for y in outputs] == [(2, 5, 7, 4, 4), (2, 5, 7, 4), (2, 5, 7, 3)]


def test_the_same_in_torch(torch, rng, seeded):
    settings = {"num_classes": 3, "in_channels": 1, "width": 1 / 8}
    ours, theirs = (make("detector", **settings) for make in (models.create, in_torch.create))
    x = rng.normal(size=(2, 1, 24, 32))
    assert_twins(torch, ours, theirs, x)
    targets = random_targets(rng)
    twin = in_torch.load("detector")
    expected = twin.detector_loss(theirs(torch.tensor(x)), targets)
    loss = detector_loss(ours(minicnn.tensor(x)), targets)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    theirs.zero_grad()
    ours.zero_grad()
    expected.backward()
    loss.backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad.array, other.grad.numpy(), rtol=1e-6, atol=1e-9)


def test_it_finds_the_shapes_it_has_seen(seeded):
    pictures, labels, boxes = Shapes(targets="boxes", shapes=("circle", "bar"), objects=4)[:6]
    boxes, x = boxes / 32, minicnn.tensor(pictures)
    model = models.detector(num_classes=2)
    optimizer = Adam(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(90):
        optimizer.zero_grad()
        loss = detector_loss(model(x), detector_targets(boxes, labels, (4, 4)))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    found = detect(model(x))
    right = [
        ((iou(f.boxes, box) > 0.5) & (f.labels == label)).any()
        for f, some, kinds in zip(found, boxes, labels, strict=True)
        for box, label in zip(some, kinds, strict=True)
        if label >= 0
    ]
    assert np.mean(right) > 0.75
    assert sum(len(f.labels) for f in found) <= 1.5 * len(right)
