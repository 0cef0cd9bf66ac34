"""`minicnn summary`: what a model consists of and costs, layer by layer."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from typing import TYPE_CHECKING, Any

from minicnn.errors import MinicnnError, UsageError

if TYPE_CHECKING:
    from minicnn.nn import Module

DESCRIPTION = """Show the layers of a model: output shape, window, parameters with the formula
worked out, multiply-adds, receptive field and memory. Nothing is computed, so the largest network
takes a second.
"""

EXAMPLES = """examples:
  minicnn summary vgg16                        the image is that of the paper, 3x224x224
  minicnn summary resnet50 --depth 1           one row for each stage
  minicnn summary resnet50 --set stride_in_1x1=True --size 128
                                               a setting of the model; images of 128x128
  minicnn summary net.py::model --size 1x28x28 a model, a class or a function in your file
  minicnn summary googlenet --training         with its auxiliary heads
  minicnn summary vgg16 --csv > vgg16.csv      every figure, for a spreadsheet
  minicnn summary googlenet2014 --depth 1 --html googlenet.html

columns:
  output      channels x height x width, without the batch
  window      kernel, then s stride, p padding, d dilation, g groups where they are not 1, 0, 1, 1
  parameters  of the layer, each counted once: (height*width*channels + bias) * filters
  mult-adds   of one example; a FLOP count is twice that
  field       the receptive field: pixels of the input that one unit sees, along a side
  jump        pixels between the fields of neighbouring units
  results     memory of what the layer computes (float32, one example)
  saved       what of it is kept until backward, counted where it is kept first
  im2col      the matrix of all windows, if a convolution is computed as one product
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "summary",
        help="layers, parameters, multiply-adds, receptive fields and memory of a model",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a name that `minicnn models` shows, or FILE.py::NAME"
    )
    parser.add_argument(
        "--size", action="append", default=[], metavar="CxHxW",
        help="one example, as 3x224x224; for a named model also its height and width alone, as "
        "128; again for a second input",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="a setting of a named model, as num_classes=10",
    )  # fmt: skip
    parser.add_argument("--training", action="store_true", help="run it as in training")
    parser.add_argument("--depth", type=int, metavar="N", help="sum up what stands deeper")
    parser.add_argument("--wide", action="store_true", help="all columns, however long the lines")
    parser.add_argument("--csv", action="store_true", help="print a table for a spreadsheet")
    parser.add_argument("--html", metavar="FILE", help="also write a page")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Build the model and print its summary."""
    from minicnn.cli.user_code import errors_explained, visitors_welcome
    from minicnn.io.files import write_text
    from minicnn.nn.init import undrawn
    from minicnn.summaries import summary
    from minicnn.summaries.tables import page

    if options.depth is not None and options.depth < 0:
        raise UsageError(f"--depth must be at least 0, got {options.depth}")
    sizes = [read_size(text) for text in options.size]
    with undrawn(), visitors_welcome(seed=0):
        if "::" in options.model or ".py" in options.model:
            model = model_of_file(options, sizes)
        else:
            model, sizes = named_model(options, sizes)
        with errors_explained(options.model, inspect.getfile(type(model))):
            try:
                found = summary(model, sizes, depth=options.depth, training=options.training)
            except MinicnnError as error:
                raise UsageError(str(error).removeprefix("summary: ")) from error
    if options.html:
        write_text(options.html, page(found))
    print(found.csv() if options.csv else found.text(10**6 if options.wide else None), end="")
    if not options.csv:
        print()
    return 0


def read_size(text: str) -> tuple[int, ...]:
    """Read 3x224x224, or 3,224,224.

    Raises:
        UsageError: it is something else.
    """
    parts = re.split("[x,*]", text.strip().lower())
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--size is written as 3x224x224 (channels, height, width), got {text!r}")
    return tuple(map(int, parts))


def named_model(
    options: argparse.Namespace, sizes: list[tuple[int, ...]]
) -> tuple[Module, list[tuple[int, ...]]]:
    """Build a model of the catalogue; its input is that of the paper, if no size is given."""
    from minicnn import models
    from minicnn.cli.targets import near
    from minicnn.models.catalogue import CATALOGUE

    if options.model not in models.list():
        raise UsageError(
            f"no model is called {options.model!r}; {near(options.model.lower(), models.list())}"
        )
    entry, settings = CATALOGUE[options.model], _settings(options.settings)
    shape = entry.input_shape
    for name in settings.keys() - entry.settings:
        known = sorted(entry.settings)
        raise UsageError(f"{options.model} has no setting {name!r}; {near(name, known)}")
    if len(sizes) == 1 and len(sizes[0]) == 1 and len(shape) > 1:
        sizes = [(shape[0], *sizes[0] * (len(shape) - 1))]
    try:
        model = models.create(options.model, **settings)
    except (TypeError, ValueError, MinicnnError) as error:
        raise UsageError(f"{options.model}: {error}") from error
    return model, sizes or [shape]


def _settings(texts: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE; what is no number, tuple or the like is a text."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise UsageError(f"--set is written as NAME=VALUE, got {text!r}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def model_of_file(options: argparse.Namespace, sizes: list[tuple[int, ...]]) -> Module:
    """Return what a file calls a model: a Module, a class of them or a function that makes one."""
    from minicnn.cli.user_code import errors_explained, find
    from minicnn.nn import Module

    if options.settings:
        raise UsageError("--set is for models of the catalogue; set it in your file")
    if "::" not in options.model:
        raise UsageError(f"{options.model}: name a model in it, as net.py::model")
    found = find(options.model)
    if not sizes:
        raise UsageError(f"{options.model} takes inputs of which shape? add --size 3x224x224")
    made = found.function
    if not isinstance(made, Module) and callable(made):
        with errors_explained(found.target, found.file):
            made = made()
    if not isinstance(made, Module):
        raise UsageError(
            f"{options.model} is of type {type(made).__name__}; name a minicnn Module, or a class "
            f"or function that makes one without arguments"
        )
    return made
