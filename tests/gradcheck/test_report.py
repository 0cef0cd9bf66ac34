from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn.gradcheck import GradcheckError, gradcheck_pair
from minicnn.gradcheck.causes import Hint
from minicnn.gradcheck.compare import (
    AT_KINK,
    EXCUSED,
    INCONCLUSIVE,
    RIGHT,
    STATES,
    UNMEASURED,
    VANISHING,
    WRONG,
    Place,
)
from minicnn.gradcheck.promises import Finding
from minicnn.gradcheck.report import LINES, Report, row_verdict, state_map
from minicnn.gradcheck.search import Row, Tie

X = np.random.default_rng(0).normal(size=(3, 4))


def made(*shapes, state=WRONG, seed=0, **fields):
    """Return a Report with one row for each shape, in one state or in random ones."""
    rng = np.random.default_rng(seed)
    rows, start = [], 0
    for position, shape in enumerate(shapes):
        size = int(np.prod(shape))
        states = np.full(size, state) if isinstance(state, int) else rng.choice(state, size)
        rows.append(
            Row(Place(position, start, shape, 1.0), rng.normal(size=size), states,
                rng.normal(size=size), np.full(size, 1e-9))
        )  # fmt: skip
        start += size
    inputs = [np.zeros(shape) for shape in shapes]
    names = [f"x{i}" for i in range(len(shapes))]
    return Report("f", inputs, names, {}, 0, rows=rows, **fields)


def failing(**settings):
    settings = {"raise_exception": False, **settings}
    return gradcheck_pair(np.sin, lambda dy, x: 2 * dy * np.cos(x), [X], **settings)


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([RIGHT] * 100, "pass"),
        ([RIGHT] * 99 + [WRONG], "fail"),
        ([RIGHT] * 95 + [INCONCLUSIVE] * 5, "pass"),
        ([RIGHT] * 94 + [INCONCLUSIVE] * 6, "inconclusive"),
        ([RIGHT] + [EXCUSED] * 99, "pass"),
        ([EXCUSED] * 100, "inconclusive"),
        ([INCONCLUSIVE], "inconclusive"),
        ([EXCUSED, INCONCLUSIVE], "inconclusive"),
        ([AT_KINK], "pass"),
        ([VANISHING], "pass"),
        ([INCONCLUSIVE] * 5 + [WRONG], "fail"),
        ([UNMEASURED] * 5 + [RIGHT], "pass"),
        ([UNMEASURED] * 5, "pass"),
        ([], "pass"),
    ],
)
def test_the_verdict_of_a_row(states, expected):
    report = made((len(states),))
    report.rows[0].state[:] = states
    assert row_verdict(report.rows[0]) == expected
    assert report.verdict == expected
    assert bool(report) == (expected == "pass")


def test_the_worst_row_decides_and_a_broken_promise_fails():
    report = made((2,), (2,), state=RIGHT)
    assert report.verdict == "pass"
    report.rows[1].state[:] = INCONCLUSIVE
    assert report.verdict == "inconclusive"
    report.rows[0].state[0] = WRONG
    assert report.verdict == "fail"
    assert made((2,), state=RIGHT, findings=[Finding("dtype", "dx")]).verdict == "fail"


def test_compared_counts_elements_and_directions():
    report = made((2,), (3,), state=RIGHT)
    report.rows[0].directions += [RIGHT, WRONG]
    report.rows[1].state[0] = UNMEASURED
    assert report.compared == 2 + 2 + 2


# --- text -----------------------------------------------------------------------------------------


@given(
    shapes=st.lists(
        st.lists(st.integers(0, 9), max_size=4).map(tuple).filter(lambda s: np.prod(s) < 3000),
        max_size=14,
    ),
    states=st.lists(st.sampled_from(STATES), min_size=1),
    extras=st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 5), st.booleans()),
    seed=st.integers(0, 99),
)
def test_a_report_has_at_most_25_lines_and_its_last_ones_are_kept(shapes, states, extras, seed):
    findings, hints, notes, repeat = extras
    report = made(*shapes, state=states, seed=seed)
    report.findings = [Finding("dtype", "dx is float32")] * findings
    report.hints = [Hint("sign", "dx: it is minus the right one", 0.0)] * hints
    report.notes = ["a note"] * notes
    report.repeat = "python check.py" if repeat else ""
    lines = str(report).splitlines()
    assert len(lines) <= LINES
    assert lines[0].startswith(f"gradcheck {report.verdict.upper()}  f(")
    assert "comparisons" in lines[-1]
    assert ("  repeat: python check.py" in lines) == repeat
    json.loads(report.to_json(), parse_constant=pytest.fail)


