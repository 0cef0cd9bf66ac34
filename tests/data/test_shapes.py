from __future__ import annotations

import math

import numpy as np
import pytest

from minicnn.data import DataLoader, shapes
from minicnn.data.shapes import COLOURS, SHAPES, Shapes, in_cells
from minicnn.errors import ArgumentError

# --- which picture it is --------------------------------------------------------------------


def test_a_picture_depends_on_its_number_alone(monkeypatch):
    dataset = Shapes("train", 20, length=30)
    pictures, labels = dataset[:]
    monkeypatch.setattr(shapes, "BLOCK", 7 * 20**2)
    chosen = np.array([29, 3, 3, -1, 12, 0, 5, 7, 11])
    for found, all_of_them in zip(dataset[chosen], (pictures, labels), strict=True):
        np.testing.assert_array_equal(found, all_of_them[chosen])
    picture, label = dataset[4]
    np.testing.assert_array_equal(picture, pictures[4])
    assert label == labels[4]
    longer = Shapes("train", 20, length=shapes.MOST)[2:4][0]
    np.testing.assert_array_equal(longer, pictures[2:4])


def test_the_pictures_never_change():
    """Results of years apart are compared; other numbers here make all of them worthless."""
    first = {split: Shapes(split)[:10][1].tolist() for split in shapes.SPLITS}
    assert first == FIRST_LABELS
    _, labels, poses = Shapes("test", 64, objects=3, targets="pose", seed=5)[5]
    assert labels.tolist() == LABELS
    np.testing.assert_allclose(poses, POSES, atol=1e-6)
    pictures = np.rint(Shapes("test", 12, normalize=False)[0][0] * 255)
    np.testing.assert_allclose(pictures[1, 5], ROW, atol=1)  # another libm may round differently


FIRST_LABELS = {
    "train": [2, 4, 6, 4, 4, 3, 5, 7, 5, 2],
    "validation": [3, 4, 4, 2, 2, 1, 1, 2, 0, 4],
    "test": [4, 7, 0, 2, 2, 1, 0, 3, 3, 1],
}
LABELS = [6, 7, -1]
POSES = [
    [-0.551112, 0.536954, 0.423607, -0.973542, -0.228508],
    [0.556513, -0.451149, 0.337935, -0.546118, -0.837708],
    [0.0, 0.0, 0.0, 0.0, 0.0],
]
ROW = [42, 112, 234, 177, 204, 235, 218, 176, 215, 62, 26, 36]


def test_seeds_and_splits_differ():
    pictures = [
        Shapes(split, 16, length=1, seed=seed)[0][0] for split in shapes.SPLITS for seed in (0, 1)
    ]
    assert len({picture.tobytes() for picture in pictures}) == 6


def test_a_picture_is_the_same_at_any_size():
    small, large = (Shapes(size=size, targets="pose", objects=4)[:20] for size in (32, 64))
    np.testing.assert_array_equal(small[1], large[1])
    np.testing.assert_allclose(small[2], large[2], atol=1e-6)


def test_the_numbers_are_spread_evenly():
    labels, poses = Shapes(length=2000, size=12, targets="pose", labels="both")[:][1:]
    assert np.bincount(labels[:, 0], minlength=48).min() > 20
    x, y, radius = poses[:, 0, :3].T
    assert np.abs([x.mean(), y.mean(), np.corrcoef(x, y)[0, 1]]).max() < 0.05
    assert (np.abs(x) + radius).max() <= 1
    assert (np.abs(y) + radius).max() <= 1
    assert radius.min() == pytest.approx(0.52, abs=0.002)
    assert radius.max() == pytest.approx(0.92, abs=0.002)


# --- what is drawn --------------------------------------------------------------------------


def _corners(tips, valley):
    """Return the corners of a star, or of a regular polygon if its valleys lie on the sides."""
    around = np.arange(2 * tips) * math.pi / tips
    reach = np.where(np.arange(2 * tips) % 2, valley, 1)
    return np.stack([reach * np.cos(around), reach * np.sin(around)], axis=1)


