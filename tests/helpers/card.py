"""A stand-in for CuPy on machines without a card: its arrays lie in NumPy's memory.

It refuses what CuPy 14 refuses: NumPy arrays as operands, implicit conversion to NumPy, functions,
methods and arguments that CuPy lacks (the table cupy_names.json was made by cupy_names.py).  It
notes every copy between host and card and every wait for the card, and the use of cuBLAS, cuRAND
and Thrust, which cannot be captured.  New memory is full of NaN.  Kernels in CUDA C++ are run by
the emulation.  Captured work is not done before the graph is launched, and then on the same memory.

    def test_no_value_is_asked_for(card):
        x = card.array(np.ones((2, 3), np.float32))
        with card.no_copies():
            y = some_function(x)
        assert_allclose(y.get(), ...)

The fixture `card` of tests/conftest.py puts it into sys.modules.
"""

from __future__ import annotations

import importlib
import json
import numbers
import sys
import types
import weakref
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np

NAMES = json.loads(Path(__file__).with_name("cupy_names.json").read_text())
BLOCK = 512  # bytes: the pool's sizes are multiples of it

NEEDS_CUBLAS = {"matmul", "dot", "vdot", "inner", "outer", "einsum", "tensordot", "kron"}
NEEDS_CUBLAS |= {"asfortranarray", "cov", "corrcoef"}
NEEDS_NO_CUBLAS = {"norm", "cross", "matrix_transpose", "diagonal", "trace"}  # of linalg
NEEDS_THRUST = {"sort", "argsort", "lexsort", "partition", "argpartition", "msort", "median"}
WAITS = {"nonzero", "argwhere", "flatnonzero", "extract", "compress", "bincount", "histogram"}
WAITS |= {"unique", "unique_all", "unique_counts", "unique_inverse", "unique_values", "delete"}
WAITS |= {"setdiff1d", "intersect1d", "union1d", "isin", "in1d", "trim_zeros", "histogramdd"}
WAITS |= {"argpartition", "unravel_index", "tril_indices", "triu_indices", "average"}
COPIES = {"sliding_window_view"}  # which looks at the sizes of windows on the card
REDUCES = {"all", "any", "argmax", "argmin", "max", "mean", "min", "prod", "std", "sum", "var"}
REDUCES |= {"amax", "amin", "cumprod", "cumsum", "nanmax", "nanmean", "nanmin", "nansum"}
JOINS = {"block", "column_stack", "concatenate", "dstack", "hstack", "stack", "vstack"}
FEW, SMALL = 8, 2**21  # more than so many arrays of less than so many bytes are joined by a table
TAKES_HOST_ARRAYS = {
    "percentile",
    "quantile",
    "take",
    "put",
    "repeat",
    "choose",
    "searchsorted",
    "take_along_axis",
}
OF_THE_CARD = (
    "minicnn_kernels.cuda",
    "minicnn_kernels.cards",
    "minicnn_kernels.arrays",
    "minicnn.cuda",
)

TYPES_OF_AT = (  # of add, and of the others
    {"int32", "int64", "float16", "float32", "float64", "uint32", "uint64"},
    {"int32", "int64", "float32", "float64", "uint32", "uint64"},
)
WIDER = {"std": np.float64, "var": np.float64}
WIDER |= dict.fromkeys(("around", "divmod", "round", "tril", "triu", "where"), np.float32)
"""Functions without code for bfloat16, and the type in which they compute."""
GIVES_ARRAY = {"allclose", "array_equal", "array_equiv", "count_nonzero"}  # NumPy's give numbers


class CUDARuntimeError(RuntimeError):
    """What a call of the CUDA runtime returns if it fails."""


class OutOfMemoryError(MemoryError):
    """No room on the card."""

    __module__ = "cupy.cuda.memory"


class HostCopyError(AssertionError):
    """A value crossed between host and card, or the host waited, inside `no_copies`.

    Numbers that Python computes for every step, see `minicnn_kernels.cuda.replay`, may cross.
    """


