// Convolution of float32 arrays with factors rounded to bfloat16, 8 bits.
#include "conv_tensor.cuh"

CONVOLVE_PASSES(bf16, Bf16OfFloat, 128, 128, 2, 2, 2)
CONVOLVE_PASSES(bf16, Bf16OfFloat, 64, 64, 2, 2, 4)
