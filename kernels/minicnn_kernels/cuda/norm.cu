// The norm of several arrays as if they were one long vector: parts by blocks, added in order.
#include "pack.cuh"

const int THREADS = 256;

// How the powers of values are put together: the largest for the order infinity, else their sum.
template <typename T>
__device__ inline T joined(T a, T b, T order) {
    if (isinf(order)) return a >= b || a != a ? a : b;  // NaN wins
    return a + b;
}

template <typename T>
__device__ inline T power(T x, T order) {
    if (order == 2) return x * x;
    x = x < 0 ? -x : x;
    return order == 1 || isinf(order) ? x : pow(x, order);
}

// Return what the values of all threads make together, in thread 0.
template <typename T>
__device__ T joined_by_block(T value, T order) {
    __shared__ T values[THREADS];
    values[threadIdx.x] = value;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            values[threadIdx.x] = value = joined(value, values[threadIdx.x + half], order);
    }
    return value;
}

// parts[block] = joined |x|^order over a chunk of one array; the table is that of pointwise.py.
template <typename T>
__device__ void norm_parts(const long long* table, int arrays, int chunk, T order, T* parts) {
    const long long* row = table + table[arrays * 4 + blockIdx.x] * 4;
    const long long begin = (blockIdx.x - row[0]) * chunk;
    const long long end = min(row[1], begin + chunk);
    const T* x = reinterpret_cast<const T*>(row[3]);
    T value = 0;
    if (row[2] == 4) {
        for (long long i = begin + 4 * threadIdx.x; i < end; i += 4 * THREADS) {
            const Pack<T, 4> pack = *reinterpret_cast<const Pack<T, 4>*>(x + i);
#pragma unroll
            for (int k = 0; k < 4; k++) value = joined(value, power(pack.values[k], order), order);
        }
    } else {
        for (long long i = begin + threadIdx.x; i < end; i += THREADS)
            value = joined(value, power(x[i], order), order);
    }
    value = joined_by_block(value, order);
    if (threadIdx.x == 0) parts[blockIdx.x] = value;
}

// norm = (joined parts)^(1 / order), by a single block.
template <typename T>
__device__ void norm_of_parts(const T* parts, int count, T order, T* norm) {
    T value = 0;
    for (int i = threadIdx.x; i < count; i += THREADS) value = joined(value, parts[i], order);
    value = joined_by_block(value, order);
    if (threadIdx.x == 0)
        *norm = order == 2 ? sqrt(value) : order == 1 || isinf(order) ? value : pow(value, 1 / order);
}

#define NORM(suffix, T)                                                                       \
    extern "C" __global__ void __launch_bounds__(THREADS)                                     \
    norm_parts_##suffix(const long long* table, int arrays, int chunk, T order, T* parts) {   \
        norm_parts(table, arrays, chunk, order, parts);                                       \
    }                                                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS)                                     \
    norm_of_parts_##suffix(const T* parts, int count, T order, T* norm) {                     \
        norm_of_parts(parts, count, order, norm);                                             \
    }

NORM(f32, float)
NORM(f64, double)
