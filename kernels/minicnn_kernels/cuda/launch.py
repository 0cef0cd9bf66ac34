"""CUDA C++ kernels: sources in this folder, compiled by NVRTC through CuPy, which keeps the code.

A kernel is `extern "C"`, so its name is its name; variants in types and tiles have names of their
own.  `ptx.cuh` wraps the few instructions that C++ has no words for.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minicnn_kernels.arrays import is_on_card
from minicnn_kernels.cards import cupy
from minicnn_kernels.cuda import replay

FOLDER = Path(__file__).parent
OPTIONS = ("-std=c++17",)
CUPYS_OPTIONS = ("--device-as-default-execution-space", "-ftz=true")
"""What CuPy adds to them: tiny results, below 1e-38, become 0."""

SHARED_BYTES = 48 * 1024  # of shared memory, static and dynamic together, without asking
STATIC_BYTES = 1024  # of them at most are static in kernels that have both kinds

Dims = tuple[int, ...]


@cache
def source(file: str) -> str:
    """Return the text of a source, with the files that it includes by name in their place.

    CuPy looks for compiled code by the text alone, so what is included must be in it.
    """
    return with_includes((FOLDER / file).read_text(encoding="utf-8"))


def with_includes(text: str) -> str:
    """Return a text with the files of this folder that it includes by name in their place."""
    included: set[str] = set()

    def expanded(text: str) -> str:
        return re.sub(r'^#include "(.+)"$', lambda found: content(found[1]), text, flags=re.M)

    def content(name: str) -> str:
        if name in included:
            return ""
        included.add(name)
        return expanded((FOLDER / name).read_text(encoding="utf-8"))

    return expanded(text)


@cache
def _function(file: str, name: str, card: int) -> Any:
    return _compiled(source(file), name, OPTIONS)


@cache
def _function_of_text(text: str, name: str, options: tuple[str, ...], card: int) -> Any:
    return _compiled(with_includes(text), name, OPTIONS + options)


def _compiled(text: str, name: str, options: tuple[str, ...]) -> Any:
    return cupy().RawModule(code=text, options=options, backend="nvrtc").get_function(name)


def launch(
    file: str, name: str, grid: Dims, block: Dims, arguments: tuple[Any, ...], shared: int = 0
) -> None:
    """Run kernel `name` of `file` on the current card, after what was launched before.

    Args:
        arguments: arrays of the card, given as their addresses, and NumPy numbers of the types
            that the kernel declares, or structures of such.
        shared: bytes of dynamic shared memory of a block.
    """
    if replay.is_refilling():
        return
    card = cupy().cuda.runtime.getDevice()
    function = _function(file, name, card)
    if shared > SHARED_BYTES - STATIC_BYTES:
        function.max_dynamic_shared_size_bytes = shared
    function(grid, block, _passed(arguments, card), shared_mem=shared)


def _passed(arguments: tuple[Any, ...], card: int) -> tuple[Any, ...]:
    """Return structures without their fields, which NumPy would describe for CuPy at each launch.

    Raises:
        ValueError: an array lies on another card, where its address means something else.
    """
    passed = []
    for argument in arguments:
        if type(argument) is np.ndarray:
            argument = argument.view(_bytes_of(argument.dtype))
        elif is_on_card(argument) and argument.data.device_id != card:
            raise ValueError(
                f"Array device must be same as the current device: array device = "
                f"{argument.data.device_id} while current = {card}"
            )
        passed.append(argument)
    return tuple(passed)


@cache
def _bytes_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype((np.void, dtype.itemsize))


def launch_text(
    text: str,
    name: str,
    grid: Dims,
    block: Dims,
    arguments: tuple[Any, ...],
    options: tuple[str, ...] = (),
) -> None:
    """Do the same for a kernel whose source is a text; `options` are for the compiler."""
    if replay.is_refilling():
        return
    card = cupy().cuda.runtime.getDevice()
    _function_of_text(text, name, options, card)(grid, block, _passed(arguments, card))
