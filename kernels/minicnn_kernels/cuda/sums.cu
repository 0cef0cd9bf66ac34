// Sums down columns, as a bias has for its gradient.
//
// A block goes over a chunk of rows of some columns, and another kernel adds up the chunks, and the
// neighbouring columns of a group, in their order.
#include "columns.cuh"
#include "team.cuh"

// Write the sum of each column of each chunk.
template <int N, typename T>
__device__ void column_sums(const T* __restrict__ x, float* __restrict__ found, const Columns& in) {
    Part part = part_of<N>(in);
    float sums[1][N] = {};
    for (int row = part.begin; row < part.end; row += AHEAD * part.step) {
        float values[AHEAD][N];
        read_rows(x, in, part, row, values);
#pragma unroll
        for (int k = 0; k < AHEAD; ++k) {
            bool more = row + k * part.step < part.end;
#pragma unroll
            for (int i = 0; i < N; ++i) sums[0][i] += more ? values[k][i] : 0.0f;
        }
    }
    write_sums(sums, found, in, part);
}

// y = the sum of each group of columns over all chunks, a warp for each.
template <typename T>
__device__ void finish_sums(const float* __restrict__ found, T* __restrict__ y, const Columns& in) {
    int groups = in.columns / in.group, lane = threadIdx.x % 32;
    int number = blockIdx.x * WARPS + threadIdx.x / 32;
    if (number >= in.pieces * groups) return;
    int piece = number / groups, first = number % groups * in.group;
    float sum = 0.0f;
    for (int i = lane; i < in.chunks * in.group; i += 32) {
        sum += found[of_chunk(in, piece, i / in.group) + first + i % in.group];
    }
    sum = of_warp(sum);
    if (lane == 0) y[number] = from_float<T>(sum);
}

#define FAMILY(T, t)                                                                             \
    KERNEL column_sums_##t##_1(const T* x, float* found, Columns in) {                           \
        column_sums<1>(x, found, in);                                                            \
    }                                                                                            \
    KERNEL column_sums_##t##_4(const T* x, float* found, Columns in) {                           \
        column_sums<4>(x, found, in);                                                            \
    }                                                                                            \
    KERNEL finish_sums_##t(const float* found, T* y, Columns in) { finish_sums(found, y, in); }

FAMILY(float, f32)
FAMILY(bf16, bf16)
