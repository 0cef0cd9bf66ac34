"""L-BFGS: Newton's direction from the last few gradients, with an optional line search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from minicnn.backprop import enable_grad, no_grad
from minicnn.errors import ArgumentError, ShapeError
from minicnn.optim.optimizer import Group, Optimizer, State, check_settings
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import Array, as_array, to_device

CURVATURE = 1e-10  # a pair of differences with less would make the inverse Hessian indefinite


class LBFGS(Optimizer):
    """w += t * d, with d = -H dw; H estimates the inverse Hessian from the last steps.

    One `step(closure)` makes up to `max_iter` such iterations; `closure` clears the gradients,
    computes the loss, calls backward and returns the loss.  t is lr, or with
    `line_search_fn="strong_wolfe"` searched along d.  All parameters are one group.

    Paper: Liu, Nocedal 1989, Mathematical Programming 45; the search is that of Nocedal, Wright
    2006, algorithms 3.5 and 3.6.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_settings("LBFGS", lr=lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise ArgumentError(
                f'LBFGS: line_search_fn must be None or "strong_wolfe", got {line_search_fn!r}'
            )
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Set the only group.

        Raises:
            ArgumentError: there is one already.
        """
        if self.param_groups:
            raise ArgumentError("LBFGS: all parameters must be in one group, got a second one")
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Iterate until the loss is flat or `max_iter` is reached; return the loss before."""
        if closure is None:
            raise ArgumentError("LBFGS: step needs a closure that computes the loss and backward")
        with no_grad(), np.errstate(all="ignore"):
            return self._iterate(closure)

    def _iterate(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        if not state:
            state.update(func_evals=0, n_iter=0)
        with enable_grad():
            first_loss = closure()
        loss, dw = float(first_loss), self._flat_gradient()
        evaluations = 1
        state["func_evals"] += 1
        for iteration in range(1, group["max_iter"] + 1):
            if largest(dw) <= group["tolerance_grad"]:
                break
            state["n_iter"] += 1
            d = next_direction(state, dw, group["history_size"])
            t = group["lr"]
            if state["n_iter"] == 1:
                t *= min(1.0, 1.0 / float(np.abs(dw).sum()))
            state.update(d=d, t=t, prev_flat_grad=dw, prev_loss=loss)
            slope = dot(dw, d)
            if slope > -group["tolerance_change"]:
                break
            here, before = self._flat_weights(), evaluations

            def evaluate(t: float, here: Array = here, d: Array = d) -> tuple[float, Array]:
                self._set_weights(here + t * d)
                with enable_grad():
                    value = float(closure())
                return value, self._flat_gradient()

            previous_loss = loss
            if group["line_search_fn"] is not None:
                left = group["max_eval"] - evaluations
                start = Point(0.0, loss, dw, slope)
                found, used = strong_wolfe(evaluate, start, t, d, group["tolerance_change"], left)
                t, loss, dw = found.t, found.f, found.g
                state["t"] = t
                evaluations += used
                self._set_weights(here + t * d)
            elif iteration < group["max_iter"]:
                loss, dw = evaluate(t)
                evaluations += 1
            else:
                self._set_weights(here + t * d)
            state["func_evals"] += evaluations - before
            if (
                evaluations >= group["max_eval"]
                or largest(t * d) <= group["tolerance_change"]
                or abs(loss - previous_loss) < group["tolerance_change"]
            ):
                break
        return first_loss

    # --- all parameters as one vector ------------------------------------------------------

    def _flat_weights(self) -> Array:
        return np.concatenate([p.array.reshape(-1) for p in self._parameters()])

    def _flat_gradient(self) -> Array:
        gradients = {id(parameter): dw for parameter, dw, _ in self._gradients()}
        return np.concatenate(
            [
                gradients.get(id(parameter), np.zeros_like(parameter.array)).reshape(-1)
                for parameter in self._parameters()
            ]
        )

    def _set_weights(self, flat: Array) -> None:
        start = 0
        for parameter in self._parameters():
            stop = start + parameter.array.size
            parameter.array[...] = flat[start:stop].reshape(parameter.shape)
            parameter.version[0] += 1
            start = stop

    def fitting_state(self, name: str, parameter: Tensor, saved: State, group: Group) -> State:
        """Return a copy of saved state, or raise unless it is of vectors of all parameters."""
        needed = ["func_evals", "n_iter"]
        if saved.get("n_iter"):
            needed += ["d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad"]
        if missing := [key for key in needed if key not in saved]:
            raise ArgumentError(
                f"load_state_dict: LBFGS needs {', '.join(missing)} of {name}, its saved state has "
                f"{', '.join(saved) or 'nothing'}"
            )
        size = sum(p.array.size for p in self._parameters())

        def fitting(key: str, value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return [fitting(key, part) for part in value]
            array = as_array(values_of(value))
            if array.ndim == 0:
                return array.item()
            if array.shape != (size,):
                raise ShapeError(
                    f"load_state_dict: {name}: {key} has shape {array.shape}, all parameters "
                    f"together have {size} values"
                )
            return to_device(array, parameter.device).astype(parameter.dtype)

        return {key: fitting(key, value) for key, value in saved.items()}


# --- the direction --------------------------------------------------------------------------------


def next_direction(state: State, dw: Array, history_size: int) -> Array:
    """Return d = -H dw, with H from the differences y of gradients and s of weights so far.

    H is never built: it is applied factor by factor, from the youngest pair to the oldest and back,
    around H_0 = (s.y / y.y) I (Nocedal, Wright, algorithm 7.4).
    """
    if state["n_iter"] == 1:
        state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
        return -dw
    remember(state, dw - state["prev_flat_grad"], state["d"] * state["t"], history_size)
    pairs = list(zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True))
    q = -dw
    shares = []
    for y, s, rho in reversed(pairs):
        share = dot(s, q) * rho
        shares.append(share)
        q = q - share * y
    d: Array = state["H_diag"] * q
    for (y, s, rho), share in zip(pairs, reversed(shares), strict=True):
        d = d + (share - dot(y, d) * rho) * s
    return d


def remember(state: State, y: Array, s: Array, history_size: int) -> None:
    """Add the last differences to the history, if the loss is curved upwards along them."""
    curvature = dot(y, s)
    if curvature <= CURVATURE:
        return
    if len(state["old_dirs"]) == history_size:
        for name in ("old_dirs", "old_stps", "ro"):
            state[name].pop(0)
    state["old_dirs"].append(y)
    state["old_stps"].append(s)
    state["ro"].append(1.0 / curvature)
    state["H_diag"] = curvature / dot(y, y)


# --- the line search ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A step length t along d with the loss f, its gradient g and its slope g.d there."""

    t: float
    f: float
    g: Array
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, Array]],
    start: Point,
    t: float,
    d: Array,
    tolerance_change: float,
    max_ls: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[Point, int]:
    """Return a point where the loss is enough smaller and flatter, and the evaluations it took.

    f(t) <= f(0) + c1 t f'(0) and |f'(t)| <= c2 |f'(0)|; or the best point after `max_ls` trials.
    """

    def point(t: float) -> Point:
        f, g = evaluate(t)
        return Point(t, f, g, dot(g, d))

    def too_high(new: Point) -> bool:
        return new.f > start.f + c1 * new.t * start.slope

    def flat_enough(new: Point) -> bool:
        return abs(new.slope) <= -c2 * start.slope

    # Go on in growing steps until a good point lies between the last two.
    before, new = start, point(t)
    trials = 0
    bracket = None
    while trials < max_ls and bracket is None:
        if too_high(new) or (trials > 1 and new.f >= before.f):
            bracket = [before, new]
        elif flat_enough(new):
            return new, trials + 1
        elif new.slope >= 0:
            bracket = [before, new]
        else:
            bounds = (new.t + 0.01 * (new.t - before.t), new.t * 10)
            before, new = new, point(cubic_minimum(before, new, bounds))
            trials += 1
    bracket = bracket or [start, new]

    # Narrow the bracket down.
    low = 0 if bracket[0].f <= bracket[1].f else 1
    stuck = False
    width = largest(d)
    while trials < max_ls and abs(bracket[1].t - bracket[0].t) * width >= tolerance_change:
        left, right = sorted(end.t for end in bracket)
        t = cubic_minimum(bracket[0], bracket[1], (left, right))
        margin = 0.1 * (right - left)
        close = min(right - t, t - left) < margin
        if close and (stuck or not left < t < right):
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            close = False
        stuck = close
        new = point(t)
        trials += 1
        if too_high(new) or new.f >= bracket[low].f:
            bracket[1 - low] = new
            low = 0 if bracket[0].f <= bracket[1].f else 1
            continue
        if flat_enough(new):
            return new, trials + 1
        if new.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = new
    return bracket[low], trials + 1


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float]) -> float:
    """Return where the cubic through both values and slopes is least, kept within the bounds."""
    if a.t > b.t:
        a, b = b, a
    width = np.float64(b.t) - a.t  # NumPy's division makes Inf or NaN where Python's raises
    d1 = a.slope + b.slope - 3 * (b.f - a.f) / width
    squared = d1 * d1 - a.slope * b.slope
    if not squared >= 0:
        return sum(bounds) / 2
    d2 = np.float64(sqrt(squared))
    least = b.t - width * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    return float(min(max(least, bounds[0]), bounds[1]))


def dot(a: Array, b: Array) -> float:
    """Return the inner product as a plain number, which leaves float32 arrays float32."""
    return float(a @ b)


def largest(a: Array) -> float:
    """Return the largest size of a value."""
    return float(np.abs(a).max()) if a.size else 0.0
