// Convolution of bfloat16 arrays.
#include "conv_tensor.cuh"

CONVOLVE_PASSES(bf16_arrays, Bf16, 256, 128, 4, 2, 1)
CONVOLVE_PASSES(bf16_arrays, Bf16, 128, 128, 2, 2, 2)
CONVOLVE_PASSES(bf16_arrays, Bf16, 64, 64, 2, 2, 4)
