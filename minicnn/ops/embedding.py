"""Rows of a table, named by whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

import minicnn_kernels as kernels
from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.ops.indexing import index_sum


@differentiable
def embed(weight: Array, /, positions: Array, share: Array | None = None) -> Array:
    """y[..,d] = weight[positions[..],d]; of each dy[..] its row receives the part share[..]."""
    rows = kernels.take_lines(weight, positions.reshape(-1), dim=0)
    return rows.reshape(*positions.shape, *weight.shape[1:])


@embed.gradient(saves="")
def _(dy: Array, y: Array, weight: Array, *, positions: Array, share: Array | None) -> Gradients:
    def dw() -> Any:
        part = dy if share is None else dy * share[..., None]
        return index_sum(part, (positions,), weight.shape)

    return dw


def shares(
    positions: Array, rows: int, padding: int | None, by_frequency: bool, dtype: Any
) -> Array | None:
    """Return which part of each dy reaches its row, of so many; None for all.

    share[..] = 0 where positions[..] is the padding, else 1 / (how often it occurs), or 1
    """
    if padding is None and not by_frequency:
        return None
    share = np.ones_like(positions, np.float64)
    if by_frequency:
        counts = np.zeros(rows, like=share)
        kernels.add_at(counts, positions.reshape(-1), share.reshape(-1))
        share /= counts[positions]
    if padding is not None:
        share *= positions != padding
    return share.astype(dtype)
