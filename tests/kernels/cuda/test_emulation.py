"""The emulation of cards is right about small kernels, and notices what is wrong in others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import emulation
import numpy as np
import pytest

from minicnn_kernels.cuda import launch

WORDS = r"""
#define KERNEL extern "C" __global__ void __launch_bounds__(256)

KERNEL places(int4* y) {
    int i = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int j = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    y[i * blockDim.x * blockDim.y * blockDim.z + j] = make_int4(i, threadIdx.x, threadIdx.y, j);
}

KERNEL turned(const float* x, float* y) {
    __shared__ float tile[2][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    tile[warp][lane] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[1 - warp][31 - lane];
}

struct Sizes {
    int rows;
    long long columns;
    float scale;
};

KERNEL by_value(float* y, Sizes sizes, const float* nothing, float add, long long n) {
    y[threadIdx.x] = nothing ? 0 : sizes.rows * sizes.columns * sizes.scale + add + n;
}

KERNEL warps(int* y) {
    unsigned all = 0xffffffff;
    int lane = threadIdx.x, *row = y + lane * 9;
    row[0] = __shfl_sync(all, lane, 5);
    row[1] = __shfl_xor_sync(all, lane, 3);
    row[2] = __shfl_down_sync(all, lane, 4);
    row[3] = __shfl_up_sync(all, lane, 4);
    row[4] = __shfl_sync(all, lane, 5, 8);
    row[5] = __ballot_sync(all, lane % 3 == 0);
    row[6] = __any_sync(all, lane == 31) + 2 * __any_sync(all, lane == 32);
    row[7] = __all_sync(all, lane < 32) + 2 * __all_sync(all, lane < 31);
    row[8] = int(__shfl_xor_sync(all, lane * 1.5, 1) * 2);
}

KERNEL votes(int* y) {
    int more = __syncthreads_count(threadIdx.x > 60);
    int any = __syncthreads_or(threadIdx.x == 7), all = __syncthreads_and(threadIdx.x != 7);
    if (threadIdx.x == 0) y[0] = more, y[1] = any, y[2] = all;
}

KERNEL atomics(int* y, float* z) {
    atomicAdd(&y[0], 2);
    atomicMax(&y[1], int(threadIdx.x));
    atomicCAS(&y[2], 0, int(blockIdx.x) + 5);
    atomicAdd(z, 0.5f);
}

KERNEL unwritten(float* y) {
    __shared__ float tile[64];
    DYNAMIC_SHARED(float, more);
    y[threadIdx.x] = threadIdx.x % 2 ? tile[threadIdx.x] : more[threadIdx.x];
    tile[threadIdx.x] = more[threadIdx.x] = 1;
}

KERNEL order(int* y, int* next) { y[atomicAdd(next, 1)] = blockIdx.x * blockDim.x + threadIdx.x; }
"""


@pytest.fixture(scope="module")
def words():
    return emulation.module(launch.source("ptx.cuh") + WORDS)


def test_threads_and_blocks_know_their_places(words):
    y = np.zeros((2 * 3 * 4, 5 * 2 * 3, 4), np.int32)
    words.launch("places", (4, 3, 2), (5, 2, 3), (y,))
    np.testing.assert_array_equal(y[:, :, 0], np.arange(24)[:, None] + np.zeros(30))
    np.testing.assert_array_equal(y[0, :, 3], np.arange(30))
    np.testing.assert_array_equal(y[0, :, 1], np.arange(30) % 5)
    np.testing.assert_array_equal(y[0, :, 2], np.arange(30) // 5 % 2)


@pytest.mark.parametrize("seed", range(4))
def test_a_barrier_lets_warps_exchange(words, seed):
    x = np.arange(64, dtype=np.float32)
    y = np.empty_like(x)
    words.launch("turned", 1, 64, (x, y), seed=seed)
    np.testing.assert_array_equal(y, x[::-1])


def test_numbers_and_structures_are_given_by_value(words):
    y = np.zeros(2, np.float32)
    sizes = np.array((3, 5, 0.5), np.dtype("i4, i8, f4", align=True))
    for value in sizes, sizes[()]:
        words.launch("by_value", 1, 2, (y, value, None, np.float32(0.25), np.int64(2)))
        np.testing.assert_array_equal(y, 9.75)
        y[:] = 0


@pytest.mark.parametrize("seed", range(4))
def test_lanes_of_a_warp_see_each_other(words, seed):
    y = np.zeros((32, 9), np.int32)
    words.launch("warps", 1, 32, (y,), seed=seed)
    lane = np.arange(32)
    expected = [
        *(lane * 0 + 5, lane ^ 3, np.where(lane < 28, lane + 4, lane)),
        *(np.where(lane < 4, lane, lane - 4), lane // 8 * 8 + 5),
        *(lane * 0 + np.int32(0b01001001001001001001001001001001), lane * 0 + 1, lane * 0 + 1),
        (lane ^ 1) * 3,
    ]
    np.testing.assert_array_equal(y, np.stack(expected, 1))


def test_a_block_counts_votes(words):
    y = np.zeros(3, np.int32)
    words.launch("votes", 1, 70, (y,), seed=1)
    assert y.tolist() == [9, 1, 0]


def test_atomics(words):
    y, z = np.zeros(3, np.int32), np.zeros(1, np.float32)
    words.launch("atomics", 3, 50, (y, z), seed=0)
    assert [*y.tolist(), z[0]] == [300, 49, 5, 75]


def test_shared_memory_is_nan_before_each_block(words):
    y = np.zeros(64, np.float32)
    words.launch("unwritten", 2, 64, (y,), shared=256, seed=0)
    assert np.isnan(y).all()


def test_a_seed_changes_the_order_of_turns(words):
    orders = []
    for seed in (0, 1, 1, 2):
        y = np.zeros(256, np.int32)
        words.launch("order", 2, 128, (y, np.zeros(1, np.int32)), seed=seed)
        orders.append(y.tolist())
    natural, first, again, second = orders
    assert natural == list(range(256)) == sorted(first) == sorted(second)
    assert first == again
    assert first != natural != second != first


# --- tensor cores and copies on their way ---------------------------------------------------------

FRAGMENTS = r"""
extern "C" __global__ void __launch_bounds__(32) rounded(const float* x, uint32* y) {
    y[threadIdx.x] = to_tf32(x[threadIdx.x]);
}

// Lane t of a warp has row or column t / 4, and of the other side what t % 4 says.
extern "C" __global__ void __launch_bounds__(32)
product_tf32(const uint32* a, const uint32* b, float* d) {
    int g = threadIdx.x / 4, q = threadIdx.x % 4;
    uint32 left[4] = {a[g * 8 + q], a[(g + 8) * 8 + q], a[g * 8 + q + 4], a[(g + 8) * 8 + q + 4]};
    uint32 right[2] = {b[q * 8 + g], b[(q + 4) * 8 + g]};
    float sum[4] = {1, 2, 3, 4};
    mma_tf32(sum, left, right);
    float* rows[2] = {d + g * 8 + 2 * q, d + (g + 8) * 8 + 2 * q};
    for (int i = 0; i < 4; i++) rows[i / 2][i % 2] = sum[i];
}

extern "C" __global__ void __launch_bounds__(32)
product_bf16(const uint16* a, const uint16* b, float* d) {
    int g = threadIdx.x / 4, q = threadIdx.x % 4;
    uint32 left[4], right[2];
    for (int i = 0; i < 4; i++) {
        const uint16* pair = a + (g + i % 2 * 8) * 16 + 2 * q + i / 2 * 8;
        left[i] = pair[0] | uint32(pair[1]) << 16;
    }
    for (int i = 0; i < 2; i++) {
        const uint16* pair = b + (2 * q + i * 8) * 8 + g;
        right[i] = pair[0] | uint32(pair[8]) << 16;
    }
    float sum[4] = {};
    mma_bf16(sum, left, right);
    float* rows[2] = {d + g * 8 + 2 * q, d + (g + 8) * 8 + 2 * q};
    for (int i = 0; i < 4; i++) rows[i / 2][i % 2] = sum[i];
}

extern "C" __global__ void __launch_bounds__(32) copies(const float* x, float* y, int shift) {
    DYNAMIC_SHARED(float, tile);
    copy_async_16(tile + 4 * threadIdx.x + shift, x + 4 * threadIdx.x, threadIdx.x < 6);
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
    for (int i = threadIdx.x; i < 128; i += 32) y[i] = tile[i];
}
"""


@pytest.fixture(scope="module")
def fragments():
    return emulation.module(launch.source("ptx.cuh") + FRAGMENTS)


def test_tf32_is_rounded_to_nearest_and_ties_away_from_zero(fragments):
    last = 2.0**-10  # of a number from 1 to 2
    x = np.zeros(32, np.float32)
    x[:4] = 1 + 0.49 * last, 1 + 0.5 * last, 1.25 + 0.5 * last, -1 - 0.5 * last
    x[4:8] = np.inf, -np.inf, np.nan, 2 - last / 4
    y = np.zeros(32, np.uint32)
    fragments.launch("rounded", 1, 32, (x, y))
    expected = [1, 1 + last, 1.25 + last, -1 - last, np.inf, -np.inf, np.nan, 2]
    np.testing.assert_array_equal(y.view(np.float32)[:8], np.float32(expected))
    assert not (y[:6] & 0x1FFF).any()


def test_products_have_the_layout_of_tensor_cores_and_cut_operands_off(fragments, rng):
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in [(16, 8), (8, 8)])
    d = np.full((16, 8), np.nan, np.float32)
    fragments.launch("product_tf32", 1, 32, (a, b, d), seed=3)
    a, b = ((x.view(np.uint32) & 0xFFFFE000).view(np.float32).astype(float) for x in (a, b))
    start = 1 + np.arange(8) % 2 + 2 * (np.arange(16)[:, None] >= 8)
    np.testing.assert_allclose(d, start + a @ b, rtol=2e-7, atol=2e-7)


def test_products_of_pairs_have_the_layout_of_tensor_cores(fragments, rng):
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in [(16, 16), (16, 8)])
    d = np.full((16, 8), np.nan, np.float32)
    upper = [(x.view(np.uint32) >> 16).astype(np.uint16) for x in (a, b)]
    fragments.launch("product_bf16", 1, 32, (*upper, d))
    a, b = ((x.astype(np.uint32) << 16).view(np.float32).astype(float) for x in upper)
    np.testing.assert_allclose(d, a @ b, rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("deferred", [False, True])
def test_copies_write_zeros_for_what_is_not_inside(fragments, deferred):
    x, y = np.arange(24, dtype=np.float32), np.ones(128, np.float32)
    fragments.launch("copies", 1, 32, (x, y, np.int32(0)), shared=512, deferred=deferred)
    np.testing.assert_array_equal(y, np.pad(x, (0, 104)))
    with pytest.raises(emulation.KernelError, match="both must be multiples of 16"):
        fragments.launch("copies", 1, 32, (x, y, np.int32(1)), shared=528, deferred=deferred)


# --- planted mistakes -----------------------------------------------------------------------------

STAGED = r"""
// y = the chunks of x, each turned round, with weights of their number.
extern "C" __global__ void __launch_bounds__(64) staged(const float* x, float* y, int chunks) {
    __shared__ float tiles[2][64];
    int i = threadIdx.x;
    float sum = 0;
    copy_async_4(&tiles[0][i], x + i, true);
    copy_async_commit();
    for (int chunk = 0; chunk < chunks; chunk++) {
        bool more = chunk + 1 < chunks;
        copy_async_4(&tiles[(chunk + 1) % 2][i], x + (chunk + 1) * 64 + i, more);
        copy_async_commit();
        copy_async_wait<1>();
        __syncthreads();  // copied
        sum += (chunk + 1) * tiles[chunk % 2][63 - i];
        __syncthreads();  // read
    }
    y[i] = sum;
}
"""

MISTAKES = {  # what is written instead, and whether eager and deferred copies notice it
    "no barrier": ("__syncthreads();  // copied", "", True, True),
    "no trailing barrier": ("__syncthreads();  // read", "", True, True),
    "wait for too few": ("copy_async_wait<1>()", "copy_async_wait<2>()", False, True),
    "no wait": ("copy_async_wait<1>();", "", False, True),
    "the other half": ("tiles[(chunk + 1) % 2][i], x", "tiles[chunk % 2][i], x", True, True),
    "a barrier for half": ("__syncthreads();  // read", "if (i < 32) __syncthreads();", True, True),
    "one returns": ("bool more", "if (i == 7 && chunk == 2) return;\n bool more", True, True),
}


@pytest.fixture(scope="module")
def pipelines():
    """The pipeline as `staged_0`, and with each of the mistakes."""
    texts = [STAGED]
    for right, wrong, *_ in MISTAKES.values():
        assert STAGED.count(right) == 1
        texts.append(STAGED.replace(right, wrong))
    texts = [text.replace("staged", f"staged_{i}") for i, text in enumerate(texts)]
    return emulation.module(launch.source("ptx.cuh") + "".join(texts))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("deferred", [False, True])
def test_a_pipeline_is_right_and_one_with_a_mistake_is_not(pipelines, deferred, seed):
    x = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    expected = (x[:, ::-1] * np.arange(1, 6)[:, None]).sum(0)

    def is_right(name):
        y = np.full(64, np.nan, np.float32)
        try:
            pipelines.launch(name, 1, 64, (x, y, np.int32(5)), deferred=deferred, seed=seed)
        except emulation.KernelError:
            return False
        return np.allclose(y, expected, rtol=1e-5, atol=1e-5)

    assert is_right("staged_0")
    found = {mistake: not is_right(f"staged_{i + 1}") for i, mistake in enumerate(MISTAKES)}
    assert found == {mistake: row[2 + deferred] for mistake, row in MISTAKES.items()}


WRONG = r"""
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(128) name(float* y, int n)

KERNEL(branches) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}
KERNEL(lanes) {
    if (threadIdx.x != 5) y[threadIdx.x] = __shfl_xor_sync(0xffffffff, y[threadIdx.x], 1);
}
KERNEL(mixed) {
    if (threadIdx.x % 2)
        __syncwarp();
    else
        __syncthreads();
}
KERNEL(half) { __syncwarp(0xffff); }
KERNEL(returns) {
    if (threadIdx.x == 40) return;
    __syncthreads();
}
KERNEL(reads_dynamic) {
    DYNAMIC_SHARED(float, tile);
    y[threadIdx.x] = tile[threadIdx.x + n];
}
KERNEL(writes_dynamic) {
    DYNAMIC_SHARED(float, tile);
    tile[threadIdx.x + n] = 1;
}
KERNEL(static_index) {
    __shared__ float tile[128];
    tile[threadIdx.x + n] = 1;
    __syncthreads();
    y[threadIdx.x] = tile[127 - threadIdx.x];
}
KERNEL(misaligned) { *reinterpret_cast<float4*>(y + n) = make_float4(1, 2, 3, 4); }
KERNEL(overflow) { y[0] = n * 0x10001000; }
KERNEL(divides) { y[0] = 128 / (n - 16); }
KERNEL(nowhere) { y[1ll << 40] = n; }
KERNEL(reads_global) { y[0] = y[threadIdx.x + n]; }
KERNEL(writes_global) { y[threadIdx.x + n] = 1; }
KERNEL(traps) { if (n == 16) __trap(); }
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("branches", r"thread \(32, 0, 0\) is at a barrier in line 8, .* line 6"),
        ("lanes", r"waits at a collective in line 11, but thread \(5, 0, 0\) has returned"),
        ("mixed", r"waits at a collective in line 15, but thread .* waits in line 17"),
        ("half", r"asks for the lanes 0xffff in line 19; only whole warps"),
        ("returns", r"at a barrier in line 22, but thread \(40, 0, 0\) has returned"),
        ("writes_dynamic", "beyond the 512 bytes of dynamic shared memory"),
        ("static_index", r"thread \(112, 0, 0\) does what C\+\+ leaves undefined"),
        ("misaligned", r"\(a.* vector at an address that is no multiple of its size"),
        ("overflow", "an overflow"),
        ("divides", "leaves undefined|divides by zero"),
        ("nowhere", "touches memory that it may not"),
        ("traps", "ran into __trap"),
    ],
)
@pytest.mark.skipif(emulation.SANITIZED, reason="the sanitizers end the process")
def test_a_wrong_kernel_is_an_error(name, message):
    offset = np.int32(1 if name == "misaligned" else 16)
    wrong = emulation.module(WRONG)
    with pytest.raises(emulation.KernelError, match=f"(?s){name}: .*{message}"):
        wrong.launch(name, 2, 128, (np.zeros(128, np.float32), offset), shared=512, seed=0)
    wrong.launch("writes_global", 1, 128, (np.zeros(144, np.float32), offset))


