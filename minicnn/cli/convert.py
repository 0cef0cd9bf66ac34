"""`minicnn convert`: weights from PyTorch's checkpoints, or from safetensors, to safetensors."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import numpy as np

from minicnn.errors import UsageError
from minicnn_kernels.arrays import Array

DESCRIPTION = """Write the arrays of a weight file as safetensors.

IN is a checkpoint of PyTorch's torch.save (PyTorch is not needed, and nothing in the file is run)
or a safetensors file; its content says which.  From a checkpoint that holds more than weights,
take one part with --prefix: names of parts are joined by dots, as in "model.fc.weight".  bfloat16
becomes float32.
"""
DTYPES = ("float16", "float32", "float64")


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "convert",
        help="convert weights of PyTorch's to safetensors",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="IN", help="the file to read")
    parser.add_argument("target", metavar="OUT", help="the safetensors file to write")
    parser.add_argument(
        "--prefix", default="", help='take only names that begin so, without it ("module.")'
    )
    parser.add_argument("--dtype", choices=DTYPES, help="the type of all floating-point arrays")
    parser.add_argument(
        "--model", metavar="NAME", help="check that names and shapes are those of this model"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Convert, and say what was written."""
    from minicnn import models
    from minicnn.cli.progress import progress
    from minicnn.io import load_file, load_metadata, save_file
    from minicnn.io.weights import is_of_torch
    from minicnn.nn.init import undrawn

    with progress(3, "step") as (write, tick):
        arrays = load_file(options.source)
        notes = {} if is_of_torch(options.source) else load_metadata(options.source)
        tick()
        arrays = without_prefix(arrays, options.prefix)
        if options.model:
            with undrawn():
                model = models.create(options.model)
            model.load_state_dict(arrays)
        if options.dtype:
            for name, array in arrays.items():
                arrays[name] = cast(name, array, options.dtype)
        tick()
        save_file(arrays, options.target, notes)
        tick()
        write(f"{options.target}: {describe(arrays)}")
    return 0


def without_prefix(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    """Return the arrays whose names begin with a prefix, under what follows it."""
    found = {
        name.removeprefix(prefix): arr for name, arr in arrays.items() if name.startswith(prefix)
    }
    if not found:
        first = ", ".join([*arrays][:5])
        raise UsageError(f"--prefix {prefix!r}: none of {len(arrays)} arrays has it: {first}, ...")
    return found


def cast(name: str, array: Array, dtype: str) -> Array:
    """Return a floating-point array in another type, and others as they are."""
    if array.dtype.kind != "f":
        return array
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype, copy=False)
    except FloatingPointError:
        largest = np.abs(array).max()
        raise UsageError(f"--dtype {dtype}: {name} has values up to {largest}, too large") from None


def describe(arrays: dict[str, Array]) -> str:
    """Return how many arrays, values and bytes there are, and of which types."""
    types = Counter(array.dtype.name for array in arrays.values())
    values = sum(array.size for array in arrays.values())
    megabytes = sum(array.nbytes for array in arrays.values()) / 2**20
    kinds = ", ".join(f"{count} {name}" for name, count in types.items())
    return f"{len(arrays)} arrays ({kinds}), {values:,} values, {megabytes:.1f} MiB"
