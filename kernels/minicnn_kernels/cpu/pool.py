"""Threads that share the parts of a compiled kernel and never ask for the interpreter's lock.

To hand that lock from thread to thread, or to wake one that sleeps, takes 50 us and more.  Here
workers watch a mailbox in memory for a while before they sleep, and all they do is compiled:

    mailbox          the caller: run                  each worker: serve, enter

    open = 0         1 write the job
    job              2 open = number of the job  -->  1 open is neither 0 nor the last one seen
                     3 wake those who sleep           2 active += 1
    next[share]      4 work: take parts, done += 1    3 open still the same? work, as the caller
    done             5 wait until done = parts        4 active -= 1
                     6 open = 0
    active           7 wait until active = 0

Each thread has a share of the parts, so that it meets the same memory again in the next kernel.  It
takes one after the other by adding to next[share], then what is left of the others' shares: a
worker that comes late, or not at all, costs nothing but its help.

No worker can mix two jobs.  A job is written after step 7 of the one before, while open is 0.  All
these reads and writes have one order that every thread agrees on.  If a worker finds open unchanged
in its step 3, it has added to active before the caller's step 6, and the caller waits for it in
step 7.  If it does not, it leaves the job alone.  The arguments lie on the caller's stack; they are
read only by a thread that computes a part, and the caller waits for all of them in step 5.

A worker that has seen no job for a while sleeps.  It adds to `asleep` before it looks at open once
more; the caller writes open before it looks at `asleep`: so one of them sees the other.
"""

from __future__ import annotations

import inspect
import platform
import threading
from typing import Any

import numpy as np
from llvmlite import ir
from numba import _dispatcher, typeof, types
from numba.core import cgutils
from numba.core.callconv import errcode_t, excinfo_ptr_t
from numba.extending import intrinsic

from minicnn_kernels.cpu.jit import jit

LINE = 64  # bytes that move between processor cores together: fields lie on lines of their own
OPEN, STOP, ASLEEP, MUTEX, CONDITION, BUSY, ACTIVE, DONE, JOB, NEXT = range(0, 10 * LINE, LINE)
NUMBER, THREADS, PARTS, COUNT, FUNCTION, ENVIRONMENT = range(JOB, JOB + 48, 8)

YIELD_TURNS = 256  # of spinning, some 4 us, before others may have the core
IDLE_TURNS = 256 * YIELD_TURNS  # some 1 ms, before a worker sleeps

I32, I64, POINTER = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
PAUSE = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [I32(1)]),
    "arm64": ("llvm.aarch64.hint", [I32(1)]),
}

sched_yield = types.ExternalFunction("sched_yield", types.int32())
_pointers = [types.int32(*[types.intp] * n) for n in range(3)]
mutex_init = types.ExternalFunction("pthread_mutex_init", _pointers[2])
mutex_lock = types.ExternalFunction("pthread_mutex_lock", _pointers[1])
mutex_unlock = types.ExternalFunction("pthread_mutex_unlock", _pointers[1])
condition_init = types.ExternalFunction("pthread_cond_init", _pointers[2])
condition_wait = types.ExternalFunction("pthread_cond_wait", _pointers[2])
condition_broadcast = types.ExternalFunction("pthread_cond_broadcast", _pointers[1])


# --- single instructions --------------------------------------------------------------------------


def _word(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, I64.as_pointer())


@intrinsic
def load(typing: Any, address: Any) -> Any:
    """Return the word at an address."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_word(builder, values[0]), "seq_cst", 8)

    return types.intp(types.intp), code


@intrinsic
def store(typing: Any, address: Any, value: Any) -> Any:
    """Write the word at an address."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store_atomic(values[1], _word(builder, values[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), code


@intrinsic
def add(typing: Any, address: Any, value: Any) -> Any:
    """Add to the word at an address, and return what it was before."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.atomic_rmw("add", _word(builder, values[0]), values[1], "seq_cst")

    return types.intp(types.intp, types.intp), code


@intrinsic
def exchange(typing: Any, address: Any, value: Any) -> Any:
    """Write the word at an address, and return what it was before."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.atomic_rmw("xchg", _word(builder, values[0]), values[1], "seq_cst")

    return types.intp(types.intp, types.intp), code


