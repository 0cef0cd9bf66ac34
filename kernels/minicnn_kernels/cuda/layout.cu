// Matrices turned, many at once: images with their channels first to channels last, and back.
//
// A block turns one tile: it reads along the rows of x and writes along the rows of y, through
// shared memory.  Where the matrices have few rows or columns the tile has all of them, so what it
// reads or writes is one run.
#include "ptx.cuh"

const int TILE = 1024;  // values, at most
const int THREADS = 256;

// y[n,c,r] = x[n,r,c] for rows r and columns c; a line of the tile is `pitch` values apart.
template <typename T>
__device__ void transpose(const T* x, T* y, int rows, int columns, int tile_rows, int tile_columns,
                          int pitch) {
    DYNAMIC_SHARED(T, tile);
    int across = (columns + tile_columns - 1) / tile_columns;
    int down = (rows + tile_rows - 1) / tile_rows;
    int row = blockIdx.x / across % down * tile_rows;
    int column = blockIdx.x % across * tile_columns;
    long long matrix = (long long)(blockIdx.x / across / down) * rows * columns;
    int height = min(tile_rows, rows - row), width = min(tile_columns, columns - column);

#pragma unroll
    for (int k = 0; k < TILE / THREADS; k++) {
        int i = threadIdx.x + k * THREADS, r = i / width, c = i % width;
        if (r < height) {
            tile[r * pitch + c] = x[matrix + (long long)(row + r) * columns + column + c];
        }
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < TILE / THREADS; k++) {
        int i = threadIdx.x + k * THREADS, c = i / height, r = i % height;
        if (c < width) {
            y[matrix + (long long)(column + c) * rows + row + r] = tile[r * pitch + c];
        }
    }
}

#define TRANSPOSE(name, T)                                                                   \
    extern "C" __global__ void __launch_bounds__(THREADS)                                    \
    name(const T* x, T* y, int rows, int columns, int tile_rows, int tile_columns, int pitch) { \
        transpose(x, y, rows, columns, tile_rows, tile_columns, pitch);                      \
    }

TRANSPOSE(transpose_2, uint16)
TRANSPOSE(transpose_4, uint32)
TRANSPOSE(transpose_8, uint64)
