"""The page is well-formed, loads nothing, and draws what was measured to scale."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from bench_results import result

from minicnn.bench import page
from minicnn.bench.peak import Roof
from minicnn.bench.results import Report

ROOF = Roof(flops=4e12, bandwidth=1e11)
COLOURS = {"a": "red", "b": "blue"}


def shapes(svg, kind):
    return ElementTree.fromstring(svg).findall(kind)


def report(*results, threads=(2,)):
    for found in results:
        found.under(ROOF)
    return Report(
        "conv", {"processor": "<some>"}, dict.fromkeys(map(str, threads), ROOF), list(results)
    )


def test_the_page_is_well_formed_and_loads_nothing():
    some = [result("a & b", layer="<1>"), result("bad", [], status="FAIL", note="error < 1")]
    text = page.page(report(*some, result("a & b", direction="bwd_w")))
    body = text.partition("<body>")[2].partition("</body>")[0]
    ElementTree.fromstring(f"<body>{body}</body>")
    for word in ("http", "src=", "url(", "<script", "@import"):
        assert word not in text
    for word in ("Forward, threads: 2", "Gradient by the weights", "&lt;some&gt;", "a &amp; b"):
        assert word in text
    assert "FAIL: error &lt; 1" in text
    assert "prefers-color-scheme: dark" in text


def test_a_page_without_results():
    assert "Totals" in page.page(report())


def test_bars_are_as_long_as_the_rates():
    svg = page.bars([result("a", [0.001]), result("b", [0.004])], ROOF, COLOURS)
    first, second = shapes(svg, "rect")
    assert float(first.get("width")) == pytest.approx(4 * float(second.get("width")), abs=0.3)
    assert first.get("fill") == "red"
    assert first.find("title").text == "conv1 fwd a: 1.000 ms, 2000.0 GFLOP/s"
    peak = float(re.search(r"M([\d.]+)", shapes(svg, "path")[0].get("d"))[1])
    assert peak - page.LEFT == pytest.approx(2 * float(first.get("width")), abs=0.3)
    assert page.WIDTH / 2 < peak <= page.WIDTH - page.RIGHT


def test_what_has_no_time_has_a_word_instead_of_a_bar():
    svg = page.bars([result("a", [], status="FAIL")], ROOF, COLOURS)
    assert shapes(svg, "rect") == []
    assert "a: FAIL" in [text.text for text in shapes(svg, "text")]


def test_points_at_the_limit_lie_on_the_roof():
    at_limit = result("a", [0.001], bytes=10**8)  # 20 FLOP/byte at 1e11 bytes a second
    beyond = result("b", [0.0005], bytes=2 * 10**7)  # 100 FLOP/byte, at the peak
    svg = page.roofline([at_limit, beyond], ROOF, COLOURS)
    slope, flat = shapes(svg, "circle")
    points = re.findall(r"([\d.]+) ([\d.]+)", shapes(svg, "path")[0].get("d"))
    (x1, y1), (x2, y2) = (map(float, point) for point in points)
    assert float(flat.get("cy")) == pytest.approx(y2, abs=0.2)
    x, y = float(slope.get("cx")), float(slope.get("cy"))
    assert (y - y1) / (x - x1) == pytest.approx((y2 - y1) / (x2 - x1), rel=0.01)


@pytest.mark.parametrize("top", [0.3, 1, 7, 445, 12345])
def test_ticks_are_few_and_round(top):
    found = page.ticks(top)
    assert found[0] == 0
    assert 4 <= len(found) <= 9
    assert found[-1] - 1e-9 <= top < found[-1] + found[1]
    assert f"{found[1]:e}"[0] in "125"
