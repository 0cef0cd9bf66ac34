// What the kernels of recorded formulas are made of, see pointwise.py.
#pragma once
#include "pack.cuh"

template <int N, typename T>
__device__ inline Pack<T, N> load(const T* from) {
    return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <typename T, int N>
__device__ inline void store(T* to, const Pack<T, N>& pack) {
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// log(e^a + e^b), of two infinite numbers, too.
__device__ inline float logaddexp(float a, float b) {
    float distance = a == b ? 0 : fabsf(a - b);
    return (a > b ? a : b) + log1pf(expf(-distance));
}

__device__ inline double logaddexp(double a, double b) {
    double distance = a == b ? 0 : fabs(a - b);
    return (a > b ? a : b) + log1p(exp(-distance));
}
