// Matrices of which the threads of a block go down the columns.
//
// x is seen as pieces of rows of columns.  A block goes over a chunk of rows of some columns: threads
// beside each other have neighbouring columns, threads below each other share the rows.
#pragma once
#include "pack.cuh"

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)

const int THREADS = 256;
const int WARPS = THREADS / 32;
const int AHEAD = 4;  // rows that a thread reads at once

struct Columns {
    int pieces, rows, columns;
    int group, weight;  // neighbouring columns that share their moments, and their weight
    int chunk, chunks;  // rows of a chunk, and chunks of a piece
    int lanes, tiles;   // threads beside each other in a block, and blocks beside each other
};

// What a thread goes over: rows from `begin` in steps, of N columns; none if it is `outside`.
struct Part {
    int piece, chunk, column, begin, end, step;
    bool outside;
};

template <int N>
__device__ Part part_of(const Columns& in) {
    Part part;
    int block = blockIdx.x / in.tiles, tile = blockIdx.x % in.tiles;
    part.chunk = block % in.chunks;
    part.piece = block / in.chunks;
    part.column = (tile * in.lanes + threadIdx.x % in.lanes) * N;
    part.outside = part.column >= in.columns;
    part.step = THREADS / in.lanes;
    part.begin = part.chunk * in.chunk + threadIdx.x / in.lanes;
    part.end = part.outside ? 0 : min((part.chunk + 1) * in.chunk, in.rows);
    return part;
}

__device__ inline int offset_of(const Columns& in, const Part& part, int row) {
    return (part.piece * in.rows + row) * in.columns + part.column;
}

// Read N columns of the next COUNT rows of a thread, all on their way at once; where there are no more
// rows, the last again.
template <int COUNT, int N, typename T>
__device__ void read_rows(const T* __restrict__ x, const Columns& in, const Part& part, int row,
                          float (&values)[COUNT][N]) {
#pragma unroll
    for (int k = 0; k < COUNT; ++k) {
        read<N>(x + offset_of(in, part, min(row + k * part.step, part.end - 1)), values[k]);
    }
}

// Return where the numbers of a chunk begin, one for each column.
__device__ inline int of_chunk(const Columns& in, int piece, int chunk) {
    return (piece * in.chunks + chunk) * in.columns;
}

// Write a few sums of each column of a chunk, of those that its threads have found.
template <int COUNT, int N>
__device__ void write_sums(const float (&of_thread)[COUNT][N], float* __restrict__ found,
                           const Columns& in, const Part& part) {
    __shared__ float sums[COUNT * N][THREADS];
#pragma unroll
    for (int i = 0; i < COUNT * N; ++i) sums[i][threadIdx.x] = of_thread[i / N][i % N];
    for (int half = THREADS / 2; half >= in.lanes; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            for (int i = 0; i < COUNT * N; ++i) {
                sums[i][threadIdx.x] += sums[i][threadIdx.x + half];
            }
        }
    }
    if (threadIdx.x >= in.lanes || part.outside) return;
    int place = of_chunk(in, part.piece, part.chunk) + part.column;
    int all = in.pieces * in.chunks * in.columns;
    for (int i = 0; i < COUNT * N; ++i) found[place + i % N + i / N * all] = sums[i][threadIdx.x];
}
