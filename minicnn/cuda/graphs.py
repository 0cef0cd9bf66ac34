"""A training step captured as one graph of the card, and replayed.

Python takes some ten microseconds to launch a kernel; those of a small network run for less.  A
graph launches all of them at once.  What Python computes for every step, learning rates and places
in streams of random numbers, is computed again before each replay (`minicnn_kernels.cuda.replay`),
so that a captured training ends with the same weights, bit by bit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import numpy as np

from minicnn import random
from minicnn.errors import DeviceError
from minicnn.tensor import Tensor
from minicnn_kernels import cards
from minicnn_kernels.cuda import memory, replay
from minicnn_kernels.cuda.replay import NotCapturable
from minicnn_kernels.precision import math_mode

WARM_UP = 2  # eager calls before the first capture
MOST_GRAPHS = 4  # kinds of inputs that are captured
MOST_CAPTURES = 4  # of one kind of inputs, if formulas change in between, as RAdam's after 5 steps

log = logging.getLogger(__name__)


class CapturedStep:
    """What `capture` returns: a function of tensors that is replayed where that is possible.

    Attributes:
        reason: why it is, with some inputs at least, run eagerly; None if nothing spoke against a
            replay so far.
    """

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step = step
        self.reason: str | None = None
        self._graphs: dict[Any, Any] = {}  # a _Graph by kind of inputs; None: they are run eagerly

    def __call__(self, *inputs: Any) -> Any:
        """Do one step."""
        kind: Any = None
        try:
            kind = (math_mode.get(), *map(_kind, inputs))
            if kind not in self._graphs and len(self._graphs) < MOST_GRAPHS:
                self._graphs[kind] = _Graph(self.step)
            if self._graphs.get(kind) is not None:
                return self._graphs[kind].run(inputs)
        except NotCapturable as error:
            self._graphs[kind] = None  # its memory is free again before the step is run
            self._explain(str(error))
        return self.step(*inputs)

    def _explain(self, reason: str) -> None:
        """Log why the step is not replayed, the first time."""
        if self.reason is None:
            self.reason = reason
            name = getattr(self.step, "__qualname__", repr(self.step))
            log.warning("%s is not captured but run eagerly: %s", name, reason)


def capture(step: Callable[..., Any]) -> CapturedStep:
    """Return a step that is captured as a CUDA graph, and replayed from then on.

    ::

        def step(images, labels):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            return loss

        fast = minicnn.cuda.capture(step)
        for images, labels in batches:
            loss = fast(images.cuda(), labels.cuda())

    Every call is one step, of which the first two are run eagerly and the third is captured.  A
    replay copies the inputs to where the captured step reads them, and writes its results to the
    same tensors as before: what is to be kept must be copied (`loss.clone()`).  Learning rates, the
    settings and counters of optimisers and random numbers are those of the moment.

    Python inside the step is not run again.  So a step must not read values (`item`, `if loss >
    ...`), move tensors between devices, or count in Python.  Gradients belong into it as a whole,
    with `zero_grad` before `backward`; afterwards they are in `.grad` as always.

    For inputs of other shapes another graph is captured, up to four; each holds its own memory.
    What cannot be captured is run eagerly, and the reason is logged, once.
    """
    return CapturedStep(step)


class _Graph:
    """The graph of a step for one kind of inputs, and the memory that it works on.

    Raises:
        NotCapturable: there is no card.
    """

    def __init__(self, step: Callable[..., Any]) -> None:
        try:
            cards.count()
        except DeviceError as error:
            raise NotCapturable(str(error)) from None
        cupy = cards.cupy()
        self.step = step
        self.memory = memory.Pool()
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.calls = self.captures = 0
        self.graph: Any = None
        self.inputs: list[Any] = []
        self.gradients: list[tuple[Tensor, Tensor | None]] = []

    def run(self, inputs: tuple[Any, ...]) -> Any:
        """Do one step: eagerly, by capturing it first, or by a replay.

        Raises:
            NotCapturable: it cannot be captured; nothing has been done then.
        """
        self.calls += 1
        if self.calls <= WARM_UP:
            with self._aside():
                return self.step(*inputs)
        if not self._refilled():
            self._capture(inputs)
        for own, new in zip(self.inputs, inputs, strict=True):
            if isinstance(new, Tensor):
                own.array[...] = new.array
        self.recording.upload()
        self.graph.launch()
        for leaf, gradient in self.gradients:
            leaf.grad = gradient
        return self.results

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Compute on a stream and in memory of our own, after what came before on the present one.

        The eager calls before a capture fill this memory, so that none has to be asked for in it.
        """
        cuda = cards.cupy().cuda
        present = cuda.get_current_stream()
        self.stream.wait_event(present.record())
        try:
            with self.stream, cuda.using_allocator(self.memory.pool.malloc):
                yield
        finally:
            present.wait_event(self.stream.record())

    def _refilled(self) -> bool:
        """Compute the numbers of the next replay; False: the step has to be captured (again)."""
        if self.graph is None:
            return False
        state = random.default.get_state()
        try:
            self.recording.refill()
        except NotCapturable:
            random.default.set_state(state)
            self.graph = None
            return False
        return True

    def _capture(self, inputs: tuple[Any, ...]) -> None:
        """Run the step's Python, and have what it launches put into a graph instead of done."""
        self.captures += 1
        if self.captures > MOST_CAPTURES:
            raise NotCapturable("the formulas of its optimiser change again and again")
        state = random.default.get_state()
        with self._aside(), replay.recorded() as recording:
            try:
                self.inputs = [_own_copy(value) for value in inputs]
                self.stream.begin_capture()
                self.results = self.step(*self.inputs)
                _check_results(self.results)
                self.graph = self.stream.end_capture()
            except BaseException as error:
                with suppress(Exception):  # an invalid capture raises once more
                    self.stream.end_capture()
                recording.undo()
                random.default.set_state(state)
                if not isinstance(error, Exception):
                    raise
                raise NotCapturable(_reason(error)) from error
        self.recording = recording
        self.gradients = [(leaf, leaf.grad) for leaf in recording.leaves()]


