"""Forget what a part of a network computed, and compute it again in backward.

A chain of n layers keeps n results for its gradient.  Cut into segments, it keeps one result per
segment and, while a segment is computed, those inside it: 2 sqrt(n) for sqrt(n) segments, at the
price of a second forward pass.

Paper: Chen, Xu, Zhang, Guestrin 2016, arXiv:1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import Any

import numpy as np

from minicnn import random
from minicnn.backprop import enable_grad, grad, is_grad_enabled
from minicnn.differentiable import Array, Gradients, Node, differentiable, ticks
from minicnn.errors import ArgumentError, GradientError
from minicnn.ops.indexing import index
from minicnn.ops.shape import view_as
from minicnn.tensor import Tensor

__all__ = ["checkpoint", "checkpoint_sequential"]

Place = Node | Tensor  # where a gradient goes: a recorded call, or a leaf


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """Return function(*args, **kwargs), and let backward call it again instead of keeping memory.

    y = function(x), of which only x is kept

    Gradients reach the arguments and every other tensor that the function uses, such as the
    parameters of its layers, and can be differentiated again.  The second call sees the random
    numbers of the first, unless `preserve_rng_state` is False.  `use_reentrant` is accepted as in
    PyTorch; both ways are one here.

    >>> import minicnn
    >>> x = minicnn.tensor([1.0, 2.0], requires_grad=True)
    >>> checkpoint(lambda x: (x * x).exp().sum(), x).backward()
    >>> x.grad
    tensor([  5.4366, 218.3926])

    Raises:
        GradientError: in backward, if a tensor that was used has been changed in place since.
    """
    if not is_grad_enabled():
        return function(*args, **kwargs)
    segment = Segment(lambda: function(*args, **kwargs), preserve_rng_state)
    start = next(ticks)
    result = segment.function()
    outputs = recorded_since(start, result)
    if not outputs:
        return result
    segment.sources = sources_of(outputs, start)
    used = [*tensors_in((args, kwargs)), *(t for t in segment.sources if t.is_leaf)]
    segment.versions = [(t.version, t.version[0]) for t in used]
    joined = Tensor(join([y.array for y in outputs]))
    if len(outputs) == 1:
        joined.version = outputs[0].version
    arrays = [source.array for source in segment.sources]
    joined.node = Node(repeated, tuple(segment.sources), arrays, joined, {"segment": segment})
    parts = split(joined, outputs)
    return replaced(result, {id(y): part for y, part in zip(outputs, parts, strict=True)})


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    *,
    preserve_rng_state: bool = True,
) -> Any:
    """Run a chain of functions in segments, each of them but the last as a `checkpoint`.

    y = functions[-1](... functions[1](functions[0](input)))

    Args:
        functions: an `nn.Sequential`, or a sequence of functions of one argument.
        segments: how many segments to make of the chain.

    Raises:
        ArgumentError: there are not that many functions.
    """
    chain = list(functions)
    if not 1 <= segments <= len(chain):
        raise ArgumentError(
            f"checkpoint_sequential: {len(chain)} functions cannot make {segments} segments"
        )

    def run(part: Sequence[Callable[[Any], Any]], x: Any) -> Any:
        for function in part:
            x = function(x)
        return x

    size = len(chain) // segments
    last = size * (segments - 1)
    for first in range(0, last, size):
        part = chain[first : first + size]
        input = checkpoint(run, part, input, preserve_rng_state=preserve_rng_state)
    return run(chain[last:], input)


# --- a call that can be repeated ------------------------------------------------------------------


class Segment:
    """A call without arguments, the state of the generator before it, and where gradients go."""

    def __init__(self, function: Callable[[], Any], preserve_rng_state: bool) -> None:
        self.function = function
        self.rng_state = random.default.get_state() if preserve_rng_state else None
        self.sources: list[Tensor] = []
        self.versions: list[tuple[list[int], int]] = []

    def repeat(self) -> list[Tensor]:
        """Call the function again and return those of its results that depend on a source.

        Raises:
            GradientError: a tensor it uses was changed in place.
        """
        if any(version[0] != then for version, then in self.versions):
            raise GradientError(
                "checkpoint: a tensor that the function uses was changed in place after the "
                "forward pass, which backward must repeat with the old values; change a copy"
            )
        now = random.default.get_state()
        if self.rng_state is not None:
            random.default.set_state(self.rng_state)
        start = next(ticks)
        try:
            with enable_grad():
                return recorded_since(start, self.function())
        finally:
            if self.rng_state is not None:
                random.default.set_state(now)


@differentiable
def repeated(*sources: Array, segment: Segment) -> Array:
    """y = the results of the segment's function; the sources are what it reads."""
    return join([y.array for y in segment.repeat()])


