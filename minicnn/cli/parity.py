"""`minicnn parity`: does a network compute the same on two devices, and if not, where."""

from __future__ import annotations

import argparse
import inspect
import json
from typing import TYPE_CHECKING, Any

from minicnn.errors import UsageError

if TYPE_CHECKING:
    from minicnn.parity import Row, Side

DESCRIPTION = """Run a network on two devices and compare it layer by layer, forward and backward.

Each layer is computed alone, from the same inputs and the same random dy: on both devices, and in
float64 on the CPU, which says what is right. So a mistake is found in the layer that makes it, and
not in all that come after it. The first layer that is further from float64 than its precision
explains is named.
"""

EXAMPLES = """examples:
  minicnn parity resnet18                      the CPU beside the card, in float32
  minicnn parity resnet18 --math tf32          with products in TF32 on the card
  minicnn parity vgg16 --devices cpu,cpu --kernels numpy
                                               no card: compiled kernels beside NumPy's
  minicnn parity lenet5 --devices cpu,cuda --algorithm conv=numba_tiled
                                               a kernel of the card's by its name
  minicnn parity net.py::model --size 1x28x28  a model in your file
  minicnn parity resnet50 --json > parity.json every figure

columns:
  forward     ||y - right|| / ||y of float64||, on each device
  backward    the largest of the same for the gradients of inputs and parameters
  allowed     what rounding explains, on each device: 1e-5 in float32; for products 1e-3 in tf32,
              1e-2 in bf16, and on the CPU 5e-5, because Winograd's algorithm rounds more
  in the run  how far the two devices are apart after all layers so far; it grows with depth, most
              where a ReLU cuts off or a maximum is chosen, and is no mistake

A layer whose error is as large on both devices is hard to compute, and not counted, up to 0.1.
Exit code 0: all the same; 1: some layer differs; 2: a mistake in the command line, or no card.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "parity",
        help="compare a network on two devices, layer by layer",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a name that `minicnn models` shows, or FILE.py::NAME"
    )
    parser.add_argument("--devices", default="cpu,cuda", metavar="A,B", help="default: cpu,cuda")
    parser.add_argument("--batch", type=int, default=2, metavar="N", help="images (default 2)")
    parser.add_argument(
        "--size", action="append", default=[], metavar="CxHxW",
        help="one example, as 3x224x224 or 128; again for a second input",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="a setting of a named model, as width=0.25",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of weights, images and dy (default 0)")
    parser.add_argument(
        "--math", choices=("fp32", "tf32", "bf16"), default="fp32",
        help="of products on the second device, if that is a card",
    )  # fmt: skip
    parser.add_argument(
        "--kernels", choices=("auto", "numpy"), default="auto",
        help="numpy: the second device computes with NumPy's kernels alone",
    )  # fmt: skip
    parser.add_argument(
        "--algorithm", action="append", default=[], metavar="KERNEL=NAME", dest="algorithms",
        help="one for the second device, as conv=im2col; may be repeated",
    )  # fmt: skip
    parser.add_argument("--evaluation", action="store_true", help="as in evaluation, not training")
    parser.add_argument("--all", action="store_true", help="go on after the first difference")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Build the model, compare, and print the table."""
    import minicnn
    from minicnn.cli.summary import model_of_file, named_model, read_size
    from minicnn.cli.user_code import errors_explained, visitors_welcome
    from minicnn.errors import ArgumentError
    from minicnn.parity import compare

    sides = _sides(options)
    if options.batch < 1:
        raise UsageError(f"--batch must be at least 1, got {options.batch}")
    sizes = [read_size(text) for text in options.size]
    with visitors_welcome(seed=options.seed):
        minicnn.manual_seed(options.seed)
        if "::" in options.model or ".py" in options.model:
            model = model_of_file(options, sizes)
        else:
            model, sizes = named_model(options, sizes)
        model.train(not options.evaluation)
        table = None if options.json else Table(sides, options.all)
        with errors_explained(options.model, inspect.getfile(type(model))):
            try:
                report = compare(
                    model,
                    inputs_of(model, sizes, options.batch, options.seed),
                    sides,
                    seed=options.seed,
                    on_layer=None if table is None else table.show,
                )
            except ArgumentError as error:
                raise UsageError(str(error)) from error
    if options.json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        print(f"\n{report.verdict()}")
    return 1 if report.first or report.failure else 0


def _sides(options: argparse.Namespace) -> tuple[Side, Side]:
    """Read the two devices, and reach them.

    Raises:
        UsageError: they are not two, or an algorithm is written wrongly.
        DeviceError: one is not there.
    """
    import numpy as np

    from minicnn.parity import Side
    from minicnn_kernels.arrays import to_device
    from minicnn_kernels.registry import check_names

    devices = [name.strip() for name in options.devices.split(",")]
    if len(devices) != 2:
        raise UsageError(f"--devices names two, as cpu,cuda, got {options.devices!r}")
    algorithms = {}
    for text in options.algorithms:
        kernel, equals, name = text.partition("=")
        if not equals:
            raise UsageError(f"--algorithm is written as conv=im2col, got {text!r}")
        algorithms[kernel] = name
    check_names(algorithms)
    for device in devices:
        to_device(np.zeros(1, np.float32), device)
    second = Side(devices[1], options.math, options.kernels == "numpy", algorithms)
    if options.math != "fp32" and second.device == "cpu":
        raise UsageError("--math is of cards; the second of --devices is the CPU")
    return Side(devices[0]), second


def inputs_of(model: Any, sizes: list[tuple[int, ...]], batch: int, seed: int) -> list[Any]:
    """Draw a batch: numbers of N(0, 1), or words where a model looks them up."""
    import numpy as np

    from minicnn.nn import Embedding

    rng = np.random.default_rng(seed)
    words = next((m for m in model.modules() if isinstance(m, Embedding)), None)
    if words is not None:
        return [rng.integers(0, words.num_embeddings, (batch, *size)) for size in sizes]
    return [rng.standard_normal((batch, *size)).astype(np.float32) for size in sizes]


class Table:
    """The rows as they come, until one differs."""

    def __init__(self, sides: tuple[Side, Side], everything: bool) -> None:
        self.everything, self.stopped = everything, False
        names = [side.device for side in sides]
        if names[0] == names[1]:
            names = ["first", "second"]
        print(f"{sides[0]} beside {sides[1]}; relative errors to float64\n")
        print(f"{'':44}{'forward':^16}  {'backward':^16}  {'allowed':^14}  in the run")
        pairs = "  ".join(f"{names[0]:>7} {names[1]:>8}" for _ in range(2))
        print(f"{'layer':24}{'kind':20}{pairs}  {names[0]:>6} {names[1]:>7}", flush=True)

    def show(self, row: Row) -> None:
        """Print a row; after the first that differs none, unless all are wanted."""
        if self.stopped:
            return
        errors = "  ".join(f"{a:7.0e} {b:8.0e}" for a, b in (row.forward, row.backward))
        whole = "" if row.whole is None else f"{row.whole:10.0e}"
        line = f"{_short(row.layer, 23):24}{_short(row.kind, 19):20}{errors}  "
        line += f"{row.expected[0]:6.0e} {row.expected[1]:7.0e}  {whole}"
        print(line.rstrip() + ("   differs" if any(row.wrong) else ""), flush=True)
        self.stopped = any(row.wrong) and not self.everything


def _short(text: str, width: int) -> str:
    """Leave out the beginning of what is too long."""
    return text if len(text) <= width else f"..{text[2 - width :]}"
