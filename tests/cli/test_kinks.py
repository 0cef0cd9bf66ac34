"""`minicnn gradcheck --kinks`."""

from __future__ import annotations

import pytest

from minicnn.cli import main
from minicnn.testing import kinks


def test_a_few_networks_pass(capsys):
    assert main(["gradcheck", "--kinks", "3", "--seed", "5"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("3 networks")
    assert "0 false alarms" in first
    assert "directions undecided" in second


def test_a_false_alarm_is_told_and_fails(capsys, monkeypatch):
    monkeypatch.setattr(kinks, "check_networks", lambda *_: kinks.Tally(1, [6], [], 9, 0))
    assert main(["gradcheck", "--kinks", "2"]) == 1
    assert "--kinks 1 --seed 6" in capsys.readouterr().out


def test_many_undecided_directions_fail(monkeypatch):
    monkeypatch.setattr(kinks, "check_networks", lambda *_: kinks.Tally(2, [], [], 100, 6))
    assert main(["gradcheck", "--kinks", "2"]) == 1


@pytest.mark.parametrize("count", ["0", "-3"])
def test_no_networks_is_a_mistake(count, capsys):
    assert main(["gradcheck", "--kinks", count]) == 2
    assert "at least 1" in capsys.readouterr().err
