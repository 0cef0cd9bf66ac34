"""Differentiation as PyTorch arranges it: `backward`, `grad`, and derivatives of functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicnn import guards
from minicnn.anomaly import detect_anomaly
from minicnn.autograd import functional
from minicnn.backprop import enable_grad, grad, no_grad
from minicnn.errors import GradientError
from minicnn.tensor import Tensor


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    *,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the derivative of the sum of several tensors to the `.grad` of every leaf behind them.

    leaf.grad += sum_i (d tensors[i] / d leaf) * grad_tensors[i]

    Args:
        tensors: what to differentiate.
        grad_tensors: d loss / d tensor for each; None for those that hold a single value.
        retain_graph: keep the graph for another backward; default: `create_graph`.
        create_graph: record the gradients too, so that they can be differentiated again.
        inputs: the leaves to serve, and no others.

    Raises:
        GradientError: nothing requires a gradient, or the graph was freed.
        ShapeError: the shape of a gradient does not fit.
    """
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    seeds = list(grad_tensors) if isinstance(grad_tensors, (tuple, list)) else [grad_tensors]
    if grad_tensors is None:
        seeds = [None] * len(roots)
    if len(seeds) != len(roots) or not roots:
        raise GradientError(f"backward: {len(roots)} tensors but {len(seeds)} grad_tensors")
    seeds = [guards.checked_seed(root, seed) for root, seed in zip(roots, seeds, strict=True)]
    parts = [(root * seed).sum() for root, seed in zip(roots, seeds, strict=True)]
    total = sum(parts[1:], start=parts[0])
    if inputs is None:
        total.backward(retain_graph=retain_graph, create_graph=create_graph)
        return
    leaves = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for leaf, dx in zip(
        leaves,
        grad(total, leaves, None, retain_graph, create_graph, allow_unused=True),
        strict=True,
    ):
        if dx is not None:
            leaf.grad = dx if leaf.grad is None else leaf.grad + dx
