from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def torch():
    """PyTorch as an oracle; never required."""
    return pytest.importorskip("torch")


@pytest.fixture
def rng():
    return np.random.default_rng(20)
