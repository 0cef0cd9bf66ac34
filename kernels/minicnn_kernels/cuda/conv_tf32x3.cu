// Convolution of float32 arrays on tensor cores, exact to some 21 bits of each factor.
#include "conv_tensor.cuh"

CONVOLVE_PASSES(tf32x3, Tf32x3, 128, 128, 4, 2, 1)
CONVOLVE_PASSES(tf32x3, Tf32x3, 128, 64, 2, 2, 2)
CONVOLVE_PASSES(tf32x3, Tf32x3, 64, 64, 2, 2, 3)
CONVOLVE_PASSES(tf32x3, Tf32x3, 128, 32, 4, 1, 3)
