from __future__ import annotations

import threading

import pytest

from minicnn.data.prefetch import THREAD_NAME

PATIENCE = 30  # seconds until a test that hangs fails; nothing waits that long


def _running():
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def _assert_ended(thread):
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def prefetch_threads():
    """Return a function that lists the background threads; every test must let them end."""
    yield _running
    for thread in _running():
        _assert_ended(thread)


@pytest.fixture
def assert_ended():
    return _assert_ended
