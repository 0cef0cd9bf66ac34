// Convolution of float32 arrays with factors rounded to TF32, 11 bits.
#include "conv_tensor.cuh"

CONVOLVE_PASSES(tf32, Tf32, 256, 128, 4, 2, 1)
CONVOLVE_PASSES(tf32, Tf32, 128, 128, 2, 2, 2)
CONVOLVE_PASSES(tf32, Tf32, 128, 64, 2, 2, 3)
CONVOLVE_PASSES(tf32, Tf32, 64, 64, 2, 2, 4)
CONVOLVE_PASSES(tf32, Tf32, 128, 32, 4, 1, 4)
