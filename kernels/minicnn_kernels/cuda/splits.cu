// Sums that blocks have split among them, added in order: the same bits in every run.
#include "ptx.cuh"

const int THREADS = 256;
const int VALUES = 32;  // of y, of a block; its warps share out the parts

// y[i] = sum_s parts[s,i]
template <typename T>
__device__ void add_parts(const float* parts, T* y, long long count, int splits) {
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
        y[i] = from_float<T>(sum);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
add_parts_f32(const float* parts, float* y, long long count, int splits) {
    add_parts(parts, y, count, splits);
}

extern "C" __global__ void __launch_bounds__(THREADS)
add_parts_bf16(const float* parts, bf16* y, long long count, int splits) {
    add_parts(parts, y, count, splits);
}
