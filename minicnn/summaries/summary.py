"""The layers of a model as rows, and the totals: what `minicnn.summary` returns."""

from __future__ import annotations

import difflib
import inspect
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from minicnn.errors import ArgumentError
from minicnn.nn import Module
from minicnn.nn.utils.freezing import Frozen
from minicnn.summaries import tables
from minicnn.summaries.costs import formula
from minicnn.summaries.fields import Side
from minicnn.summaries.trace import Part, trace
from minicnn_kernels.geometry import Sides


def summary(
    model: Module,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    dtype: Any = None,
    depth: int | None = None,
    training: bool = False,
) -> Summary:
    """Count what each layer of a model costs, and find what its units see.

    The model is run once on arrays that have a shape but no memory; it stays as it was.  All
    figures are those of one example.

    >>> from minicnn import nn
    >>> found = summary(nn.Sequential(nn.Conv2d(3, 10, 5), nn.MaxPool2d(2)), (3, 50, 50))
    >>> found["0"].formula, found["0"].multiply_adds, found["1"].receptive_field
    ('(5*5*3 + 1) * 10 = 760', 1587000, (6, 6))

    Args:
        input_shape: of one example, without the batch: (channels, height, width); of a model that
            takes several inputs, a sequence of such.
        dtype: of the inputs; by default that of the parameters or, where the model refuses that,
            int64, as for words.
        depth: rows of modules that stand deeper are summed up in the row above them.
        training: run it as in training, with auxiliary heads and what dropout and batch norm keep.

    Raises:
        ArgumentError: the model does not take such inputs or is frozen, or a shape is none.
    """
    if isinstance(model, Frozen):
        raise ArgumentError("summary: a frozen model has no layers; take the one it was made from")
    shapes: Any = [input_shape]
    if input_shape and all(hasattr(part, "__iter__") for part in input_shape):
        shapes = input_shape
    for shape in shapes:
        if not all(isinstance(n, int) and n > 0 for n in shape):
            raise ArgumentError(
                f"summary: input_shape must be sizes of at least 1, got {input_shape!r}"
            )
    try:
        inspect.signature(model.forward).bind(*shapes)
    except TypeError as error:
        raise ArgumentError(
            f"summary: {type(model).__name__} does not take {len(shapes)} "
            f"input{'s' * (len(shapes) != 1)}: {error}"
        ) from None
    return Summary(model, [tuple(shape) for shape in shapes], dtype, depth, training)


@dataclass(frozen=True)
class Layer:
    """A row: a module, or an operation that was called in the forward of one.

    A row holds sums of what is below it only if that is not shown.  Memory is that of one example,
    in bytes; a receptive field, and the jump from one unit's field to the next one's, are in
    pixels, one number for each side of the input.

    Attributes:
        path: the dotted name, as in `named_modules`; that of an operation ends in its name.
        kind: the class of the module, or the name of the operation.
        level: below how many modules it stands.
        calls: how often it ran: several times if it is shared; 0, for example, for what is used in
            training only.
        parameters, formula: how many, and how that is counted: "(3*3*128 + 1) * 256 = 295,168".
        shared: names of parameters that are counted elsewhere, where they come first.
        activation_bytes: of the results; views do not count.
        saved_bytes: of what the graph keeps until backward, counted where it is kept first.
        im2col_bytes: of the matrix of all windows that "im2col" would make at once.
        start: the first pixel that the first unit sees, negative in the padding.
        whole: for each side, whether every unit sees all of the image.
        meetings: the jumps of branches that meet here although they differ.
    """

    path: str
    kind: str
    level: int
    calls: int
    output_shape: Sides | None
    kernel_size: Sides | None
    stride: Sides | None
    padding: Sides | None
    dilation: Sides | None
    groups: int | None
    parameters: int
    formula: str
    shared: tuple[str, ...]
    multiply_adds: int
    activation_bytes: int
    saved_bytes: int
    im2col_bytes: int
    receptive_field: Sides | None
    jump: tuple[float, ...] | None
    start: Sides | None
    whole: tuple[bool, ...]
    meetings: tuple[float, ...]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def flops(self) -> int:
        """Floating-point operations: two for each multiply-add."""
        return 2 * self.multiply_adds


