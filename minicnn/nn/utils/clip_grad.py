"""Gradients kept from growing too large, in place, between `backward` and the optimiser's step.

Paper: Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minicnn.errors import GradientError
from minicnn.tensor import Tensor
from minicnn_kernels import norm_of_all
from minicnn_kernels.one_pass import in_one_pass
from minicnn_kernels.pointwise import change_all


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together so that their norm is at most `max_norm`; return what it was.

    dw = dw * min(1, max_norm / (total + 1e-6))

    The norm is that of all gradients as one long vector; norm_type inf is the largest |dw|.

    Raises:
        GradientError: the norm is Inf or NaN and error_if_nonfinite is set.
    """
    tensors = _as_list(parameters)
    total = get_total_norm(_gradients(tensors), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(tensors, max_norm, total)
    return total


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Return the norm of several tensors, as if they were one long vector.

    total = (sum_i |x[i]|^p)^(1/p), p = norm_type

    Raises:
        GradientError: the norm is Inf or NaN and error_if_nonfinite is set.
    """
    order = float(norm_type)
    arrays = [tensor.array for tensor in _as_list(tensors) if tensor.array.size]
    total = norm_of_all(*arrays, order=order) if arrays else np.zeros((), np.float32)
    if error_if_nonfinite and not np.isfinite(total):
        raise GradientError(
            f"get_total_norm: the norm of order {order} is {total}; find out where it comes from "
            f"with minicnn.detect_anomaly(), or set error_if_nonfinite=False"
        )
    return Tensor(total)


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor
) -> None:
    """Scale all gradients by min(1, max_norm / (total_norm + 1e-6)), in place."""
    scale = _scale(total_norm.array, float(max_norm))

    def change(dw: Any) -> None:
        dw *= scale.astype(dw.dtype, copy=False)

    _change(_gradients(_as_list(parameters)), change)


@in_one_pass
def _scale(total: Any, max_norm: float) -> Any:
    return np.minimum(max_norm / (total + 1e-6), 1)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Move every value of the gradients into [-clip_value, clip_value], in place."""
    limit = float(clip_value)

    def change(dw: Any) -> None:
        np.maximum(dw, -limit, out=dw)
        np.minimum(dw, limit, out=dw)

    _change(_gradients(_as_list(parameters)), change)


def _change(gradients: list[Tensor], change: Callable[[Any], None]) -> None:
    for gradient in gradients:
        gradient.version[0] += 1
    change_all([gradient.array for gradient in gradients], change)


def _as_list(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
