"""Turns, with a clock that only the contestants move."""

from __future__ import annotations

import pytest

from minicnn.bench import timing
from minicnn.bench.timing import IDLE_STEPS, Limits, empty_caches, settle, take_turns, turn
from minicnn.errors import UsageError


class Clock:
    """A clock, and calls that take so many of its seconds."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self):
        return self.now

    def task(self, name, *seconds):
        waiting = list(seconds)

        def call():
            self.log.append(name)
            self.now += waiting.pop(0) if len(waiting) > 1 else waiting[0]

        return call


class Runner:
    def __init__(self, clock, name, seconds):
        self.clock, self.call = clock, clock.task(name, seconds)

    def turn(self, seconds):
        return turn(self.call, seconds, self.clock)


@pytest.fixture
def clock():
    return Clock()


def test_a_turn_warms_up_first_and_ends_after_its_seconds(clock):
    times = turn(clock.task("a", 0.5, 0.25), 1.0, clock)
    assert times == [0.25] * 4  # without the first, slow call


def test_what_is_done_before_a_run_is_not_part_of_it(clock):
    times = turn(clock.task("a", 0.25), 2.0, clock, clock.task("before", 0.5))
    assert times == [0.25] * 3
    assert clock.log == ["a", *["before", "a"] * 3]


@pytest.mark.parametrize(("text", "size"), [("96K", 96 * 2**11), ("2M\n", 2**22), ("?", 2**27)])
def test_more_is_written_than_the_caches_hold(monkeypatch, tmp_path, text, size):
    (tmp_path / "size").write_text(text)
    monkeypatch.setattr(timing, "LARGEST_CACHE", tmp_path / "size")
    timing._filler.cache_clear()
    empty_caches()
    assert timing._filler().size == size
    assert timing._filler().min() == timing._filler().max() == 1
    timing._filler.cache_clear()


def test_a_long_call_is_not_made_twice(clock):
    assert turn(clock.task("a", 3.0), 1.0, clock) == [3.0]
    assert clock.log == ["a"]


def test_a_turn_of_no_length_is_one_run(clock):
    assert turn(clock.task("a", 0.0), 0.0, clock) == [0.0]


def test_contestants_take_turns_until_all_have_enough(clock):
    quick, slow = Runner(clock, "quick", 0.25), Runner(clock, "slow", 0.5)
    times = take_turns([quick, slow], Limits(2.5, 4, 100.0))
    assert clock.log[:7] == ["quick"] * 3 + ["slow"] * 2 + ["quick"] * 2
    assert [sum(t) >= 2.5 for t in times] == [True, True]
    assert times[0] == [0.25] * len(times[0])
    assert len(times[0]) > len(times[1]) >= 4


def test_max_time_ends_what_is_too_slow_and_lets_the_others_go_on(clock):
    quick, slow = Runner(clock, "quick", 0.25), Runner(clock, "slow", 8.0)
    times = take_turns([quick, slow], Limits(1.0, 10, 16.0))
    assert times[1] == [8.0, 8.0]
    assert len(times[0]) >= 10


def test_the_next_turn_waits_for_threads_that_wait_busily():
    used, naps = iter([0.0, 0.01, 0.01, 0.015, 0.015, 0.0155]), []
    settle(lambda: next(used), naps.append)
    assert len(naps) == 3  # busy, busy, idle


def test_it_does_not_wait_for_ever():
    used, naps = iter(range(1000)), []
    settle(lambda: next(used), naps.append)
    assert len(naps) == IDLE_STEPS


def test_nobody_takes_no_time():
    assert take_turns([], Limits()) == []


@pytest.mark.parametrize("limits", [(-1.0, 1, 1.0), (2.0, 1, 1.0), (0.1, 0, 1.0)])
def test_limits_that_make_no_sense(limits):
    with pytest.raises(UsageError, match="--min-time"):
        Limits(*limits)
