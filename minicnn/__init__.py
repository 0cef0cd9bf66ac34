"""minicnn: a deep-learning framework written to be read.

>>> import minicnn
>>> x = minicnn.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> y = (x**2).sum()
>>> y.backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy import bool_ as bool
from numpy import float16, float32, float64, int8, int16, int32, int64, uint8

from minicnn import errors, random
from minicnn.anomaly import detect_anomaly
from minicnn.backprop import enable_grad, grad, is_grad_enabled, no_grad
from minicnn.differentiable import differentiable
from minicnn.factories import (
    arange,
    eye,
    from_dlpack,
    from_numpy,
    full,
    linspace,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from minicnn.ops.activation import log_softmax, relu, sigmoid, softmax, tanh
from minicnn.ops.arithmetic import (
    abs,
    add,
    clamp,
    div,
    eq,
    exp,
    ge,
    gt,
    le,
    log,
    logical_and,
    logical_not,
    logical_or,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    pow,
    sqrt,
    sub,
    where,
)
from minicnn.ops.indexing import gather
from minicnn.ops.linear import matmul
from minicnn.ops.reduce import amax, amin, argmax, argmin, max, mean, min, std, sum, var
from minicnn.ops.shape import (
    cat,
    chunk,
    flatten,
    flip,
    movedim,
    permute,
    reshape,
    split,
    squeeze,
    stack,
    transpose,
    unsqueeze,
)
from minicnn.random import manual_seed
from minicnn.tensor import Tensor
from minicnn_kernels.registry import use_algorithms

concat = cat

__version__ = "0.1.0"

if TYPE_CHECKING:
    from minicnn import data, gradcheck, io, models, nn, optim, testing, train

_SUBPACKAGES = ("data", "gradcheck", "io", "models", "nn", "optim", "testing", "train")


def __getattr__(name: str) -> Any:
    """Import a subpackage at its first use, so that `import minicnn` stays quick."""
    if name in _SUBPACKAGES:
        import importlib

        return importlib.import_module(f"minicnn.{name}")
    raise AttributeError(f"module 'minicnn' has no attribute {name!r}")


__all__ = [
    "Tensor", "abs", "add", "amax", "amin", "arange", "argmax", "argmin", "bool", "cat", "chunk",
    "clamp", "concat", "data", "detect_anomaly", "differentiable", "div", "enable_grad", "eq",
    "errors", "exp", "eye", "flatten", "flip", "float16", "float32", "float64", "from_dlpack",
    "from_numpy", "full", "gather", "ge", "grad", "gradcheck", "gt", "int8", "int16", "int32",
    "int64", "io", "is_grad_enabled", "le", "linspace", "log", "log_softmax", "logical_and",
    "logical_not", "logical_or", "lt", "manual_seed", "matmul", "max", "maximum", "mean", "min",
    "minimum", "models", "movedim", "mul", "ne", "neg", "nn", "no_grad", "ones", "ones_like",
    "optim", "permute", "pow", "rand", "randint", "randn", "random", "randperm", "relu", "reshape",
    "sigmoid", "softmax", "split", "sqrt", "squeeze", "stack", "std", "sub", "sum", "tanh",
    "tensor", "testing", "train", "transpose", "uint8", "unsqueeze", "use_algorithms", "var",
    "where", "zeros", "zeros_like",
]  # fmt: skip
