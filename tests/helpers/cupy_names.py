"""Ask an installed CuPy what its functions are called and take; it needs no driver for that.

`python tests/helpers/cupy_names.py` writes cupy_names.json, which the stand-in `card.py` reads.
"""

from __future__ import annotations

import inspect
import json
import re
from functools import reduce
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
MODULES = ("", "fft", "lib.stride_tricks", "linalg", "random")
METHODS_OF_UFUNCS = {
    "reduce": (),
    "accumulate": (),
    "at": (0, 1),
    "outer": (1,),
    "reduceat": ([0],),
}


def parameters(function):
    """Return the names, with "*", "**" and "=" before what takes many or goes by name only."""
    marks = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
        inspect.Parameter.KEYWORD_ONLY: "=",
    }
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ["*args", "**kwargs"]
    return [marks.get(p.kind, "") + p.name for p in found]


def parameters_in_text(text):
    """The same, read from the first line of a compiled method's docstring."""
    inside = re.search(r"\((.*)\)", text.splitlines()[0])[1]
    names = [part.split("=")[0].split()[-1] for part in inside.split(", ") if part != "*"]
    return [name for name in names if name != "self"]


def supported(ufunc, array):
    """Return the names of the methods that say no NotImplementedError."""
    names = []
    for name, others in METHODS_OF_UFUNCS.items():
        try:
            getattr(ufunc, name)(array, *others)
        except NotImplementedError:
            continue
        except Exception:  # no driver
            pass
        names.append(name)
    return names


def names():
    """Return the table."""
    import cupy

    memory = cupy.cuda.UnownedMemory(0x7F0000000000, 1024, None, 0)
    array = cupy.ndarray((2, 3), "f", memptr=cupy.cuda.MemoryPointer(memory, 0))
    functions, ufuncs, methods = {}, {}, {}
    for module in MODULES:
        where = reduce(getattr, module.split("."), cupy) if module else cupy
        public = {n: getattr(where, n) for n in sorted(dir(where)) if not n.startswith("_")}
        called = {n: f for n, f in public.items() if callable(f) and not isinstance(f, type)}
        functions[module] = {
            n: parameters(f) for n, f in called.items() if not isinstance(f, cupy.ufunc)
        }
        ufuncs |= {n: supported(f, array) for n, f in called.items() if isinstance(f, cupy.ufunc)}
    for name in sorted(dir(cupy.ndarray)):
        method = getattr(cupy.ndarray, name)
        if callable(method) and not name.startswith("_"):
            methods[name] = parameters_in_text(method.__doc__)
    return {
        "cupy": cupy.__version__,
        "functions": functions,
        "ufuncs": ufuncs,
        "methods": methods,
    }


if __name__ == "__main__":
    lines = []
    for key, value in names().items():
        lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    FILE.write_text("{" + ",\n".join(lines) + "}\n")
