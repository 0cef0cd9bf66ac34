"""The text of a measurement: what fits 100 columns, and the totals of a network."""

from __future__ import annotations

import pytest
from bench_results import result

from minicnn.bench import table
from minicnn.bench.peak import Roof
from minicnn.bench.results import rate

ROOF = Roof(flops=4e12, bandwidth=1e11)


def measured(contestant="im2col", *times, **changes):
    found = result(contestant, times or (0.001,), error=1e-7, scratch_bytes=2_500_000, **changes)
    found.under(ROOF)
    return found


def test_a_line_has_the_figures_and_fits():
    found = measured("auto", 0.002, 0.003, 0.001, algorithms=["winograd4"])
    rate([found, measured("torch", 0.0015)], ["torch"])
    line = table.line(found)
    figures = ["1.000", "2.000", "2000.0", "50", "200", "2.5", "1e-07", "1.50x"]
    assert line.split() == ["fwd", "auto:", "winograd4", *figures]
    assert len(line) <= 100
    assert len(table.heading({"processor": "some"}, 2, {"cpu": ROOF}).splitlines()[-1]) == len(line)


def test_wide_lines_have_more_and_stay_aligned():
    line = table.line(measured(), wide=True)
    heading = table.heading({}, 2, {}, wide=True).splitlines()[-1]
    assert len(line) == len(heading) > 100
    assert line.split()[-3:] == ["nhwc", "cpu", "2"]


def test_what_was_not_measured_is_a_dash_or_a_reason():
    assert table.line(result(times=[])).split()[2:] == ["-"] * 8
    wrong = table.line(result("bad", [], status="FAIL", note="relative error 1"))
    assert wrong.split() == ["fwd", "bad", "FAIL:", "relative", "error", "1"]


def test_long_names_are_cut():
    assert table.shortened("x" * 40) == "x" * 24 + "…"
    chosen = table.label(result("auto", algorithms=["im2col", "im2col", "depthwise"]))
    assert chosen == "auto: im2col+depthwise"


def test_a_title_stands_above_what_it_is_the_title_of():
    first, second = measured(), measured(direction="bwd_d")
    assert table.group([first], []).splitlines()[0] == (
        "conv1  mb1ic3ih5oc4kh3: 2 GFLOP, 10 FLOP/byte, at most 1000 GFLOP/s"
    )
    assert len(table.group([second], [first]).splitlines()) == 1
    training = measured(direction="train", flops=6 * 10**9, bytes=6 * 10**8)
    assert "6 GFLOP" in table.group([training], [first, second])
    repeated = measured(layer="mb1ic3ih5oc4kh3", count=3)
    assert table.title(repeated).startswith("mb1ic3ih5oc4kh3 (x3): ")


def test_totals_weigh_by_count_and_rate_by_layer():
    results = []
    for layer, count, own, other in (("a", 1, 0.001, 0.004), ("b", 3, 0.002, 0.001)):
        pair = [measured("auto", own, layer=layer, count=count)]
        pair += [measured("torch", other, layer=layer, count=count)]
        rate(pair, ["torch"])
        results += pair
    results.append(result("auto", [], layer="c", status="FAIL"))
    ours, theirs = table.totals(results)
    assert ours.seconds == pytest.approx(0.001 + 3 * 0.002)
    assert ours.mean == pytest.approx((4 * 0.5) ** 0.5)
    assert (ours.layers, ours.wins, ours.losses, ours.worst.layer) == (2, 1, 1, "b")
    assert (theirs.mean, theirs.wins, theirs.losses) == (1.0, 0, 0)
    text = table.footing(results)
    assert "0.50x b" in text
    assert "speed-ups over torch" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_busy_machine_is_said():
    calm, disturbed = measured("a", 1.0, 1.0, 1.2), measured("b", 1.0, 1.4, 1.5)
    assert table.warning([calm, calm, calm, disturbed]) == ""
    assert table.warning([calm, disturbed]).startswith("1 of 2 medians lie 30% or more above")
    assert table.warning([result(times=[])]) == ""


def test_who_was_never_right_has_no_total():
    text = table.footing([result("bad", [], status="FAIL")])
    assert text.splitlines()[1].split() == ["fwd", "bad", "-", "0"]


def test_totals_without_a_baseline_and_with_several_numbers_of_threads():
    text = table.footing([measured(threads=1), measured(threads=2)])
    assert "im2col @1" in text
    assert "im2col @2" in text
    assert "speed-ups" not in text
