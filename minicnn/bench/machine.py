"""What a measurement depends on: the processor, threads, versions, settings of the system."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import minicnn
from minicnn_kernels import cards, tuning
from minicnn_kernels.precision import math_mode
from minicnn_kernels.registry import can_compile, preferred

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MISSING = "not installed"


def facts() -> dict[str, str]:
    """Return everything that a reader of the figures must know, as far as it can be found out."""
    found = {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "minicnn": " ".join(filter(None, [minicnn.__version__, commit()])),
        "numpy": version("numpy"),
        "BLAS": blas(),
        "numba": f"{version('numba')} (LLVM {llvm()})" if can_compile() else "not in use",
    }
    if mode := huge_pages():
        found["huge pages"] = mode
    if names := preferred():
        found["algorithms"] = ", ".join(f"{kernel}={name}" for kernel, name in names.items())
    if tuning.is_on():
        found["auto"] = "the fastest, measured before"
    return found


def card_facts() -> dict[str, str]:
    """Return what figures of the current card depend on."""
    card = cards.card()
    return {
        "card": f"{card.name}, {card.memory / 2**30:.0f} GiB",
        "CUDA": f"{cards.runtime_version()}, driver for {cards.driver_version()}",
        "CuPy": cards.cupy().__version__,
        "math": math_mode.get(),
    }


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


def version(package: str) -> str:
    """Return a package's version without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return MISSING


def blas() -> str:
    """Return the matrix library behind NumPy, the core it was built for, and its threads."""
    import threadpoolctl

    found = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    found = [pool for pool in found if "numpy" in pool["filepath"]] or found  # SciPy has its own
    texts = [
        f"{pool['internal_api']} {pool.get('version') or ''}, "
        f"{pool.get('architecture', 'unknown')} core, {pool['num_threads']} threads"
        for pool in found
    ]
    return "; ".join(texts) or "unknown"


def llvm() -> str:
    """Return the version of the compiler behind Numba."""
    import llvmlite.binding

    return ".".join(map(str, llvmlite.binding.llvm_version_info))


def huge_pages() -> str:
    """Return when Linux gives large pages of memory: "always", "madvise" or "never"."""
    try:
        return HUGE_PAGES.read_text().partition("[")[2].partition("]")[0]
    except OSError:
        return ""


def commit() -> str:
    """Return the state of the sources, if they are those of a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    folder = os.path.dirname(minicnn.__file__)
    try:
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()