@repeated.gradient(saves="")
def _(dy: Array, y: Array, *sources: Array, segment: Segment) -> Gradients:
    @cache
    def gradients() -> Sequence[Any]:
        outputs = segment.repeat()
        recorded = isinstance(dy, Tensor)
        with apart(segment.sources):
            found = grad(
                outputs,
                segment.sources,
                split(dy if recorded else Tensor(dy), outputs),
                retain_graph=True,
                create_graph=recorded,
            )
        return found if recorded else [dx.array for dx in found if dx is not None]

    return tuple((lambda i=i: gradients()[i]) for i in range(len(sources)))


@contextmanager
def apart(sources: Sequence[Tensor]) -> Iterator[None]:
    """Cut the graph behind the sources, and silence their hooks.

    One source may depend on another, but each shall receive only what comes to it directly; the
    backward pass that we are in carries it on, and calls the hooks.
    """
    nodes = [t.node for t in sources if t.node is not None]
    leaves = [t for t in sources if t.node is None]
    before = [(node.parents, node.hooks) for node in nodes], [leaf._hooks for leaf in leaves]
    for node in nodes:
        node.parents, node.hooks = (), []
    for leaf in leaves:
        leaf._hooks = []
    try:
        yield
    finally:
        for node, (parents, hooks) in zip(nodes, before[0], strict=True):
            node.parents, node.hooks = parents, hooks
        for leaf, hooks in zip(leaves, before[1], strict=True):
            leaf._hooks = hooks


def recorded_since(start: int, result: Any) -> list[Tensor]:
    """Return the tensors in a result that were made by a call recorded after tick `start`."""
    made = [y for y in tensors_in(result) if y.node is not None and y.node.tick > start]
    return list({id(y): y for y in made}.values())


def sources_of(outputs: Sequence[Tensor], start: int) -> list[Tensor]:
    """Return where the graph recorded since tick `start` begins, one tensor for each place."""
    found: list[Tensor] = []
    places: list[Place] = [y.origin for y in outputs]
    seen: set[int] = set()
    while places:
        place = places.pop()
        if id(place) in seen:
            continue
        seen.add(id(place))
        if isinstance(place, Tensor):
            found.append(place)
        elif place.tick > start:
            places.extend(parent for parent in place.parents if parent is not None)
        else:
            found.append(stand_in(place))
    return found


def stand_in(node: Node) -> Tensor:
    """Return a tensor without memory of its own that leads gradients to a recorded call."""
    tensor = Tensor(np.broadcast_to(np.zeros((), node.spec.dtype), node.spec.shape))
    tensor.node = node
    return tensor


# --- several results as one -----------------------------------------------------------------------


def join(arrays: Sequence[Array]) -> Array:
    """Return the only array, or the values of several as one vector."""
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate([array.reshape(-1) for array in arrays])


def split(joined: Any, like: Sequence[Tensor]) -> list[Any]:
    """Return what was joined, in the shapes of the tensors it came from."""
    if len(like) == 1:
        return [joined]
    ends = np.cumsum([prod(t.shape) for t in like]).tolist()
    return [
        view_as(index(joined, slice(end - prod(t.shape), end)), t.shape)
        for t, end in zip(like, ends, strict=True)
    ]


def tensors_in(value: Any) -> list[Tensor]:
    """Return all tensors of a value, which may be a tuple, list or dictionary of such."""
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (tuple, list, dict)):
        return []
    return [tensor for part in parts for tensor in tensors_in(part)]


def replaced(value: Any, by: dict[int, Tensor]) -> Any:
    """Return a copy of a value with other tensors in the place of some."""
    if isinstance(value, dict):
        return {key: replaced(part, by) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(replaced(part, by) for part in value))
    if isinstance(value, (tuple, list)):
        return type(value)(replaced(part, by) for part in value)
    return by.get(id(value), value)
