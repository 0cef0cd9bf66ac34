// A few values that lie side by side in memory, read and written at once.
#pragma once
#include "ptx.cuh"

template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
    T values[N];
};

// Read N values from where a pack may begin, as floats.
template <int N, typename T>
__device__ inline void read(const T* from, float (&values)[N]) {
    Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = to_float(pack.values[i]);
}

// Write N values to where a pack may begin.
template <int N, typename T>
__device__ inline void write(T* to, const float (&values)[N]) {
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) pack.values[i] = from_float<T>(values[i]);
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
}
