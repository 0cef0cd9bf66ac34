from __future__ import annotations

import json

import numpy as np
import pytest

import minicnn
from minicnn.gradcheck import GradcheckError
from minicnn.testing.fixture import GradcheckFixture, summary

X = np.array([0.5, -1.0, 2.0])


def square(x):
    return x * x


def square_backward(dy, x):
    return 2 * dy * x


def wrong_backward(dy, x):
    return dy * x


def make(folder=None, **settings):
    return GradcheckFixture("tests/test_a.py::test_b[x/y: 1]", settings, folder)


def test_a_check_that_passes_is_recorded():
    check = make()
    report = check(minicnn.tanh, X)
    assert report.verdict == "pass"
    (record,) = check.records
    assert record == {
        "test": "tests/test_a.py::test_b[x/y: 1]",
        "function": "tanh(x [3])",
        "verdict": "pass",
        "seconds": report.seconds,
        "comparisons": 3,
        "kinks": 0,
        "files": [],
    }
    assert json.loads(json.dumps(check.records)) == check.records


def test_records_of_all_forms_accumulate():
    check = make()
    check.pair(square, square_backward, [X])
    check.second(minicnn.tanh, X)
    check(minicnn.relu, np.array([0.0, 1.0]))
    assert [record["function"] for record in check.records] == [
        "square(x [3])", "the gradient of tanh(x [3], dy [3])", "relu(x [2])",
    ]  # fmt: skip
    assert [record["kinks"] for record in check.records] == [0, 0, 1]


def test_a_failure_is_raised_and_recorded():
    check = make()
    with pytest.raises(GradcheckError) as error:
        check.pair(square, wrong_backward, [X])
    assert error.value.report.verdict == "fail"
    assert [record["verdict"] for record in check.records] == ["fail"]


def test_a_failure_is_returned_where_nothing_shall_be_raised():
    check = make()
    report = check.pair(square, wrong_backward, [X], raise_exception=False)
    assert report.verdict == "fail"
    assert [record["verdict"] for record in check.records] == ["fail"]


def test_inconclusive_checks_are_raised_unless_allowed():
    check = make(atol=1e9)
    with pytest.raises(GradcheckError, match="INCONCLUSIVE"):
        check.pair(square, wrong_backward, [X])
    report = check.pair(square, wrong_backward, [X], allow_inconclusive=True)
    assert report.verdict == "inconclusive"


def test_a_call_overrides_the_settings_of_the_fixture():
    check = make(seed=5, mode="fast", repeat="again")
    report = check(minicnn.tanh, X)
    assert (report.seed, report.mode, report.repeat) == (5, "fast", "again")
    assert check(minicnn.tanh, X, mode="full").mode == "full"


def test_an_error_of_the_function_is_not_recorded():
    check = make()
    with pytest.raises(ZeroDivisionError):
        check(lambda x: 1 / 0, X)
    assert check.records == []


# --- files ----------------------------------------------------------------------------------------


def test_reports_of_checks_that_did_not_pass_are_written(tmp_path):
    check = make(tmp_path / "reports")
    check.pair(square, square_backward, [X])
    assert not (tmp_path / "reports").exists()
    for _ in range(2):
        with pytest.raises(GradcheckError) as error:
            check.pair(square, wrong_backward, [X])
    names = sorted(file.name for file in (tmp_path / "reports").iterdir())
    assert len(names) == 4
    assert {name.rpartition(".")[2] for name in names} == {"json", "html"}
    assert all(name.startswith("tests-test_a.py-test_b-x-y-1-") for name in names)
    data = json.loads((tmp_path / "reports" / names[1]).read_text())
    assert data["verdict"] == "fail"
    written = [file for record in check.records for file in record["files"]]
    assert sorted(written) == [str(tmp_path / "reports" / name) for name in names]
    assert f"note: the whole report: {written[3]}" in str(error.value)


def test_tests_whose_names_look_alike_have_files_of_their_own(tmp_path):
    for test in ("a::b", "a:b"):
        check = GradcheckFixture(test, {"raise_exception": False}, tmp_path)
        check.pair(square, wrong_backward, [X])
    assert len(list(tmp_path.iterdir())) == 4


def test_a_report_that_cannot_be_written_is_still_shown(tmp_path):
    (tmp_path / "file").touch()
    check = make(tmp_path / "file" / "reports")
    with pytest.raises(GradcheckError, match=r"note: the report could not be written: .*file"):
        check.pair(square, wrong_backward, [X])
    assert check.records[0]["files"] == []


# --- summary --------------------------------------------------------------------------------------


def record(test, seconds=1.0, **given):
    usual = {"function": f"{test}(x)", "verdict": "pass", "comparisons": 10, "kinks": 0}
    return {"test": test, "seconds": seconds, "files": [], **usual, **given}


def test_summary_of_one_check():
    assert summary([record("t", comparisons=1)]) == [
        "1 check: 1 pass; 1 comparison in 1.00 s",
        "slow: 1.00 s  t",
    ]


def test_summary_names_the_slowest_the_inconclusive_and_kinks():
    records = [
        record("a", 0.25),
        record("b", 4.0, verdict="fail", files=["reports/b.json", "reports/b.html"]),
        record("c", 0.5, verdict="inconclusive", kinks=2),
        record("d", 3.0, kinks=1500),
        record("e", 2.0, comparisons=2000),
    ]
    assert summary(records) == [
        "5 checks: 3 pass, 1 fail, 1 inconclusive; 2,040 comparisons in 9.75 s",
        "slow: 4.00 s  b",
        "slow: 3.00 s  d",
        "slow: 2.00 s  e",
        "inconclusive: c  c(x)",
        "kinks: 1,502 comparisons at a kink in 2 checks, first c",
        "reports: 2 files in reports",
    ]
