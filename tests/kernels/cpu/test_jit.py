"""Compiling: results, what is kept on disk, and where."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

jit = pytest.importorskip("minicnn_kernels.cpu.jit", reason="Numba is not installed")


@jit.jit()
def doubled(begin, end, x, y):
    for i in range(begin, end):
        y[i] = 2 * x[i]


@jit.jit(jit.SUMS)
def total(x):
    found = x.dtype.type(0)
    for i in range(x.size):
        found += x[i]
    return found


@jit.jit()
def quotient(a, b):
    return a / b


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kernel_works_on_its_part_alone(dtype):
    x, y = np.arange(5, dtype=dtype), np.zeros(5, dtype)
    doubled(1, 4, x, y)
    assert y.tolist() == [0, 2, 4, 6, 0]


def test_sums_keep_nan_and_inf():
    assert np.isnan(total(np.array([1, np.nan, 2], np.float32)))
    assert total(np.array([1, np.inf, 2], np.float32)) == np.inf


def test_a_division_by_0_is_inf():
    assert quotient(np.float32(1), np.float32(0)) == np.inf


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


FOLDER = "from minicnn_kernels.cpu.jit import cache_folder; print(cache_folder())"


def test_compiled_code_is_kept_and_used_again(tmp_path):
    (tmp_path / "own.py").write_text(
        "import numpy as np\n"
        "from minicnn_kernels.cpu import jit\n"
        "@jit.jit()\n"
        "def kernel(x):\n"
        "    return x + x\n"
        "kernel(np.float32(1))\n"
        "print(sum(kernel.stats.cache_hits.values()), len(list(jit.cache_folder().rglob('*.nbc'))))"
    )
    code = f"import runpy; runpy.run_path({str(tmp_path / 'own.py')!r})"
    cache = {"MINICNN_CACHE_DIR": str(tmp_path / "cache")}
    assert run_python(code, **cache).split() == ["0", "1"]
    assert run_python(code, **cache).split() == ["1", "1"]


def test_settings_of_numba_have_a_folder_of_their_own(tmp_path):
    cache = {"MINICNN_CACHE_DIR": str(tmp_path)}
    folders = {run_python(FOLDER, **cache, NUMBA_BOUNDSCHECK=value) for value in "01"}
    assert len(folders) == 2


def test_the_folder_is_private_and_old_ones_are_deleted(tmp_path):
    for i in range(6):
        folder = tmp_path / f"kernels-{i}"
        folder.mkdir()
        os.utime(folder, (i, i))
    folder = run_python(FOLDER, MINICNN_CACHE_DIR=str(tmp_path)).strip()
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    kept = {f"kernels-{i}" for i in range(3, 6)} | {os.path.basename(folder)}
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs POSIX permissions")
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path):
    tmp_path.chmod(0o777)
    assert run_python(FOLDER, MINICNN_CACHE_DIR=str(tmp_path)) == "None\n"


def test_without_a_folder_nothing_is_kept(tmp_path):
    (tmp_path / "file").touch()
    code = (
        "import numpy as np\n"
        "from minicnn_kernels.cpu import jit\n"
        "print(jit.cache_folder(), jit.jit()(lambda x: x + x)(1))"
    )
    assert run_python(code, MINICNN_CACHE_DIR=str(tmp_path / "file")) == "None 2\n"


def test_kernels_run_as_python_where_numba_is_told_so():
    code = (
        "from minicnn_kernels.cpu import jit\n"
        "from minicnn_kernels.threads import parallel, set_num_threads\n"
        "set_num_threads(2)\n"
        "y = [0] * 9\n"
        "parallel(jit.jit()(lambda begin, end, y: y.__setitem__(slice(begin, end), [1])), 2, y)\n"
        "print(y)"
    )
    assert run_python(code, NUMBA_DISABLE_JIT="1") == "[1, 1, 0, 0, 0, 0, 0, 0, 0]\n"


def test_compile_time_is_counted():
    before = jit.compile_seconds()
    jit.jit(keep=False)(lambda x: x + 1)(1)
    assert jit.compile_seconds() > before


@jit.jit(keep=False)  # else what was kept by an earlier run would need no forms at all
def times(x, factor):
    return x * factor


@jit.jit(keep=False)
def with_constants(x):
    return times(x, 0) + times(x, 1) + times(x, len("ab")) + times(factor=7, x=x)


def test_constants_in_compiled_code_need_no_forms_of_their_own():
    assert with_constants(5) == 50
    assert len(times.overloads) == 1
