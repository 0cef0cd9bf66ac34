"""Reverse-mode differentiation: one walk against the direction of computation.

Every recorded call is met after all calls that used its result; by then its dy is complete.
Iterative, so the depth of a graph is limited by memory alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minicnn import guards
from minicnn.arguments import owner
from minicnn.differentiable import Node, grad_enabled
from minicnn.errors import GradientError
from minicnn.tensor import Hook, Tensor
from minicnn_kernels.arrays import can_be_changed
from minicnn_kernels.cuda import replay
from minicnn_kernels.one_pass import in_one_pass


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without recording, inside a `with` block or a decorated function."""
    token = grad_enabled.set(False)
    try:
        yield
    finally:
        grad_enabled.reset(token)


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record again inside a `no_grad` block."""
    token = grad_enabled.set(True)
    try:
        yield
    finally:
        grad_enabled.reset(token)


def is_grad_enabled() -> bool:
    """Say whether calls are being recorded."""
    return grad_enabled.get()


def backward(
    tensor: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add d tensor / d leaf to the `.grad` of every leaf that requires a gradient.

    Args:
        tensor: what to differentiate, most often a loss.
        gradient: d loss / d tensor; may be left out when the tensor holds a single value.
        retain_graph: keep the graph for another backward; default: `create_graph`.
        create_graph: record the gradients too, so that they can be differentiated again.

    Raises:
        GradientError: nothing requires a gradient, the graph was freed, a saved value changed.
        ShapeError: `gradient` is missing for more than one value, or has another shape.
    """

    def add_to_leaf(leaf: Any, gradient: Tensor) -> None:
        replay.learn(leaf)
        leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient

    _walk([tensor], [gradient], None, add_to_leaf, retain_graph, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return d (sum of outputs) / d input for each input; no `.grad` is touched.

    >>> import minicnn
    >>> x = minicnn.tensor(2.0, requires_grad=True)
    >>> (first,) = grad(x**3, x, create_graph=True)
    >>> (second,) = grad(first, x)
    >>> first.item(), second.item()
    (12.0, 12.0)

    Raises:
        GradientError: an output does not depend on an input (unless `allow_unused`, which
            returns None for it), or the graph was freed.
    """
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    targets = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds: list[Any] = [None] * len(roots)
    if grad_outputs is not None:
        seeds = list(grad_outputs) if isinstance(grad_outputs, (list, tuple)) else [grad_outputs]
    if len(seeds) != len(roots):
        raise GradientError(f"grad: {len(roots)} outputs but {len(seeds)} grad_outputs")
    for i, target in enumerate(targets):
        if not target.requires_grad:
            raise GradientError(f"grad: input {i}, shape {target.shape}, does not require grad")
    found: dict[int, Tensor] = {}

    def keep(place: Tensor | Node, gradient: Tensor) -> None:
        found[id(place)] = gradient

    wanted = {id(target.origin) for target in targets}
    _walk(roots, seeds, wanted, keep, retain_graph, create_graph)
    results = tuple(found.get(id(target.origin)) for target in targets)
    for i, (target, result) in enumerate(zip(targets, results, strict=True)):
        if result is None and not allow_unused:
            raise GradientError(
                f"grad: the outputs do not depend on input {i}, shape {target.shape}; "
                f"pass allow_unused=True to get None for it"
            )
    return results


class _Pending:
    """The part of a dy that has arrived so far, as an array or, if recorded, a Tensor."""

    __slots__ = ("ours", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.ours = False  # whether nobody else looks at this memory

    def add(self, value: Any, ours: bool) -> None:
        if self.value is None:
            self.value, self.ours = value, ours
        else:
            self.value, self.ours = _sum(self.value, value), not isinstance(value, Tensor)

    def as_tensor(self) -> Tensor:
        """Return the gradient as a Tensor with memory of its own."""
        if isinstance(self.value, Tensor):
            return self.value * 1
        return Tensor(self.value if self.ours else np.copy(self.value, order="K"))


@in_one_pass
def _sum(a: Any, b: Any) -> Any:
    return a + b


def _walk(
    roots: list[Tensor],
    seeds: list[Tensor | None],
    wanted: set[int] | None,
    deliver: Callable[[Any, Tensor], None],
    retain_graph: bool | None,
    create_graph: bool,
) -> None:
    """Carry the seeds from the roots to the wanted places (None: to every leaf)."""
    retain = create_graph if retain_graph is None else retain_graph
    pending: dict[int, _Pending] = {}
    for root, seed in zip(roots, seeds, strict=True):
        value = guards.checked_seed(root, seed)
        start = pending.setdefault(id(root.origin), _Pending())
        start.add(value if create_graph else value.array, ours=False)
    order = _topological_order([root.origin for root in roots])
    needed = _needed(order, wanted)
    with enable_grad() if create_graph else no_grad(), np.errstate(all="ignore"):
        while order:
            place = order.pop()  # popped, so that what it holds can go
            arrived = pending.pop(id(place), None)
            if arrived is None:
                continue
            _run_hooks(place, arrived)
            is_target = isinstance(place, Tensor) if wanted is None else id(place) in wanted
            if is_target:
                deliver(place, arrived.as_tensor())
            if isinstance(place, Node):
                _pass_on(place, arrived.value, needed, pending)
                if not retain:
                    place.release()


def _topological_order(roots: list[Node | Tensor]) -> list[Node | Tensor]:
    """List every place behind the roots so that each stands after all its parents."""
    order: list[Node | Tensor] = []
    entered: set[int] = set()
    stack: list[tuple[Node | Tensor, bool]] = [(root, False) for root in roots]
    while stack:
        place, parents_done = stack.pop()
        if parents_done:
            order.append(place)
        elif id(place) not in entered:
            entered.add(id(place))
            stack.append((place, True))
            if isinstance(place, Node):
                stack.extend((p, False) for p in place.parents if p is not None)
    return order


def _needed(order: list[Node | Tensor], wanted: set[int] | None) -> set[int]:
    """Return the ids of the places whose gradient is wanted, or leads to one that is."""
    if wanted is None:
        return {id(place) for place in order}
    needed: set[int] = set()
    for place in order:
        parents = place.parents if isinstance(place, Node) else ()
        if id(place) in wanted or any(id(p) in needed for p in parents):
            needed.add(id(place))
    return needed


def _pass_on(node: Node, dy: Any, needed: set[int], pending: dict[int, _Pending]) -> None:
    """Run the thunks that are needed and add each dx where it goes."""
    places = [(i, p) for i, p in enumerate(node.parents) if p is not None and id(p) in needed]
    if not places:
        return
    thunks = node.gradients(dy)
    gradients = guards.computed(node, dy, thunks, places)
    known = (dy, *(node.saved or ()), *node.settings.values(), *gradients)
    taken = [id(owner(value)) for value in known]
    for (i, parent), dx, memory in zip(places, gradients, taken[-len(places) :], strict=True):
        guards.check_gradient(node, i, parent, dx)
        if isinstance(dy, Tensor) and not isinstance(dx, Tensor):
            dx = Tensor(dx)  # a constant: what comes below it is recorded all the same
        ours = taken.count(memory) == 1 and can_be_changed(dx)
        pending.setdefault(id(parent), _Pending()).add(dx, ours)


def _run_hooks(place: Node | Tensor, arrived: _Pending) -> None:
    """Show the complete dy to the hooks, which may replace it."""
    hooks: list[Hook] = place.hooks if isinstance(place, Node) else place._hooks
    for hook in list(hooks):
        value = arrived.value
        shown = value if isinstance(value, Tensor) else Tensor(np.copy(value, order="K"))
        result = hook(shown)
        if result is not None:
            guards.check_hook(place, result)
            arrived.value = result if isinstance(value, Tensor) else result.array
            arrived.ours = False