class Machine:
    """What the stand-in pretends, and what it has seen.

    Attributes:
        cards, driver, compute_capability, memory: what is there; tests may change them.
        turns: what emulated launches are told of `seed` and `deferred`, see emulation.py.
        seen: counts of "copy", "wait", "cublas", "curand", "thrust", "launch", with the name.
    """

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget everything."""
        self.cards, self.driver = 1, True
        self.compute_capability, self.memory = (9, 0), 2**34
        self.turns = {}
        self.current, self.stream = 0, None
        self.seen = Counter()
        self.refusing = False
        MemoryPool.session += 1
        self.pool, self.pinned_pool = MemoryPool(), PinnedMemoryPool()
        self.allocators = [self.pool.malloc]

    def check(self):
        """Raise what every call raises on a machine without driver or card."""
        if not self.driver:
            raise CUDARuntimeError(
                "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA "
                "runtime version"
            )
        if not self.cards:
            raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    def note(self, kind, name):
        """Note what happens, and refuse it where it must not."""
        self.check()
        self.seen[kind, name] += 1
        if kind in ("copy", "wait") and self.refusing and not brings_numbers():
            raise HostCopyError(f"{name}: a {kind} between host and card")
        capturing = self.stream is not None and self.stream.work is not None
        if capturing and kind == "copy":
            way = "D2H" if name == "get" else "H2D"
            raise RuntimeError(
                f"the current stream is capturing, so {way} transfers are disallowed"
            )
        if capturing and kind in ("wait", "thrust"):
            self.stream.invalid = True
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is "
                f"capturing ({name})"
            )
        if capturing and kind in ("cublas", "curand"):
            library = {"cublas": "cuBLAS", "curand": "cuRAND"}[kind]
            raise NotImplementedError(
                f"calling {library} API during stream capture is currently unsupported"
            )


def brings_numbers():
    """Say whether this is `numbers` or `same_numbers` of replay.py, which nobody waits for."""
    callers, frame = [], sys._getframe(2)
    while frame is not None and len(callers) < 4:
        callers.append((frame.f_globals.get("__name__"), frame.f_code.co_name))
        frame = frame.f_back
    names = "numbers", "same_numbers"
    return any(("minicnn_kernels.cuda.replay", name) in callers for name in names)


def refuse_arguments(name, names, args, kwargs):
    """Raise TypeError if CuPy's function has no such parameters."""
    positional = [n for n in names if n[0] not in "*="]
    for key in kwargs:
        if key not in [n.lstrip("=") for n in names] and not any(n[:2] == "**" for n in names):
            raise TypeError(f"{name}() got an unexpected keyword argument {key!r}")
    if len(args) > len(positional) and not any(n[0] == "*" for n in names):
        raise TypeError(f"{name}() takes {len(positional)} positional arguments, not {len(args)}")


def check_type(dtype):
    """Return the type, or raise as CuPy does for types that no card computes with."""
    dtype = np.dtype(dtype)
    if dtype.char not in "?bhilqBHILQefdFD" and dtype.name != "bfloat16":
        raise ValueError(f"Unsupported dtype {dtype}")
    return dtype


def raw(value):
    """Return the NumPy arrays in place of the card's, inside lists and tuples, too."""
    if isinstance(value, ndarray):
        return value.values
    if isinstance(value, (list, tuple)):
        return type(value)(map(raw, value))
    return value


def arrays_in(value):
    """Yield the card's arrays in arguments."""
    if isinstance(value, ndarray):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from arrays_in(part)
    elif isinstance(value, dict):
        yield from arrays_in(list(value.values()))


def owner(values):
    """Return the array whose memory this is."""
    while isinstance(values.base, np.ndarray):
        values = values.base
    return values


def on_card(values, given=()):
    """Return NumPy's results as the card's, what is no number or array as it is.

    Args:
        given: arrays of which one may be the result itself.
    """
    if isinstance(values, (list, tuple)):
        return type(values)(on_card(value, given) for value in values)
    if not isinstance(values, (np.ndarray, np.generic)):
        return values
    values = np.asarray(values)
    if owner(values).dtype.names:  # NumPy compares rows as structures
        values = values.copy()
    check_type(values.dtype)
    for array in given:
        if array.values is values:
            return array
    machine.allocators[-1].__self__.account(owner(values))
    array = object.__new__(ndarray)
    array.values, array.device, array.base = values, Device(), base_of(values)
    if array.base is None:
        bases[id(values)] = array
    return array


bases = weakref.WeakValueDictionary()
"""By the ids of NumPy's arrays that own memory, the card's arrays that stand for them."""


def base_of(values):
    """Return the array of which this is a view, always the same; None if it is none."""
    memory = owner(values)
    if memory is values:
        return None
    known = bases.get(id(memory))
    return on_card(memory) if known is None else known


def poison(values):
    """Fill with what nobody takes for a result."""
    capturing = machine.stream is not None and machine.stream.work is not None
    if values.dtype.kind in "fcV":
        values.fill(np.nan)
    elif capturing and values.dtype.kind in "iu":
        values.fill(0)  # an index, perhaps, of what is only noted now
    else:
        values.fill(True if values.dtype == bool else np.frombuffer(b"\x7f" * 8, values.dtype)[0])


def widened(values, dtype):
    """Return arrays of bfloat16 in a type that a function has code for."""
    if isinstance(values, (list, tuple)):
        return type(values)(widened(value, dtype) for value in values)
    is_short = isinstance(values, (np.ndarray, np.generic)) and values.dtype.name == "bfloat16"
    return values.astype(dtype) if is_short else values