class Summary:
    """The layers of a model, and the totals.

    Shown as text that fits the terminal, and as a table in notebooks; `csv()` and `to_dict()` have
    every figure.  `found["features.3"]` is one row.

    Attributes:
        rows: a Layer each, in the order of their first call.
        parameters, trainable: how many there are, and how many of them are learned.
        multiply_adds, flops: of one example; a multiply-add is two operations.
        activation_bytes, saved_bytes: of one example, all layers together.
        im2col_bytes: of the layer that needs most.
    """

    def __init__(
        self, model: Module, shapes: list[Sides], dtype: Any, depth: int | None, training: bool
    ) -> None:
        found = trace(model, shapes, dtype, training)
        self.model, self.input_shapes, self.training = type(model).__name__, shapes, training
        self.parameters = sum(p.array.size for p in model.parameters())
        self.trainable = sum(p.array.size for p in model.parameters() if p.requires_grad)
        self.parameter_bytes = sum(p.array.nbytes for p in model.parameters())
        parts = list(found.root.walk())
        self.multiply_adds = sum(part.multiply_adds for part in parts)
        self.flops = 2 * self.multiply_adds
        self.activation_bytes = sum(part.made for part in parts)
        self.saved_bytes = sum(part.kept for part in parts)
        self.im2col_bytes = max(part.columns for part in parts)
        names = {id(p): path for path, p in model.named_parameters()}
        self.rows = list(_rows(found.root, 0, depth, names, found.image))

    def __getitem__(self, path: str) -> Layer:
        """Return the row of a path.

        Raises:
            ArgumentError: there is none; the message suggests others.
        """
        for row in self.rows:
            if row.path == path:
                return row
        paths = [row.path for row in self.rows]
        close = difflib.get_close_matches(path, paths, n=3) or paths[:6]
        raise ArgumentError(f"summary: there is no row {path!r}, but {', '.join(close)}, ...")

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Return the table with the columns that fit `width`, by default that of the terminal."""
        return tables.text(self, width or shutil.get_terminal_size((120, 24)).columns)

    def _repr_html_(self) -> str:
        return tables.html(self)

    def csv(self) -> str:
        """Return a line for each row, with every figure; sides are written as 3x3."""
        return tables.csv([_plain(row) for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as numbers, texts, lists and dicts."""
        return {**vars(self), "rows": [_plain(row) for row in self.rows]}


def _plain(row: Layer) -> dict[str, Any]:
    return {**asdict(row), "flops": row.flops}


# --- from parts to rows ---------------------------------------------------------------------------


def _rows(
    part: Part, level: int, depth: int | None, names: dict[int, str], image: Sides
) -> Iterator[Layer]:
    """Make a row of a part, and rows of what is below it, unless they are summed up in it."""
    summed_up = level == depth or not part.children
    row = _row(part, level, summed_up, names, image)
    if level or summed_up or row.parameters:
        yield row
    for child in () if summed_up else part.children:
        yield from _rows(child, level + 1, depth, names, image)


def _row(part: Part, level: int, summed_up: bool, names: dict[int, str], image: Sides) -> Layer:
    parts = list(part.walk()) if summed_up else [part]
    count, text, shared = _parameters(part, summed_up, names)
    window, sides = part.window, part.sides
    whole = [_is_whole(side, n) for side, n in zip(sides or (), image, strict=False)]
    return Layer(
        path=part.path,
        kind=part.kind,
        level=level,
        calls=part.calls or max(p.calls for p in parts),
        output_shape=part.shape,
        kernel_size=window and window.kernel,
        stride=window and window.stride,
        padding=window and window.padding,
        dilation=window and window.dilation,
        groups=window and window.groups,
        parameters=count,
        formula=text,
        shared=tuple(shared),
        multiply_adds=sum(p.multiply_adds for p in parts),
        activation_bytes=sum(p.made for p in parts),
        saved_bytes=sum(p.kept for p in parts),
        im2col_bytes=max(p.columns for p in parts),
        receptive_field=None if sides is None else tuple(
            n if all_of_it else side.size
            for side, n, all_of_it in zip(sides, image, whole, strict=True)
        ),
        jump=None if sides is None else tuple(_number(side.jump) for side in sides),
        start=None if sides is None else tuple(side.at(0)[0] for side in sides),
        whole=tuple(whole),
        meetings=tuple(_number(jump) for p in parts for jump in p.meetings),
    )  # fmt: skip


def _parameters(part: Part, summed_up: bool, names: dict[int, str]) -> tuple[int, str, list[str]]:
    """Return how many parameters are counted here, how, and which are counted elsewhere."""
    if part.module is None:
        return 0, "", []
    own = list(part.module.named_parameters(part.path, recurse=summed_up))
    shared = [names[id(p)] for name, p in own if names[id(p)] != name]
    count = sum(p.array.size for name, p in own if names[id(p)] == name)
    of_one = not shared and len(own) == len(list(part.module.parameters(recurse=False)))
    return count, formula(part.module) if of_one else f"{count:,}" if count else "", shared


def _is_whole(side: Side, size: int) -> bool:
    first, last = side.at(0)
    return side.dim is None and first <= 0 and last >= size - 1


def _number(jump: Any) -> float:
    """Return a jump as a whole number if it is one."""
    return int(jump) if jump == int(jump) else float(jump)
