"""Compiled kernels on all threads: every part once, of the right job, whoever calls and when."""

import _thread
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pool = pytest.importorskip("minicnn_kernels.cpu.pool", reason="Numba is not installed")

import numba  # noqa: E402
from numba import types  # noqa: E402
from numba.extending import intrinsic  # noqa: E402

from minicnn_kernels import threads  # noqa: E402
from minicnn_kernels.cpu.jit import jit  # noqa: E402
from minicnn_kernels.threads import parallel  # noqa: E402

pytestmark = pytest.mark.skipif(not threads.HAS_COMPILED, reason="needs POSIX threads")


@jit()
def fill(begin, end, y, value):
    for i in range(begin, end):
        y[i] = value


@jit()
def increase(begin, end, y):
    for i in range(begin, end):
        y[i] += 1


@jit()
def copy_backwards(begin, end, y, x, last):
    for i in range(begin, end):
        y[last - i] = x[i]


@jit()
def count_calls(begin, end, calls):
    pool.add(calls, 1)


@jit()
def meet(begin, end, arrived, number):
    for _ in range(begin, end):
        pool.add(arrived, 1)
        while pool.load(arrived) < number:  # passes only if so many threads are at work
            pool.wait_a_moment(0)


@jit()
def fail(begin, end, y, place):
    for i in range(begin, end):
        if i == place:
            raise ValueError("at this place")
        y[i] = 1


@jit()
def compute_long(begin, end, y, steps):
    for i in range(begin, end):
        value = 1.0
        for _ in range(steps):
            value = value / 1.5 + 1
        y[i] = value


@jit()
def combine(begin, end, y, plane, column, flags, half, factor, count, wide, on, pair, nested, none):
    for i in range(begin, end):
        y[i] = plane[i, 1] * factor + column[i] + half * wide + count
        if on and flags[i] and none is None:
            y[i] += pair[1] * nested[0][1] + nested[1]


@intrinsic
def counter_of(typing, array):
    """Return where the uses of an array's memory are counted, 0 if they are not."""

    def code(context, builder, signature, values):
        lent = context.make_array(signature.args[0])(context, builder, values[0])
        return builder.ptrtoint(lent.meminfo, context.get_value_type(types.intp))

    return types.intp(array), code


@jit()
def counters(begin, end, y, x, nested):
    for i in range(begin, end):
        own = np.empty(3)
        own[:] = x[1:4]
        y[i] = counter_of(y) + counter_of(x) + counter_of(x[1:]) + counter_of(nested[1][0])
        if counter_of(own) != 0 and own.sum() == 6 and nested[1][0].sum() == 5:
            y[i] += 1


@pytest.fixture
def pool_of():
    before = threads.get_num_threads()
    yield threads.set_num_threads
    threads.set_num_threads(before)


@pytest.fixture
def two(pool_of):
    pool_of(2)


@pytest.fixture
def word():
    """The address of a word in memory that is 0."""
    memory = np.zeros(1, np.int64)
    yield memory.ctypes.data
    assert memory.base is None  # it lives until here


def workers():
    return [t for t in threading.enumerate() if t.name == "minicnn worker" and t.is_alive()]


# --- arguments ------------------------------------------------------------------------------------


def arguments(order="C", dtype=np.float64):
    rng = np.random.default_rng(3)
    return {
        "plane": np.asarray(rng.standard_normal((9, 2)), dtype, order=order),
        "column": rng.standard_normal((9, 3)).astype(dtype)[:, 1],
        "flags": rng.random(9) < 0.5,
        "half": np.float32(0.5),
        "factor": 1.5,
        "count": -(2**40),
        "wide": np.uint8(200),
        "on": True,
        "pair": (3, 4),
        "nested": ((1, 2), 2.5),
        "none": None,
    }


def read_only(changed):
    changed["plane"].flags.writeable = False
    return changed


