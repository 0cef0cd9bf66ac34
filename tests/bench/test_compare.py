"""Two measurements side by side: what became slower, and what broke."""

from __future__ import annotations

import json

import pytest
from bench_results import result

from minicnn.bench import compare
from minicnn.bench.results import Report
from minicnn.errors import FileFormatError


def report(*results, machine="a"):
    return Report("conv", {"processor": machine}, {}, list(results))


def test_slower_by_more_than_the_limit_is_a_regression():
    old = report(result("a", [1.0]), result("b", [1.0]), result("c", [1.0]), result("d", [1.0]))
    new = report(result("a", [1.04]), result("b", [1.2]), result("c", [0.5]), result("e", [1.0]))
    text, worse = compare.table(new, old, 0.05)
    assert worse
    assert "+20.0%  conv1 fwd b" in text
    assert "-50.0%  conv1 fwd c" in text
    assert "conv1 fwd a" not in text
    assert "3 of 4 measured before as well: 1 slower and 1 faster by more than 5%" in text
    assert not compare.table(new, old, 0.25)[1]


def test_a_result_that_broke_is_one_too():
    old = report(result("a", [1.0]))
    text, worse = compare.table(report(result("a", [], status="FAIL")), old, 0.05)
    assert worse
    assert "FAIL, was right before: conv1 fwd a" in text


def test_another_machine_is_said():
    old, new = report(result("a", [1.0])), report(result("a", [1.0]), machine="b")
    text, worse = compare.table(new, old, 0.05)
    assert not worse
    assert "another machine" in text
    assert "another machine" not in compare.table(old, old, 0.05)[0]


def test_a_file_is_read_back(tmp_path):
    file = tmp_path / "old.json"
    written = report(result())
    file.write_text(json.dumps(written.to_dict()))
    assert compare.load(file) == written


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": 3}', '{"results": [{}]}'])
def test_another_file_is_refused(tmp_path, text):
    file = tmp_path / "old.json"
    file.write_text(text)
    with pytest.raises(FileFormatError, match="was not written by minicnn bench"):
        compare.load(file)
