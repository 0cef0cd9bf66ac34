"""Weights with a fixed norm: weight normalisation and spectral normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import factories
from minicnn.backprop import no_grad
from minicnn.errors import ArgumentError, IndexOutOfRange
from minicnn.nn import functional as F
from minicnn.nn.layers.convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from minicnn.nn.module import Module
from minicnn.nn.utils.parametrize import register_parametrization
from minicnn.ops.norm import norm
from minicnn.ops.reduce import sum
from minicnn.ops.shape import flatten, movedim
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array

__all__ = ["spectral_norm", "weight_norm"]

TRANSPOSED = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)


class _WeightNorm(Module):
    """w = g * v / |v|, the norm over all dimensions but `dim`."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        """Give direction v the length g."""
        return weight_v * (weight_g / self._length(weight_v))

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        """Return length and direction of a weight."""
        return self._length(weight), Tensor(weight.array.copy())

    def _length(self, weight: Any) -> Any:
        if self.dim == -1:  # as in PyTorch, -1 is not the last dimension but none
            return norm(weight)
        others = tuple(i for i in range(weight.ndim) if i != self.dim)
        return norm(weight, 2, others, keepdim=True)


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn length and direction of a weight apart: `original0` is g, `original1` is v.

    w = g * v / |v|

    There is one length for each position along `dim`; None: one for the whole weight.
    Paper: Salimans, Kingma 2016, arXiv:1602.07868.

    >>> from minicnn import nn
    >>> layer = weight_norm(nn.Linear(20, 40))
    >>> layer.parametrizations.weight.original0.shape
    (40, 1)
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    """w / sigma, the largest singular value, which power iteration estimates in `_u` and `_v`."""

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexOutOfRange(f"spectral_norm: dim {dim} is not there in {weight.shape}")
        if n_power_iterations < 1:
            raise ArgumentError(
                f"spectral_norm: n_power_iterations must be positive, got {n_power_iterations}"
            )
        self.n_power_iterations, self.dim, self.eps = n_power_iterations, dim, eps
        if weight.ndim > 1:
            matrix = self._matrix(weight.detach()).array
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                start = factories.randn(size).array.astype(matrix.dtype)
                self.register_buffer(name, self._unit(start))
            self._iterate(matrix, 15)

    def forward(self, weight: Any) -> Any:
        """Divide by the largest singular value; in training improve its estimate first."""
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix.array, self.n_power_iterations)
        sigma = sum(matrix * np.outer(self._u.array, self._v.array))  # u^T W v
        return weight / sigma

    def right_inverse(self, value: Tensor) -> Tensor:
        """Take any value as the original."""
        return value

    def _matrix(self, weight: Any) -> Any:
        """Return the weight as (its size along dim, everything else)."""
        return flatten(movedim(weight, self.dim, 0), 1)

    def _iterate(self, matrix: Array, times: int) -> None:
        """u = W v / |W v|, v = W^T u / |W^T u|: both approach the first singular vectors."""
        with no_grad():
            for _ in range(times):
                self._u.copy_(self._unit(matrix @ self._v.array))
                self._v.copy_(self._unit(matrix.T @ self._u.array))

    def _unit(self, x: Array) -> Array:
        return x / max(float(np.linalg.norm(x)), self.eps)


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value, so that the layer stretches nothing.

    w' = w / sigma(w), sigma(w) = max_h |w h| / |h|

    `dim` is the dimension of the outputs: 0, of transposed convolutions 1.  In training each
    reading of the weight improves the estimate of sigma by n_power_iterations.
    Paper: Miyato, Kataoka, Koyama, Yoshida 2018, arXiv:1802.05957.

    Raises:
        ArgumentError: there is no such tensor, or n_power_iterations is not positive.
        IndexOutOfRange: there is no dimension `dim`.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(f"spectral_norm: {type(module).__name__} has no tensor {name!r}")
    if dim is None:
        dim = 1 if isinstance(module, TRANSPOSED) else 0
    parametrization = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, parametrization)