@pytest.mark.parametrize(
    ("name", "block", "arguments", "message"),
    [
        ("nothing", 1, (), "no kernel 'nothing'"),
        ("traps", 129, (np.zeros(1), np.int32(1)), "bound to 128 threads a block, got 129"),
        ("traps", 1, (np.zeros(1),), "takes 2 arguments, got 1"),
        ("traps", 1, (np.zeros(1), np.int64(1)), "argument 1 is declared with 4 bytes"),
        ("traps", 1, (np.zeros(1), np.float32(1)), "kind 'i', got 4 bytes of kind 'f'"),
        ("traps", 1, (np.int64(1), np.int32(1)), "argument 0 is declared with 8 bytes of kind 'P'"),
        ("traps", 1, (np.zeros(1), 1), "argument 1 is 1; give an array, or a NumPy number"),
    ],
)
def test_a_launch_that_does_not_fit_its_kernel_is_an_error(name, block, arguments, message):
    with pytest.raises(emulation.KernelError, match=message):
        emulation.module(WRONG).launch(name, 1, block, arguments)


def test_a_text_that_does_not_compile_is_an_error():
    with pytest.raises(emulation.KernelError, match=r"kernel.cu:1:.*nothing"):
        emulation.module('extern "C" __global__ void wrong(float* y) { y[0] = nothing; }')


