"""Every kernel compiles for every architecture, within its budget; no card is needed."""

from __future__ import annotations

import compiled
import emulation
import manifest
import pytest

from minicnn_kernels.cuda import launch

FILES = sorted(file.name for file in launch.FOLDER.glob("*.cu"))


@pytest.mark.slow_emulation
@pytest.mark.parametrize("architecture", compiled.SHARED)
@pytest.mark.parametrize("file", FILES)
def test_compiles_within_its_budget(file, architecture):
    codes = compiled.codes(launch.source(file), architecture)
    rows = [row for row in manifest.rows() if row.file == file and row.since <= architecture]
    found = []
    for name, code in codes.items():
        for row in manifest.rows_of(name):
            if row.since <= architecture:
                found += compiled.complaints(row, name, code, architecture)
    absent = [row.pattern for row in rows if not any(row in manifest.rows_of(n) for n in codes)]
    assert not found, "\n".join(found)
    assert absent == []


@pytest.mark.parametrize("file", FILES)
def test_every_kernel_has_one_row(file):
    names = [name for name, _ in emulation.declared(launch.source(file))]
    assert names
    rows = {name: [row.file for row in manifest.rows_of(name)] for name in names}
    assert rows == {name: [file] for name in names}


def test_every_row_is_of_a_file():
    assert {row.file for row in manifest.rows()} <= set(FILES)


PLANTED = r"""
extern "C" __global__ void __launch_bounds__(1024, 2) spills(const float* x, float* y) {
    float all[80];
#pragma unroll
    for (int i = 0; i < 80; i++) all[i] = x[i * 1024 + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 80; i++) y[i * 1024 + threadIdx.x] = all[79 - i] * all[i];
}
extern "C" __global__ void indexes(const float* x, float* y, int n) {
    float all[64];
    for (int i = 0; i < 64; i++) all[i] = x[i];
    all[n] += 1;
    y[0] = all[n / 2];
}
extern "C" __global__ void doubles(float* y) { y[threadIdx.x] *= 0.1; }
extern "C" __global__ void adds(float* y) { atomicAdd(y, 1.0f); }
extern "C" __global__ void shares(float* y) {
    __shared__ float tile[1024];
    tile[threadIdx.x] = y[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[1023 - threadIdx.x];
}
extern "C" __global__ void good(const float4* x, float4* y) { y[threadIdx.x] = x[threadIdx.x]; }
"""


@pytest.mark.parametrize(("name", "budget", "expected"), [
    ("good", {"uses": ("LDG.E.128", "STG")}, []),
    ("good", {"uses": ("LDG.E.128", "LDGSTS", "HMMA")}, ["use LDGSTS", "use HMMA"]),
    ("good", {"dynamic": 228 * 1024}, ["233472 bytes of shared memory, of a card's 232448"]),
    ("good", {"registers": 5}, ["registers, of 5"]),
    ("spills", {}, ["spills", "local memory"]),
    ("indexes", {}, ["local memory"]),
    ("doubles", {}, ["float64"]),
    ("doubles", {"doubles": True}, []),
    ("adds", {}, ["any order"]),
    ("shares", {"static": 4096}, []),
    ("shares", {"static": 4095}, ["4096 bytes of static shared memory, of 4095"]),
])  # fmt: skip
def test_what_breaks_a_budget_is_named(name, budget, expected):
    code = compiled.codes(PLANTED, 90)[name]
    row = manifest.Row("planted.cu", name, **{"registers": 64, **budget})
    found = compiled.complaints(row, name, code, 90)
    for sentence, words in zip(found, expected, strict=True):
        assert words in sentence
        assert f"planted.cu: {name} on sm_90" in sentence


def test_a_text_that_does_not_compile_is_an_error():
    with pytest.raises(AssertionError, match="identifier"):
        compiled.codes('extern "C" __global__ void wrong(float* y) { y[0] = nothing; }', 75)
