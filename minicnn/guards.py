"""Every refusal of the engine, so that the engine itself reads like the chain rule."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn import anomaly
from minicnn.errors import DTypeError, GradientError, MinicnnError, ShapeError
from minicnn.tensor import Tensor
from minicnn_kernels.cuda import memory

if TYPE_CHECKING:
    from minicnn.differentiable import Node


def checked_signature(name: str, signature: inspect.Signature) -> list[inspect.Parameter]:
    """Return the parameters of an operation, if one can tell its tensors from its settings."""
    parameters = list(signature.parameters.values())
    tensors = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)]
    if not tensors:
        raise TypeError(f"{name}{signature}: write the tensors left of a slash: {name}(x, /, ...)")
    if any(p.default is not p.empty for p in tensors):
        raise TypeError(f"{name}{signature}: a tensor cannot have a default; let callers pass None")
    return parameters


def usable(node: Node) -> tuple[Any, ...]:
    """Return what `node` saved, if it is still there and still the same.

    Raises:
        GradientError: the graph was freed, a saved value was changed in place, or the operation
            has no gradient.
    """
    op = node.op
    if node.saved is None:
        raise GradientError(
            f"{op.name}: backward a second time through a call whose memory was released (its "
            f"result has shape {node.spec.shape}); use retain_graph=True the first time"
        )
    if op.gradient_function is None:
        raise GradientError(
            f"{op.name}: this operation has no gradient (its result has shape "
            f"{node.spec.shape}); use .detach() to treat the result as a constant"
        )
    for i, (value, version) in enumerate(zip(node.saved, node.versions, strict=True)):
        if version is not None and version[0][0] != version[1]:
            name = op.value_names(node)[i]
            raise GradientError(
                f"{op.name}: {name}, {value.dtype} of shape {value.shape}, was changed in place "
                f"after the forward pass, and the gradient needs its old values; change a copy"
            )
    if node.trace is not None:
        anomaly.check_unchanged(op.name, op.value_names(node), node.saved, node.trace)
    return node.saved


def same_leaf(node: Node, i: int, leaf: Tensor, saved: Any) -> Tensor:
    """Return the leaf that was input i - 1, if `.data` has not given it other values since."""
    if leaf.array is not saved:
        raise GradientError(
            f"{node.op.name}: {node.op.value_names(node)[i]}, shape {leaf.shape}, was given other "
            f"values (.data) after the forward pass; differentiate before assigning to .data"
        )
    return leaf


def check_thunks(node: Node, thunks: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the thunks of a gradient if there is one per tensor."""
    if len(thunks) != len(node.parents) or not all(map(callable, thunks)):
        raise GradientError(
            f"{node.op.name}: its gradient must return {len(node.parents)} thunks, one per tensor, "
            f"got {len(thunks)}: {[type(thunk).__name__ for thunk in thunks]}"
        )
    return thunks


def computed(node: Node, dy: Any, thunks: tuple[Any, ...], places: list[Any]) -> list[Any]:
    """Return the gradients of the inputs in the places, or raise OutOfMemoryError."""
    try:
        return [thunks[i]() for i, _ in places]
    except MinicnnError:
        raise
    except MemoryError as error:
        given = (dy, *(node.saved or ())[1:])
        raise memory.used_up(f"the gradient of {node.op.name}", given, error) from None


def check_gradient(node: Node, i: int, parent: Node | Tensor, dx: Any) -> None:
    """Refuse a dx that cannot be the gradient of input i."""
    expected = parent if isinstance(parent, Tensor) else parent.spec
    if getattr(dx, "shape", None) != expected.shape:
        name = node.op.value_names(node)[i + 1]
        got = getattr(dx, "shape", type(dx).__name__)
        raise ShapeError(
            f"{node.op.name}: the gradient of {name} must have shape {expected.shape}, got {got}"
        )
    if dx.dtype != expected.dtype:
        name = node.op.value_names(node)[i + 1]
        raise DTypeError(
            f"{node.op.name}: the gradient of {name} must be {expected.dtype}, got {dx.dtype}"
        )
    if node.trace is not None or anomaly.active.get():
        values = dx.array if isinstance(dx, Tensor) else dx
        where = f"the gradient of {node.op.name}"
        place = "outside detect_anomaly()" if node.trace is None else node.trace.place
        anomaly.check_finite(values, where, "backward", place)


def check_hook(place: Node | Tensor, result: Any) -> None:
    """Refuse what a hook returned if it cannot take the place of the gradient it was shown."""
    expected = place if isinstance(place, Tensor) else place.spec
    whose = "a leaf" if isinstance(place, Tensor) else f"the result of {place.op.name}"
    if not isinstance(result, Tensor) or result.shape != expected.shape:
        got = getattr(result, "shape", type(result).__name__)
        raise ShapeError(
            f"register_hook: a hook on {whose} must return a Tensor of shape {expected.shape} or "
            f"None, got {got}"
        )
    if result.dtype != expected.dtype:
        raise DTypeError(
            f"register_hook: a hook on {whose} must return {expected.dtype}, got {result.dtype}"
        )


def checked_seed(root: Tensor, seed: Any) -> Tensor:
    """Return the gradient to start from, d loss / d root; ones for a single value."""
    if not root.requires_grad:
        raise GradientError(
            f"backward: this tensor, shape {root.shape}, does not require grad and was not made "
            f"from one that does"
        )
    if seed is None:
        if root.array.size != 1:
            raise ShapeError(
                f"backward: a tensor of shape {root.shape} needs gradient=..., of the same shape; "
                f"it may be left out only for a single value, such as a loss"
            )
        return Tensor(np.ones_like(root.array))
    if isinstance(seed, np.ndarray):
        seed = Tensor(seed)
    if not isinstance(seed, Tensor):
        raise GradientError(f"backward: gradient must be a Tensor, got {type(seed).__name__}")
    if seed.shape != root.shape:
        raise ShapeError(f"backward: gradient has shape {seed.shape}, the tensor {root.shape}")
    if seed.dtype != root.dtype:
        raise DTypeError(f"backward: gradient is {seed.dtype}, the tensor {root.dtype}")
    return seed