def run(name, function, *args, in_place=False, **kwargs):
    """Call NumPy's function on the card's memory; or note the call, if it is being captured.

    Args:
        in_place: the result is what the function changes, `args[0]` or `out`.
    """
    machine.check()
    given = list(arrays_in([args, kwargs]))
    for array in given:
        elsewhere = array.device.id != machine.current and array.size > 0
        if elsewhere and name != "copy":  # which takes it to this card
            raise ValueError(
                f"Array device must be same as the current device: array device = "
                f"{array.device.id} while current = {machine.current}"
            )
    args, kwargs = raw(args), {k: raw(v) for k, v in kwargs.items()}
    if name in WIDER:
        args = widened(args, WIDER[name])

    def compute():
        with np.errstate(all="ignore"):  # no card warns
            result = function(*args, **kwargs)
        if name == "diagonal":
            result.flags.writeable = True  # as CuPy's
        view = name == "index" and owner(np.asarray(result)) is owner(args[0])
        if name in JOINS | REDUCES | {"clip"} or (name == "index" and not view):
            return np.asarray(result, order="C")  # NumPy's follow the memory of what is given
        return np.asarray(result) if name in GIVES_ARRAY else result

    if machine.stream is None or machine.stream.work is None:
        return on_card(compute(), given)
    if in_place or kwargs.get("out") is not None:
        machine.stream.work.append(compute)
        return None
    return on_card(captured(compute, [array.values for array in given]), given)


def captured(compute, given):
    """Note the call; return arrays for its results, full of NaN unless they are views."""
    results = compute()
    several = isinstance(results, (list, tuple))
    arrays = [np.asarray(r) for r in (results if several else [results])]
    if any(owner(r) is owner(g) for r in arrays for g in given):
        return results

    def compute_again():
        again = compute()
        for array, new in zip(arrays, again if several else [again], strict=True):
            np.copyto(array, new)

    machine.stream.work.append(compute_again)
    for array in arrays:
        poison(array)
    return type(results)(arrays) if several else arrays[0]


def only_card_arrays(name, values):
    """Raise TypeError for NumPy arrays and lists among operands."""
    for value in values:
        if not (value is None or isinstance(value, (ndarray, numbers.Number, np.generic))):
            raise TypeError(f"Unsupported type {type(value)} in {name}")


class Flags:
    """How an array lies in memory."""

    def __init__(self, flags, owndata):
        self.c_contiguous, self.f_contiguous = flags.c_contiguous, flags.f_contiguous
        self.owndata, self.forc = owndata, flags.forc

    def __getitem__(self, name):
        return getattr(self, name.lower())


