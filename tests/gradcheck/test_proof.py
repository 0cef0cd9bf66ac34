"""The proof counts rightly: what is caught, named, missed and a false alarm."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minicnn.gradcheck.planted import Pair, Planted, all_planted, all_tricky
from minicnn.gradcheck.proof import NAMED_SHARE, Proof, judge, prove


def case(name, causes, backward, forward=np.square):
    pair = Pair(forward, backward, (np.array([0.5, -1.5, 2.0]),))
    return Planted(name, "elementwise", name, causes, lambda: pair)


def doubled(dy, x):
    return (4 * dy * x,)


def right(dy, x):
    return (2 * dy * x,)


def gives_up():
    raise OSError("no pair today")


RIGHT = case("right", (), right)
DOUBLED = case("doubled", ("factor",), doubled)
MISNAMED = case("misnamed", ("sign",), doubled)
MISSED = case("missed", ("factor",), right)
UNCLEAR = case("unclear", (), lambda dy, x: (dy,), lambda x: np.round(x, 8))
BROKEN = Planted("broken", "elementwise", "broken", (), gives_up)


@pytest.mark.parametrize(
    ("given", "verdict", "caught", "named"),
    [
        (DOUBLED, "fail", True, True),
        (MISNAMED, "fail", True, False),
        (MISSED, "pass", False, False),
        (UNCLEAR, "inconclusive", False, False),
        (BROKEN, "error", False, False),
    ],
)
def test_an_outcome(given, verdict, caught, named):
    outcome = judge(given)
    assert (outcome.verdict, outcome.caught, outcome.named) == (verdict, caught, named)


def test_what_is_said_is_kept():
    outcome = judge(DOUBLED)
    assert outcome.cause == "factor"
    assert "2 times" in outcome.said
    assert judge(RIGHT).cause == ""
    assert judge(BROKEN).said == "OSError: no pair today"


def test_a_good_proof():
    proof = prove([DOUBLED], [RIGHT])
    assert proof
    assert proof.named_share == 1
    assert (proof.missed, proof.misnamed, proof.alarms, proof.undecided) == ([], [], [], [])


@pytest.mark.parametrize(
    ("planted", "tricky", "where"),
    [
        ([DOUBLED, MISSED], [], "missed"),
        ([DOUBLED, UNCLEAR], [], "missed"),  # inconclusive is not caught
        ([DOUBLED, BROKEN], [], "missed"),
        ([DOUBLED], [DOUBLED], "alarms"),
        ([DOUBLED], [BROKEN], "alarms"),
        ([DOUBLED, MISNAMED], [], "misnamed"),
    ],
)
def test_a_proof_that_is_not_good_enough(planted, tricky, where):
    proof = prove(planted, tricky)
    assert not proof
    assert len(getattr(proof, where)) == 1


def test_inconclusive_right_pairs_are_counted_apart():
    proof = prove([DOUBLED], [UNCLEAR])
    assert proof
    assert [outcome.case.name for outcome in proof.undecided] == ["unclear"]


def test_the_share_of_right_names_has_a_threshold():
    assert NAMED_SHARE == 0.85
    named, other = judge(DOUBLED), judge(MISNAMED)
    assert Proof([named] * 17 + [other] * 3, [], 0.0)
    assert not Proof([named] * 16 + [other] * 3, [], 0.0)


def test_progress_hears_of_every_outcome_and_settings_arrive():
    heard = []
    prove([DOUBLED], [RIGHT], progress=heard.append, mode="fast")
    assert [outcome.case.name for outcome in heard] == ["doubled", "right"]
    assert heard[0].report.mode == "fast"


def test_families_and_plain_values():
    proof = prove([DOUBLED, MISSED], [RIGHT])
    assert {family: len(found) for family, found in proof.families().items()} == {"elementwise": 2}
    plain = json.loads(json.dumps(proof.to_dict()))
    assert (plain["planted"], plain["caught"], plain["named"], plain["tricky"]) == (2, 1, 1, 1)
    assert [outcome["verdict"] for outcome in plain["outcomes"]] == ["fail", "pass", "pass"]


def test_a_sample_of_what_comes_with_minicnn():
    """The smallest pair of each family; the whole proof is `minicnn gradcheck --planted`."""

    def size(case):
        return sum(x.size for x in case.build().inputs)

    by_size = sorted(all_planted(), key=size, reverse=True)
    wrong = list({case.family: case for case in by_size}.values())
    proof = prove(wrong, all_tricky()[:4])
    assert len(proof.families()) == 10
    assert proof.missed == []
    assert proof.alarms == []
