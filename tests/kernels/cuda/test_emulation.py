"""The emulation of cards is right about small kernels, and notices what is wrong in others."""

from __future__ import annotations

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
    words.launch("atomics", 3, 50, (y, z))
    assert [*y.tolist(), z[0]] == [300, 49, 5, 75]


def test_shared_memory_is_nan_before_each_block(words):
    y = np.zeros(64, np.float32)
    words.launch("unwritten", 2, 64, (y,), shared=256)
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