class Pointer:
    """Where an array begins."""

    def __init__(self, values, device):
        self.ptr, self.device = values.__array_interface__["data"][0], device
        self.mem, self.device_id = owner(values), device.id


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on the card: `values` is its memory."""

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        if memptr is not None:
            raise NotImplementedError("the stand-in makes arrays of their own memory only")
        made = empty(shape, dtype, order)
        self.values, self.device, self.base = made.values, made.device, None
        bases[id(self.values)] = self

    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    ndim = property(lambda self: self.values.ndim)
    size = property(lambda self: self.values.size)
    nbytes = property(lambda self: self.values.nbytes)
    itemsize = property(lambda self: self.values.itemsize)
    strides = property(lambda self: self.values.strides)
    flags = property(lambda self: Flags(self.values.flags, self.values.base is None))
    data = property(lambda self: Pointer(self.values, self.device))
    T = property(lambda self: self.transpose())
    mT = property(lambda self: self.swapaxes(-1, -2))
    real = property(lambda self: run("real", np.real, self))
    imag = property(lambda self: run("imag", np.imag, self))

    @property
    def __cuda_array_interface__(self):
        """How Numba finds the memory."""
        found = dict(self.values.__array_interface__)
        return found | {"version": 3, "data": (self.data.ptr, False), "stream": 1}

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        name = ufunc.__name__
        if ufunc is np.matmul and method == "__call__":
            only_card_arrays(name, inputs)
            machine.note("cublas", name)
            return run(name, ufunc, *inputs, **kwargs)
        if name not in NAMES["ufuncs"] or ufunc.signature is not None:
            return NotImplemented
        if method != "__call__" and method not in NAMES["ufuncs"][name]:
            raise NotImplementedError(f"`cupy_{name}.{method}` is not supported yet")
        if method == "at" and inputs[0].dtype.name not in TYPES_OF_AT[name != "add"]:
            raise TypeError(f"cupy.{name}.at does not support {inputs[0].dtype}")
        if method in ("at", "reduceat") and any(map(is_host_array, inputs[1:2])):
            machine.note("copy", f"{name}.{method} with a NumPy index")
            inputs = inputs[0], asarray(inputs[1]), *inputs[2:]
        if method in ("reduce", "accumulate"):
            refuse_axis(name, inputs[0], kwargs.get("axis", 0))
        if name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
            inputs = tuple(x.item() if is_host_array(x) and x.ndim == 0 else x for x in inputs)
        for value in inputs:
            if hasattr(type(value), "__cupy_override_elementwise_kernel__"):
                kernel = types.SimpleNamespace(name=f"cupy_{name}")
                return value.__cupy_override_elementwise_kernel__(kernel, *inputs, **kwargs)
        only_card_arrays(name, inputs)
        only_card_arrays(name, kwargs.get("out", ()))
        allowed = {"__call__": ("out", "dtype", "casting"), "outer": ("out", "dtype"), "at": ()}
        others = "axis", "dtype", "out", "keepdims"
        if "where" in kwargs and not isinstance(kwargs["where"], ndarray):
            raise TypeError(f"Wrong arguments {kwargs}")
        for key in kwargs:
            if key not in allowed.get(method, others) and key != "where":
                raise TypeError(f"Wrong arguments {kwargs}")

        def compute(*arrays, **settings):
            results = getattr(ufunc, method)(*arrays, **settings)
            if results is None or "out" in settings:
                return results
            if isinstance(results, tuple):
                return tuple(np.asarray(r, order="C") for r in results)
            return np.asarray(results, order="C")  # CuPy's ufuncs do not keep the layout

        out = kwargs.get("out")
        result = run(name, compute, *inputs, in_place=method == "at", **kwargs)
        return result if out is None else out[0] if len(out) == 1 else out

    def __array_function__(self, function, kinds, args, kwargs):
        path = function.__module__.partition(".")[2]
        if path not in NAMES["functions"] or not issubset(kinds, (ndarray, np.ndarray)):
            return NotImplemented
        module = getattr_path(sys.modules["cupy"], path)
        found = getattr(module, function.__name__, None)
        if found is None or found is function:
            return NotImplemented
        return found(*args, **kwargs)

    def __getattr__(self, name):
        names = NAMES["methods"].get(name)
        if names is None or not hasattr(np.ndarray, name):
            raise AttributeError(f"'ndarray' object has no attribute {name!r}")

        def method(*args, **kwargs):
            refuse_arguments(name, names, args, kwargs)
            note_needs(name, "")
            if name in REDUCES:
                refuse_axis(name, self, kwargs.get("axis", args[0] if args else None))
            args = host_arguments(name, args)
            if name in ("astype", "view") and (args or "dtype" in kwargs):
                check_type(args[0] if args else kwargs["dtype"])
            in_place = name in ("sort", "partition", "fill", "put")
            out = kwargs.get("out")
            result = run(name, getattr(np.ndarray, name), self, *args, in_place=in_place, **kwargs)
            return result if out is None else out

        return method

    def get(self, stream=None, order="C", out=None, blocking=True):
        """Copy to the host."""
        machine.note("copy", "get")
        if out is None:
            return np.array(self.values, order=order)
        np.copyto(out, self.values)
        return out

    def set(self, values, stream=None):
        """Copy from the host, to memory in one piece."""
        machine.note("copy", "set")
        if type(values) is not np.ndarray:
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if (values.dtype, values.shape) != (self.dtype, self.shape):
            raise ValueError(f"cannot set {values.shape} {values.dtype} to {self.shape}")
        np.copyto(self.values, values)

    def scatter_add(self, places, added):
        """Add to places."""
        scatter_add(self, places, added)

    def item(self):
        """Copy the one value to the host."""
        return self.get().item()

    def tolist(self):
        """Copy to the host."""
        return self.get().tolist()

    def tobytes(self, order="C"):
        """Copy to the host."""
        return self.get().tobytes(order)

    def __bool__(self):
        return bool(self.get())

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __complex__(self):
        return complex(self.get())

    def __repr__(self):
        return repr(self.get())

    def __str__(self):
        return str(self.get())

    def __format__(self, spec):
        return format(self.get(), spec)

    def __reduce__(self):
        return asarray, (self.get(),)

    def __deepcopy__(self, memo):
        return self.copy("K")

    def __pow__(self, other):
        short = self.dtype.name == "bfloat16" and isinstance(other, float)
        return np.power(self.astype(np.float64) if short else self, other)

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value):
        return bool((self == value).any())

    def __getitem__(self, key):
        return run("index", np.ndarray.__getitem__, self, index(key))

    def __setitem__(self, key, value):
        key = index(key)
        advanced = any(True for _ in arrays_in([key]))
        if isinstance(value, (np.ndarray, list, tuple)) and np.ndim(value) and not advanced:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if advanced and not isinstance(value, ndarray):
            machine.note("copy", "a value written to places")
        run("assignment", np.ndarray.__setitem__, self, key, value, in_place=True)


def issubset(kinds, allowed):
    """Say whether each is one of `allowed`."""
    return all(kind in allowed for kind in kinds)


def getattr_path(value, path):
    """Follow "a.b"; "" is `value`."""
    for name in path.split(".") if path else ():
        value = getattr(value, name)
    return value


def is_host_array(value):
    """Say whether it is a NumPy array, or a list that would become one."""
    return isinstance(value, (np.ndarray, list))


def host_arguments(name, args):
    """Take NumPy arrays and lists to the card, in functions that do so."""
    if name in TAKES_HOST_ARRAYS and any(map(is_host_array, args)):
        machine.note("copy", f"{name} of places on the host")
        return tuple(asarray(a) if is_host_array(a) else a for a in args)
    return args


def index(key):
    """Note what an index copies to the card, and for which it has to count."""
    parts = key if isinstance(key, tuple) else (key,)
    new = []
    for part in parts:
        if isinstance(part, (np.ndarray, list)) and np.ndim(part):
            machine.note("copy", "index of places on the host")
            part = asarray(np.asarray(part, np.intp if np.size(part) == 0 else None))
        if isinstance(part, ndarray) and part.dtype == bool:
            machine.note("wait", "index by a mask")
        new.append(part)
    return tuple(new) if isinstance(key, tuple) else new[0]


def refuse_axis(name, array, axis):
    """Raise what CuPy raises for a dimension of a single value; NumPy takes the dimension 0."""
    if isinstance(array, ndarray) and array.ndim == 0 and isinstance(axis, (int, np.integer)):
        raise np.exceptions.AxisError(f"{name}: axis {axis} is out of bounds for 0 dimensions")


def note_table(name, arrays):
    """Note the addresses of many small arrays, which CuPy copies to the card to join them."""
    arrays = list(arrays) if isinstance(arrays, (list, tuple)) else []
    many = name in JOINS and len(arrays) > FEW and len({array.dtype for array in arrays}) == 1
    if many and sum(array.nbytes for array in arrays) < SMALL * len(arrays):
        machine.note("copy", f"{name} of more than {FEW} arrays")


def note_needs(name, module):
    """Note the libraries that a function calls."""
    if name in COPIES:
        machine.note("copy", name)
    if name in WAITS:
        machine.note("wait", name)
    if name in NEEDS_THRUST:
        machine.note("thrust", name)
    if name in NEEDS_CUBLAS or (module == "linalg" and name not in NEEDS_NO_CUBLAS):
        machine.note("cublas", name)
    if module == "random":
        machine.note("curand", name)
    if module == "fft":
        machine.note("cufft", name)


# Functions of the module


def array(values, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """Make an array on the card, from the host or from another."""
    if isinstance(values, ndarray):
        if dtype is not None:
            check_type(dtype)
        order = {None: "K"}.get(order, order)
        if not copy:
            return run("array", np.asarray, values, dtype, order)
        return run("array", np.array, values, dtype, order=order)
    if isinstance(values, (list, tuple)) and any(True for _ in arrays_in(values)):
        return run("array", np.array, list(values), dtype)
    values = np.array(values, dtype, order=order or "K")
    check_type(values.dtype)
    if not values.flags.forc:
        values = values.copy()  # CuPy keeps the order of columns, and no other
    machine.note("copy", "array")
    return on_card(np.array(values, order=order or "K", ndmin=ndmin))


def asarray(values, dtype=None, order=None, *, copy=None, blocking=False):
    """Make an array on the card, or return the one given."""
    if isinstance(values, ndarray) and dtype in (None, values.dtype) and order in (None, "K"):
        return values.copy() if copy else values
    return array(values, dtype, bool(copy), order)


def ascontiguousarray(values, dtype=None):
    """Return the values in one piece, in the order of the axes."""
    if not isinstance(values, ndarray):
        raise TypeError(f"Argument 'a' has incorrect type (expected ndarray, got {type(values)})")
    return run("ascontiguousarray", np.ascontiguousarray, values, dtype)


def empty(shape, dtype=float, order="C"):
    """Make an array of NaN."""
    machine.check()
    values = np.empty(shape, check_type(dtype), order)
    poison(values)
    return on_card(values)


def empty_like(prototype, dtype=None, order="K", subok=None, shape=None):
    """Make an array of NaN; CuPy takes the shape () for none."""
    values = np.empty_like(raw(prototype), dtype, order, shape=shape or None)
    check_type(values.dtype)
    poison(values)
    return on_card(values)


def asnumpy(values, stream=None, order="C", out=None, *, blocking=True):
    """Copy to the host."""
    if isinstance(values, ndarray):
        return values.get(order=order, out=out)
    return np.asarray(values, order=order)


def get_array_module(*args):
    """Return the stand-in if one of the arrays lies on the card."""
    return sys.modules["cupy"] if any(isinstance(a, ndarray) for a in args) else np


def copyto(dst, src, casting="same_kind", where=None):
    """Copy values, where `where` is true."""
    only_card_arrays("copyto", [src, where])
    where = True if where is None else where
    run("copyto", np.copyto, dst, src, casting=casting, where=where, in_place=True)


def scatter_add(values, places, added):
    """Add to places."""
    machine.note("atomics", "scatter_add")
    run("scatter_add", np.add.at, values, index(places), added, in_place=True)


def piecewise(x, conditions, functions):
    """Choose numbers; CuPy's does not call functions."""
    if any(map(callable, functions)):
        raise NotImplementedError("Callable functions are not supported currently")
    return run("piecewise", np.piecewise, x, conditions, functions)


