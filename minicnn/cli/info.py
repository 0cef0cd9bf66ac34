"""`minicnn info`: what is installed, and what this machine offers."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import Any

import minicnn
from minicnn.bench.machine import MISSING, blas, llvm, processor, version
from minicnn.cuda import mem_get_info
from minicnn.errors import DeviceError
from minicnn_kernels import cards, tuning
from minicnn_kernels.cuda.memory import size
from minicnn_kernels.registry import can_compile, preferred

PACKAGES = (
    "numpy", "numba", "matplotlib", "tqdm", "threadpoolctl", "scipy", "torch",
)  # fmt: skip


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "info",
        help="show versions, processor, threads and devices",
        description="Show what matters for a bug report or a benchmark: versions, the processor, "
        "the core that NumPy's BLAS has chosen, threads and devices.",
    )
    parser.add_argument(
        "--forget", action="store_true",
        help="first delete what autotuning has found out about the speed of algorithms",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the facts, one a line."""
    if options.forget:
        tuning.forget()
    facts = {
        "minicnn": f"{minicnn.__version__} in {os.path.dirname(minicnn.__file__)}",
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{processor()}, {os.cpu_count()} cores",
        **{name: version(name).replace(MISSING, f"{MISSING} (not needed)") for name in PACKAGES},
        "threads": f"{minicnn.get_num_threads()} for kernels",
        "kernels": kernels(),
        "algorithms": algorithms(),
        "BLAS": blas(),
        **cuda(),
    }
    for name, value in facts.items():
        print(f"{name:<14}{value}")
    return 0


def kernels() -> str:
    """Say what compiles the kernels, for which vectors, and where compiled code is kept."""
    if not can_compile():
        return "NumPy only: Numba is not installed, or MINICNN_KERNELS is numpy"
    from minicnn_kernels.cpu.jit import cache_folder
    from minicnn_kernels.cpu.vector import VECTOR_BYTES

    compiler = f"compiled by LLVM {llvm()} for vectors of {8 * VECTOR_BYTES} bits"
    if (folder := cache_folder()) is None:
        return f"{compiler}, kept nowhere: no private folder can be written"
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{compiler}, {len(files)} files of {sum(files) / 2**20:.1f} MiB in {folder}"


def algorithms() -> str:
    """Say what decides between the algorithms of a kernel, and what is known of their speed."""
    names = [f"{kernel}={name}" for kernel, name in preferred().items()]
    names.append("the fastest measured" if tuning.is_on() else "the cheapest estimated")
    text = ", else ".join(names)
    if found := tuning.kept():
        text += f"; {len(found)} choices by measuring in {tuning.file()}"
    return text


def cuda() -> dict[str, str]:
    """Return the facts about cards: CuPy, what it needs, each card, or what is missing."""
    packages = ", ".join(f"{name} {number}" for name, number in cards.installed().items())
    packages = packages or f"{MISSING} (not needed without a card)"
    facts = {"CuPy": "; ".join(filter(None, [packages, cards.conflict()]))}
    try:
        cards.cupy()
        driver = cards.driver_version()
        facts["NVRTC"] = cards.nvrtc_version() or f"{MISSING}; {cards.INSTALL}"
        facts["driver"] = f"for CUDA {driver}" if driver else MISSING
        for number in range(cards.count()):
            facts[f"cuda:{number}"] = describe(number)
    except DeviceError as error:
        facts["cuda"] = f"not available: {error}"
    return facts


def describe(number: int) -> str:
    """Return what a card is."""
    card, (free, total) = cards.card(number), mem_get_info(number)
    return (
        f"{card.name}, compute capability {'.'.join(map(str, card.capability))}, "
        f"{card.processors} processors, {size(total)} ({size(free)} free)"
    )