def _kind(value: Any) -> Any:
    """Return all of an input that a graph depends on.

    Raises:
        NotCapturable: it is no tensor on a card, and no number or text that stays the same.
    """
    if isinstance(value, Tensor):
        if value.device == "cpu":
            raise NotCapturable("an input is on the CPU; move it to the card before the step")
        if value.requires_grad:
            raise NotCapturable("an input requires a gradient, which nobody would see")
        return value.shape, value.dtype, value.device
    try:
        hash(value)
    except TypeError:
        raise NotCapturable(
            f"an input is a {type(value).__name__}; give it tensors, each as an argument"
        ) from None
    return type(value), value


def _own_copy(value: Any) -> Any:
    """Return memory for an input that stays the same; what is no tensor as it is."""
    if not isinstance(value, Tensor):
        return value
    own = np.empty_like(value.array)
    own[...] = value.array
    return Tensor(own)


def _check_results(results: Any) -> None:
    """Refuse results that a replay could not bring up to date."""
    if isinstance(results, (tuple, list)):
        for part in results:
            _check_results(part)
    elif isinstance(results, dict):
        _check_results(list(results.values()))
    elif isinstance(results, Tensor):
        if results.device == "cpu":
            raise NotCapturable("it returns a tensor on the CPU")
    elif results is not None:
        raise NotCapturable(f"it returns a {type(results).__name__}; return tensors on the card")


def _reason(error: Exception) -> str:
    """Say what cannot be captured, and in which line of the step."""
    text = str(error) if isinstance(error, NotCapturable) else f"{type(error).__name__}: {error}"
    if "H2D" in text:
        text = f"it copies values from the CPU to the card: {text}"
    elif "apturing" in text:
        text = f"it reads a value on the card (item, print, if): {text}"
    return f"{text}{_place(error.__traceback__)}"


def _place(traceback: TracebackType | None) -> str:
    """Name the last line of the step itself, outside of our packages and CuPy."""
    place = ""
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0]
        if module not in ("minicnn", "minicnn_kernels", "cupy"):
            place = f" ({traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno})"
        traceback = traceback.tb_next
    return place
