"""Barriers and waits are taken out of the kernels, one at a time: their tests must notice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import emulation
import pytest

from minicnn_kernels.cuda import launch

HERE = Path(__file__).parent
CHANGES = {
    r"__syncthreads\(\);": "",
    r"copy_async_wait<(.+?)>\(\);": r"copy_async_wait<\1 + 1>();",
}
SEEDS = 2  # orders of threads that are tried before a mistake counts as not noticed
TESTS = {  # of files whose tests have another name
    "columns.cuh": "normalization",
    "conv_simt.cu": "convolution",
    "conv_tensor.cuh": "convolution",
    "implicit_gemm.cuh": "convolution",
    "row_normalization.cu": "normalization",
    "team.cuh": "normalization",
}


def _mutants():
    """Yield (file, what is taken out, its place in the text, what stands there instead)."""
    for path in sorted(launch.FOLDER.glob("*.cu*")):
        text = path.read_text()
        for pattern, change in CHANGES.items():
            for found in re.finditer(pattern, text):
                line = text[: found.start()].count("\n") + 1
                name = f"{path.name}:{line}: {found[0]}"
                yield pytest.param(path.name, found.span(), found.expand(change), id=name)


def _run(plugin, *files, **variables):
    """Run test files with a plugin in a process of its own."""
    environment = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(sys.path)}
    options = ["-p", plugin, "-x", "-q", "-n0", "--no-header", "--tb=short"]
    command = [sys.executable, "-m", "pytest", *options, *map(str, files)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow_emulation
@pytest.mark.parametrize(("file", "span", "change"), [*_mutants()])
def test_the_tests_of_a_kernel_notice_that_something_is_missing(file, span, change, tmp_path):
    shutil.copytree(launch.FOLDER, tmp_path, dirs_exist_ok=True)
    text = (launch.FOLDER / file).read_text()
    (tmp_path / file).write_text(text[: span[0]] + change + text[span[1] :])
    tests = HERE / f"test_{TESTS.get(file, Path(file).stem)}.py"
    for seed in map(str, range(SEEDS)):
        variables = {"MINICNN_CUDA_SOURCES": str(tmp_path), "MINICNN_EMULATION_SEED": seed}
        done = _run("mutant", tests, **variables)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        assert "g++ refuses" not in done.stdout
        if done.returncode == 1:
            return
    pytest.fail(f"the tests pass:\n{done.stdout}")


@pytest.mark.slow_emulation
def test_every_kernel_is_launched_by_a_test(tmp_path):
    others = {f"test_{name}.py" for name in ("compile", "every_op", "mutants", "numba_cuda")}
    tests = [file for file in sorted(HERE.glob("test_*.py")) if file.name not in others]
    done = _run("launched", *tests, MINICNN_LAUNCHED=str(tmp_path / "names"))
    assert done.returncode == 0, done.stdout + done.stderr
    sources = (launch.source(file.name) for file in launch.FOLDER.glob("*.cu"))
    kernels = {name for source in sources for name, _ in emulation.declared(source)}
    assert kernels - set((tmp_path / "names").read_text().split()) == set()
