"""`minicnn info`: what is installed, and what this machine offers."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import Any

import minicnn
from minicnn.bench.machine import MISSING, blas, processor, version

PACKAGES = ("numpy", "safetensors", "matplotlib", "tqdm", "threadpoolctl", "scipy", "torch")


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "info",
        help="show versions, processor, threads and devices",
        description="Show what matters for a bug report or a benchmark: versions, the processor, "
        "the core that NumPy's BLAS has chosen, threads and devices.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the facts, one a line."""
    facts = {
        "minicnn": f"{minicnn.__version__} in {os.path.dirname(minicnn.__file__)}",
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{processor()}, {os.cpu_count()} cores",
        **{name: version(name).replace(MISSING, f"{MISSING} (not needed)") for name in PACKAGES},
        "BLAS": blas(),
        "cuda": cuda(),
    }
    for name, value in facts.items():
        print(f"{name:<14}{value}")
    return 0


def cuda() -> str:
    """Return the first card's name, or what is missing."""
    from minicnn.errors import DeviceError
    from minicnn_kernels.arrays import to_device

    try:
        import numpy as np

        return f"{to_device(np.zeros(1), 'cuda').device}"
    except DeviceError as error:
        return f"not available: {error}"