def _in_polygon(x, y, corners):
    """Count how often a ray to the right crosses a side."""
    inside = np.zeros(x.shape, bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
        if y1 != y2:
            inside ^= ((y1 > y) != (y2 > y)) & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


PLUS = [
    (0.95, 0.3), (0.3, 0.3), (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3),
    (-0.95, -0.3), (-0.3, -0.3), (-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3),
]  # fmt: skip
HALF = [(0.0, 1.0), (0.0, -1.0)] + [
    (math.cos(a), math.sin(a)) for a in np.linspace(-math.pi / 2, math.pi / 2, 200)
]
INSIDE = {
    "circle": lambda x, y: x**2 + y**2 < 1,
    "ring": lambda x, y: (x**2 + y**2 < 1) & (x**2 + y**2 > 0.25),
    "semicircle": lambda x, y: _in_polygon(x, y, HALF),
    "triangle": lambda x, y: _in_polygon(x, y, _corners(3, 0.5)),
    "square": lambda x, y: _in_polygon(x, y, _corners(4, math.sqrt(0.5)) @ TURN_45),
    "bar": lambda x, y: _in_polygon(x, y, [(0.95, 0.3), (-0.95, 0.3), (-0.95, -0.3), (0.95, -0.3)]),
    "cross": lambda x, y: _in_polygon(x, y, PLUS),
    "star": lambda x, y: _in_polygon(x, y, _corners(5, (3 - math.sqrt(5)) / 2)),
}
TURN_45 = np.array([[1, 1], [-1, 1]]) / math.sqrt(2)


def _covered(shape, pose, size, fine=8):
    """Return which part of each pixel a shape covers, by asking at fine * fine points in it."""
    x, y, radius, cosine, sine = pose
    turns = SHAPES[shape][1]
    angle = math.atan2(sine, cosine) / turns if turns else 0.7
    points = (np.arange(size * fine) + 0.5) / (size * fine) * 2 - 1
    dx, dy = (points - x) / radius, ((points - y) / radius)[:, None]
    u, v = (
        math.cos(angle) * dx + math.sin(angle) * dy,
        math.cos(angle) * dy - math.sin(angle) * dx,
    )
    return INSIDE[shape](u, v).reshape(size, fine, size, fine).mean(axis=(1, 3))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_what_its_pose_says(shape):
    size, settings = 31, {"shapes": [shape], "noise": 0.0, "length": 4, "seed": 3}
    poses = Shapes("test", size, targets="pose", **settings)[:][2][:, 0]
    masks = Shapes("test", size, targets="masks", **settings)[:][1]
    boxes = Shapes("test", size, targets="boxes", **settings)[:][2][:, 0]
    pictures = Shapes("test", size, normalize=False, **settings)[:][0]
    for pose, mask, box, picture in zip(poses, masks, boxes, pictures, strict=True):
        expected = _covered(shape, pose, size)
        clear = np.abs(expected - 0.5) > 0.3
        np.testing.assert_array_equal(mask[clear], (expected > 0.5)[clear])
        assert mask.sum() == pytest.approx(expected.sum(), rel=0.04)
        rows, columns = np.nonzero(mask)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_array_equal(box, edges)
        # Where does the picture lie between the background and the shape's own colour?
        paint = np.median(picture[:, expected == 1], axis=1)
        behind = picture[:, :1] if pose[1] > 0 else picture[:, -1:]
        blend = (picture - behind) * (paint[:, None, None] - behind)
        blend = blend.sum(axis=0) / ((paint[:, None, None] - behind) ** 2).sum(axis=0)
        np.testing.assert_allclose(blend, expected, atol=0.4)  # most at sharp corners
        np.testing.assert_allclose(blend.mean(), expected.mean(), atol=0.005)


def test_a_shape_has_the_colour_of_its_label():
    settings = {"length": 60, "size": 24, "labels": "colour", "seed": 1}
    pictures, labels = Shapes(**settings, normalize=False)[:]
    masks = Shapes(**settings, targets="masks")[:][1]
    names = [*COLOURS]
    for picture, label, mask in zip(pictures, labels, masks, strict=True):
        assert set(np.unique(mask)) == {0, label + 1}
        mean = picture[:, mask > 0].mean(axis=1)
        near = [np.linalg.norm(mean / mean.max() - np.divide(c, max(c))) for c in COLOURS.values()]
        assert names[int(np.argmin(near))] == names[label]


def test_both_names_shape_and_colour():
    names = []
    for labels in ("colour", "shape", "both"):
        dataset = Shapes(length=60, size=12, labels=labels)
        names.append([dataset.classes[label] for label in dataset[:][1]])
    colours, shapes_, both = names
    assert both == [f"{c} {s}" for c, s in zip(colours, shapes_, strict=True)]


def test_noise_has_the_standard_deviation_asked_for():
    quiet, loud = (Shapes(length=20, noise=noise, normalize=False)[:][0] for noise in (0, 0.1))
    inside = (quiet > 0.2) & (quiet < 0.8)  # the rest is cut off at 0 and 1
    assert (loud - quiet)[inside].std() == pytest.approx(0.1, rel=0.03)
    assert abs((loud - quiet)[inside].mean()) < 0.002


# --- several objects ------------------------------------------------------------------------


@pytest.mark.parametrize(("objects", "size"), [(2, 41), (4, 40), (5, 64)])
def test_several_objects_lie_apart(objects, size):
    settings = {"size": size, "objects": objects, "length": 50, "labels": "both"}
    _, labels, boxes = Shapes(**settings, targets="boxes")[:]
    _, same_labels, poses = Shapes(**settings, targets="pose")[:]
    _, masks = Shapes(**settings, targets="masks")[:]
    assert labels.shape == (50, objects)
    assert boxes.shape == (50, objects, 4)
    assert masks.shape == (50, size, size)
    np.testing.assert_array_equal(labels, same_labels)
    there = labels >= 0
    assert set(there.sum(axis=1)) == {*range(1, objects + 1)}
    assert not boxes[~there].any()
    assert not poses[~there].any()
    for n in range(50):
        seen = np.zeros((size, size), bool)
        for label, box, pose in zip(labels[n], boxes[n], poses[n], strict=True):
            if label < 0:
                continue
            left, top, right, bottom = box.astype(int)
            window = np.s_[top:bottom, left:right]
            assert not seen[window].any()
            seen[window] = True
            assert set(np.unique(masks[n][window])) <= {0, label + 1}
            edges = (masks[n][window] == label + 1).any(axis=0)
            assert edges[0]
            assert edges[-1]
            x, y = (pose[:2] + 1) * size / 2
            assert left <= x <= right
            assert top <= y <= bottom
        assert not masks[n][~seen].any()


def test_cells_are_views():
    pictures = np.zeros((2, 7, 7))
    grid = in_cells(pictures, 3)
    assert grid.shape == (2, 3, 2, 3, 2)
    grid[1, 2, :, 0] = 5  # what is written to a cell stands in the picture
    assert np.argwhere(pictures == 5).tolist() == [[1, 4, 0], [1, 4, 1], [1, 5, 0], [1, 5, 1]]


# --- what a model gets ----------------------------------------------------------------------


def test_types_names_and_normalisation():
    dataset = Shapes("validation", length=300)
    pictures, labels = dataset[:]
    assert (pictures.dtype, labels.dtype) == (np.float32, np.int64)
    assert pictures.shape == (300, *dataset.input_shape)
    np.testing.assert_allclose(pictures.mean(axis=(0, 2, 3)), 0, atol=0.05)
    np.testing.assert_allclose(pictures.std(axis=(0, 2, 3)), 1, atol=0.05)
    plain = Shapes("validation", length=300, normalize=False)
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (dataset.mean, dataset.std))
    np.testing.assert_allclose(pictures * std + mean, plain[:][0], atol=1e-6)
    assert (plain[:][0].min(), plain.mean) == (0, (0.0,) * 3)
    np.testing.assert_allclose(plain[0][0] * 255, np.rint(plain[0][0] * 255), atol=1e-4)
    assert len(Shapes("train")) == 5000
    assert Shapes(labels="both", shapes=["star", "bar"]).classes[5:7] == ("white star", "red bar")
    assert Shapes(targets="masks").classes[:2] == ("background", "circle")
    assert Shapes(targets="masks").num_classes == 9


