from __future__ import annotations

import json
import subprocess
import sys
import zlib

import pytest

GOOD = """
    import numpy as np
    X = np.array([0.5, -1.0, 2.0])

    def square(x):
        return x * x

    def right(dy, x):
        return 2 * dy * x

    def wrong(dy, x):
        return dy * x
"""


@pytest.fixture
def run(pytester):
    """Run a test file in this process; the first argument is its text."""

    def run(text, *options):
        pytester.makepyfile(test_it=GOOD + text)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)

    return run


def test_the_fixture_checks_and_the_summary_tells(run):
    result = run("""
    import minicnn

    def test_function(gradcheck):
        assert gradcheck(minicnn.tanh, X).verdict == "pass"

    def test_second_and_pair(gradcheck):
        gradcheck.second(minicnn.tanh, X)
        gradcheck.pair(square, right, [X])

    def test_kink(gradcheck):
        gradcheck(minicnn.relu, np.zeros(2))
    """)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "*= gradient checks =*",
            "4 checks: 4 pass; * comparisons in * s",
            "slow: * s  test_it.py::test_*",
            "kinks: 2 comparisons at a kink in 1 check, first test_it.py::test_kink",
        ]
    )
    assert result.stdout.str().count("slow:") == 3


def test_without_the_fixture_there_is_no_summary(run):
    result = run("""
    def test_nothing():
        pass
    """)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*gradient checks*")


def test_a_failure_shows_the_report_and_no_frame_of_the_checker(run):
    result = run("""
    def test_wrong(gradcheck):
        gradcheck.pair(square, wrong, [X])
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*gradcheck.pair(square, wrong, ?X?)",
            "E*gradcheck FAIL  square(x ?3?)",
            "E*repeat: pytest test_it.py::test_wrong",
            "test_it.py:*: GradcheckError",
        ]
    )
    text = result.stdout.str()
    assert "fixture.py" not in text
    assert "operations.py" not in text
    assert "check.py" not in text


def test_an_error_of_the_function_shows_where_it_happens(run):
    result = run("""
    def broken(x):
        raise RuntimeError("broken here")

    def test_broken(gradcheck):
        gradcheck.pair(broken, wrong, [X])
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['>*raise RuntimeError("broken here")'])


def test_the_seed_comes_from_the_id_of_the_test(run):
    result = run("""
    import pytest

    @pytest.mark.parametrize("n", [1, 2])
    def test_seed(gradcheck, n):
        print("seed", n, gradcheck.pair(square, right, [X]).seed)
    """, "-s")  # fmt: skip
    seeds = [zlib.crc32(f"test_it.py::test_seed[{n}]".encode()) for n in (1, 2)]
    result.stdout.fnmatch_lines([f"*seed 1 {seeds[0]}", f"*seed 2 {seeds[1]}"])


def test_options_hold_for_every_check_and_are_repeated(run):
    options = ["--gradcheck-mode=fast", "--gradcheck-seed=11", "--gradcheck-budget=0.5"]
    result = run("""
    def test_options(gradcheck):
        report = gradcheck.pair(square, right, [X])
        assert (report.mode, report.seed) == ("fast", 11)
        assert gradcheck.settings["budget"] == 0.5
        print(report.repeat)
    """, "-s", *options)  # fmt: skip
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*pytest test_it.py::test_options {' '.join(options)}"])


def test_the_nearest_marker_counts_more_and_the_call_most(run):
    result = run("""
    import pytest

    pytestmark = pytest.mark.gradcheck(mode="fast", rtol=0.5)

    def test_module(gradcheck):
        assert gradcheck.pair(square, right, [X]).mode == "fast"
        assert gradcheck.settings["rtol"] == 0.5

    @pytest.mark.gradcheck(mode="full")
    class TestClass:
        def test_class(self, gradcheck):
            assert gradcheck.pair(square, right, [X]).mode == "full"
            assert gradcheck.settings["rtol"] == 0.5

        @pytest.mark.gradcheck(mode="fast")
        def test_function(self, gradcheck):
            assert gradcheck.pair(square, right, [X]).mode == "fast"
            assert gradcheck.pair(square, right, [X], mode="full").mode == "full"
    """, "--strict-markers", "--gradcheck-mode=full")  # fmt: skip
    result.assert_outcomes(passed=3)


def test_a_marker_without_names_is_refused(run):
    result = run("""
    import pytest

    @pytest.mark.gradcheck(1e-6)
    def test_it(gradcheck):
        pass
    """)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_it.py::test_it: the marker gradcheck takes settings by*"])


def test_marker_and_options_are_documented(pytester):
    result = pytester.runpytest_inprocess("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.gradcheck(??settings): settings for the gradient *"])
    result = pytester.runpytest_inprocess("--help")
    for option in ("mode", "seed", "budget", "report"):
        result.stdout.fnmatch_lines([f"*--gradcheck-{option}*"])
    assert pytester.runpytest_inprocess("--gradcheck-mode=slow").ret == pytest.ExitCode.USAGE_ERROR


def test_reports_of_failed_checks_are_written(run, pytester):
    result = run("""
    def test_right(gradcheck):
        gradcheck.pair(square, right, [X])

    def test_wrong(gradcheck):
        gradcheck.pair(square, wrong, [X])
    """, "--gradcheck-report=out/reports")  # fmt: skip
    result.assert_outcomes(passed=1, failed=1)
    page, data = sorted((pytester.path / "out" / "reports").iterdir())
    assert page.suffix == ".html"
    assert json.loads(data.read_text())["verdict"] == "fail"
    result.stdout.fnmatch_lines(["E*note: the whole report: *", "reports: 2 files in *out*reports"])


def test_checks_of_fixtures_are_counted_too(run):
    result = run("""
    import pytest

    @pytest.fixture
    def checked(gradcheck):
        gradcheck.pair(square, right, [X])
        yield
        gradcheck.pair(square, right, [X])

    def test_nothing(checked):
        pass
    """)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["2 checks: 2 pass; *"])


def test_a_second_process_reports_to_the_first(run):
    pytest.importorskip("xdist")
    result = run("""
    import pytest

    @pytest.fixture
    def checked_afterwards(gradcheck):
        yield
        gradcheck.pair(square, right, [X])

    def test_right(checked_afterwards):
        pass

    def test_wrong(gradcheck):
        gradcheck.pair(square, wrong, [X])
    """, "-n1", "--gradcheck-report=reports")  # fmt: skip
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["2 checks: 1 pass, 1 fail; *", "reports: 2 files in *reports"])


def test_ops_parametrises(run):
    result = run("""
    from minicnn.testing import ops

    @ops("cosh", "sinh")
    def test_on_rows(case, gradcheck):
        gradcheck(case.function, case.arrays())
    """, "-v")  # fmt: skip
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*test_on_rows[[]cosh: signed[]] PASSED*", "*test_on_rows[[]sinh: signed[]] PASSED*"]
    )


def test_nothing_is_imported_before_a_test_asks(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("""
    import sys

    def loaded():
        return {"minicnn", "numpy"} & set(sys.modules)

    def test_before():
        assert "minicnn_pytest.plugin" in sys.modules
        assert not loaded()

    def test_during(gradcheck):
        assert loaded() == {"minicnn", "numpy"}
    """)
    result = pytester.runpytest_subprocess("-p", "minicnn", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)


def test_the_plugin_is_found_without_a_word():
    code = (
        "from importlib.metadata import entry_points\n"
        "print(*{e.value for e in entry_points(group='pytest11', name='minicnn')})"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "minicnn_pytest.plugin"