@pytest.mark.parametrize(
    "changed",
    [
        arguments(),
        arguments(order="F", dtype=np.float32),
        arguments() | {"column": np.arange(9)[::-1], "on": np.bool_(False), "count": np.int8(-3)},
        read_only(arguments()),
    ],
    ids=["plain", "fortran", "other types", "read only"],
)
def test_arguments_arrive_as_in_a_direct_call(two, changed):
    expected, y = np.zeros(9), np.zeros(9)
    combine(0, 9, expected, *changed.values())
    assert expected.all()
    assert pool.address_of(combine, (y, *changed.values()))
    for _ in range(3):
        y[:] = 0
        parallel(combine, 9, y, *changed.values())
        assert np.array_equal(y, expected)


def test_threads_do_not_count_the_uses_of_lent_arrays(two):
    y, x = np.zeros(8, np.int64), np.arange(9.0)
    parallel(counters, 8, y, x, (7, (np.ones(5), 1.5)))  # compiled here
    before = sys.getrefcount(x)
    for _ in range(3):
        parallel(counters, 8, y, x, (7, (np.ones(5), 1.5)))
    assert y.tolist() == [1] * 8
    assert sys.getrefcount(x) == before


def test_each_type_has_its_own_form(two):
    for value in (1, 2.5, np.float32(0.1), True, np.int8(-1), 2**40):
        for dtype in (np.float64, np.float32):
            y = np.zeros(8, dtype)
            parallel(fill, 8, y, value)
            assert y.tolist() == np.full(8, value).astype(dtype).tolist()


def test_kernels_with_the_same_types_are_not_mixed_up(two):
    y, x = np.zeros(8), np.zeros(8)
    parallel(jit()(lambda begin, end, y, x: fill(begin, end, y, 1.0)), 8, y, x)
    parallel(jit()(lambda begin, end, y, x: fill(begin, end, x, 2.0)), 8, y, x)
    assert y.tolist() == [1] * 8
    assert x.tolist() == [2] * 8


def test_no_arguments(two):
    parallel(jit()(lambda begin, end: None), 8)
    parallel(jit()(lambda begin, end, *rest: None), 8)


@jit()
def with_default(begin, end, y, value=2):
    fill(begin, end, y, value)


@jit()
def with_star(begin, end, *rest):
    fill(begin, end, rest[0], 2)


@jit()
def with_result(begin, end, y):
    fill(begin, end, y, 2)
    return begin


@jit()
def with_text(begin, end, y, text):
    fill(begin, end, y, len(text))


@pytest.mark.parametrize(
    ("kernel", "rest"),
    [(with_default, ()), (with_star, ()), (with_result, ()), (with_text, ("ab",))],
)
def test_what_cannot_be_handed_on_is_computed_all_the_same(two, kernel, rest):
    y = np.zeros(8)
    assert pool.address_of(kernel, (y, *rest)) == 0
    parallel(kernel, 8, y, *rest)
    assert y.tolist() == [2] * 8


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("pieces", [None, 1, 5])
def test_every_item_is_computed_once(pool_of, size, pieces):
    pool_of(size)
    for count in (1, 2, 3, 7, 64, 1000):
        y = np.zeros(count)
        parallel(increase, count, y, pieces=pieces)
        assert y.tolist() == [1] * count


def test_parts(two, word):
    for count, settings, parts in [
        (100, {}, 8), (100, {"pieces": 1}, 2), (3, {}, 3), (100, {"grain": 30}, 3),
        (100, {"grain": 60}, 1),
    ]:  # fmt: skip
        before = read(word)
        parallel(count_calls, count, word, **settings)
        assert read(word) - before == parts


@jit()
def read(address):
    return pool.load(address)


@pytest.mark.parametrize("size", [2, 5])
def test_all_threads_work_at_the_same_time(pool_of, size):
    pool_of(size)
    for rest in (0, 0, 0.1):  # after 0.1 s they sleep
        time.sleep(rest)
        arrived = np.zeros(1, np.int64)
        parallel(meet, size, arrived.ctypes.data, size)
        assert arrived[0] == size


# --- many jobs ------------------------------------------------------------------------------------


