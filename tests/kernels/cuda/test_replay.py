from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minicnn_kernels.cuda import launch, replay


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    """A card whose memory is the computer's."""
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(empty=np.empty, asarray=np.array))


class Counter:
    """A state that changes from step to step, and is read by a kernel."""

    def __init__(self):
        self.count = 0

    def step(self):
        self.count += 1
        return replay.numbers(np.array([self.count, -self.count]))

    def snapshot(self):
        before = self.count
        return lambda: setattr(self, "count", before)


def test_without_a_capture_numbers_are_a_copy_and_work_is_run_once():
    counter = Counter()
    assert replay.repeated(counter.step, counter.snapshot).tolist() == [1, -1]
    assert (counter.count, replay.is_refilling()) == (1, False)
    replay.refuse("nothing is being captured")


def test_each_replay_computes_the_numbers_anew_in_the_arrays_of_the_first_time():
    first, second = Counter(), Counter()
    second.count = 10
    with replay.recorded() as recording:
        table = replay.numbers(np.arange(3, dtype=np.uint8))
        a = replay.repeated(first.step)
        b = replay.repeated(second.step)
        again = replay.repeated(first.step)
    recording.upload()
    assert [x.tolist() for x in (a, b, again)] == [[1, -1], [11, -11], [2, -2]]
    recording.refill()
    assert a.tolist() == [1, -1]  # nothing reaches the card before its time
    recording.upload()
    assert [x.tolist() for x in (a, b, again)] == [[3, -3], [12, -12], [4, -4]]
    assert table.tolist() == [0, 1, 2]
    assert not replay.is_refilling()


def test_the_same_numbers_are_made_once():
    made = []

    def work():
        return replay.same_numbers(lambda: made.append(1) or np.arange(3))

    assert work().tolist() == [0, 1, 2]
    with replay.recorded() as recording:
        array = replay.repeated(work)
    recording.refill()
    recording.upload()
    assert array.tolist() == [0, 1, 2]
    assert len(made) == 2


def test_numbers_of_all_types_lie_apart_and_aligned():
    with replay.recorded() as recording:
        arrays = [
            replay.numbers(np.full(shape, 7, dtype))
            for shape, dtype in (((3,), "u1"), ((), "f8"), ((2, 2), "f4"), ((0,), "i8"), (5, "u8"))
        ]
    recording.upload()
    assert all((array == 7).all() for array in arrays)
    starts = [array.ctypes.data - arrays[0].ctypes.data for array in arrays if array.size]
    assert all(start % replay.ALIGNMENT == 0 for start in starts)


def test_kernels_are_not_launched_while_numbers_are_computed_again(monkeypatch):
    launched = []
    monkeypatch.setattr(launch, "_function", lambda *of: lambda *call, **more: launched.append(of))
    runtime = SimpleNamespace(getDevice=lambda: 0)
    monkeypatch.setattr(
        sys.modules["cupy"], "cuda", SimpleNamespace(runtime=runtime), raising=False
    )

    def work():
        launch.launch("file.cu", "name", (1,), (1,), (replay.numbers(np.ones(1)),))

    with replay.recorded() as recording:
        replay.repeated(work)
    assert len(launched) == 1
    recording.refill()
    assert len(launched) == 1
    work()
    assert len(launched) == 2


@pytest.mark.parametrize(
    "then",
    [
        lambda: [replay.numbers(np.zeros(2)), replay.numbers(np.zeros(1))],
        lambda: [],
        lambda: replay.numbers(np.zeros(3)),
        lambda: replay.numbers(np.zeros(2, np.float32)),
    ],
    ids=["more", "none", "another shape", "another type"],
)
def test_a_step_that_needs_other_numbers_cannot_be_replayed_and_leaves_its_state(then):
    counter, works = Counter(), [lambda: replay.numbers(np.zeros(2))]
    with replay.recorded() as recording:
        replay.repeated(counter.step, counter.snapshot)
        replay.repeated(lambda: works[0]())
    works[0] = then
    with pytest.raises(replay.NotCapturable, match="other numbers than when it was captured"):
        recording.refill()
    assert counter.count == 1
    assert not replay.is_refilling()


def test_a_capture_that_fails_is_undone():
    counter = Counter()
    with replay.recorded() as recording:
        replay.repeated(counter.step, counter.snapshot)
        replay.repeated(counter.step, counter.snapshot)
        with pytest.raises(replay.NotCapturable, match="reads a value"):
            replay.refuse("item reads a value")
    recording.undo()
    assert counter.count == 0


def test_too_many_numbers_are_refused():
    with replay.recorded(), pytest.raises(replay.NotCapturable, match="more than 1048576 bytes"):
        replay.numbers(np.zeros(replay.BYTES // 8 + 1))
