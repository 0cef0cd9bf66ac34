"""Pictures of a run: the loss curve, the confusion matrix and what the filters look like.

Each is written to a .png or .svg file, whole or not at all; the same numbers give the same bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn.errors import ArgumentError, ShapeError
from minicnn.io.files import StrPath, atomic_write
from minicnn_kernels.arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Metadata that would differ from one day, or one release of matplotlib, to the next.
UNDATED = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}

# Blue and vermilion stay apart for the colour-blind (Okabe and Ito 2008).
COLOURS = {"train": "#0072b2", "validation": "#d55e00"}
NAMES = {"train": "training", "validation": "validation"}

MAX_NUMBERED_CLASSES = 25  # more classes leave no room for a number in each cell
MAX_NAMED_CLASSES = 100
MAX_FILTERS = 64
MAX_CHANNELS = 12  # rows and columns shown of filters with many input channels
TILE = 64  # pixels of a filter's longer side
GAP = 3  # pixels around each filter


def loss_curve(history: Sequence[Mapping[str, Any]], path: StrPath) -> None:
    """Draw loss and accuracy over the epochs, side by side, with the best epoch marked.

    The best epoch has the highest validation accuracy or, where nothing was validated, the
    highest training accuracy; of equal ones it is the first.

    Args:
        history: one row an epoch with the keys epoch, train_loss, train_accuracy,
            validation_loss and validation_accuracy; losses in nats, accuracies from 0 to 1.
            A value that is None, NaN or absent is left out.
        path: the .png or .svg file to write.

    Raises:
        ArgumentError: the history is empty, or the path has another suffix.
    """
    if not history:
        raise ArgumentError("loss_curve: history is empty; give at least one epoch")
    figure = _figure("loss_curve", path, width=10, height=4)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    _draw_curves(loss_axes, history, "loss")
    _draw_curves(accuracy_axes, history, "accuracy")
    loss_axes.set_ylabel("cross-entropy loss (nats per example)")
    accuracy_axes.set_ylabel("accuracy (% of examples)")
    _use_log_scale_if_wide(loss_axes, history)
    accuracy_axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}")

    for part in ("validation", "train"):
        scores = _column(history, f"{part}_accuracy")
        if not np.isnan(scores).all():
            best = int(np.nanargmax(scores))
            epoch = _column(history, "epoch")[best]
            for axes in (loss_axes, accuracy_axes):
                axes.axvline(epoch, color="0.5", linestyle=":", label="best epoch", zorder=1)
            accuracy_axes.plot(epoch, scores[best], "o", ms=11, mfc="none", color=COLOURS[part])
            figure.suptitle(f"best epoch: {epoch:g}, {NAMES[part]} accuracy {scores[best]:.2%}")
            break
    if loss_axes.lines:
        loss_axes.legend(frameon=False)
    _save(figure, path)


def confusion_matrix_picture(matrix: Array, classes: Sequence[str], path: StrPath) -> None:
    """Draw which class was taken for which, so that the mistakes stand out.

    A cell's number is its count; its colour is the count's share of the true class (of its
    row). The diagonal, what is right, is left out of the colour scale, which would otherwise
    show nothing else.

    Args:
        matrix: (K, K) counts; a row is a true class, a column a predicted one.
        classes: the K names.
        path: the .png or .svg file to write.

    Raises:
        ShapeError: the matrix is not square, or there is not one name for each of its rows.
        ArgumentError: the path has another suffix.
    """
    size = len(classes)
    if matrix.shape != (size, size) or size == 0:
        raise ShapeError(
            f"confusion_matrix_picture: matrix has shape {matrix.shape} for {size} classes; give "
            f"(K, K) counts and K names"
        )
    side = min(12.0, 4.0 + 0.35 * size)
    figure = _figure("confusion_matrix_picture", path, width=side + 1, height=side)
    axes = figure.subplots()
    examples = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(examples, 1)
    diagonal = np.eye(size, dtype=bool)
    mistakes = np.ma.masked_where(diagonal, shares)
    largest = float(shares[~diagonal].max(initial=0.0)) or 1.0
    image = axes.imshow(mistakes, cmap="OrRd", vmin=0, vmax=largest)
    axes.set_facecolor("0.87")  # shows where cells are masked: on the diagonal

    colour_bar = figure.colorbar(image, ax=axes, shrink=0.8)
    colour_bar.ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}")
    colour_bar.set_label("mistaken for the predicted class (% of the true class)")
    _name_classes(axes, classes)
    if size <= MAX_NUMBERED_CLASSES:
        _number_cells(axes, matrix, dark=~diagonal & (shares > 0.6 * largest))
    right, total = int(np.trace(matrix)), int(matrix.sum())
    share = f" = {right / total:.2%}" if total else ""
    axes.set_title(f"accuracy {right} / {total}{share}")
    _save(figure, path)


def filters_picture(weight: Array, path: StrPath, title: str) -> None:
    """Draw the filters of a convolution on one colour scale, symmetric about zero.

    Filters on one channel are laid out in a grid, filters on three channels too, as RGB with
    zero in mid grey. Others are a table: a row a filter, a column an input channel. Where
    there are too many, the first are shown, and the picture says so.

    Args:
        weight: (O, C, H, W), as in Conv2d.weight.
        path: the .png or .svg file to write.
        title: the first line above the picture, such as the layer's name.

    Raises:
        ShapeError: the weight has other than four dimensions, or no value.
        ArgumentError: the path has another suffix.
    """
    if weight.ndim != 4 or weight.size == 0:
        raise ShapeError(f"filters_picture: weight has shape {weight.shape}; give (O, C, H, W)")
    filters, channels, height, width = weight.shape
    in_table = channels not in (1, 3)
    if in_table:
        shown = weight[:MAX_CHANNELS, :MAX_CHANNELS]
        rows, columns = shown.shape[:2]
        note = f"{rows} of {filters} filters (rows), {columns} of {channels} channels (columns)"
        tiles = shown.reshape(rows * columns, height, width, 1)
    else:
        tiles = weight[:MAX_FILTERS].transpose(0, 2, 3, 1)  # colours last, as imshow wants them
        columns = math.ceil(math.sqrt(len(tiles) * height / width))
        rows = math.ceil(len(tiles) / columns)
        note = f"{len(tiles)} of {filters} filters"
    largest = float(np.abs(tiles).max(initial=0.0, where=np.isfinite(tiles))) or 1.0
    mosaic = _mosaic(tiles.clip(-largest, largest), rows, columns)
    if channels == 3:
        note += f"; grey is 0, black {-largest:.2g}, full colour {largest:.2g}"

    tall = len(mosaic) / mosaic.shape[1]
    figure = _figure("filters_picture", path, width=7, height=min(max(6 * tall, 1.5), 9) + 0.8)
    axes = figure.subplots()
    axes.set_title(f"{title}\n{note}", parse_math=False, fontsize="medium")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if channels == 3:
        colours = 0.5 + 0.5 * mosaic / largest
        axes.imshow(np.where(np.isnan(colours), 1.0, colours), interpolation="nearest")
    else:
        axes.set_facecolor("0.6")  # seen between the filters
        image = axes.imshow(
            mosaic, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest"
        )
        figure.colorbar(image, ax=axes, shrink=0.8, label="weight")
    if in_table:
        high, wide = len(mosaic) / rows, mosaic.shape[1] / columns
        axes.set_yticks((np.arange(rows) + 0.5) * high, labels=map(str, range(rows)))
        axes.set_xticks((np.arange(columns) + 0.5) * wide, labels=map(str, range(columns)))
        axes.tick_params(length=0)
        axes.set(xlabel="input channel", ylabel="filter")
    _save(figure, path)


def _figure(function: str, path: StrPath, width: float, height: float) -> Figure:
    """Return an empty figure of that many inches, outside pyplot and its global state."""
    from matplotlib.figure import Figure

    if Path(path).suffix.lower() not in UNDATED:
        raise ArgumentError(
            f"{function}: path {os.fspath(path)!r} should end in {' or '.join(UNDATED)}"
        )
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)  # inches
    return figure


def _save(figure: Figure, path: StrPath) -> None:
    from matplotlib import rc_context

    suffix = Path(path).suffix.lower()
    # The salt stands in for the random one of the names inside an SVG.
    with rc_context({"svg.hashsalt": "minicnn"}), atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, format=suffix[1:], metadata=UNDATED[suffix])


def _column(history: Sequence[Mapping[str, Any]], key: str) -> Array:
    """Return one number an epoch, NaN where there is none."""
    values = [row.get(key) for row in history]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _draw_curves(axes: Axes, history: Sequence[Mapping[str, Any]], measure: str) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = _column(history, "epoch")
    marker = "o" if len(epochs) <= 30 else ""
    for part, name in NAMES.items():
        values = _column(history, f"{part}_{measure}")
        if not np.isnan(values).all():
            axes.plot(epochs, values, marker=marker, ms=4, color=COLOURS[part], label=name)
    if len(epochs) == 1:
        axes.margins(y=0.5)  # two points are no reason to fill the axes from end to end
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)


def _use_log_scale_if_wide(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    """Spread small losses out where the first ones would flatten them against the axis."""
    from matplotlib.ticker import LogLocator, NullLocator

    losses = np.concatenate([_column(history, f"{part}_loss") for part in NAMES])
    losses = losses[np.isfinite(losses)]
    if losses.size and 0 < 20 * losses.min() < losses.max():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda loss, _: f"{loss:g}")


def _name_classes(axes: Axes, classes: Sequence[str]) -> None:
    step = math.ceil(len(classes) / MAX_NAMED_CLASSES)
    positions = range(0, len(classes), step)
    names = [_shortened(str(classes[position])) for position in positions]
    size = 10 if len(positions) <= 30 else 5
    slanted = max(len(name) for name in names) > 3 or len(positions) > 30
    axes.set_yticks(positions, labels=names, fontsize=size, parse_math=False)
    axes.set_xticks(
        positions, labels=names, fontsize=size, parse_math=False, rotation=90 if slanted else 0
    )
    axes.set(xlabel="predicted class", ylabel="true class")


def _shortened(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"


def _number_cells(axes: Axes, matrix: Array, dark: Array) -> None:
    digits = len(str(matrix.max()))
    for (row, column), count in np.ndenumerate(matrix):
        axes.text(
            column,
            row,
            str(count),
            ha="center",
            va="center",
            fontsize=9 if digits <= 4 else 7,
            color="white" if dark[row, column] else "0.7" if count == 0 else "black",
        )


def _mosaic(tiles: Array, rows: int, columns: int) -> Array:
    """Lay (N, H, W, D) tiles out in a grid, with NaN around them and where tiles are lacking."""
    scale = max(1, TILE // max(tiles.shape[1:3]))
    tiles = tiles.astype(np.float64).repeat(scale, axis=1).repeat(scale, axis=2)
    lacking = rows * columns - len(tiles)
    padding = ((0, 0), (GAP, GAP), (GAP, GAP), (0, 0))
    tiles = np.pad(tiles, padding, constant_values=math.nan)
    tiles = np.pad(tiles, ((0, lacking), (0, 0), (0, 0), (0, 0)), constant_values=math.nan)
    _, high, wide, depth = tiles.shape
    grid = tiles.reshape(rows, columns, high, wide, depth).swapaxes(1, 2)  # (R, H, S, W, D)
    return grid.reshape(rows * high, columns * wide, depth)