def test_a_text_of_several_lines_within_keeps_the_report_short():
    report = made((3, 4))
    report.findings = [Finding("raises", "ValueError: first\n" + "more\n" * 40)]
    report.notes = ["several\nlines"] * 3
    report.repeat = "two\nlines"
    report.settings = {"weights": np.zeros((9, 9))}
    assert str(report).splitlines()[-2] == "  repeat: two lines"
    assert len(str(report).splitlines()) <= LINES


def test_the_longest_report_has_25_lines_and_keeps_its_cause():
    report = made(
        *[(3, 4)] * 14, findings=[Finding("dtype", f"d{i}") for i in range(9)], notes=["a note"] * 9
    )
    report.hints = [Hint("sign", "dx: minus", 0.0)] * 3
    report.repeat = "python check.py"
    lines = str(report).splitlines()
    assert len(lines) in (LINES - 1, LINES)
    assert sum("likely cause: " in line for line in lines) == 1
    assert "  repeat: python check.py" in lines


def test_a_failing_report_shows_the_worst_element_the_cause_and_a_map():
    text = str(failing(repeat="python check.py"))
    assert text.startswith("gradcheck FAIL  sin(x [3, 4])")
    assert "12 wrong of 12" in text
    assert "  likely cause: " in text
    assert "dx: it is 2 times" in text
    assert "      ####\n      ####\n      ####" in text
    assert "  repeat: python check.py" in text
    index = tuple(int(i) for i in text.partition("worst x[")[2].partition("]")[0].split(", "))
    assert index == np.unravel_index(np.abs(failing().rows[0].claimed).argmax(), X.shape)


def test_without_a_cause_there_is_no_line_for_it():
    report = made((2, 3))
    assert "likely cause" not in str(report)
    report.hints = [Hint("sign", "dx: minus", 0.0)]
    (line,) = [line for line in str(report).splitlines() if "likely cause: " in line]
    assert line.endswith("dx: minus")


def test_a_passing_report_names_no_cause_and_draws_no_map():
    report = gradcheck_pair(np.sin, lambda dy, x: dy * np.cos(x), [X])
    text = str(report)
    assert text.startswith("gradcheck PASS")
    assert "likely cause" not in text
    assert "map" not in text
    assert report.to_dict()["causes"] == []


def test_what_a_passing_report_could_blame_stays_unsaid():
    report = made((2,), state=RIGHT, hints=[Hint("sign", "dx: minus", 0.0)])
    assert "likely cause" not in str(report)


def test_many_inputs_are_counted():
    report = made(*[(2,)] * 12, state=RIGHT)
    report.rows[7].state[:] = WRONG
    lines = str(report).splitlines()
    assert lines[1].split()[:2] == ["x7", "fail"]
    assert "  ... and 4 more inputs: 4 pass" in lines


def test_a_large_map_is_cut_around_the_first_wrong_element():
    report = made((3, 100, 200), state=RIGHT)
    report.rows[0].state.reshape(3, 100, 200)[1, 70, 150] = WRONG
    text = str(report)
    assert "of 100 x 200" in text
    shown = [line.strip() for line in text.splitlines() if set(line.strip()) <= set(".#")]
    assert sum(line.count("#") for line in shown) == 1
    assert all(len(line) == 60 for line in shown if line)


def test_a_map_shows_the_worst_state_of_the_axes_laid_over_each_other():
    report = made((2, 2, 2), state=RIGHT)
    report.rows[0].state[[0, 5]] = [AT_KINK, WRONG]
    assert state_map(report.rows[0]).tolist() == [[AT_KINK, WRONG], [RIGHT, RIGHT]]
    assert state_map(made((3,)).rows[0]).shape == (1, 3)
    assert state_map(made(()).rows[0]).shape == (1, 1)


def test_the_signature_holds_shapes_and_settings_and_stays_short():
    report = made((2, 3), (4,))
    report.settings = {"stride": 2, "mode": "same"}
    assert report.signature() == "f(x0 [2, 3], x1 [4], stride=2, mode='same')"
    assert made(*[(1,)] * 6).signature() == "f(x0 [1], x1 [1], x2 [1], 3 more)"
    report.settings = {"weights": list(range(1000))}
    assert len(report.signature()) <= 150


