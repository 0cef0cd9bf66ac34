"""Mixed precision: products in 16 bits, everything else in float32, and losses scaled to fit.

::

    scaler = minicnn.amp.GradScaler()  # for float16; bfloat16 needs none
    for x, t in loader:
        optimizer.zero_grad()
        with minicnn.autocast("cuda", dtype=minicnn.float16):
            loss = F.cross_entropy(model(x), t)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

Weights stay float32, so that small steps are not lost; a convolution rounds them when it is called.

Paper: Micikevicius et al. 2018, "Mixed precision training", arXiv:1710.03740.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn.arguments import cast_inputs
from minicnn.differentiable import Op
from minicnn.errors import ArgumentError, GradientError
from minicnn.ops.arithmetic import mul
from minicnn.ops.elementwise import cast
from minicnn.storage import WITH_WEIGHTS, bfloat16, is_half
from minicnn.tensor import Tensor, values_of
from minicnn_kernels import norm_of_all
from minicnn_kernels.arrays import can_be_changed, device_of
from minicnn_kernels.pointwise import change_all

if TYPE_CHECKING:
    from minicnn.optim import Optimizer

__all__ = ["GradScaler", "autocast"]

PRECISION: dict[str, str] = {
    **dict.fromkeys(("conv", "conv_bias", "conv_input", "conv_weight"), "16 bits"),
    **dict.fromkeys(("affine", "matrix_product"), "16 bits"),
    # what adds up many values, or goes far beyond the range of its input
    **dict.fromkeys(("log_softmax", "softmax", "softplus"), "float32"),
    **dict.fromkeys(("alignment_loss", "mean_cross_entropy", "softmax_cross_entropy"), "float32"),
    **dict.fromkeys(("absolute_error", "huber", "logistic_loss", "squared_error"), "float32"),
    **dict.fromkeys(("log_loss", "log_loss_of_logits", "poisson_loss"), "float32"),
    **dict.fromkeys(WITH_WEIGHTS, "as the first"),
    "neighbour_sum": "float32",
    **dict.fromkeys(("inner_product", "log_sum_exp", "product", "sum", "variance"), "float32"),
    **dict.fromkeys(("difference", "finite_norm", "weighted_total"), "float32"),
    **dict.fromkeys(("recurrence", "running_logsumexp", "running_product"), "float32"),
    **dict.fromkeys(("running_sum", "sliding_sum"), "float32"),
    **dict.fromkeys(("acos", "asin", "cosh", "erfinv", "exp", "exp2", "expm1"), "float32"),
    **dict.fromkeys(("log", "log10", "log1p", "log2", "pow", "reciprocal"), "float32"),
    **dict.fromkeys(("rsqrt", "sinh", "tan"), "float32"),
}
"""What autocast does to the inputs of an operation, by its name.

