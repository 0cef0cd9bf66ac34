// Sums that blocks have split among them, added in order: the same bits in every run.
#include "ptx.cuh"

const int THREADS = 256;
const int VALUES = 32;  // of y, of a block; its warps share out the parts

// y[i] = sum_s parts[s,i] (+ bias[i % channels] + add[i]); with `relu` 0 where negative.
template <typename T>
__device__ void add_parts(const float* parts, T* y, long long count, int splits, const T* bias,
                          const T* add, int channels, int relu) {
    __shared__ float sums[THREADS / VALUES][VALUES];
    int lane = threadIdx.x % VALUES, warp = threadIdx.x / VALUES;
    long long i = (long long)blockIdx.x * VALUES + lane;
    float sum = 0;
    if (i < count) {
#pragma unroll 4
        for (int s = warp; s < splits; s += THREADS / VALUES) sum += parts[s * count + i];
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && i < count) {
        for (int k = 1; k < THREADS / VALUES; k++) sum += sums[k][lane];
        if (bias) sum += to_float(bias[i % channels]);
        if (add) sum += to_float(add[i]);
        y[i] = from_float<T>(relu && sum < 0 ? 0 : sum);
    }
}

#define ADD_PARTS(name, T)                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                   \
    name(const float* parts, T* y, long long count, int splits, const T* bias, const T* add, \
         int channels, int relu) {                                                          \
        add_parts(parts, y, count, splits, bias, add, channels, relu);                      \
    }

ADD_PARTS(add_parts_f32, float)
ADD_PARTS(add_parts_bf16, bf16)
