"""The bar stays away from pipes and from short waits."""

from __future__ import annotations

import sys

from minicnn.cli import progress as module
from minicnn.cli.progress import progress


def run(total, texts=("one", "two")):
    with progress(total, "check") as (write, tick):
        for text in texts:
            write(text)
            tick()


def on_a_terminal(monkeypatch, delay):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(module, "DELAY", delay)


def test_a_pipe_gets_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(module, "DELAY", 0.0)
    run(2)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("one\ntwo\n", "")


def test_no_bar_for_a_short_wait(capsys, monkeypatch):
    on_a_terminal(monkeypatch, delay=60.0)
    run(2)
    captured = capsys.readouterr()
    assert captured.out == "one\ntwo\n"
    assert "check" not in captured.err


def test_a_bar_for_a_long_wait(capsys, monkeypatch):
    on_a_terminal(monkeypatch, delay=0.0)
    run(2)
    captured = capsys.readouterr()
    assert captured.out == "one\ntwo\n"
    assert "checks/s" in captured.err


def test_no_bar_for_a_single_step(capsys, monkeypatch):
    on_a_terminal(monkeypatch, delay=0.0)
    run(1, ["alone"])
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("alone\n", "")
