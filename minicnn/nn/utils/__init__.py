"""Tools around modules: clipped gradients, parameters as a vector, fused layers, parametrisations.

PyTorch's `torch.nn.utils`.
"""

from __future__ import annotations

from minicnn.nn.utils import parametrizations, parametrize, rnn
from minicnn.nn.utils.clip_grad import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from minicnn.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from minicnn.nn.utils.freezing import freeze
from minicnn.nn.utils.fusion import (
    fuse_all_bn_eval,
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "freeze",
    "fuse_all_bn_eval",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "rnn",
    "vector_to_parameters",
]
