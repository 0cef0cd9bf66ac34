from __future__ import annotations

import pytest

from minicnn.nn import init


@pytest.fixture
def undrawn():
    """Leave parameters as they are allocated, so that the largest network is built in no time."""
    with init.undrawn():
        yield