def plain_function(module, name):
    """Return CuPy's function of that name: NumPy's, with CuPy's parameters."""
    function = getattr_path(np, f"{module}.{name}" if module else name)
    names = NAMES["functions"][module].get(name, ["*args", "**kwargs"])

    def call(*args, **kwargs):
        refuse_arguments(name, names, args, kwargs)
        note_needs(name, module)
        note_table(name, args[0] if args else ())
        if name in REDUCES:
            refuse_axis(name, args[0], kwargs.get("axis", args[1] if len(args) > 1 else None))
        if name in ("full_like", "ones_like", "zeros_like") and kwargs.get("shape") == ():
            del kwargs["shape"]  # CuPy takes it for none
        if (
            name == "clip"
            and any(a is None for a in args)
            and args[0].dtype.name in ("bool", "bfloat16")
        ):
            raise TypeError(f"Wrong type ({args[0].dtype}) of arguments for cupy_clip")
        if name == "unique" and kwargs.get("axis") is not None and args[0].dtype == bool:
            raise TypeError("cupy boolean subtract, the `-` operator, is deprecated")
        args = host_arguments(name, args)
        for value in (*args, *kwargs.values()):
            if isinstance(value, np.ndarray):
                raise TypeError(f"Unsupported type {type(value)} in {name}")
            if isinstance(value, (list, tuple)) and any(True for _ in arrays_in(value)):
                only_card_arrays(name, value)
        if name == "where":
            only_card_arrays(name, args)
        out, in_place = kwargs.get("out"), name in ("put", "putmask", "place", "fill_diagonal")
        result = run(name, function, *args, in_place=in_place, **kwargs)
        return result if out is None else out

    call.__name__ = name
    return call