@intrinsic
def pause(typing: Any) -> Any:
    """Let the other half of the processor core run for a moment."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if platform.machine() in PAUSE:
            name, arguments = PAUSE[platform.machine()]
            kind = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)
        return context.get_dummy_value()

    return types.void(), code


# --- a kernel with its arguments ------------------------------------------------------------------


@intrinsic
def bind(typing: Any, kernel: Any, arguments: Any) -> Any:
    """Return a function of (begin, end, environment) for a kernel's address, and its environment.

    The environment lies on the caller's stack: (error's code, error, kernel, arguments).
    """

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        content = ir.LiteralStructType([errcode_t, excinfo_ptr_t, I64, values[1].type])
        environment = cgutils.alloca_once(builder, content, zfill=True)
        builder.store(values[0], cgutils.gep_inbounds(builder, environment, 0, 2))
        lent = _lent(context, builder, signature.args[1], values[1])
        builder.store(lent, cgutils.gep_inbounds(builder, environment, 0, 3))
        name = builder.module.get_unique_name("part")
        part = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [I64, I64, I64]), name)
        part.linkage = "internal"
        _write_part(context, ir.IRBuilder(part.append_basic_block()), content, signature.args[1])
        addresses = builder.ptrtoint(part, I64), builder.ptrtoint(environment, I64)
        return context.make_tuple(builder, signature.return_type, addresses)

    return types.UniTuple(types.intp, 2)(types.intp, arguments), code


def _lent(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return arguments whose arrays no longer name the memory's owner.

    Compiled code counts how often an array is in use, in a word next to the owner's name; where
    all threads count in the same word, they wait for each other.  The caller keeps the arrays.
    """
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo, array.parent = array.meminfo.type(None), array.parent.type(None)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        parts = zip(kind.types, cgutils.unpack_tuple(builder, value, len(kind)), strict=True)
        lent = [_lent(context, builder, *part) for part in parts]
        return context.make_tuple(builder, kind, lent)
    return value


def _write_part(context: Any, builder: Any, content: Any, arguments: Any) -> None:
    """Write the function that calls the kernel of an environment, and keeps its error there."""
    begin, end, environment = builder.function.args
    environment = builder.inttoptr(environment, content.as_pointer())
    error_code, error, address, bound = [
        cgutils.gep_inbounds(builder, environment, 0, i) for i in range(4)
    ]
    values = cgutils.unpack_tuple(builder, builder.load(bound), len(arguments))
    kinds = [types.intp, types.intp, *arguments]
    found = _call(context, builder, builder.load(address), kinds, [begin, end, *values], error)
    status = context.call_conv._get_return_status(builder, found, builder.load(error))
    with builder.if_then(status.is_error, likely=False):
        builder.store(found, error_code)
    builder.ret_void()


def _call(
    context: Any, builder: Any, address: Any, kinds: list[Any], values: list[Any], error: Any
) -> Any:
    """Call a compiled function that returns nothing; return its error's code."""
    kind = context.call_conv.get_function_type(types.none, kinds)
    packed = context.get_arg_packer(kinds).as_arguments(builder, values)
    nothing = cgutils.alloca_once(builder, POINTER)
    return builder.call(builder.inttoptr(address, kind.as_pointer()), [nothing, error, *packed])


@intrinsic
def run_at(typing: Any, address: Any, arguments: Any) -> Any:
    """Call `run` at its address, whereby it need not become a part of every form of `launch`."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parts = cgutils.unpack_tuple(builder, values[1])
        error = cgutils.alloca_once(builder, excinfo_ptr_t)
        _call(context, builder, values[0], list(arguments), parts, error)  # it has no error
        return context.get_dummy_value()

    return types.void(types.intp, arguments), code


@intrinsic
def raise_error(typing: Any, environment: Any) -> Any:
    """Raise the error that a part has left in its environment."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        content = ir.LiteralStructType([errcode_t, excinfo_ptr_t])
        environment = builder.inttoptr(values[0], content.as_pointer())
        found = builder.load(cgutils.gep_inbounds(builder, environment, 0, 0))
        error = builder.load(cgutils.gep_inbounds(builder, environment, 0, 1))
        status = context.call_conv._get_return_status(builder, found, error)
        with builder.if_then(status.is_error, likely=False):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(types.intp), code


@intrinsic
def call(typing: Any, function: Any, begin: Any, end: Any, environment: Any) -> Any:
    """Call what `bind` returned."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64, I64, I64])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), code


# --- the protocol ---------------------------------------------------------------------------------


@jit(inline=True)
def wait_a_moment(turn: Any) -> None:
    """Spin; at times offer the core to other threads: there may be more of them than cores."""
    pause()
    if turn % YIELD_TURNS == YIELD_TURNS - 1:
        sched_yield()


@jit()
def wait_for(address: Any, value: Any) -> None:
    """Spin until the word at an address has this value."""
    turn = 0
    while load(address) != value:
        wait_a_moment(turn)
        turn += 1


@jit()
def work(box: Any, me: Any) -> None:
    """Compute parts of the open job: first of my own share, then of the others'."""
    threads, parts, count = load(box + THREADS), load(box + PARTS), load(box + COUNT)
    for k in range(threads):
        share = (me + k) % threads
        last = (share + 1) * parts // threads
        while load(box + NEXT + LINE * share) < last:
            part = add(box + NEXT + LINE * share, 1)
            if part < last:
                begin, end = part * count // parts, (part + 1) * count // parts
                call(load(box + FUNCTION), begin, end, load(box + ENVIRONMENT))
                add(box + DONE, 1)