def test_a_loader_makes_batches():
    loader = DataLoader(Shapes(length=10, size=16, targets="boxes", objects=1), 4, shuffle=True)
    assert [[t.shape for t in batch] for batch in loader][-1] == [(2, 3, 16, 16), (2, 1), (2, 1, 4)]


def test_the_sequence_protocol():
    dataset = Shapes(length=3, size=12)
    assert len([*dataset]) == 3
    assert dataset[1:1][0].shape == (0, 3, 12, 12)
    with pytest.raises(IndexError):
        dataset[3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "valid"}, "'valid'"),
        ({"labels": "size"}, "labels must be one of .*'size'"),
        ({"targets": "box"}, "targets must be one of .*'box'"),
        ({"shapes": ["moon"]}, "shapes must be one of .*'moon'"),
        ({"shapes": []}, "shapes is empty"),
        ({"size": 9}, "at least 10 pixels, got 9"),
        ({"objects": 5, "size": 29, "targets": "pose"}, "5 objects .* 30 pixels, got 29"),
        ({"objects": 2}, "2 objects has no one label"),
        ({"objects": 0}, "objects must be at least 1, got 0"),
        ({"noise": 0.3}, "noise must lie in .* got 0.3"),
        ({"noise": math.nan}, "noise must lie in .* got nan"),
        ({"length": -1}, "length must lie in .* got -1"),
        ({"seed": -1}, "seed must lie in .* got -1"),
    ],
)
def test_mistakes(settings, message):
    with pytest.raises(ArgumentError, match=message):
        Shapes(**settings)
