"""Figures of a result, and their way through JSON and CSV."""

from __future__ import annotations

import csv
import io
import json

import pytest
from bench_results import result

from minicnn.bench.peak import Roof
from minicnn.bench.results import Report, Result, rate, to_csv


def test_figures_follow_from_the_runs():
    found = result(times=[0.001 * n for n in (3, 1, 2, 5, 4, 6, 7, 8, 9, 10)])
    assert found.least == 0.001
    assert found.median == pytest.approx(0.0055)
    assert found.p90 == pytest.approx(0.009)
    assert found.rate == pytest.approx(2e12)
    assert found.executed_rate == pytest.approx(1e12)
    assert found.bandwidth == pytest.approx(2e11)
    assert found.intensity == 10
    found.under(Roof(flops=4e12, bandwidth=1e11))
    assert found.of_peak() == pytest.approx(0.5)
    assert found.of_limit() == pytest.approx(2.0)  # the caches are faster than memory


def test_without_runs_there_are_no_figures():
    found = result(times=[])
    assert {found.least, found.median, found.p90, found.rate, found.of_peak()} == {None}


def test_p90_of_few_runs_is_one_of_them():
    assert result(times=[0.5]).p90 == 0.5
    assert result(times=[0.5, 1.0]).p90 == 1.0


def test_the_baseline_is_the_fastest_of_those_named():
    results = [
        result("auto", [0.5]),
        result("torch", [1.0]),
        result("torch-cl", [0.75]),
        result("bad", [], status="FAIL"),
    ]
    rate(results, ["torch", "torch-cl", "bad"])
    assert [r.speedup for r in results] == [1.5, 0.75, 1.0, None]
    assert results[0].baseline == "torch-cl"
    rate(results[3:], ["nobody"])


def test_a_report_survives_json():
    results = [result(error=1e-7, speedup=2.0), result("bad", [], status="FAIL", note="why")]
    report = Report(
        "conv", {"processor": "a"}, {"2": Roof(1.0, 2.0), "cuda": Roof(3.0, 4.0)}, results
    )
    again = Report.from_dict(json.loads(json.dumps(report.to_dict())))
    assert again == report
    assert report.to_dict()["results"][0]["min_seconds"] == 0.001


def test_csv_has_one_line_each():
    text = to_csv([result(), result("auto", [], algorithms=["im2col", "depthwise"])])
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["contestant"], first["min_seconds"], first["runs"]) == ("im2col", "0.001", "3")
    assert (second["algorithms"], second["min_seconds"]) == ("im2col+depthwise", "")
    assert to_csv([]) == "\n"


def test_keys_tell_measurements_apart():
    changes = [{}, {"direction": "bwd_w"}, {"threads": 1}, {"layout": "nchw"}, {"device": "cuda"}]
    assert len({Result.key.fget(result(**change)) for change in changes}) == len(changes)
