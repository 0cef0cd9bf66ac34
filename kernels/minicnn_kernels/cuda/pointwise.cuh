// What the kernels of recorded formulas are made of, see pointwise.py.
#pragma once
#include "ptx.cuh"

// n values that lie side by side, read and written in one instruction.
template <typename T, int n>
struct alignas(n * sizeof(T) < 16 ? n * sizeof(T) : 16) Values {
    T at[n];
};

template <int n, typename T>
__device__ Values<T, n> load(const T* from) {
    return *reinterpret_cast<const Values<T, n>*>(from);
}

template <typename T, int n>
__device__ void store(T* to, const Values<T, n>& values) {
    *reinterpret_cast<Values<T, n>*>(to) = values;
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