"16 bits": rounded to autocast's type.  "float32": widened.  "as the first": x stays as it is, its
weights are float32, and the result has x's type.  Not listed: left alone, unless both meet, as in
the sum at the end of a residual block; then it is computed in float32.
"""

USUAL = {"cpu": "bfloat16", "cuda": "float16"}  # PyTorch's choice


class autocast:
    """Compute convolutions and matrix products in 16 bits inside a `with` block or a function.

    Gradients come back in the type of what they belong to: float32 for weights.  Differentiate
    outside the block.  On the CPU nothing gets faster: it is a way to see what rounding does.

    >>> import minicnn
    >>> w = minicnn.ones(2, 2, requires_grad=True)
    >>> with minicnn.autocast("cpu", dtype=minicnn.float16):
    ...     y = w @ w
    >>> y.sum().backward()
    >>> y.dtype, w.grad.dtype
    (dtype('float16'), dtype('float32'))

    Args:
        device_type: "cpu" or "cuda"; tensors elsewhere are left alone.
        dtype: float16 or bfloat16; by default bfloat16 on the CPU, float16 on cards.
        enabled: False computes as without autocast, also inside another block.

    Raises:
        ArgumentError: another device or type.
        DTypeError: bfloat16 without ml_dtypes.
    """

    def __init__(self, device_type: str, dtype: Any = None, enabled: bool = True) -> None:
        if device_type not in USUAL:
            raise ArgumentError(f'autocast: device_type is "cpu" or "cuda", got {device_type!r}')
        self.device_type, self.enabled = device_type, enabled
        name = str(np.dtype(dtype)) if dtype is not None else USUAL[device_type]
        if name not in USUAL.values():
            raise ArgumentError(f"autocast: dtype is float16 or bfloat16, got {name}")
        self.dtype = bfloat16() if enabled and name == "bfloat16" else np.dtype(np.float16)
        self._tokens: list[Any] = []

    def __enter__(self) -> autocast:
        self._tokens.append(cast_inputs.set(self._cast if self.enabled else None))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cast_inputs.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function."""

        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device_type, self.dtype, self.enabled):
                return function(*args, **kwargs)

        return inside

    def _cast(self, op: Op[Any], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the inputs as PRECISION wants them for this operation."""
        if op.name == "cast":
            return inputs
        mine = {value.dtype for value in inputs if self._is_mine(value)}
        listed = PRECISION.get(op.name)
        if listed == "as the first":
            return self._as_the_first(inputs)
        wanted = self.dtype if listed == "16 bits" else np.dtype(np.float32)
        if mine <= {wanted} or (listed is None and len(mine) == 1):
            return inputs
        return tuple(
            cast(value, wanted) if self._is_mine(value) and value.dtype != wanted else value
            for value in inputs
        )

    def _as_the_first(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return x, weights in float32, and what is added to the result in x's type."""
        x, *weights, added = inputs if len(inputs) == 4 else (*inputs, None)
        weights = [cast(w, np.float32) if is_half(values_of(w)) else w for w in weights]
        if added is not None and self._is_mine(added) and added.dtype != x.dtype:
            added = cast(added, x.dtype)
        return (x, *weights, added)[: len(inputs)]

    def _is_mine(self, value: Any) -> bool:
        """Say whether these are values of the device whose precision may change."""
        array = values_of(value)
        if not (hasattr(array, "dtype") and hasattr(array, "astype")):
            return False
        floats = is_half(array) or array.dtype == np.float32
        return floats and device_of(array).partition(":")[0] == self.device_type


class GradScaler:
    """Scale a loss so that gradients do not underflow in float16, and find the scale on the way.

    float16 ends at 6e-8; many gradients are smaller.  A step in which one overflows is skipped, and
    the scale shrinks; after `growth_interval` steps without it grows.

    Args:
        capturable: decide on the device whether a step is skipped, without a wait, so that it can
            be captured: weights and the optimiser's arrays are copied, and put back on overflow.
            Counters that an optimiser keeps as plain numbers count a skipped step, too.

    Raises:
        ArgumentError: a factor or an interval out of its range.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
        capturable: bool = False,
    ) -> None:
        if not growth_factor > 1:
            raise ArgumentError(f"GradScaler: growth_factor must be above 1, got {growth_factor}")
        if not 0 < backoff_factor < 1:
            raise ArgumentError(
                f"GradScaler: backoff_factor must lie between 0 and 1, got {backoff_factor}"
            )
        if not (init_scale > 0 and growth_interval > 0):
            raise ArgumentError(
                f"GradScaler: init_scale and growth_interval must be positive, got {init_scale} "
                f"and {growth_interval}"
            )
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval = growth_interval
        self.device, self.enabled, self.capturable = device, enabled, capturable
        # Arrays of one number each, on the device of the first loss: no step asks for their value.
        self._scale: Any = np.array(init_scale, np.float32)
        self._good_steps: Any = np.array(0, np.int32)
        self._found: dict[int, Any] = {}  # by optimiser: whether a gradient was Inf or NaN
        self._stepped: set[int] = set()

    def is_enabled(self) -> bool:
        """Say whether anything is scaled."""
        return self.enabled

    def scale(self, outputs: Any) -> Any:
        """Return a loss, or each of several, times the scale, to be differentiated."""
        if not self.enabled:
            return outputs
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(map(self.scale, outputs))
        if type(outputs.array) is not type(self._scale):
            self._scale = np.asarray(self._scale, like=outputs.array)
            self._good_steps = np.asarray(self._good_steps, like=outputs.array)
        loss = cast(outputs, np.float32) if is_half(outputs) else outputs
        return mul(loss, Tensor(self._scale.astype(loss.dtype)))

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the scale, to look at or clip them before `step`.

        Raises:
            GradientError: a second time before `update`, or after `step`.
        """
        if not self.enabled:
            return
        if id(optimizer) in self._stepped:
            raise GradientError("unscale_: step() has been called since the last update()")
        if id(optimizer) in self._found:
            raise GradientError("unscale_: has been called since the last update()")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        inverse = np.divide(1, self._scale)

        def unscale(dw: Any) -> None:
            dw *= inverse.astype(dw.dtype)

        for gradient in gradients:
            gradient.version[0] += 1
            if not can_be_changed(gradient.array):
                gradient.array = gradient.array.copy()
        change_all([gradient.array for gradient in gradients], unscale)
        arrays = [gradient.array for gradient in gradients if gradient.array.size]
        largest = norm_of_all(*arrays, order=np.inf) if arrays else np.zeros_like(self._scale)
        self._found[id(optimizer)] = ~np.isfinite(largest)

    def step(self, optimizer: Optimizer) -> Any:
        """Unscale, unless that is done, and step, unless a gradient is Inf or NaN.

        Raises:
            GradientError: a second time before `update`.
        """
        if not self.enabled:
            return optimizer.step()
        if id(optimizer) in self._stepped:
            raise GradientError("step: has been called since the last update()")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        found = self._found[id(optimizer)]
        self._stepped.add(id(optimizer))
        if self.capturable:
            return _step_unless(found, optimizer)
        return None if bool(found) else optimizer.step()  # the only place that waits for the device

    def update(self, new_scale: float | None = None) -> None:
        """Shrink the scale if a gradient was Inf or NaN, grow it if there was none for long.

        Raises:
            GradientError: there was no `step` or `unscale_` since the last time.
        """
        if not self.enabled:
            return
        if new_scale is not None:
            self._scale[...] = new_scale
        elif not self._found:
            raise GradientError("update: call step(optimizer) before")
        else:
            any_found, *others = self._found.values()
            for found in others:
                any_found = any_found | found
            grows = self._good_steps + 1 == self.growth_interval
            with np.errstate(over="ignore"):
                grown = self._scale * np.float32(self.growth_factor)
            grown = np.where(grows & np.isfinite(grown), grown, self._scale)
            shrunk = self._scale * np.float32(self.backoff_factor)
            np.copyto(self._scale, np.where(any_found, shrunk, grown))
            np.copyto(self._good_steps, np.where(any_found | grows, 0, self._good_steps + 1))
        self._found.clear()
        self._stepped.clear()

    def get_scale(self) -> float:
        """Return the scale; 1 if not enabled."""
        return float(self._scale) if self.enabled else 1.0

    def state_dict(self) -> dict[str, Any]:
        """Return the state by PyTorch's names; empty if not enabled."""
        if not self.enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": int(self._good_steps),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state that `state_dict` returned, here or in PyTorch.

        Raises:
            ArgumentError: something is missing; nothing is changed then.
        """
        if not self.enabled:
            return
        if missing := sorted(self.state_dict().keys() - state_dict.keys()):
            raise ArgumentError(f"GradScaler: the saved state lacks {', '.join(missing)}")
        self.growth_factor = float(state_dict["growth_factor"])
        self.backoff_factor = float(state_dict["backoff_factor"])
        self.growth_interval = int(state_dict["growth_interval"])
        self._scale[...] = state_dict["scale"]
        self._good_steps[...] = state_dict["_growth_tracker"]


def _step_unless(found: Any, optimizer: Optimizer) -> Any:
    """Step, and put every array back if `found`; nobody learns which on the way."""
    kept = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                dw = parameter.grad.array
                # State that begins with this step must begin with numbers.
                parameter.grad = Tensor(np.where(found, np.zeros((), dw.dtype, like=dw), dw))
                arrays = (parameter.array, *optimizer.state[parameter].values())
                kept += [(array, array.copy()) for array in arrays if hasattr(array, "dtype")]
    result = optimizer.step()
    for array, before in kept:
        np.copyto(array, before, where=found)
    return result
