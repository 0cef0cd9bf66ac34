"""Kernels in CUDA C++ run on the CPU: `tests/emulation/cuda.h` says how, and what it notices."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from manifest import rows_of

HEADER = Path(__file__).parents[1] / "emulation" / "cuda.h"
SANITIZED = os.environ.get("MINICNN_SANITIZE") == "1"
SEED = int(os.environ.get("MINICNN_EMULATION_SEED", 0))  # of launches that do not say one
FLAGS = [
    *("-std=c++17", "-O1", "-shared", "-fPIC", "-w", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE"),
    *("-fvisibility=hidden", "-ffp-contract=off"),
    *(
        ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
        if SANITIZED
        else (
            "-fsanitize=alignment,bounds,shift,signed-integer-overflow,integer-divide-by-zero",
            "-fsanitize-undefined-trap-on-error",
        )
    ),
]
KEPT_SECONDS = 14 * 24 * 3600


class KernelError(Exception):
    """A kernel did what a card need not forgive."""


class _Call(ctypes.Structure):
    """What cuda.h calls Call."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_ulonglong),
        ("seed", ctypes.c_uint),
        ("deferred", ctypes.c_int),
        ("count", ctypes.c_int),
        ("sizes", ctypes.POINTER(ctypes.c_int)),
        ("kinds", ctypes.c_char_p),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("error", ctypes.c_char_p),
        ("error_bytes", ctypes.c_int),
    )


class Module:
    """The compiled kernels of one text."""

    def __init__(self, text: str, path: Path) -> None:
        self.lines = text.split("\n")
        self._library = ctypes.CDLL(str(path))
        names = ctypes.c_char_p.in_dll(self._library, "minicnn_names").value
        self.kernels = names.decode().split()

    def launch(self, name, grid, block, arguments, shared=0, deferred=True, seed=SEED) -> None:
        """Run a kernel; when this returns it is done.

        Args:
            arguments: NumPy arrays or None, given as their addresses; NumPy numbers of the types
                that the kernel declares; structures, as arrays of no dimension.
            deferred: whether `copy_async_*` copies when it is waited for, instead of at once;
                before that, its target is NaN.
            seed: of the order in which blocks, warps and threads take turns; 0 is their own.

        Raises:
            KernelError: the arguments are not those that the kernel declares, or it did what a
                card need not forgive.
        """
        if name not in self.kernels:
            raise KernelError(f"there is no kernel {name!r} among {self.kernels}")
        for row in rows_of(name):
            if shared > row.dynamic:
                raise KernelError(
                    f"{name}: {shared} bytes of dynamic shared memory are more than "
                    f"its budget in manifest.toml, {row.dynamic}"
                )
        values = [_value_of(name, i, argument) for i, argument in enumerate(arguments)]
        count = len(values)
        error = ctypes.create_string_buffer(1000)
        call = _Call(
            (ctypes.c_uint * 3)(*_three(grid)),
            (ctypes.c_uint * 3)(*_three(block)),
            *(shared, seed, deferred, count),
            (ctypes.c_int * count)(*(value.nbytes for value, _ in values)),
            "".join(kind for _, kind in values).encode(),
            (ctypes.c_void_p * count)(*(value.ctypes.data for value, _ in values)),
            ctypes.cast(error, ctypes.c_char_p),
            len(error),
        )
        if getattr(self._library, f"minicnn_launch_{name}")(ctypes.byref(call)):
            raise KernelError(f"{name}: {self._with_lines(error.value.decode())}")

    def _with_lines(self, message: str) -> str:
        """Quote the lines that a message names."""
        numbers = dict.fromkeys(map(int, re.findall(r"line (\d+)", message)))
        quoted = [f"\n  {number}: {self.lines[number - 1].strip()}" for number in numbers]
        return message + "".join(quoted)


def _three(sizes) -> tuple[int, ...]:
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    return sizes + (1,) * (3 - len(sizes))


def _value_of(kernel, place, argument):
    """Return what lies at an argument's place, as an array, and its kind."""
    if argument is None:
        return np.uintp(0).reshape(1), "P"
    of_array = isinstance(argument, np.ndarray)
    if of_array and not (argument.ndim == 0 and argument.dtype.type is np.void):
        return np.array([argument.ctypes.data], np.uintp), "P"
    if isinstance(argument, (np.generic, np.ndarray)):
        kind = argument.dtype.kind
        return np.array(argument).reshape(1), {"b": "i", "u": "i"}.get(kind, kind)
    raise KernelError(
        f"{kernel}: argument {place} is {argument!r}; give an array, or a NumPy number or "
        "structure of the type that the kernel declares"
    )


@cache
def module(text: str) -> Module:
    """Compile a text, or find it compiled by an earlier call.  Skip the test without g++."""
    if not sys.platform.startswith("linux") or not shutil.which("g++"):
        pytest.skip("CUDA C++ is emulated on Linux, with g++")
    parts = [text, HEADER.read_text(), " ".join(FLAGS), _version()]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    path = cache_folder("emulation") / f"{digest}.so"
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be compiling it
        if not path.exists():
            _compile(text, path)
    os.utime(path)
    return Module(text, path)


@cache
def _version() -> str:
    return subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout


@cache
def cache_folder(name: str) -> Path:
    """Return a folder for what takes long to make, without what nobody has needed for long."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("MINICNN_CACHE_DIR") or Path(home) / "minicnn") / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in folder.iterdir():
        if time.time() - file.stat().st_mtime > KEPT_SECONDS:
            file.unlink(missing_ok=True)
    return folder


def sanitizers() -> str:
    """Return what LD_PRELOAD must be for sanitized kernels.  Skip the test without it."""
    libraries = []
    for name in "libasan.so", "libubsan.so":
        command = ["g++", f"-print-file-name={name}"]
        path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        if not os.path.isabs(path):
            pytest.skip(f"g++ has no {name}")
        libraries.append(path)
    return " ".join(libraries)


def _compile(text: str, path: Path) -> None:
    kernels = declared(text)
    names = " ".join(name for name, _ in kernels)
    exported = 'extern "C" __attribute__((visibility("default")))'
    entries = [
        f"{exported} int minicnn_launch_{name}(const emulated::Call& call) "
        f"{{ return emulated::launch<name>(call, emulated::bound({bounds})); }}".replace(
            "<name>", f"<&{name}>"
        )
        for name, bounds in kernels
    ]
    source = "\n".join(
        [
            f'#include "{HEADER}"',
            '#line 1 "kernel.cu"',
            text,
            f'{exported} const char* minicnn_names = "{names}";',
            *entries,
        ]
    )
    partial = path.with_suffix(".partial")
    command = ["g++", *FLAGS, "-x", "c++", "-", "-o", str(partial)]
    alone = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, input=source, capture_output=True, text=True, env=alone)
    if done.returncode:
        raise KernelError(f"g++ refuses the kernels:\n{done.stderr}")
    partial.replace(path)


def declared(text: str) -> list[tuple[str, str]]:
    """Return name and launch bounds of each kernel of a text, those made by macros too."""
    command = ["g++", "-E", "-P", "-w", "-DMINICNN_EMULATED=1", "-x", "c++", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    bounds = r"__launch_bounds__\s*\(((?:[^()]|\([^()]*\))*)\)"
    kernel = rf"__global__\s+(?:void\s+)?(?:{bounds}\s*)?(?:void\s+)?(\w+)\s*\("
    return [(name, threads) for threads, name in re.findall(kernel, done.stdout)]
