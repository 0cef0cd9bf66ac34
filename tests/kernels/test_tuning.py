"""Algorithms chosen by measuring: which one, when, and what is kept on the disk."""

from __future__ import annotations

import itertools
import json
import threading
import warnings

import numpy as np
import pytest
from geometries import integers

from minicnn_kernels import autotune, conv, kernels, tuning, use_algorithms
from minicnn_kernels.registry import Kernel, can_compile
from minicnn_kernels.threads import get_num_threads

X = np.arange(3.0)


@pytest.fixture(autouse=True)
def kept_in(tmp_path, monkeypatch):
    """A file that does not exist yet, and nothing known."""
    monkeypatch.setattr(tuning, "file", lambda: tmp_path / "fastest.json")
    tuning._known.cache_clear()
    yield tmp_path / "fastest.json"
    tuning._known.cache_clear()


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves by what algorithms add to it."""
    now = [0.0]
    monkeypatch.setattr(tuning.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def calls():
    return []


@pytest.fixture
def race(clock, calls):
    """A kernel whose algorithms take the seconds that they are called, "a1" the expected one."""
    kernel = Kernel("race_for_a_test", tunable=True)

    def enter(name, seconds, cost=None, result=lambda x: x * 2):
        def compute(x, **settings):
            calls.append(name)
            clock[0] += next(turns)
            return result(x)

        turns = iter(seconds) if isinstance(seconds, list) else itertools.repeat(seconds)
        kernel.algorithm(name, cost=cost and (lambda x, **settings: cost))(compute)

    kernel.enter = enter
    enter("expected", 1e-3, cost=1)
    enter("quick", 0.9e-3, cost=2)
    enter("slow", 3e-3, cost=3)
    enter("by name only", 1e-6)
    yield kernel
    del kernels["race_for_a_test"]


def test_the_fastest_computes_this_call_and_all_of_its_kind(race, calls):
    race(X)
    assert calls == ["expected"]
    with autotune():
        assert race.choose(X).name == "quick"
        assert set(calls) == {"expected", "quick", "slow"}
        calls.clear()
        race(X + 1)
        assert calls == ["quick"]
        with autotune(False):
            assert race.choose(X).name == "expected"
    assert race.choose(X).name == "expected"


def test_all_run_in_turns_and_the_least_time_counts(race, calls):
    first, busy = 9.0, 1.7e-3
    race.enter("disturbed", [first, busy, busy, 0.5e-3, busy, busy], cost=4)
    with autotune():
        assert race.choose(X).name == "disturbed"
    assert calls[4:8] == ["expected", "quick", "slow", "disturbed"]


def test_what_is_far_behind_runs_but_once_more(race, calls):
    with autotune():
        race(X)
    assert calls.count("slow") == 2  # to compile, and in the first round
    assert calls.count("quick") == 2 + tuning.ROUNDS  # and to compute


def test_another_must_be_clearly_faster(race):
    race.enter("quick", 0.96e-3, cost=2)
    with autotune():
        assert race.choose(X).name == "expected"


def test_no_round_begins_late(race, calls):
    for name in ("expected", "quick", "slow"):
        race.enter(name, 2 * tuning.SECONDS, cost=1)
    with autotune():
        race.choose(X)
    assert len(calls) == 6


def test_calls_of_another_kind_are_measured_anew(race, calls):
    def measures(x, **settings):
        calls.clear()
        race.choose(x, **settings)
        return len(calls) > 0

    with autotune():
        assert measures(X)
        others = [X.astype(np.float32), np.zeros(4), np.zeros((3, 1)), X[::-1], np.zeros(6)[::2]]
        assert [measures(other) for other in others] == [True] * 4 + [False]
        assert measures(X, stride=2)
        assert measures(np.zeros((2, 3)))
        assert measures(np.zeros((3, 2)).T)


def test_a_result_that_differs_is_not_taken(race):
    race.enter("wrong", 1e-6, cost=4, result=lambda x: x * 2.1)
    with autotune(), pytest.warns(UserWarning, match="wrong computes something else: race_for"):
        assert race.choose(X).name == "quick"


def test_nothing_is_known_of_results_with_nan(race):
    race.enter("other", 1e-6, cost=4, result=lambda x: x * 3)
    with autotune(), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert race.choose(X * np.nan).name == "other"


def test_what_seems_hopeless_is_not_tried(race, calls):
    race.enter("hopeless", 1e-6, cost=4.1)
    with autotune():
        assert race.choose(X).name == "quick"
    assert "hopeless" not in calls


def test_one_alone_need_not_be_measured(race, kept_in):
    race.enter("quick", 1e-6, cost=5)
    race.enter("slow", 1e-6, cost=5)
    with autotune():
        assert race.choose(X).name == "expected"
    assert not kept_in.exists()


def test_names_come_before_measuring(race, calls):
    with autotune(), use_algorithms(race_for_a_test="by name only"):
        race(X)
    assert calls == ["by name only"]


def test_only_what_is_tunable_is_measured(race, calls):
    race.tunable = False
    with autotune():
        race(X)
    assert calls == ["expected"]
    tunable = {name for name, kernel in kernels.items() if kernel.tunable}
    assert tunable == {"conv", "conv_input", "conv_weight"}


def test_a_block_does_not_reach_other_threads(race, calls):
    with autotune():
        thread = threading.Thread(target=race, args=[X])
        thread.start()
        thread.join()
    assert calls == ["expected"]


# --- what is kept ---------------------------------------------------------------------------------


def test_choices_are_kept_beside_those_of_other_processes(race, kept_in, calls):
    with autotune():
        race(X)
        found = json.loads(kept_in.read_text())
        assert found == {f"race_for_a_test float64(3/0) threads={get_num_threads()}": "quick"}
        kept_in.write_text(json.dumps({"a call of theirs": "loops"}))
        race(X[:2])
    assert json.loads(kept_in.read_text()).keys() > {"a call of theirs", *found}
    assert [path.name for path in kept_in.parent.iterdir()] == ["fastest.json"]


def test_choices_are_used_by_the_next_process(race, kept_in, calls):
    with autotune():
        race(X)
        tuning._known.cache_clear()
        race._choices.clear()
        calls.clear()
        race(X)
    assert calls == ["quick"]


def test_a_kept_name_that_is_gone_is_measured_anew(race, kept_in):
    call = f"race_for_a_test float64(3/0) threads={get_num_threads()}"
    kept_in.write_text(json.dumps({call: "gone"}))
    with autotune():
        assert race.choose(X).name == "quick"
    assert json.loads(kept_in.read_text()) == {call: "quick"}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', "null", "\xff"])
def test_a_damaged_file_is_ignored_with_a_warning(race, kept_in, text):
    kept_in.write_bytes(text.encode("latin-1"))
    with autotune(), pytest.warns(UserWarning, match=r"fastest\.json is ignored"):
        assert race.choose(X).name == "quick"
    assert len(tuning.kept()) == 1


def test_where_nothing_can_be_written_choices_are_kept_in_memory(race, monkeypatch, tmp_path):
    monkeypatch.setattr(tuning, "file", lambda: tmp_path / "missing" / "fastest.json")
    with autotune(), pytest.warns(UserWarning, match="choices are not kept"):
        assert race.choose(X).name == "quick"
    monkeypatch.setattr(tuning, "file", lambda: None)
    with autotune():
        assert race.choose(X[:2]).name == "quick"


def test_forget_deletes_what_was_found(race, kept_in, calls):
    with autotune():
        race(X)
        tuning.forget()
        assert not kept_in.exists()
        calls.clear()
        race(X)
        assert "slow" in calls


@pytest.mark.parametrize(("value", "on"), [("1", True), ("0", False), ("", False)])
def test_the_environment_turns_it_on(race, calls, monkeypatch, value, on):
    monkeypatch.setenv("MINICNN_AUTOTUNE", value)
    tuning._by_environment.cache_clear()
    race(X)
    assert ("slow" in calls) == on
    calls.clear()
    with autotune(not on):
        race(X[:2])
    assert ("slow" in calls) != on
    tuning._by_environment.cache_clear()


def test_a_convolution_is_the_same_whatever_was_fastest(kept_in):
    x, w = integers((2, 4, 9, 9)), integers((5, 4, 3, 3), seed=1)
    settings = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    expected = conv(x, w, algorithm="loops", **settings)
    with autotune():
        np.testing.assert_allclose(conv(x, w, **settings), expected, atol=1e-9)
        assert len(tuning.kept()) == can_compile()  # without, im2col is alone


@pytest.mark.skipif(not can_compile(), reason="Numba is not installed")
def test_the_file_lies_with_compiled_code_and_belongs_to_the_processor(monkeypatch):
    monkeypatch.undo()
    from minicnn_kernels.cpu import jit

    tuning.file.cache_clear()
    folder = jit.cache_folder()
    assert tuning.file() is None if folder is None else tuning.file().parent == folder
    tuning.file.cache_clear()
    monkeypatch.setenv("MINICNN_KERNELS", "numpy")
    assert tuning.file() is None
    tuning.file.cache_clear()