# --- causes ---------------------------------------------------------------------------------------


def test_promises_that_explain_wrong_values_come_first_then_ties_hints_and_the_rest():
    report = made((2,))
    report.findings = [Finding("layout", "F"), Finding("input-modified", "x")]
    report.ties = [Tie(0, [0, 1], 2.0, 1.0), Tie(1, [0, 1], 2.0, 1.0)]
    report.hints = [Hint("sign", "dx", 0.0)]
    assert [hint.cause for hint in report.causes] == ["input-modified", "ties", "sign", "layout"]
    assert report.found("layout")
    assert not report.found("dtype")


@pytest.mark.parametrize(
    ("claimed", "words"), [(2.0, "each gets all of it"), (0.0, "too little of it arrives")]
)
def test_a_tie_says_what_was_shared_and_what_should_have_been(claimed, words):
    report = made((2,))
    report.ties = [Tie(3, [0, 1], claimed, 1.0)]
    text = report.causes[0].text
    assert "2 elements tie in output 3" in text
    assert text.endswith(words)


# --- other forms ----------------------------------------------------------------------------------


def test_json_holds_everything_and_no_nan():
    report = made((2, 2))
    report.rows[0].claimed[0], report.rows[0].measured[1:3] = np.inf, np.nan
    report.rows[0].bound[3] = np.inf
    report.hints = [Hint("sign", "dx", 1e-9)]
    report.findings = [Finding("dtype", "dx")]
    report.ties = [Tie(0, [0, 1], 2.0, 1.0)]
    data = json.loads(report.to_json(), parse_constant=pytest.fail)
    (row,) = data["inputs"]
    assert (data["verdict"], data["compared"], row["shape"]) == ("fail", 4, [2, 2])
    assert row["backward"][0][0] is None
    assert row["measured"][0][1] is None
    assert row["bound"][1] == [1e-9, None]
    assert row["counts"] == {"wrong": 4}
    assert row["worst"] == [0, 0]
    assert data["causes"][0]["cause"] == "ties"
    assert data["findings"][0] == {"cause": "dtype", "text": "dx"}
    assert data["ties"][0]["elements"] == [0, 1]


def test_json_of_a_tie_or_hint_that_is_no_number_is_valid_too():
    report = made((2,))
    report.ties = [Tie(0, [0, 1], float("nan"), 1.0)]
    report.hints = [Hint("sign", "dx", float("inf"))]
    json.loads(report.to_json(), parse_constant=pytest.fail)


class Checker(HTMLParser):
    """Fails on a tag that is closed in the wrong order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.squares, self.text = [], 0, ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.squares += tag == "i"
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 4), (0, 3), (2, 1, 2, 2)])
def test_html_is_well_formed_and_has_a_square_for_each_element(shape):
    report = made(shape, state=STATES)
    for text in (report.to_html(), report._repr_html_()):
        page = Checker(text)
        assert page.open == []
        assert page.squares == int(np.prod(shape))
    assert report.to_html().startswith("<!doctype html>")


def test_html_escapes_what_comes_from_the_user():
    report = made((2,))
    report.name, report.names = "<script>", ["a<b>&"]
    page = Checker(report.to_html())
    assert "script" not in page.open
    assert "<script>(a<b>& [2])" in page.text
    assert "<script>" not in report.to_html()


@pytest.mark.parametrize(
    ("name", "start"),
    [("r.json", "{"), ("r.html", "<!doctype"), ("r.htm", "<!doctype"), ("r.txt", "gradcheck FAIL"),
     ("report", "gradcheck FAIL")],
)  # fmt: skip
def test_save_writes_what_the_suffix_says(tmp_path, name, start):
    report = failing()
    report.save(tmp_path / name)
    text = (tmp_path / name).read_text()
    assert text.startswith(start)
    assert text.endswith("\n")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_report_that_cannot_be_made_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("old")
    monkeypatch.setattr(Report, "to_json", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing().save(path)
    assert path.read_text() == "old"


# --- the error ------------------------------------------------------------------------------------


def test_the_error_is_a_failed_assertion_and_holds_the_report():
    with pytest.raises(GradcheckError) as caught:
        failing(raise_exception=True)
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.report.verdict == "fail"
    assert str(caught.value) == str(caught.value.report)
