"""`minicnn info`: what is installed, and what this machine offers."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from typing import Any

import minicnn

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
        **{name: version(name) for name in PACKAGES},
        "BLAS": blas(),
        "cuda": cuda(),
    }
    for name, value in facts.items():
        print(f"{name:<14}{value}")
    return 0


def version(package: str) -> str:
    """Return a package's version without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed (not needed)"


def processor() -> str:
    """Return the processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            ]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or "unknown"


def blas() -> str:
    """Return the matrix library behind NumPy, the core it was built for, and its threads."""
    import threadpoolctl

    found = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    texts = [
        f"{pool['internal_api']} {pool.get('version') or ''}, "
        f"{pool.get('architecture', 'unknown')} core, {pool['num_threads']} threads"
        for pool in found
    ]
    return "; ".join(texts) or "unknown"


def cuda() -> str:
    """Return the first card's name, or what is missing."""
    from minicnn.errors import DeviceError
    from minicnn_kernels.arrays import to_device

    try:
        import numpy as np

        return f"{to_device(np.zeros(1), 'cuda').device}"
    except DeviceError as error:
        return f"not available: {error}"
