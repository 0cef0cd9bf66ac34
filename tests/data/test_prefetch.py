from __future__ import annotations

import gc
import threading
import traceback

import pytest

from minicnn.data.prefetch import prefetched

PATIENCE = 30  # seconds until a test that hangs fails; nothing waits that long


@pytest.mark.parametrize("ahead", [1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_items_come_in_order(count, ahead):
    assert list(prefetched(range(count), ahead)) == list(range(count))


def test_items_are_made_in_a_daemon_thread():
    (thread,) = prefetched((threading.current_thread() for _ in range(1)), 1)
    assert thread is not threading.current_thread()
    assert thread.daemon


def test_no_thread_starts_before_the_first_item_is_asked_for(prefetch_threads):
    prefetched(iter([1]), 1)
    assert prefetch_threads() == []


def test_only_so_many_items_are_made_ahead(prefetch_threads, assert_ended):
    made = []
    fourth = threading.Event()

    def items():
        for number in range(1000):
            made.append(number)
            if number == 3:
                fourth.set()
            yield number

    reader = prefetched(items(), 2)
    assert next(reader) == 0
    (thread,) = prefetch_threads()
    # 0 is here, 1 and 2 are ready, 3 is made and waits for room
    assert fourth.wait(PATIENCE)
    reader.close()
    assert_ended(thread)
    assert made == [0, 1, 2, 3]


def test_items_are_made_while_the_reader_is_busy():
    second = threading.Event()

    def items():
        yield 1
        second.set()
        yield 2

    reader = prefetched(items(), 1)
    assert next(reader) == 1
    assert second.wait(PATIENCE)  # nobody has asked for it yet
    assert list(reader) == [2]


def test_an_error_comes_after_the_items_before_it_with_its_own_traceback():
    def items():
        yield 1
        raise LookupError("item 2 is broken")

    reader = prefetched(items(), 5)
    assert next(reader) == 1
    with pytest.raises(LookupError, match="item 2 is broken") as caught:
        next(reader)
    assert "items" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    with pytest.raises(StopIteration):
        next(reader)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_an_error_that_would_end_the_thread_reaches_the_reader(error):
    def items():
        raise error
        yield

    with pytest.raises(type(error)):
        next(prefetched(items(), 1))


def test_a_stray_stop_iteration_does_not_look_like_the_end():
    class Broken:
        def __iter__(self):
            return (next(iter([])) for _ in range(3))

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(prefetched(Broken(), 1))


def _endless():
    number = 0
    while True:
        yield number
        number += 1


def test_break_stops_the_thread(prefetch_threads, assert_ended):
    for _ in prefetched(_endless(), 2):
        (thread,) = prefetch_threads()
        break
    assert_ended(thread)


def test_an_error_of_the_reader_stops_the_thread(prefetch_threads, assert_ended):
    threads = []

    def read():
        for number in prefetched(_endless(), 2):
            threads.extend(prefetch_threads())
            1 / number

    with pytest.raises(ZeroDivisionError):
        read()
    assert len(threads) == 1
    assert_ended(threads[0])


def test_garbage_collection_stops_the_thread(prefetch_threads, assert_ended):
    class Loop:
        """Refers to itself, so that only the collector finds it unused."""

    loop = Loop()
    loop.itself = loop
    loop.reader = prefetched(_endless(), 2)
    next(loop.reader)
    (thread,) = prefetch_threads()
    del loop
    gc.collect()
    assert_ended(thread)


def test_the_reader_may_be_closed_in_the_thread_itself(prefetch_threads, assert_ended):
    """The collector runs in any thread, and so may close the reader in the thread it feeds."""
    box = []
    may_close = threading.Event()

    def items():
        yield 1
        may_close.wait(PATIENCE)
        box.pop().close()
        yield 2

    box.append(prefetched(items(), 1))
    assert next(box[0]) == 1
    (thread,) = prefetch_threads()
    may_close.set()
    assert_ended(thread)
    assert box == []


def test_closing_does_not_wait_for_an_item_that_is_slow_to_make(prefetch_threads, assert_ended):
    finish = threading.Event()

    def items():
        yield 1
        finish.wait(PATIENCE)
        yield 2

    reader = prefetched(items(), 1)
    next(reader)
    (thread,) = prefetch_threads()
    reader.close()
    assert thread.is_alive()
    finish.set()
    assert_ended(thread)
