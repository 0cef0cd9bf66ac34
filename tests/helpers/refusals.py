"""Calls that both torch and minicnn must refuse, with an error that one `except` clause catches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import minicnn
from minicnn.errors import MinicnnError


@dataclass(frozen=True)
class Refusal:
    """A call that is wrong; `call` takes `minicnn` or `torch`."""

    name: str
    call: Callable[[Any], Any]
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def check(self, torch: Any) -> None:
        """Raise AssertionError unless minicnn refuses as torch does, and says `words`."""
        with pytest.raises(MinicnnError) as ours:
            self.call(minicnn)
        for word in self.words:
            assert word in str(ours.value)
        with pytest.raises(Exception) as theirs:  # noqa: PT011
            self.call(torch)
        kind = theirs.type
        if kind is AssertionError:  # torch checks some arguments by assert
            return
        expected = RuntimeError if issubclass(kind, NotImplementedError) else kind
        assert isinstance(ours.value, expected), f"torch raises {theirs.value!r}"


def refused(name: str, call: Callable[[Any], Any], *words: str) -> Refusal:
    """Make a row: `refused("no window", lambda m: m.nn.functional.conv2d(...), "kernel")`."""
    return Refusal(name, call, words)
