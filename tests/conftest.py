from __future__ import annotations

import hypothesis
import numpy as np
import pytest

import minicnn
from minicnn import random

pytest_plugins = ["pytester"]

hypothesis.settings.register_profile(
    "small", max_examples=40, deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("small")


@pytest.fixture(scope="session")
def torch():
    """PyTorch as an oracle; never required."""
    return pytest.importorskip("torch")


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture
def seeded():
    """The global generator from seed 0, put back afterwards."""
    state = random.default.get_state()
    minicnn.manual_seed(0)
    yield
    random.default.set_state(state)


@pytest.fixture
def card(monkeypatch):
    """A machine with one card: a stand-in for CuPy that notes copies, see helpers/card.py."""
    from card import installed

    with installed(monkeypatch) as found:
        yield found
