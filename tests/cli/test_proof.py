"""`minicnn gradcheck --planted`: the figures, the names of the misses, the exit code."""

from __future__ import annotations

import json

from minicnn import cli
from minicnn.cli.proof import table
from minicnn.gradcheck.planted import all_planted, all_tricky
from minicnn.gradcheck.proof import Outcome, Proof


def run(capsys, *arguments):
    code = cli.main(("gradcheck", "--planted", *arguments))
    captured = capsys.readouterr()
    assert captured.err == ""
    return code, captured.out, captured.err


def test_named_mistakes_show_their_reports(capsys, tmp_path):
    path = tmp_path / "proof.json"
    names = "square_without_two", "relu_flat_at_zero"
    code, out, _ = run(capsys, *names, "--json", str(path))
    assert code == 0
    assert "square_without_two: " in out
    assert "(planted: " in out
    assert "(nothing is wrong with it)" in out
    assert "likely cause: " in out
    assert "good: 100% caught, 100% with the right cause" in out
    found = json.loads(path.read_text())
    assert (found["planted"], found["caught"], found["tricky"]) == (1, 1, 1)


def test_a_family_can_be_named(capsys, monkeypatch):
    monkeypatch.setattr(
        "minicnn.gradcheck.planted.all_planted",
        lambda: tuple(c for c in all_planted() if c.name.startswith("tanh")),
    )
    code, out, _ = run(capsys, "elementwise")
    assert code == 0
    assert "tanh_derivative_at_input" in out


def outcome(case, verdict, cause="", said=""):
    return Outcome(case, verdict, cause, said, 0.0)


def test_the_table_lists_every_miss_by_name():
    wrong, tricky = all_planted(), all_tricky()
    result = Proof(
        [
            outcome(wrong[0], "pass"),
            outcome(wrong[1], "fail", "zero", "the gradient is zero"),
            outcome(wrong[2], "fail", wrong[2].causes[0]),
        ],
        [
            outcome(tricky[0], "fail"),
            outcome(tricky[1], "inconclusive"),
            outcome(tricky[2], "pass"),
        ],
        1.0,
    )
    text = "\n".join(table(result))
    assert "elementwise             3        2            1" in text
    assert "right pairs that look wrong: 3, false alarms 1, inconclusive 1" in text
    assert f"not caught   elementwise/{wrong[0].name}" in text
    assert f"other cause  elementwise/{wrong[1].name}" in text
    assert "said fail, zero: the gradient is zero" in text
    assert f"false alarm  tricky/{tricky[0].name}" in text
    assert f"inconclusive tricky/{tricky[1].name}" in text
    assert wrong[2].name not in text
    assert "NOT GOOD ENOUGH: 67% caught, 33% with the right cause" in text


def test_a_bad_proof_exits_with_1(capsys, monkeypatch):
    missed = Proof([outcome(all_planted()[0], "pass")], [], 0.1)
    monkeypatch.setattr("minicnn.gradcheck.proof.prove", lambda *cases, **settings: missed)
    code, out, _ = run(capsys, "square_without_two")
    assert code == 1
    assert "NOT GOOD ENOUGH" in out