@jit()
def run(box: Any, threads: Any, parts: Any, count: Any, function: Any, environment: Any) -> None:
    """Compute function(begin, end, environment) for all parts of range(count), with the workers."""
    if exchange(box + BUSY, 1):  # they work for another caller
        call(function, 0, count, environment)
        return
    store(box + THREADS, threads)
    store(box + PARTS, parts)
    store(box + COUNT, count)
    store(box + FUNCTION, function)
    store(box + ENVIRONMENT, environment)
    for share in range(threads):
        store(box + NEXT + LINE * share, share * parts // threads)
    store(box + DONE, 0)
    number = add(box + NUMBER, 1) + 1
    store(box + OPEN, number)
    wake(box)
    work(box, 0)
    wait_for(box + DONE, parts)
    store(box + OPEN, 0)
    wait_for(box + ACTIVE, 0)
    store(box + BUSY, 0)


@jit()
def serve(box: Any, me: Any) -> None:
    """Work at every job until the pool is stopped."""
    seen = idle = 0
    while load(box + STOP) == 0:
        number = load(box + OPEN)
        if number != 0 and number != seen:
            enter(box, me, number)
            seen, idle = number, 0
        elif idle < IDLE_TURNS:
            wait_a_moment(idle)
            idle += 1
        else:
            sleep(box, seen)
            idle = 0


@jit(inline=True)
def enter(box: Any, me: Any, number: Any) -> None:
    """Work at the job of this number, unless it has been closed."""
    add(box + ACTIVE, 1)
    if load(box + OPEN) == number:
        work(box, me)
    add(box + ACTIVE, -1)


@jit(inline=True)
def sleep(box: Any, seen: Any) -> None:
    """Sleep until someone calls `wake`, unless there is a new job, or an end to all of them."""
    mutex_lock(box + MUTEX)
    add(box + ASLEEP, 1)
    number = load(box + OPEN)
    if load(box + STOP) == 0 and (number == 0 or number == seen):
        condition_wait(box + CONDITION, box + MUTEX)
    mutex_unlock(box + MUTEX)


@jit(inline=True)
def wake(box: Any) -> None:
    """Wake all workers that sleep; they need not be waited for."""
    if load(box + ASLEEP) > 0:
        mutex_lock(box + MUTEX)
        store(box + ASLEEP, 0)
        condition_broadcast(box + CONDITION)
        mutex_unlock(box + MUTEX)


@jit()
def prepare(box: Any) -> None:
    """Make the lock and the condition on which workers sleep."""
    mutex_init(box + MUTEX, 0)
    condition_init(box + CONDITION, 0)


@jit()
def stop(box: Any) -> None:
    """Let the workers leave `serve` when they have finished their job."""
    store(box + STOP, 1)
    wake(box)


@jit()
def launch(
    runner: Any, box: Any, threads: Any, parts: Any, count: Any, kernel: Any, *arguments: Any
) -> None:
    """Run the kernel at an address; compiled for each combination of its arguments' types."""
    function, environment = bind(kernel, arguments)
    run_at(runner, (box, threads, parts, count, function, environment))
    raise_error(environment)


# --- Python's side --------------------------------------------------------------------------------


class Pool:
    """A mailbox, and the threads that watch it; started at the first job."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.memory = np.zeros(NEXT + LINE * (size + 1), np.uint8)
        self.box = -(-self.memory.ctypes.data // LINE) * LINE
        prepare(self.box)
        serve.compile((types.intp, types.intp))  # type: ignore[attr-defined]
        self.runner = _compiled(run, (types.intp,) * 6)
        self.threads = [
            threading.Thread(target=serve, args=(self.box, me), daemon=True, name="minicnn worker")
            for me in range(1, size)
        ]
        for thread in self.threads:
            thread.start()

    def run(self, kernel: Any, count: int, parts: int, arguments: tuple[Any, ...]) -> bool:
        """Call kernel(begin, end, *arguments) for all parts of range(count), or return False."""
        address = address_of(kernel, arguments)
        if address:
            launch(self.runner, self.box, self.size, parts, count, address, *arguments)
        return address != 0

    def stop(self) -> None:
        """Let the threads end."""
        stop(self.box)
        for thread in self.threads:
            thread.join(1)


_addresses: dict[tuple[Any, bytes], int] = {}


def address_of(kernel: Any, arguments: tuple[Any, ...]) -> int:
    """Return the address of a kernel's form for arguments like these; 0 if it cannot be called so.

    It can if it has as many parameters, not hidden in a star or by defaults, and returns nothing.
    """
    try:
        key = kernel, _dispatcher.compute_fingerprint(arguments)
    except (NotImplementedError, ValueError):  # Numba has no short name for their types
        return 0
    if key not in _addresses:
        kinds = (types.intp, types.intp, *map(typeof, arguments))
        function = kernel.py_func.__code__
        address = 0
        if function.co_argcount == len(kinds) and not function.co_flags & inspect.CO_VARARGS:
            address = _compiled(kernel, kinds)
        _addresses[key] = address
    return _addresses[key]


def _compiled(function: Any, kinds: tuple[Any, ...]) -> int:
    """Return the address of a function's form for arguments of these types; 0 if it returns any."""
    function.compile(kinds)
    form = function.overloads[kinds]
    if form.signature.return_type != types.none:
        return 0
    return int(form.library.get_pointer_to_function(form.fndesc.llvm_func_name))
