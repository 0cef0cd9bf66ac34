"""What a captured step computes in Python again before each replay.

A CUDA graph repeats kernels with the arguments that they had when it was captured.  So a number
that differs from step to step, a learning rate or the place in a stream of random numbers, must lie
in an array on the card, and be written there before each replay:

    def draw_mask():
        key = numbers(generator.next_key())
        launch("random.cu", "mask", ..., (key, mask))

    repeated(draw_mask)

`repeated` runs what it is given.  While a step is being captured it remembers it, too; before each
replay it is run again, where `numbers` writes to the array that it returned the first time, and
`launch` does nothing.  Without any capture `numbers` is a copy to the card, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minicnn_kernels import cards
from minicnn_kernels.errors import MinicnnError

T = TypeVar("T")
Restore = Callable[[], None]

BYTES = 2**20  # room for the numbers of a step
ALIGNMENT = 16  # bytes: each array of numbers begins at a multiple of it
CHANGED = "the step computes other numbers than when it was captured"


class NotCapturable(MinicnnError):
    """A step, or a replay of it, that does what a graph cannot repeat."""


class _Work(NamedTuple):
    """A function to run again before each replay, and which of the numbers are its own."""

    run: Callable[[], Any]
    snapshot: Callable[[], Restore] | None
    first: int
    last: int


class Recording:
    """The numbers of one captured step, and what computes them.

    Attributes:
        refilling: whether the step's Python is running again before a replay.
    """

    def __init__(self) -> None:
        self.refilling = False
        self._works: list[_Work] = []
        self._restores: list[Restore] = []
        self._card: Any = None  # as many bytes as on the host, made when the first are needed
        self._host = np.zeros(BYTES, np.uint8)
        self._arrays: list[tuple[Any, Any, Any]] = []  # of each call of `numbers`: kind, host, card
        self._next = 0  # number of the next call of `numbers`
        self._used = 0
        self._leaves: dict[int, Any] = {}  # that get a gradient

    def repeat(self, run: Callable[[], T], snapshot: Callable[[], Restore] | None) -> T:
        """Run something for the first time, and remember it."""
        if self.refilling:
            return run()
        if snapshot is not None:
            self._restores.append(snapshot())
        first = self._next
        result = run()
        self._works.append(_Work(run, snapshot, first, self._next))
        return result

    def numbers(self, values: Any, reader: str) -> Any:
        """Return an array on the card that holds the values when the graph runs."""
        number, self._next = self._next, self._next + 1
        kind = values.shape, values.dtype, reader
        if not self.refilling:
            self._arrays.append((kind, *self._room(values)))
        if number >= len(self._arrays) or self._arrays[number][0] != kind:
            raise NotCapturable(CHANGED)
        _, host, card = self._arrays[number]
        host[...] = values
        return card

    def same_numbers(self, make: Callable[[], Any]) -> Any:
        """Return the array on the card of values that are made once."""
        if not self.refilling:
            return self.numbers(make(), "")
        number, self._next = self._next, self._next + 1
        if number >= len(self._arrays):
            raise NotCapturable(CHANGED)
        return self._arrays[number][2]

    def _room(self, values: Any) -> tuple[Any, Any]:
        if self._card is None:
            self._card = cards.cupy().empty(BYTES, np.uint8)
        start = -(-self._used // ALIGNMENT) * ALIGNMENT
        self._used = start + values.nbytes
        if self._used > BYTES:
            raise NotCapturable(f"the step reads more than {BYTES} bytes of changing numbers")
        parts = (memory[start : self._used] for memory in (self._host, self._card))
        host, card = (part.view(values.dtype).reshape(values.shape) for part in parts)
        return host, card

    def learn(self, leaf: Any) -> None:
        """Remember a leaf whose `.grad` is about to change, and put that back in `undo`."""
        if id(leaf) in self._leaves:
            return
        before = leaf.grad
        if before is not None:
            raise NotCapturable(
                f"it adds to a gradient of shape {before.shape} that was there before; call "
                f"zero_grad() within the step, before backward()"
            )
        self._leaves[id(leaf)] = leaf
        self._restores.append(lambda: setattr(leaf, "grad", before))

    def leaves(self) -> list[Any]:
        """Return the leaves that get a gradient."""
        return list(self._leaves.values())

    def refill(self) -> None:
        """Run again what computes numbers.

        Raises:
            NotCapturable: they are not like those of the captured step; everything is as before.
        """
        self._restores, self.refilling = [], True
        token = _recording.set(self)
        try:
            for work in self._works:
                if work.snapshot is not None:
                    self._restores.append(work.snapshot())
                self._next = work.first
                work.run()
                if self._next != work.last:
                    raise NotCapturable(CHANGED)
        except NotCapturable:
            self.undo()
            raise
        finally:
            self.refilling = False
            _recording.reset(token)

    def upload(self) -> None:
        """Copy all numbers to the card, in the order of the current stream."""
        if self._used:
            self._card[: self._used] = cards.cupy().asarray(self._host[: self._used])

    def undo(self) -> None:
        """Put back what the step's Python has changed, as if it had not been run."""
        while self._restores:
            self._restores.pop()()


_recording: ContextVar[Recording | None] = ContextVar("recording", default=None)


class recorded:
    """Capture what is computed inside a `with` block; `minicnn.cuda.capture` is for everybody."""

    def __enter__(self) -> Recording:
        recording = Recording()
        self._token = _recording.set(recording)
        return recording

    def __exit__(self, *error: object) -> None:
        _recording.reset(self._token)


def repeated(run: Callable[[], T], snapshot: Callable[[], Restore] | None = None) -> T:
    """Run something whose numbers differ from step to step, in this step and in each replay.

    Args:
        snapshot: remembers the state that `run` changes, and returns what puts it back.
    """
    recording = _recording.get()
    return run() if recording is None else recording.repeat(run, snapshot)


def learn(leaf: Any) -> None:
    """Be told of a leaf that is about to get a gradient."""
    recording = _recording.get()
    if recording is not None:
        recording.learn(leaf)


def numbers(values: Any, reader: str = "") -> Any:
    """Return a NumPy array's values as an array on the card.

    Args:
        reader: the text of the kernel that reads them, if it is generated; a replay for which
            another one would be generated is refused.
    """
    recording = _recording.get()
    return cards.cupy().asarray(values) if recording is None else recording.numbers(values, reader)


def same_numbers(make: Callable[[], Any]) -> Any:
    """Return the values of make() as an array on the card, the same in every replay."""
    recording = _recording.get()
    return cards.cupy().asarray(make()) if recording is None else recording.same_numbers(make)


def is_refilling() -> bool:
    """Say whether Python is computing numbers for a replay, and no kernel is to be launched."""
    recording = _recording.get()
    return recording is not None and recording.refilling


def refuse(reason: str) -> None:
    """Raise NotCapturable if a step is being captured, which a graph could not repeat."""
    if _recording.get() is not None:
        raise NotCapturable(reason)
