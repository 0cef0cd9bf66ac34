from __future__ import annotations

import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as xml

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from minicnn.errors import ArgumentError, ShapeError
from minicnn.train.pictures import confusion_matrix_picture, filters_picture, loss_curve


def rows(count, first=1, validated=True):
    """Losses that fall all the way; validation accuracy that is best in the third row."""
    return [
        {
            "epoch": first + i,
            "train_loss": 2.0 / (i + 1),
            "train_accuracy": 1 - 0.5 / (i + 1),
            "validation_loss": 2.1 / (i + 1) if validated else None,
            "validation_accuracy": 0.9 - 0.01 * abs(i - 2) if validated else None,
        }
        for i in range(count)
    ]


MATRIX = np.array([[8, 2, 0], [0, 9, 1], [0, 0, 0]])
WEIGHT = np.linspace(-1, 2, 4 * 1 * 3 * 3).reshape(4, 1, 3, 3)
DRAW = {
    "loss": lambda path: loss_curve(rows(5), path),
    "confusion": lambda path: confusion_matrix_picture(MATRIX, ["a", "b", "c"], path),
    "filters": lambda path: filters_picture(WEIGHT, path, "conv1"),
}


@pytest.fixture
def drawn(monkeypatch):
    """Collect figures in place of rendering them, so that tests can ask what is in them."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: figures.append(figure))
    return figures


def texts(axes):
    return [text.get_text() for text in axes.texts]


def picture_size(path):
    return struct.unpack(">II", path.read_bytes()[16:24])


def tick_labels(axis):
    low, high = sorted(axis.get_view_interval())
    ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
    return [label.get_text() for place, label in ticks if low <= place <= high]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("picture", DRAW)
def test_the_same_numbers_give_the_same_bytes(tmp_path, picture, suffix):
    paths = [tmp_path / "runs" / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        DRAW[picture](path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert sorted(paths[0].parent.iterdir()) == paths
    if suffix == ".svg":
        assert xml.fromstring(first).tag.endswith("svg")
        assert b"<dc:date>" not in first
    else:
        assert first.startswith(b"\x89PNG")
        assert b"Software" not in first


def test_the_suffix_may_be_in_capitals(tmp_path):
    DRAW["filters"](tmp_path / "a.PNG")
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("path", ["a.jpg", "a", ".png", "a.tar.gz"])
@pytest.mark.parametrize("picture", DRAW)
def test_another_suffix_is_refused(tmp_path, picture, path):
    message = re.escape(f"{path}' should end in .png or .svg")
    with pytest.raises(ArgumentError, match=message):
        DRAW[picture](tmp_path / path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_drawing_keeps_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def break_off(figure, target, **kwargs):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", break_off)
    with pytest.raises(KeyboardInterrupt):
        loss_curve(rows(2), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_leave_the_settings_of_matplotlib_alone(tmp_path):
    def settings():  # but for the backend, which is chosen when it is first asked for
        return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}

    before = settings()
    for picture, draw in DRAW.items():
        draw(tmp_path / f"{picture}.svg")
    assert settings() == before


def test_no_window_system_and_no_pyplot_are_touched(tmp_path):
    script = f"""
