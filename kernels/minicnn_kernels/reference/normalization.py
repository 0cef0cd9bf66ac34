"""Statistics over a mini-batch, and the scaling of a channel."""

from __future__ import annotations

from minicnn_kernels.arrays import Array


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """Return mean and biased variance of each channel of x (N, C, ...).

    mean[c] = sum_n.. x[n,c,..] / M;  var[c] = sum_n.. (x[n,c,..] - mean[c])^2 / M
    """
    axes = (0, *range(2, x.ndim))
    return x.mean(axis=axes), x.var(axis=axes)


def per_channel(v: Array, ndim: int) -> Array:
    """See a vector (C,) as (1, C, 1, ...) so that it broadcasts over channels."""
    return v.reshape(1, -1, *[1] * (ndim - 2))
