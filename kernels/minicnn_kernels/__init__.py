"""Kernels: arrays in, arrays out.  Knows no Tensor and no gradient tape.

Each name below is an operation; `registry.kernels` lists the algorithms that compute it.
"""

from __future__ import annotations

from minicnn_kernels.arrays import keep_freed_memory
from minicnn_kernels.reference import depthwise as _depthwise  # noqa: F401 - it registers itself
from minicnn_kernels.reference import fft as _fft  # noqa: F401 - likewise
from minicnn_kernels.reference import lines as _lines  # noqa: F401 - likewise
from minicnn_kernels.reference import winograd as _winograd  # noqa: F401 - likewise
from minicnn_kernels.reference.convolution import conv, conv_bias, conv_input, conv_weight
from minicnn_kernels.reference.gather import (
    add_along,
    add_at,
    add_lines,
    combine_at,
    take_along,
    take_lines,
)
from minicnn_kernels.reference.normalization import (
    Moments,
    move_averages,
    no_moments,
    normalize,
    normalize_gradients,
    per_channel,
    rescale,
)
from minicnn_kernels.reference.pooling import (
    max_winners,
    median_winners,
    route_to_winners,
    take_winners,
    window_spread,
    window_sum,
)
from minicnn_kernels.reference.random import keep_mask
from minicnn_kernels.reference.recurrent import (
    gru_step,
    gru_step_gradients,
    lstm_step,
    lstm_step_gradients,
)
from minicnn_kernels.reference.reductions import largest, norm_of_all, product, smallest, total
from minicnn_kernels.reference.resampling import weighted_sums
from minicnn_kernels.reference.sampling import match_samples, sample, spread_samples
from minicnn_kernels.reference.softmax import (
    cross_entropy,
    cross_entropy_gradient,
    log_softmax,
    log_softmax_gradient,
    log_total,
    mean_cross_entropy,
    softmax,
    softmax_gradient,
)
from minicnn_kernels.reference.windows import col2im, im2col
from minicnn_kernels.registry import kernels, use_algorithms
from minicnn_kernels.tuning import autotune

keep_freed_memory()  # a training step frees and makes the same arrays over and over

__all__ = [
    "Moments",
    "add_along",
    "add_at",
    "add_lines",
    "autotune",
    "col2im",
    "combine_at",
    "conv",
    "conv_bias",
    "conv_input",
    "conv_weight",
    "cross_entropy",
    "cross_entropy_gradient",
    "gru_step",
    "gru_step_gradients",
    "im2col",
    "keep_mask",
    "kernels",
    "largest",
    "log_softmax",
    "log_softmax_gradient",
    "log_total",
    "lstm_step",
    "lstm_step_gradients",
    "match_samples",
    "max_winners",
    "mean_cross_entropy",
    "median_winners",
    "move_averages",
    "no_moments",
    "norm_of_all",
    "normalize",
    "normalize_gradients",
    "per_channel",
    "product",
    "rescale",
    "route_to_winners",
    "sample",
    "smallest",
    "softmax",
    "softmax_gradient",
    "spread_samples",
    "take_along",
    "take_lines",
    "take_winners",
    "total",
    "use_algorithms",
    "weighted_sums",
    "window_spread",
    "window_sum",
]
