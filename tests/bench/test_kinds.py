"""Every kind of work can be named by text, has a suite, and knows its algorithms."""

from __future__ import annotations

import pytest

from minicnn.bench import suites
from minicnn.bench.kinds import KINDS, work


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_complete(name):
    kind = KINDS[name]
    problems = suites.load(name, kind.suite, kind.read) if kind.suite else [kind.read("lenet5mb2")]
    for direction in kind.directions:
        found = work(name, str(problems[0]), direction)
        assert found.problem == problems[0]
        assert set(found.parts) <= set(kind.directions)
        assert kind.known([direction])
