"""First and second derivatives, computed by the engine and measured by central differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

import minicnn
from minicnn import Tensor

Arrays = Sequence[np.ndarray]
STEP = 1e-5


def leaves(arrays: Arrays) -> list[Tensor]:
    return [Tensor(array, requires_grad=True) for array in arrays]


def value(function: Callable[..., Tensor], arrays: Arrays) -> np.ndarray:
    return function(*map(Tensor, arrays)).array


def first(
    function: Callable[..., Tensor], arrays: Arrays, dy: np.ndarray, create_graph: bool = False
) -> list[np.ndarray]:
    """Compute d sum(dy * y) / dx for each x; zeros for an x that y does not depend on."""
    inputs = leaves(arrays)
    gradients = minicnn.grad(
        function(*inputs), inputs, Tensor(dy), create_graph=create_graph, allow_unused=True
    )
    return _filled(gradients, arrays)


def second(
    function: Callable[..., Tensor], arrays: Arrays, dy: np.ndarray, weights: Arrays
) -> list[np.ndarray]:
    """Compute the gradient of sum_x sum(weight * dx) by each x and by dy, through the graph."""
    inputs, upstream = leaves(arrays), Tensor(dy, requires_grad=True)
    y = function(*inputs)
    gradients = minicnn.grad(y, inputs, upstream, create_graph=True, allow_unused=True)
    parts = [(w * dx).sum() for w, dx in zip(weights, gradients, strict=True) if dx is not None]
    total = sum(parts[1:], start=parts[0])
    if not total.requires_grad:  # the gradient is a constant, such as that of floor
        return [np.zeros_like(a) for a in (*arrays, dy)]
    return _filled(minicnn.grad(total, [*inputs, upstream], allow_unused=True), [*arrays, dy])


def _filled(gradients: Sequence[Tensor | None], arrays: Arrays) -> list[np.ndarray]:
    return [
        np.zeros_like(a) if g is None else g.array for g, a in zip(gradients, arrays, strict=True)
    ]


def check_first(function: Callable[..., Tensor], arrays: Arrays, dy: np.ndarray) -> None:
    """Compare the first derivative with central differences of the value."""

    def loss(*points: np.ndarray) -> float:
        return float((value(function, points) * dy).sum())

    _compare(loss, arrays, first(function, arrays, dy))


def check_second(
    function: Callable[..., Tensor], arrays: Arrays, dy: np.ndarray, weights: Arrays
) -> None:
    """Compare the second derivative with central differences of the first."""

    def loss(*points: np.ndarray) -> float:
        gradients = first(function, points[:-1], points[-1])
        return float(sum((w * dx).sum() for w, dx in zip(weights, gradients, strict=True)))

    _compare(loss, [*arrays, dy], second(function, arrays, dy, weights))


def _compare(loss: Callable[..., float], arrays: Arrays, gradients: Arrays) -> None:
    computed, measured = [], []
    for direction in _directions(arrays):
        ahead = loss(*(a + STEP * v for a, v in zip(arrays, direction, strict=True)))
        behind = loss(*(a - STEP * v for a, v in zip(arrays, direction, strict=True)))
        measured.append((ahead - behind) / (2 * STEP))
        computed.append(sum((g * v).sum() for g, v in zip(gradients, direction, strict=True)))
    np.testing.assert_allclose(computed, measured, rtol=1e-6, atol=1e-7)


def _directions(arrays: Arrays) -> Iterator[list[np.ndarray]]:
    """Go along each value of the arrays; for many values along a few random signs instead."""
    total = sum(array.size for array in arrays)
    signs = np.random.default_rng(total).choice([-1.0, 1.0], (6, total))
    for row in np.eye(total) if total <= 32 else signs:
        parts = np.split(row, np.cumsum([array.size for array in arrays])[:-1])
        yield [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]
