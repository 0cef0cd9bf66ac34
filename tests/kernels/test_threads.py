"""The pool: every part once, on several threads, whatever calls it."""

import os
import subprocess
import sys
import threading

import pytest

from minicnn_kernels import threads
from minicnn_kernels.errors import ArgumentError


@pytest.fixture
def pool_of():
    before = threads.get_num_threads()
    yield threads.set_num_threads
    threads.set_num_threads(before)


def parts_of(count, **settings):
    found = []
    threads.parallel(lambda begin, end: found.append((begin, end)), count, **settings)
    return sorted(found)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 5, 64])
@pytest.mark.parametrize("pieces", [1, 4])
def test_every_item_is_computed_once(pool_of, size, count, pieces):
    pool_of(size)
    parts = parts_of(count, pieces=pieces)
    assert [i for begin, end in parts for i in range(begin, end)] == list(range(count))
    assert all(begin < end for begin, end in parts)


def test_nothing_to_do():
    assert parts_of(0) == []


def test_small_work_stays_with_the_caller(pool_of):
    pool_of(2)
    assert parts_of(9, grain=5) == [(0, 9)]
    assert len(parts_of(10, grain=5)) == 2


def test_arguments_are_handed_on(pool_of):
    pool_of(2)
    found = []
    threads.parallel(lambda begin, end, *rest: found.append(rest), 2, "a", 3)
    assert found == [("a", 3)] * 2


def test_two_threads_work_at_the_same_time(pool_of):
    pool_of(2)
    both = threading.Barrier(2, timeout=30)  # passes only if two parts are under way
    threads.parallel(lambda begin, end: both.wait(), 2)


def test_an_error_reaches_the_caller_after_all_parts(pool_of):
    pool_of(2)
    done = []

    def kernel(begin, end):
        done.append(begin)
        if begin == 3:
            raise OverflowError("third")

    with pytest.raises(OverflowError, match="third"):
        threads.parallel(kernel, 8, pieces=4)
    assert sorted(done) == list(range(8))
    assert len(parts_of(2)) == 2  # the pool lives on


def test_a_call_from_inside_a_kernel_ends(pool_of):
    pool_of(2)
    found = []

    def inner(begin, end):
        found.extend(range(begin, end))

    threads.parallel(lambda begin, end: threads.parallel(inner, 3), 2)
    assert sorted(found) == [0, 0, 1, 1, 2, 2]


def test_calls_from_several_threads_at_once(pool_of):
    pool_of(2)
    results = {}

    def caller(name):
        results[name] = [parts_of(7, pieces=3) for _ in range(50)]

    callers = [threading.Thread(target=caller, args=(name,)) for name in range(3)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(60)
    expected = [i for begin, end in results[0][0] for i in range(begin, end)]
    assert expected == list(range(7))
    assert all(run == results[0][0] for runs in results.values() for run in runs)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_computes_too():
    code = (
        "import os\n"
        "from minicnn_kernels.threads import parallel, set_num_threads\n"
        "set_num_threads(2)\n"
        "def run():\n"
        "    found = []\n"
        "    parallel(lambda begin, end: found.append((begin, end)), 2)\n"
        "    return sorted(found)\n"
        "run()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if run() == [(0, 1), (1, 2)] else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.stdout == "0\n", run.stderr


@pytest.mark.parametrize(
    ("environment", "size"),
    [({"MINICNN_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "5"}, 5),
     ({"MINICNN_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3)],
)  # fmt: skip
def test_the_environment_sets_the_size(monkeypatch, environment, size):
    for name in ("MINICNN_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert threads._default_size() >= 1
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert threads._default_size() == size


@pytest.mark.parametrize("number", [0, -1, 1.5, "2"])
def test_a_number_of_threads_must_be_positive(number):
    with pytest.raises(ArgumentError, match="positive integer"):
        threads.set_num_threads(number)


def test_numpy_follows_the_number_of_threads(pool_of):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    pool_of(1)
    blas = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]
    assert all(p["num_threads"] == 1 for p in blas)
