"""The evidence about a plain forward/backward pair, measured in the simplest way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn.gradcheck.diagnosis import diagnose
from minicnn.gradcheck.evidence import Evidence
from minicnn.gradcheck.subject import from_pair, signs

Arrays = list[np.ndarray]


def evidence_of(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Sequence[Any],
    position: int | None = None,
    seed: int = 0,
    settings: dict[str, Any] | None = None,
) -> Evidence:
    """Collect the evidence; without a position, about the input whose gradient is worst."""
    subject = from_pair(forward, backward, inputs)
    outputs = subject.values(subject.inputs)
    random = np.random.default_rng(seed)
    upstream = [signs(random, y.shape) for y in outputs]
    analytic = subject.gradients(upstream, subject.inputs)
    dy = np.concatenate([part.ravel() for part in upstream])
    numeric: list[np.ndarray | None] = [None] * len(subject.inputs)
    for k in subject.checked:
        numeric[k] = measured(subject.values, subject.inputs, k, dy)
    bounds = [None if n is None else 1e-10 * np.abs(n).max(initial=0) + 0 * n for n in numeric]
    return Evidence(
        values=subject.values,
        gradients=lambda dy: subject.gradients(dy, subject.inputs),
        inputs=subject.inputs,
        outputs=outputs,
        upstream=upstream,
        position=_worst(analytic, numeric) if position is None else position,
        analytic=analytic,
        numeric=numeric,
        bounds=bounds,
        settings={**subject.settings, **(settings or {})},
        names=subject.names,
    )


def causes_of(
    forward: Callable[..., Any], backward: Callable[..., Any], *inputs: Any, **options: Any
) -> list[str]:
    """Return the names that the diagnosis gives to a mistake, the likeliest first."""
    return [hint.cause for hint in diagnose(evidence_of(forward, backward, inputs, **options))]


def measured(
    values: Callable[[Arrays], Arrays], inputs: Arrays, k: int, dy: np.ndarray
) -> np.ndarray:
    """Measure the gradient of sum(dy * y), with wide steps where rounding asks for them."""

    def outputs(t: float) -> np.ndarray:
        ys = values([*inputs[:k], inputs[k] + t * unit, *inputs[k + 1 :]])
        return np.concatenate([y.ravel() for y in ys])

    def quotient(h: float) -> np.ndarray:
        return (outputs(h) - outputs(-h)) / (2 * h)

    x, dx = inputs[k], np.empty(inputs[k].shape)
    scale = 2.0 ** np.round(np.log2(np.sqrt(np.mean(x**2)) or 1.0)) if x.size else 1.0
    unit = np.zeros(x.shape)
    noise = 4 * np.finfo(float).eps / 2.0**-17 * np.abs(outputs(0.0))
    for place in np.ndindex(x.shape):
        unit = np.zeros(x.shape)
        unit[place] = scale
        with np.errstate(all="ignore"):
            slope = quotient(2.0**-17)
            if np.any(noise > 1e-6 * np.abs(slope).max(initial=0)):  # wider steps, if smooth
                wide = (4 * quotient(2.0**-9) - quotient(2.0**-8)) / 3
                smooth = np.abs(wide - slope) <= 1e-6 * np.abs(wide) + noise
                slope = np.where(smooth, wide, slope)
        dx[place] = dy @ slope / scale
    return dx


def _worst(analytic: Sequence[Any], numeric: Sequence[Any]) -> int:
    errors = []
    for a, n in zip(analytic, numeric, strict=False):
        if n is None or a is None:
            errors.append(-1.0)
        elif np.shape(a) != n.shape or not np.isfinite(a).all():
            errors.append(np.inf)
        else:
            scale = max(np.abs(a).max(initial=0), np.abs(n).max(initial=0)) or 1.0
            errors.append(float(np.abs(a - n).max(initial=0) / scale))
    return int(np.argmax(errors))
