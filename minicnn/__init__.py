"""minicnn: a deep-learning framework written to be read.

>>> import minicnn
>>> x = minicnn.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> y = (x**2).sum()
>>> y.backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from __future__ import annotations

from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

from numpy import bool_ as bool
from numpy import finfo, float16, float32, float64, iinfo, int8, int16, int32, int64, uint8
from numpy import float16 as half
from numpy import float32 as float
from numpy import float64 as double
from numpy import int16 as short
from numpy import int32 as int
from numpy import int64 as long

from minicnn import errors, random
from minicnn.amp import autocast
from minicnn.anomaly import detect_anomaly
from minicnn.backprop import enable_grad, grad, is_grad_enabled, no_grad
from minicnn.differentiable import differentiable
from minicnn.factories import (
    arange,
    as_tensor,
    bernoulli,
    empty,
    empty_like,
    eye,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    is_tensor,
    linspace,
    logspace,
    multinomial,
    normal,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from minicnn.grad_mode import inference_mode, set_grad_enabled
from minicnn.ops.activation import *
from minicnn.ops.arithmetic import *
from minicnn.ops.broadcast import *
from minicnn.ops.comparison import *
from minicnn.ops.diagonal import *
from minicnn.ops.einsum import *
from minicnn.ops.elementwise import *
from minicnn.ops.extremes import *
from minicnn.ops.indexing import *
from minicnn.ops.join import *
from minicnn.ops.linear import *
from minicnn.ops.methods import is_floating_point
from minicnn.ops.norm import *
from minicnn.ops.rearrange import *
from minicnn.ops.recurrent import *
from minicnn.ops.reduce import *
from minicnn.ops.scan import *
from minicnn.ops.scatter import *
from minicnn.ops.shape import *
from minicnn.ops.sorting import *
from minicnn.ops.special import *
from minicnn.random import manual_seed
from minicnn.tensor import Tensor
from minicnn_kernels.precision import (
    get_float32_matmul_precision,
    math_mode,
    set_float32_matmul_precision,
    set_math_mode,
)
from minicnn_kernels.registry import use_algorithms
from minicnn_kernels.threads import get_num_threads, set_num_threads
from minicnn_kernels.tuning import autotune

__version__ = "0.1.0"

if TYPE_CHECKING:
    from minicnn import (
        amp,
        autograd,
        cuda,
        data,
        func,
        gradcheck,
        io,
        models,
        nn,
        optim,
        testing,
        train,
        utils,
    )
    from minicnn.summaries import summary

_SUBPACKAGES = (
    "amp", "autograd", "cuda", "data", "func", "gradcheck", "io", "models", "nn", "optim",
    "testing", "train", "utils",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a subpackage at its first use, so that `import minicnn` stays quick."""
    if name in _SUBPACKAGES:
        import importlib

        return importlib.import_module(f"minicnn.{name}")
    if name == "bfloat16":
        from minicnn.storage import bfloat16

        return bfloat16()
    if name == "summary":
        from minicnn.summaries import summary

        return summary
    raise AttributeError(f"module 'minicnn' has no attribute {name!r}")
