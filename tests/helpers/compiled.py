"""What NVRTC makes of CUDA sources, which needs no card, and whether it keeps to the budget.

`python tests/helpers/compiled.py pooling.cu ...` prints what the kernels of files need.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from sys import argv

import emulation
import pytest
from manifest import Row

from minicnn_kernels.cuda import launch

# Bytes of shared memory that a block can have, by architecture.  CUDA C++ Programming Guide,
# table of technical specifications per compute capability.
SHARED = {75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}
SHARED = {architecture: kib * 1024 for architecture, kib in SHARED.items()}
STATIC = 48 * 1024

FORM = "1"  # of what is kept

FLOAT_ATOMICS = ("RED.E.ADD.F32", "REDG.E.ADD.F32", "ATOMG.E.ADD.F32", "ATOM.E.ADD.F32")
DOUBLES = ("DADD", "DMUL", "DFMA", "DSETP")


@dataclass(frozen=True)
class Code:
    """A kernel as compiled for one architecture; sizes in bytes."""

    registers: int
    stack: int
    spilled: int
    static: int
    instructions: tuple[str, ...]  # in the notation of nvdisasm, each once

    def uses(self, instruction: str) -> bool:
        """Tell whether an instruction is there: `HMMA` stands for `HMMA.1688.F32.TF32` too."""
        names = (f"{name}.".replace(".U.", ".") for name in self.instructions)  # sm_75: LDS.U.128
        return any(name.startswith(f"{instruction}.") for name in names)


def codes(text: str, architecture: int, options: Iterable[str] = ()) -> dict[str, Code]:
    """Return the kernels of a text by name.  Skip the test without NVRTC and nvdisasm."""
    options = (
        *(*launch.OPTIONS, *launch.CUPYS_OPTIONS, *options),
        *(f"-arch=sm_{architecture}", "--ptxas-options=-v"),
    )
    key = "\0".join([text, *options, *_tools(), FORM])
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    file = emulation.cache_folder("compiled") / f"{digest}.json"
    if file.exists():
        os.utime(file)
    else:
        log, cubin = _compile(text, options)
        made = _codes(log, _instructions(cubin))
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({name: asdict(code) for name, code in made.items()}))
        partial.replace(file)
    return {name: Code(**code) for name, code in json.loads(file.read_text()).items()}


@cache
def _tools() -> tuple[str, str]:
    """Return the version of NVRTC and the path of nvdisasm."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason=MISSING.format("cuda-bindings"))
    try:
        version = nvrtc.nvrtcVersion()
    except Exception:
        pytest.skip(MISSING.format("NVRTC"))
    try:
        files = metadata.files("nvidia-cuda-nvdisasm") or []
    except metadata.PackageNotFoundError:
        files = []
    own = [str(file.locate()) for file in files if file.name.startswith("nvdisasm")]
    disassembler = own[0] if own else shutil.which("nvdisasm")
    if disassembler is None:
        pytest.skip(MISSING.format("nvdisasm"))
    return str(version), disassembler


MISSING = 'without {} nothing is compiled; pip install "minicnn[gpu-compile]"'


def _compile(text: str, options: Iterable[str]) -> tuple[str, bytes]:
    """Return the log and the machine code."""
    from cuda.bindings import nvrtc

    def ask(function, *arguments):
        error, *results = function(*arguments)
        assert not error, f"{function.__name__}: {error}"
        return results[0] if results else None

    def read(get_size, get):
        buffer = bytes(ask(get_size, program))
        ask(get, program, buffer)  # NVRTC writes into it
        return buffer

    program = ask(nvrtc.nvrtcCreateProgram, text.encode(), b"kernel.cu", 0, [], [])
    options = [option.encode() for option in options]
    (failed,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    log = read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog).decode()
    assert not failed, log
    cubin = read(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
    ask(nvrtc.nvrtcDestroyProgram, program)
    return log, cubin


def _instructions(cubin: bytes) -> dict[str, tuple[str, ...]]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [_tools()[1], "-c", file.name]
        code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for name, body in re.findall(r"\.section\s+\.text\.(\w+),(.*?)(?=\.section\s|\Z)", code, re.S):
        operations = re.findall(r"\*/ +(?:@!?\w+ +)?([A-Z][\w.]+)", body)
        found[name] = tuple(sorted(set(operations)))
    return found


def _codes(log: str, instructions: dict[str, tuple[str, ...]]) -> dict[str, Code]:
    found = {}
    for entry in log.split("Compiling entry function")[1:]:
        name = re.search(r"'(\w+)'", entry)[1]
        stack, stores, loads = map(int, re.findall(r"(\d+) bytes (?:stack|spill)", entry)[:3])
        static = re.search(r"(\d+) bytes smem", entry)
        found[name] = Code(
            registers=int(re.search(r"Used (\d+) registers", entry)[1]),
            stack=stack,
            spilled=stores + loads,
            static=int(static[1]) if static else 0,
            instructions=instructions[name],
        )
    return found


def complaints(row: Row, name: str, code: Code, architecture: int) -> list[str]:
    """Return a sentence for each way in which a kernel breaks its budget."""
    shared = code.static + row.dynamic
    found = {
        f"has {code.registers} registers, of {row.registers}": code.registers > row.registers,
        f"spills {code.spilled} bytes": code.spilled,
        f"has {code.stack} bytes of local memory": code.stack,
        f"has {code.static} bytes of static shared memory, of {row.static}": code.static
        > min(row.static, STATIC),
        f"has {shared} bytes of shared memory, of a card's {SHARED[architecture]}": shared
        > SHARED[architecture],
        **{f"does not use {wanted}": not code.uses(wanted) for wanted in row.uses},
        "adds floats in any order": any(map(code.uses, FLOAT_ATOMICS)),
        "computes in float64": not row.doubles and any(map(code.uses, DOUBLES)),
    }
    return [f"{row.file}: {name} on sm_{architecture} {what}" for what, bad in found.items() if bad]


def measured(file: str) -> str:
    """Return rows for the kernels of a file: the most that any architecture needs."""
    found: dict[str, list[Code]] = {}
    for architecture in SHARED:
        for name, code in codes(launch.source(file), architecture).items():
            found.setdefault(name, []).append(code)
    lines = [f'["{file}"]']
    for name, made in found.items():
        registers = max(-(-code.registers // 8) * 8 for code in made)  # as they are given out
        static = max(code.static for code in made)
        lines.append(f"{name} = {{ registers = {registers}, static = {static} }}")
    return "\n".join(lines)


if __name__ == "__main__":
    for file in argv[1:]:
        print(measured(file))