# The card


class Device:
    """A card."""

    def __init__(self, number=None):
        machine.check()
        self.id = machine.current if number is None else int(number)

    def use(self):
        """Let it be the current one."""
        runtime_set_device(self.id)

    def __enter__(self):
        self._before = machine.current
        self.use()
        return self

    def __exit__(self, *exception):
        machine.current = self._before

    def __eq__(self, other):
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self):
        return self.id

    def __int__(self):
        return self.id

    def __repr__(self):
        return f"<CUDA Device {self.id}>"

    def synchronize(self):
        """Wait."""
        machine.note("wait", "Device.synchronize")

    compute_capability = property(lambda self: "{}{}".format(*machine.compute_capability))
    mem_info = property(lambda self: memory_info())


def runtime_set_device(number):
    """Let card `number` be the current one."""
    machine.check()
    if not 0 <= number < machine.cards:
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
    machine.current = number


def memory_info():
    """Return free and all bytes."""
    machine.check()
    return machine.memory - machine.pool.total_bytes(), machine.memory


def device_properties(number):
    """Return the facts that CuPy gives."""
    machine.check()
    if not 0 <= number < machine.cards:
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
    major, minor = machine.compute_capability
    return {
        "name": b"Stand-in",
        "major": major,
        "minor": minor,
        "totalGlobalMem": machine.memory,
        "multiProcessorCount": 4,
        "sharedMemPerBlock": 48 * 1024,
        "sharedMemPerBlockOptin": 227 * 1024,
        "maxThreadsPerBlock": 1024,
        "warpSize": 32,
        "clockRate": 1_000_000,
        "memoryClockRate": 1_000_000,
        "memoryBusWidth": 256,
        "l2CacheSize": 2**20,
    }


def asked(value):
    """Return a function that gives `value()` where there is a card."""

    def function():
        machine.check()
        return value()

    return function


class PinnedMemoryPool:
    """Memory of the host for copies."""

    def malloc(self, size):
        """Return such memory."""

    def free_all_blocks(self):
        """Give back what is not in use."""


pools = weakref.WeakSet()


