// Sums over a team: the lanes of a warp, all threads of a block, or one thread alone.  Every member
// gets the result, added up in the same order every time.
#pragma once
#include "ptx.cuh"

// Return the sum over a warp, to its first lane.
__device__ inline float of_warp(float sum) {
    for (int half = 16; half > 0; half /= 2) sum += __shfl_down_sync(0xffffffff, sum, half);
    return sum;
}

struct Sum {
    __device__ static float of(float a, float b) { return a + b; }
};

// The larger of two numbers; NaN if there is one.
struct Largest {
    __device__ static float of(float a, float b) { return a > b || a != a ? a : b; }
};

template <int LANES, typename Operation>
__device__ float of_team(float value) {
    static_assert(LANES == 1 || LANES == 32 || LANES == 256, "");
    if (LANES == 1) return value;
    for (int other = 16; other > 0; other /= 2) {
        value = Operation::of(value, __shfl_xor_sync(0xffffffff, value, other));
    }
    if (LANES == 32) return value;
    __shared__ float of_warps[8];
    __syncthreads();  // what the last call has left there has been read
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    value = of_warps[0];
    for (int i = 1; i < 8; ++i) value = Operation::of(value, of_warps[i]);
    return value;
}
