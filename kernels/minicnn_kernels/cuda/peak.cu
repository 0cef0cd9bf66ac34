// What a card can do at most: multiply-adds in registers, and a stream through memory.
#include "ptx.cuh"

constexpr int CHAINS = 8;  // sums that do not wait for each other, to hide a step's latency

// sum = sum * factor + factor, CHAINS of them in each thread; `sums` keeps the compiler honest.
extern "C" __global__ void __launch_bounds__(256) multiply_add(float* sums, int steps) {
    long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    float factor = sums[place], sum[CHAINS];
#pragma unroll
    for (int i = 0; i < CHAINS; ++i) sum[i] = float(i);
#pragma unroll 4
    for (int step = 0; step < steps; ++step) {
#pragma unroll
        for (int i = 0; i < CHAINS; ++i) sum[i] = fmaf(sum[i], factor, factor);
    }
    float total = 0;
#pragma unroll
    for (int i = 0; i < CHAINS; ++i) total += sum[i];
    sums[place] = total;
}

// a = b + factor * c, four values at a time.
extern "C" __global__ void __launch_bounds__(256)
    triad(float4* a, const float4* b, const float4* c, float factor, long long count) {
    long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        float4 x = b[i], y = c[i];
        a[i] = make_float4(x.x + factor * y.x, x.y + factor * y.y, x.z + factor * y.z,
                           x.w + factor * y.w);
    }
}

#if MINICNN_EMULATED || __CUDA_ARCH__ >= 800

// Products of small matrices in each warp, with CHAINS results; 2*16*8*depth operations each.
template <bool is_bf16>
__device__ void products(float* sums, int steps) {
    long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    uint32 value = __float_as_uint(sums[place]), a[4] = {value, value, value, value};
    uint32 b[2] = {value, value};
    float sum[CHAINS][4] = {};
    for (int step = 0; step < steps; ++step) {
#pragma unroll
        for (int i = 0; i < CHAINS; ++i) {
            if (is_bf16)
                mma_bf16(sum[i], a, b);
            else
                mma_tf32(sum[i], a, b);
        }
    }
    float total = 0;
#pragma unroll
    for (int i = 0; i < CHAINS; ++i) total += sum[i][0] + sum[i][1] + sum[i][2] + sum[i][3];
    sums[place] = total;
}

extern "C" __global__ void __launch_bounds__(256) products_tf32(float* sums, int steps) {
    products<false>(sums, steps);
}

extern "C" __global__ void __launch_bounds__(256) products_bf16(float* sums, int steps) {
    products<true>(sums, steps);
}

#endif
