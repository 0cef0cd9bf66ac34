"""What is known about a gradient that turned out wrong: the diagnosis reads nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from minicnn_kernels.arrays import Array

Values = Callable[[Sequence[Array]], list[Array]]
Gradients = Callable[[Sequence[Array]], list[Array | None]]
STEP = 2.0**-17  # near the cube root of float64's rounding: best for a central difference


@dataclass
class Evidence:
    """One wrong gradient, that of input `position`, with all that may explain it.

    Attributes:
        values: computes the outputs from the inputs; randomness is replayed.
        gradients: runs the backward under test at `inputs` for other upstream gradients.
        inputs: the inputs, float64 (whole numbers keep their type).
        outputs: what forward returned at `inputs`.
        upstream: dy, one array per output, random and signed.
        position: which input's gradient is wrong.
        analytic: what the backward returned for `upstream`, one per input; None where missing.
        numeric: the measured gradients of sum(dy * y), one per input; None where not measured,
            NaN at elements that were not measured.
        bounds: how far each element of `numeric` may be from the truth.
        settings: stride, padding, dilation, p ... as far as they are known.
        names: the names of the inputs.
    """

    values: Values
    gradients: Gradients
    inputs: list[Array]
    outputs: list[Array]
    upstream: list[Array]
    position: int
    analytic: list[Array | None]
    numeric: list[Array | None]
    bounds: list[Array | None]
    settings: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    @cached_property
    def jacobian(self) -> Array:
        """J[m, i] = d output m / d element i of the wrong input, by central differences.

        Outputs are raveled and joined.  Costs two forwards an element: for small inputs only.
        """
        return jacobian(self.values, self.inputs, self.position)

    @cached_property
    def claimed_jacobian(self) -> Array:
        """A[m, i]: what the backward claims J to be, from one call per output."""
        sizes = [output.size for output in self.outputs]
        rows = []
        for unit in np.eye(sum(sizes)):
            parts = np.split(unit, np.cumsum(sizes)[:-1])
            dy = [p.reshape(o.shape) for p, o in zip(parts, self.outputs, strict=True)]
            dx = self.gradients(dy)[self.position]
            rows.append(np.zeros(self.inputs[self.position].size) if dx is None else np.ravel(dx))
        return np.array(rows)

    def measured_at(self, inputs: Sequence[Array], upstream: Sequence[Array]) -> Array:
        """Measure the gradient of the wrong input at other inputs, for another dy."""
        dy = np.concatenate([np.ravel(part) for part in upstream])
        slope = dy @ jacobian(self.values, inputs, self.position)
        return np.asarray(slope).reshape(inputs[self.position].shape)


def jacobian(values: Values, inputs: Sequence[Array], position: int) -> Array:
    """J[m, i] = d output m / d element i of input `position`, by plain central differences."""
    points = [np.array(array, order="C") for array in inputs]
    x = points[position].reshape(-1)
    typical = float(np.sqrt(np.mean(x**2))) or 1.0
    columns = []
    for i, center in enumerate(x):
        h = STEP * max(abs(center), typical)
        ends = []
        for step in (h, -h):
            x[i] = center + step
            ends.append((x[i], np.concatenate([np.ravel(y) for y in values(points)])))
        x[i] = center
        (right, above), (left, below) = ends
        columns.append((above - below) / (right - left))
    return np.stack(columns, axis=1)