class MemoryPool:
    """Counts what arrays hold; freed blocks stay with the pool."""

    session = 0  # number of the machine, which begins anew in every test

    def __init__(self, allocator=None):
        self._session = MemoryPool.session
        self._used, self._total, self._limit, self._held = 0, 0, 0, set()

    def malloc(self, size):
        """Be given to `using_allocator`; arrays come from `account`."""
        raise NotImplementedError("the stand-in has no memory without an array")

    def account(self, memory):
        """Count the memory of an array until it is freed."""
        place = id(memory)
        if any(place in pool._held for pool in pools) or not memory.nbytes:
            return
        size = -(-memory.nbytes // BLOCK) * BLOCK
        limit = self._limit or machine.memory
        if self._used + size > limit:
            raise OutOfMemoryError(
                f"Out of memory allocating {size:,} bytes (allocated so far: {self._used:,} bytes)."
            )
        pools.add(self)
        self._held.add(place)
        self._used += size
        self._total = max(self._total, self._used)
        weakref.finalize(memory, self._free, place, size)
        for hook in hooks:
            hook.malloc_postprocess(device_id=0, size=size, mem_size=size, mem_ptr=1, pmem_id=0)

    def _free(self, place, size):
        self._held.discard(place)
        self._used -= size
        for hook in hooks if self._session == MemoryPool.session else ():  # not of another test
            hook.free_postprocess(device_id=0, mem_size=size, mem_ptr=1, pmem_id=0)

    def used_bytes(self):
        """Return what arrays hold."""
        return self._used

    def free_bytes(self):
        """Return what is kept for the next arrays."""
        return self._total - self._used

    def total_bytes(self):
        """Return both."""
        return self._total

    def n_free_blocks(self):
        """Return how many blocks are kept."""
        return int(self._total > self._used)

    def free_all_blocks(self, stream=None):
        """Give back what no array holds."""
        self._total = self._used

    def set_limit(self, size=None, fraction=None):
        """Let the pool hold no more."""
        self._limit = int(size if fraction is None else fraction * machine.memory)

    def get_limit(self):
        """Return the limit, 0 for none."""
        return self._limit


hooks = []


class MemoryHook:
    """What is told of new and of freed arrays inside a `with` block."""

    name = "MemoryHook"

    def __enter__(self):
        hooks.append(self)
        return self

    def __exit__(self, *exception):
        hooks.remove(self)

    def malloc_postprocess(self, **facts):
        """Be told of a new array."""

    def free_postprocess(self, **facts):
        """Be told of a freed one."""


machine = Machine()


def set_allocator(allocator=None):
    """Take memory from another pool."""
    machine.allocators[-1] = allocator or machine.pool.malloc


@contextmanager
def using_allocator(allocator=None):
    """Take memory from another pool inside a `with` block."""
    machine.allocators.append(allocator or machine.pool.malloc)
    try:
        yield
    finally:
        machine.allocators.pop()


class Graph:
    """Captured work, which `launch` does."""

    def __init__(self, work):
        self.work = work

    def launch(self, stream=None):
        """Do the work."""
        machine.seen["launch", "graph"] += 1
        for compute in self.work:
            compute()

    def upload(self, stream=None):
        """Prepare."""


class Stream:
    """Work in order; while it is captured, `work` is a list."""

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        machine.check()
        self.work, self.invalid, self._before = None, False, []
        self.is_null, self.ptr = null, 0 if null else id(self)

    def __enter__(self):
        self._before.append(machine.stream)
        machine.stream = self
        return self

    def __exit__(self, *exception):
        machine.stream = self._before.pop()

    def use(self):
        """Let it be the current stream."""
        machine.stream = self
        return self

    def begin_capture(self, mode=None):
        """Note what follows instead of doing it."""
        if self.is_null:
            raise RuntimeError("cannot capture on the default stream")
        self.work, self.invalid = [], False

    def end_capture(self):
        """Return what was noted."""
        work, self.work = self.work, None
        if self.invalid:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error "
                "during capture"
            )
        return Graph(work)

    def is_capturing(self):
        """Say whether work is noted."""
        return self.work is not None

    def synchronize(self):
        """Wait."""
        machine.note("wait", "Stream.synchronize")

    def record(self, event=None):
        """Mark a place in the work."""
        return (event or Event()).record(self)

    def wait_event(self, event):
        """Do later work after the event."""

    done = True


class Event:
    """A place in the work of a stream."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        machine.check()
        self.done = True

    def record(self, stream=None):
        """Mark the place."""
        return self

    def synchronize(self):
        """Wait."""
        machine.note("wait", "Event.synchronize")


class RawModule:
    """CUDA C++, which the emulation runs."""

    def __init__(self, *, code=None, path=None, options=(), backend="nvrtc", **others):
        self.code, self.options = code, options

    def get_function(self, name):
        """Return a kernel."""
        return RawKernel(self.code, name)


class RawKernel:
    """A kernel in CUDA C++."""

    def __init__(self, code, name, options=(), backend="nvrtc", **others):
        self.code, self.name = code, name
        manifest = importlib.import_module("manifest")
        static = [row.static for row in manifest.rows_of(name)]
        self.max_dynamic_shared_size_bytes = 48 * 1024 - max(static, default=0)

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None):
        emulation = importlib.import_module("emulation")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise CUDARuntimeError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        for value in args:
            by_value = isinstance(value, np.ndarray) and value.ndim == 0
            known = isinstance(value, (ndarray, np.generic, int, float))
            if value is not None and not known and not by_value:  # None is the address 0
                raise TypeError(f"Unsupported type {type(value)}")
        if any(value.device.id != machine.current for value in arrays_in(args)):
            raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was met")
        machine.seen["launch", self.name] += 1

        def launch(*arguments):
            module = emulation.module(self.code)
            module.launch(self.name, grid, block, arguments, shared=shared_mem, **machine.turns)

        run(self.name, launch, *args, in_place=True)


def refused(name):
    """Return a class for what the project does not use."""

    def make(*args, **kwargs):
        raise NotImplementedError(f"the stand-in has no {name}: write a kernel in a .cu file")

    return make


# The modules


class Module(types.ModuleType):
    """A module of CuPy's whose functions are looked up in the table."""

    def __init__(self, name, **contents):
        super().__init__(name)
        self.__path__ = []
        self.__dict__.update(contents)

    def __getattr__(self, name):
        module = self.__name__.partition(".")[2]
        if name not in NAMES["functions"].get(module, ()):
            if module != "" or name not in NAMES["ufuncs"]:
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
            if isinstance(getattr(np, name), np.ufunc):
                return getattr(np, name)
        return plain_function(module, name)


