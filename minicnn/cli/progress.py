"""A progress bar that shows only where somebody watches and waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DELAY = 2.0  # seconds after which the bar appears


@contextmanager
def progress(total: int, unit: str) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """Yield `write(text)`, which prints past the bar, and `tick()`, which moves it by one.

    There is a bar only on a terminal, for several steps, and only when they take long.
    """
    from tqdm import tqdm

    quiet = True if total < 2 else None  # None: no bar where there is no terminal
    start = time.monotonic()
    with tqdm(total=total, unit=f" {unit}s", delay=DELAY, disable=quiet, leave=False) as bar:

        def write(text: str) -> None:
            if bar.disable or time.monotonic() - start < DELAY:
                print(text, flush=True)
            else:
                bar.write(text)

        yield write, bar.update
