"""The `minicnn` command: one file a subcommand, each with `add_parser` and `run`.

Exit codes: 0 done, 1 something is wrong with files or data, or a gradient is wrong, 2 a mistake in
the command line, 3 a gradient check that could not tell, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import minicnn
from minicnn.cli import (
    bench,
    convert,
    evaluate,
    gradcheck,
    info,
    models,
    parity,
    predict,
    summary,
    train,
    warmup,
)
from minicnn.errors import DeviceError, MinicnnError, UsageError

EXAMPLES = """examples:
  minicnn train lenet5                train LeNet-5 on the digits that come with minicnn
  minicnn train lenet5 --modern       the same with ReLU and max-pooling
  minicnn train resnet20 --data shapes
                                      another network, on generated pictures
  minicnn eval runs/lenet5            test the trained network again
  minicnn predict runs/lenet5 seven.png
                                      ask it about a picture
  minicnn gradcheck layers.py::relu   check the backward you wrote
  minicnn models                      the networks that can be built by name
  minicnn summary vgg16               layers, parameters, operations and receptive fields
  minicnn bench conv --suite vgg16    measure convolution, beside PyTorch
  minicnn parity resnet18             compare a card with the CPU, layer by layer
  minicnn convert resnet18.pth resnet18.safetensors --model resnet18
                                      take over PyTorch's weights
  minicnn info                        what this machine offers
  minicnn warmup                      compile what a first training would wait for
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="minicnn",
        description="Deep learning written to be read: train, test and look inside.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minicnn {minicnn.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (
        train,
        evaluate,
        predict,
        gradcheck,
        models,
        summary,
        bench,
        parity,
        convert,
        info,
        warmup,
    ):
        module.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    many = next((name for name in ("pictures", "targets") if name in options), None)
    if any(word.startswith("-") for word in rest) or (rest and many is None):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest and many:  # argparse takes pictures before an option, but not after it
        getattr(options, many).extend(rest)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except UsageError as error:
        print(f"minicnn {options.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (MinicnnError, OSError) as error:
        print(f"minicnn {options.command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, DeviceError) else 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