def modules():
    """Return what goes into sys.modules."""
    runtime = Module(
        "cupy.cuda.runtime",
        CUDARuntimeError=CUDARuntimeError,
        is_hip=False,
        getDevice=asked(lambda: machine.current),
        setDevice=runtime_set_device,
        getDeviceCount=asked(lambda: machine.cards),
        getDeviceProperties=device_properties,
        deviceSynchronize=lambda: machine.note("wait", "deviceSynchronize"),
        driverGetVersion=lambda: 13000 if machine.driver else 0,
        runtimeGetVersion=lambda: 13020,
        memGetInfo=memory_info,
    )
    memory = Module("cupy.cuda.memory", OutOfMemoryError=OutOfMemoryError, MemoryPool=MemoryPool)
    cuda = Module(
        "cupy.cuda",
        runtime=runtime,
        memory=memory,
        nvrtc=Module("cupy.cuda.nvrtc", getVersion=lambda: (13, 0)),
        Device=Device,
        Stream=Stream,
        Event=Event,
        Graph=Graph,
        MemoryHook=MemoryHook,
        MemoryPool=MemoryPool,
        is_available=lambda: machine.driver and machine.cards > 0,
        get_current_stream=lambda: machine.stream or Stream(null=True),
        get_elapsed_time=lambda start, end: 1.0,
        set_allocator=set_allocator,
        get_allocator=lambda: machine.allocators[-1],
        using_allocator=using_allocator,
        get_device_id=asked(lambda: machine.current),
    )
    kinds = {n: getattr(np, n) for n in ("float16", "float32", "float64", "complex64")}
    kinds |= {n: getattr(np, n) for n in ("int8", "int16", "int32", "int64", "uint8", "bool_")}
    own = (array, asarray, ascontiguousarray, empty, empty_like, asnumpy, get_array_module, copyto)
    own += (piecewise,)
    top = Module(
        "cupy",
        __version__=NAMES["cupy"],
        ndarray=ndarray,
        cuda=cuda,
        RawModule=RawModule,
        RawKernel=RawKernel,
        asanyarray=asarray,
        ElementwiseKernel=refused("ElementwiseKernel"),
        ReductionKernel=refused("ReductionKernel"),
        is_available=cuda.is_available,
        get_default_memory_pool=lambda: machine.pool,
        get_default_pinned_memory_pool=lambda: machine.pinned_pool,
        **{name: getattr(np, name) for name in ("pi", "inf", "nan", "newaxis", "dtype")},
        **{function.__name__: function for function in own},
        **kinds,
    )
    found = {"cupy": top, "cupy.cuda": cuda, "cupyx": Module("cupyx", scatter_add=scatter_add)}
    for name in ("fft", "linalg", "random", "lib", "lib.stride_tricks"):
        module = found[f"cupy.{name}"] = Module(f"cupy.{name}")
        setattr(found[f"cupy.{name}".rpartition(".")[0]], name.rpartition(".")[2], module)
    cuda.Stream.null = Stream.__new__(Stream)
    Stream.__init__(cuda.Stream.null, null=True)
    for part in ("runtime", "memory", "nvrtc"):
        found[f"cupy.cuda.{part}"] = getattr(cuda, part)
    return found


class Card:
    """What the fixture `card` gives: the machine, and the stand-in for CuPy."""

    def __init__(self, found):
        self.cupy, self.machine = found["cupy"], machine

    def array(self, values):
        """Put values on the card, in the memory order that they have here."""
        values = np.asarray(values)
        if values.flags.forc:
            return asarray(values)
        order = sorted(range(values.ndim), key=lambda i: -abs(values.strides[i]))
        return asarray(values.transpose(order)).transpose(np.argsort(order).tolist())

    def seen(self, kind):
        """Return the names of what was seen of a kind, with their counts."""
        return {name: n for (k, name), n in machine.seen.items() if k == kind}

    @contextmanager
    def no_copies(self, refusing=True):
        """Raise where a value crosses between host and card, or the host waits."""
        before, machine.refusing = machine.refusing, refusing
        try:
            yield
        finally:
            machine.refusing = before

    def copies(self):
        """Allow copies again, inside a `with` block."""
        return self.no_copies(refusing=False)


def forget_card():
    """Clear what the product remembers of a card."""
    for name, module in list(sys.modules.items()):
        if name.startswith(OF_THE_CARD):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
                if isinstance(value, weakref.WeakSet):
                    value.clear()
    registry = sys.modules.get("minicnn_kernels.registry")
    for kernel in registry.kernels.values() if registry else ():
        kernel._choices.clear()


@contextmanager
def installed(monkeypatch):
    """Put the stand-in in CuPy's place."""
    machine.reset()
    found = modules()
    forget_card()
    for name, module in found.items():
        monkeypatch.setitem(sys.modules, name, module)
    try:
        yield Card(found)
    finally:
        forget_card()
        machine.reset()
        hooks.clear()