def short_jobs(number, seed, gap=lambda: None):
    """Run jobs of different kernels, sizes and arguments; return how many went wrong."""
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(number):
        count, kind = int(rng.integers(1, 40)), rng.integers(0, 3)
        x = rng.integers(0, 1000, count)
        y = np.zeros_like(x)
        if kind == 0:
            parallel(fill, count, y, count)
            wrong += not (y == count).all()
        elif kind == 1:
            parallel(increase, count, x)
            parallel(increase, count, x, pieces=1)
            parallel(copy_backwards, count, y, x, count - 1)
            wrong += not np.array_equal(y, x[::-1])
        else:
            parallel(copy_backwards, count, y, x, count - 1, pieces=20)
            wrong += not np.array_equal(y, x[::-1])
        gap()
    return wrong


@pytest.mark.parametrize("size", [2, 3, 7])
def test_thousands_of_short_jobs(pool_of, size):
    pool_of(size)
    assert short_jobs(3000, size) == 0


def test_jobs_around_the_time_when_workers_fall_asleep(two):
    gaps = iter(np.random.default_rng(0).uniform(0, 1e-3, 600))

    def gap():
        until = time.perf_counter() + next(gaps)
        while time.perf_counter() < until:
            pass

    assert short_jobs(600, 1, gap) == 0


def test_calls_from_several_threads_at_once(two):
    wrong = {}
    callers = [
        threading.Thread(target=lambda seed=seed: wrong.update({seed: short_jobs(500, seed)}))
        for seed in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert wrong == dict.fromkeys(range(4), 0)


def test_the_number_of_threads_may_change_meanwhile(pool_of):
    done = []
    caller = threading.Thread(target=lambda: done.append(short_jobs(1000, 0)))
    caller.start()
    for size in (2, 3, 1, 4) * 5:
        pool_of(size)
        short_jobs(5, size)
    caller.join(60)
    assert done == [0]
    assert len(workers()) == 3


def test_the_caller_waits_for_a_worker_that_has_entered():
    """One that has added to `active` may still look at the job."""
    own, y = pool.Pool(1), np.zeros(4)
    active = own.box + pool.ACTIVE
    write(active, 1)
    caller = threading.Thread(target=own.run, args=(increase, 4, 2, (y,)))
    caller.start()
    while read(own.box + pool.OPEN) or read(own.box + pool.DONE) < 2:
        time.sleep(0.001)
    time.sleep(0.02)
    assert caller.is_alive()
    write(active, 0)
    caller.join(60)
    assert not caller.is_alive()
    assert y.tolist() == [1] * 4


def test_a_worker_leaves_a_job_that_has_been_closed(word):
    own = pool.Pool(1)

    @numba.cfunc("void(intp, intp, intp)")
    def part(begin, end, environment):
        pool.add(environment, 1)

    job = {"THREADS": 1, "PARTS": 1, "COUNT": 1, "FUNCTION": part.address, "ENVIRONMENT": word}
    for field, value in job.items():
        write(own.box + getattr(pool, field), value)
    for number, called in [(0, 0), (4, 0), (6, 0), (5, 1)]:
        write(own.box + pool.OPEN, 5)
        pool.enter(own.box, 0, number)
        assert (read(word), read(own.box + pool.ACTIVE)) == (called, 0)


@jit()
def write(address, value):
    pool.store(address, value)


def test_one_who_comes_while_they_work_computes_alone(two, word):
    mailbox = threads._pool.compiled.box
    parallel(increase, 2, np.zeros(2))
    write(mailbox + pool.BUSY, 1)
    try:
        parallel(count_calls, 100, word)
    finally:
        write(mailbox + pool.BUSY, 0)
    assert read(word) == 1


def test_a_call_from_a_python_kernel(two):
    y = np.zeros((4, 50))
    parallel(lambda begin, end: [parallel(increase, 50, y[i]) for i in range(begin, end)], 4)
    assert (y == 1).all()


# --- errors, interrupts, ends ---------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 50, 99])
def test_an_error_reaches_the_caller_after_all_parts(two, place):
    y = np.zeros(100)
    with pytest.raises(ValueError, match="at this place"):
        parallel(fail, 100, y, place, pieces=50)
    assert y.sum() >= 98
    parallel(fail, 100, y, -1)  # the pool lives on
    assert y.all()


def test_ctrl_c_is_raised_after_the_job(two):
    y = np.zeros(8)
    parallel(compute_long, 8, y, 1)
    y[:] = 0
    timer = threading.Timer(0.05, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        timer.start()
        for _ in range(1000):
            parallel(compute_long, 8, y, 10**7)
    assert y.all()
    parallel(fill, 8, y, 3)
    assert y.tolist() == [3] * 8


def run_script(folder, code, **environment):
    script = folder / "script.py"  # Numba keeps compiled code of files only
    script.write_text(KERNEL + code)
    return subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


KERNEL = """
import os, sys, threading, time
import numpy as np
from minicnn_kernels.cpu import pool
from minicnn_kernels.cpu.jit import jit
from minicnn_kernels.threads import parallel, set_num_threads
@jit()
def increase(begin, end, y):
    for i in range(begin, end):
        y[i] += 1
@jit()
def beyond(begin, end, y):
    for i in range(begin, end):
        y[i + 1] = 0
def computes():
    y = np.zeros(100)
    parallel(increase, 100, y)
    return (y == 1).all()
def work():
    while computes():
        pass
set_num_threads(2)
assert computes()
"""


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "time.sleep(0.1)",
        "threading.Thread(target=work, daemon=True).start(); time.sleep(0.1)",
        "set_num_threads(3)",
        "sys.exit(0)",
        "os._exit(0)",
    ],
    ids=["spinning", "asleep", "working", "none started", "exit", "_exit"],
)
def test_the_interpreter_can_end(tmp_path, ending):
    run = run_script(tmp_path, ending)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own(tmp_path):
    code = (
        "child = os.fork()\n"
        "if child == 0:\n"
        "    names = [thread.name for thread in threading.enumerate()]\n"
        "    right = computes() and 'minicnn worker' not in names\n"
        "    names = [thread.name for thread in threading.enumerate()]\n"
        "    os._exit(0 if right and names.count('minicnn worker') == 1 else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), computes())\n"
    )
    run = run_script(tmp_path, code)
    assert run.stdout == "0 True\n", run.stderr