import sys
from minicnn.train.pictures import loss_curve
assert "matplotlib" not in sys.modules
loss_curve([{{"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5}}], {str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- loss curve ----------------------------------------------------------------------------


def test_curves_hold_the_history(tmp_path, drawn):
    history = rows(5)
    loss_curve(history, tmp_path / "a.png")
    for axes, measure in zip(drawn[0].axes, ["loss", "accuracy"], strict=True):
        for part, name in [("train", "training"), ("validation", "validation")]:
            (line,) = [line for line in axes.lines if line.get_label() == name]
            np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
            np.testing.assert_array_equal(
                line.get_ydata(), [row[f"{part}_{measure}"] for row in history]
            )
        assert axes.get_xlabel() == "epoch"
        assert ("nats" if measure == "loss" else "%") in axes.get_ylabel()


def marked_epoch(figure):
    marks = [[line for line in a.lines if line.get_label() == "best epoch"] for a in figure.axes]
    (epoch,) = {line.get_xdata()[0] for (line,) in marks}
    return epoch


def test_the_best_epoch_is_that_of_the_validation(tmp_path, drawn):
    loss_curve(rows(5, first=11), tmp_path / "a.png")
    assert marked_epoch(drawn[0]) == 13
    assert drawn[0].get_suptitle() == "best epoch: 13, validation accuracy 90.00%"


@pytest.mark.parametrize("validated", [None, np.nan, "absent"])
def test_without_validation_the_best_epoch_is_that_of_the_training(tmp_path, drawn, validated):
    history = rows(4, validated=False)
    for row in history:
        for key in ("validation_loss", "validation_accuracy"):
            if validated == "absent":
                del row[key]
            else:
                row[key] = validated
    loss_curve(history, tmp_path / "a.png")
    assert marked_epoch(drawn[0]) == 4
    assert drawn[0].get_suptitle() == "best epoch: 4, training accuracy 87.50%"
    names = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert names == ["training", "best epoch"]


def test_of_equal_epochs_the_first_is_best(tmp_path, drawn):
    history = rows(4)
    for row in history:
        row["validation_accuracy"] = 1.0
    loss_curve(history, tmp_path / "a.png")
    assert marked_epoch(drawn[0]) == 1


def test_validation_now_and_then(tmp_path, drawn):
    history = rows(6)
    for row in history[::2]:
        row["validation_loss"] = row["validation_accuracy"] = None
    loss_curve(history, tmp_path / "a.png")
    assert marked_epoch(drawn[0]) == 2


INF, NAN = float("inf"), float("nan")
ODD_HISTORIES = {
    "one epoch": rows(1),
    "not one number": [{"epoch": 1, "train_loss": NAN, "train_accuracy": None}],
    "diverged": [
        *rows(2),
        {"epoch": 3, "train_loss": INF, "train_accuracy": 0.1},
        {"epoch": 4, "train_loss": NAN, "train_accuracy": 0.1, "validation_loss": NAN},
    ],
    "perfect": [{"epoch": i, "train_loss": 0.0, "train_accuracy": 1.0} for i in range(3)],
    "NumPy numbers": [{"epoch": np.int64(1), "train_loss": np.float32(1), "train_accuracy": None}],
}


@pytest.mark.parametrize("case", ODD_HISTORIES)
def test_odd_histories_are_drawn(tmp_path, case):
    loss_curve(ODD_HISTORIES[case], tmp_path / "a.png")
    assert picture_size(tmp_path / "a.png") == (1200, 480)


def test_a_run_that_diverged_keeps_its_best_epoch(tmp_path, drawn):
    loss_curve(ODD_HISTORIES["diverged"], tmp_path / "a.png")
    assert marked_epoch(drawn[0]) == 2
    assert drawn[0].axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("count", "first", "labels"),
    [(1, 1, ["1"]), (1, 7, ["7"]), (2, 1, ["1", "2"]), (3, 4, ["4", "5", "6"])],
)
def test_few_epochs_have_whole_numbers_on_their_axis(tmp_path, drawn, count, first, labels):
    loss_curve(rows(count, first), tmp_path / "a.png")
    for axes in drawn[0].axes:
        assert tick_labels(axes.xaxis) == labels


@pytest.mark.parametrize("count", [10, 37, 300])
def test_many_epochs_have_few_whole_numbers(tmp_path, drawn, count):
    loss_curve(rows(count), tmp_path / "a.png")
    labels = tick_labels(drawn[0].axes[0].xaxis)
    assert 3 <= len(labels) <= 12
    assert all(float(label).is_integer() for label in labels)


@pytest.mark.parametrize(("count", "scale"), [(3, "linear"), (100, "log")])
@pytest.mark.parametrize("validated", [True, False])
def test_the_loss_has_a_log_scale_where_it_falls_far(tmp_path, drawn, count, scale, validated):
    loss_curve(rows(count, validated=validated), tmp_path / "a.png")
    assert drawn[0].axes[0].get_yscale() == scale


def test_a_loss_of_zero_stays_on_a_linear_scale(tmp_path, drawn):
    loss_curve(
        [*rows(3), {"epoch": 4, "train_loss": 0.0, "train_accuracy": 1.0}], tmp_path / "a.png"
    )
    assert drawn[0].axes[0].get_yscale() == "linear"


def test_an_empty_history_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="history is empty"):
        loss_curve([], tmp_path / "a.png")


# --- confusion matrix ----------------------------------------------------------------------


def test_cells_hold_counts_and_colours_hold_shares_of_the_row(tmp_path, drawn):
    confusion_matrix_picture(MATRIX, ["a", "b", "c"], tmp_path / "a.png")
    axes, colour_bar = drawn[0].axes
    assert texts(axes) == ["8", "2", "0", "0", "9", "1", "0", "0", "0"]
    (image,) = axes.images
    shares = image.get_array()
    np.testing.assert_array_equal(shares.mask, np.eye(3, dtype=bool))
    np.testing.assert_allclose(
        shares.filled(-1), [[-1, 0.2, 0], [0, -1, 0.1], [0, 0, -1]], rtol=1e-15
    )
    assert image.get_clim() == (0, 0.2)  # the worst mistake, not the diagonal, is full colour
    assert axes.get_title() == "accuracy 17 / 20 = 85.00%"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert "% of the true class" in colour_bar.get_ylabel()
    assert tick_labels(axes.xaxis) == tick_labels(axes.yaxis) == ["a", "b", "c"]


def test_numbers_are_light_on_dark_cells(tmp_path, drawn):
    confusion_matrix_picture(MATRIX, ["a", "b", "c"], tmp_path / "a.png")
    colours = [text.get_color() for text in drawn[0].axes[0].texts]
    assert colours[:3] == ["black", "white", "0.7"]


@pytest.mark.parametrize(
    ("matrix", "title"),
    [
        (np.diag([3, 4]), "accuracy 7 / 7 = 100.00%"),
        (np.zeros((2, 2), dtype=int), "accuracy 0 / 0"),
        (np.array([[0, 5], [5, 0]]), "accuracy 0 / 10 = 0.00%"),
    ],
    ids=["all right", "nothing", "all wrong"],
)
def test_all_right_all_wrong_and_nothing_at_all(tmp_path, drawn, matrix, title):
    confusion_matrix_picture(matrix, ["a", "b"], tmp_path / "a.png")
    axes = drawn[0].axes[0]
    assert axes.get_title() == title
    assert axes.images[0].get_clim() == (0, 1)


def test_one_class(tmp_path, drawn):
    confusion_matrix_picture(np.array([[5]]), ["only"], tmp_path / "a.png")
    assert texts(drawn[0].axes[0]) == ["5"]


def test_a_hundred_classes_have_names_and_no_numbers(tmp_path, drawn):
    names = [f"a rather long class name {i}" for i in range(100)]
    confusion_matrix_picture(np.eye(100, dtype=int), names, tmp_path / "a.png")
    axes = drawn[0].axes[0]
    assert texts(axes) == []
    assert tick_labels(axes.yaxis) == ["a rather long class…"] * 100


def test_a_thousand_classes_have_a_hundred_names(tmp_path, drawn):
    names = [str(i) for i in range(1000)]
    confusion_matrix_picture(np.eye(1000, dtype=int), names, tmp_path / "a.png")
    assert tick_labels(drawn[0].axes[0].xaxis) == names[::10]


def test_names_are_not_read_as_formulas(tmp_path):
    confusion_matrix_picture(np.eye(2, dtype=int), ["$\\frac{$", "100 $"], tmp_path / "a.png")
    assert picture_size(tmp_path / "a.png") == (684, 564)


@pytest.mark.parametrize(
    ("matrix", "classes"),
    [
        (np.zeros((2, 3)), ["a", "b"]),
        (np.zeros((2, 2)), ["a", "b", "c"]),
        (np.zeros(4), ["a", "b"]),
        (np.zeros((0, 0)), []),
    ],
)
def test_a_matrix_that_does_not_fit_its_names_is_refused(tmp_path, matrix, classes):
    with pytest.raises(ShapeError, match=f"for {len(classes)} classes; give"):
        confusion_matrix_picture(matrix, classes, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


# --- filters -------------------------------------------------------------------------------


def tile_centres(image, count_rows, count_columns):
    """Return the colour in the middle of each tile of the grid."""
    high, wide = image.shape[0] // count_rows, image.shape[1] // count_columns
    return np.array(image)[high // 2 :: high, wide // 2 :: wide]


def test_filters_on_one_channel_fill_a_grid_in_order(tmp_path, drawn):
    weight = np.array([1.0, -4.0, 2.0, 0.0, 3.0]).reshape(5, 1, 1, 1)
    filters_picture(weight, tmp_path / "a.png", "conv1")
    (image,) = drawn[0].axes[0].images
    centres = tile_centres(image.get_array().filled(np.nan), 2, 3)
    np.testing.assert_array_equal(centres, [[1, -4, 2], [0, 3, np.nan]])
    assert image.get_clim() == (-4, 4)
    assert drawn[0].axes[0].get_title() == "conv1\n5 of 5 filters"
    assert len(drawn[0].axes) == 2  # the picture and its colour bar


def test_zero_is_the_middle_of_the_colours(tmp_path, drawn):
    filters_picture(np.array([-1.0, 0.0, 0.5]).reshape(1, 1, 1, 3), tmp_path / "a.png", "")
    (image,) = drawn[0].axes[0].images
    red, green, blue, _ = image.to_rgba(0.0)
    assert max(red, green, blue) - min(red, green, blue) < 0.01
    red, _, blue, _ = image.to_rgba(0.5)
    assert red > blue


def test_filters_on_three_channels_are_in_colour_with_grey_for_zero(tmp_path, drawn):
    weight = np.zeros((2, 3, 2, 2), dtype="float32")
    weight[1, :, 0, 0] = [2.0, -2.0, 1.0]
    filters_picture(weight, tmp_path / "a.png", "conv1")
    (axes,) = drawn[0].axes
    colours = np.asarray(axes.images[0].get_array())
    present = {tuple(colour) for colour in colours.reshape(-1, 3).tolist()}
    assert present == {(1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (1.0, 0.0, 0.75)}
    assert axes.get_title().endswith("2 of 2 filters; grey is 0, black -2, full colour 2")


def test_filters_on_many_channels_are_a_table(tmp_path, drawn):
    weight = np.arange(6.0).reshape(3, 2, 1, 1)
    filters_picture(weight, tmp_path / "a.png", "conv2")
    axes = drawn[0].axes[0]
    centres = tile_centres(axes.images[0].get_array().filled(np.nan), 3, 2)
    np.testing.assert_array_equal(centres, weight[..., 0, 0])
    assert tick_labels(axes.yaxis) == ["0", "1", "2"]
    assert tick_labels(axes.xaxis) == ["0", "1"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("filter", "input channel")


@pytest.mark.parametrize("shape", [(1, 1, 2, 3), (1, 3, 2, 3), (1, 2, 2, 3), (1, 1, 100, 150)])
def test_a_filter_stands_as_it_lies_in_memory(tmp_path, drawn, shape):
    _, channels, height, width = shape
    weight = np.random.default_rng(0).uniform(-1, 1, size=shape)
    weight[0, 0, 0, 0] = 1.0  # full colour
    filters_picture(weight, tmp_path / "a.png", "conv")
    image = np.ma.filled(drawn[0].axes[0].images[0].get_array(), np.nan)
    scale = max(1, 64 // width)
    first = image[3 : 3 + scale * height, 3 : 3 + scale * width][::scale, ::scale]
    expected = 0.5 + 0.5 * weight[0].transpose(1, 2, 0) if channels == 3 else weight[0, 0]
    np.testing.assert_array_equal(first, expected)
    assert image.shape[0] == scale * height + 6


def test_the_colour_scale_is_that_of_the_finite_weights(tmp_path, drawn):
    weight = np.array([np.inf, np.nan, -2.0, 1.0]).reshape(1, 1, 2, 2)
    filters_picture(weight, tmp_path / "a.png", "conv")
    assert drawn[0].axes[0].images[0].get_clim() == (-2, 2)


@pytest.mark.parametrize(
    ("shape", "note"),
    [
        ((100, 1, 3, 3), "64 of 100 filters"),
        ((100, 3, 3, 3), "64 of 100 filters; grey is 0"),
        ((100, 50, 3, 3), "12 of 100 filters (rows), 12 of 50 channels (columns)"),
        ((5, 50, 3, 3), "5 of 5 filters (rows), 12 of 50 channels (columns)"),
    ],
)
def test_only_the_first_of_many_are_shown_and_the_title_says_so(tmp_path, drawn, shape, note):
    weight = np.zeros(shape)
    weight[-1, -1] = 5.0  # not shown, and so not on the colour scale
    weight[0, 0] = 1.0
    filters_picture(weight, tmp_path / "a.png", "conv")
    assert drawn[0].axes[0].get_title().startswith(f"conv\n{note}")
    if shape[0] > 12 and shape[1] != 3:
        assert drawn[0].axes[0].images[0].get_clim() == (-1, 1)


ODD_WEIGHTS = {
    "zeros": np.zeros((4, 1, 3, 3)),
    "all NaN": np.full((4, 1, 3, 3), np.nan),
    "all NaN in colour": np.full((4, 3, 3, 3), np.nan),
    "infinite": np.array([np.inf, -np.inf, np.nan, 1.0]).reshape(1, 1, 2, 2),
    "infinite in colour": np.array([np.inf, -np.inf, np.nan]).reshape(1, 3, 1, 1),
    "wide": np.ones((2, 1, 1, 9), dtype="float16"),
    "tall": np.ones((2, 2, 9, 1), dtype=">f4"),
    "large": np.ones((2, 1, 100, 100)),
    "integers": np.arange(-4, 5).reshape(1, 1, 3, 3),
    "broadcast": np.broadcast_to(np.float32(1), (4, 3, 5, 5)),
}


@pytest.mark.parametrize("case", ODD_WEIGHTS)
def test_odd_weights_are_drawn(tmp_path, case):
    filters_picture(ODD_WEIGHTS[case], tmp_path / "a.png", case)
    width, height = picture_size(tmp_path / "a.png")
    assert width == 840
    assert 200 <= height <= 1300


def test_a_title_is_not_read_as_a_formula(tmp_path):
    filters_picture(WEIGHT, tmp_path / "a.png", "$\\frac{$")


@pytest.mark.parametrize("shape", [(3, 3), (4, 1, 3), (0, 1, 3, 3), (1, 0, 3, 3), ()])
def test_a_weight_that_is_no_filter_bank_is_refused(tmp_path, shape):
    with pytest.raises(ShapeError, match=re.escape(f"weight has shape {shape}; give (O, C, H, W)")):
        filters_picture(np.zeros(shape), tmp_path / "a.png", "")