CHILD = """
import os
import emulation
import numpy as np
from test_emulation import WRONG

wrong = emulation.module(WRONG)
for name in ["reads_dynamic", "writes_dynamic", "reads_global", "writes_global", "static_index"]:
    for offset in 0, 16:
        child = os.fork()
        if not child:
            wrong.launch(name, 1, 128, (np.zeros(128, np.float32), np.int32(offset)), shared=512)
            os._exit(0)
        print(name, offset, "is wrong" if os.waitpid(child, 0)[1] else "is right")
"""


@pytest.mark.slow_emulation
def test_sanitizers_see_what_lies_beyond_memory():
    libraries = emulation.sanitizers()
    environment = {
        **os.environ,
        **{"MINICNN_SANITIZE": "1", "ASAN_OPTIONS": "detect_leaks=0", "LD_PRELOAD": libraries},
        "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)]),
    }
    command = [sys.executable, "-c", CHILD]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    names = ["reads_dynamic", "writes_dynamic", "reads_global", "writes_global", "static_index"]
    found = [f"{name} {n} is {word}" for name in names for n, word in [(0, "right"), (16, "wrong")]]
    assert done.stdout.split("\n")[:-1] == found, done.stderr
    assert done.stderr.count("heap-buffer-overflow on address") == 4
    assert done.stderr.count("index 128 out of bounds for type 'float [128]'") == 1