def test_an_index_out_of_bounds_is_an_error_where_numba_checks(tmp_path):
    code = "parallel(beyond, 100, np.zeros(100))"
    run = run_script(tmp_path, code, NUMBA_BOUNDSCHECK="1")
    assert "IndexError" in run.stderr


def test_compiled_code_is_kept(tmp_path):
    code = "print(sum(pool.launch.stats.cache_hits.values()), len(pool.launch.overloads))"
    cache = {"MINICNN_CACHE_DIR": str(tmp_path / "cache")}
    found = [run_script(tmp_path, code, **cache).stdout for _ in range(2)]
    assert found == ["0 1\n", "1 1\n"]


def test_generated_kernels_of_one_name_are_told_apart(tmp_path):
    """Compiled as the first of its process, 3 would have the symbol of 2."""
    code = """
def made(value):
    path = os.path.join(sys.path[0], f"text{value}.py")
    text = f"def loop(begin, end, y):\\n    for i in range(begin, end):\\n        y[i] = {value}"
    open(path, "w").write(text) if not os.path.exists(path) else None
    names = {"__name__": "minicnn_kernels.cpu.pool"}
    exec(compile(text, path, "exec"), names)
    return jit()(names["loop"])
loops = {int(value): made(int(value)) for value in os.environ["VALUES"].split()}
for value, loop in loops.items():
    loop(0, 9, np.zeros(9))
for value, loop in loops.items():
    y = np.zeros(9)
    parallel(loop, 9, y)
    assert (y == value).all(), (value, y)
"""
    cache = {"MINICNN_CACHE_DIR": str(tmp_path / "cache")}
    for values in ("1", "2", "3", "2 3"):
        run = run_script(tmp_path, code, VALUES=values, **cache)
        assert run.returncode == 0, run.stderr


def test_threads_end_when_their_number_changes(pool_of):
    for size in (3, 2, 1):
        pool_of(size)
        parallel(increase, 10, np.zeros(10))
        assert len(workers()) == size - 1
