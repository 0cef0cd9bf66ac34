"""Run the Numba CUDA kernels in Numba's simulator, and print how far each is from float64.

A program of its own: the simulator must be chosen before Numba is imported.  It prints one JSON
object: {"right": {case: {kernel: error}}, "planted": {mistake: largest error}}.
"""

from __future__ import annotations

import json
import math
import types

import numpy as np

from minicnn_kernels import kernels
from minicnn_kernels.cuda import numba_cuda
from minicnn_kernels.geometry import Windows

CONVOLUTIONS = {  # x, w, stride, padding, dilation, groups, type
    "odd sides": ((2, 3, 4, 4), (5, 3, 3, 2), (2, 1), (1, 0), (1, 2), 1, "f4"),
    "left-over pixels": ((1, 5, 6, 3), (2, 5, 1, 2), (3, 2), (0, 1), (1, 1), 1, "f4"),
    "groups": ((1, 4, 2, 3), (6, 2, 2, 2), (1, 1), (1, 0), (1, 1), 2, "f4"),
    "depthwise": ((1, 2, 3, 3), (2, 1, 2, 3), (1, 2), (1, 2), (1, 1), 2, "f4"),
    "float64": ((1, 2, 3, 3), (3, 2, 2, 2), (1, 1), (0, 0), (1, 1), 1, "f8"),
    "no image": ((0, 2, 4, 4), (3, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1, "f4"),
}
POOLINGS = {  # image, kernel, stride, padding, dilation, ceil_mode
    "overlap": ((5, 6), (3, 2), (2, 1), (1, 0), (1, 2), False),
    "gaps": ((7, 5), (2, 2), (3, 3), (0, 1), (1, 1), True),
    "only padding": ((3, 3), (2, 2), (4, 4), (1, 1), (4, 4), False),
}
PLANTED = {  # text of the source, a mistake in its place, and the kernel and case that shows it
    "the padding forgotten": ("- padding[0]", "", "numba_direct", "odd sides"),
    "the wrong group": ("first + c] * w", "c] * w", "numba_direct", "groups"),
    "a window too many": ("0 <= start < windows * stride and", "0 <= start and",
        "input", "odd sides"),
    "a barrier missing before reading": (
        "cuda.syncthreads()  # no thread reads", "pass  # no thread reads",
        "numba_tiled", "float64"),
    "a barrier missing before writing": (
        "cuda.syncthreads()  # no thread writes", "pass  # no thread writes",
        "numba_tiled", "float64"),
    "a tile that sticks out": ("if o < b.shape[1] and k < b.shape[0] else zero", "",
        "numba_im2col", "float64"),
    "a result not written": ("    dw[o, a, b, c] = total", "    pass", "weight", "float64"),
    "the last maximum": ("value > best", "value >= best", "max_winners", "overlap"),
    "NaN passed over": ("value != value and best == best", "False", "max_winners", "overlap"),
    "a pixel's last window only": ("total += dy[n, i, j, c]", "total = dy[n, i, j, c]",
        "route_to_winners", "overlap"),
}  # fmt: skip


def poisoned(shape, dtype, like=None):
    """Make an array that no result may be left in."""
    dtype = np.dtype(dtype)
    return np.full(shape, np.nan if dtype.kind == "f" else 99, dtype)


def made(text, tile):
    """Return the module that a text is, with smaller tiles, and results poisoned beforehand."""
    module = types.ModuleType("kernels_in_the_simulator")
    module.__file__ = numba_cuda.__file__
    exec(compile(text, numba_cuda.__file__, "exec"), module.__dict__)
    module.TILE, module.THREADS = tile, 2 * tile
    module.np = types.SimpleNamespace(
        **{**vars(np), "empty": poisoned}  # an array with a number in it would hide a hole
    )
    return module


def draw(shape, dtype, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def error(found, expected):
    """||found - expected|| / ||expected||; infinite for NaN, or another shape or type."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return math.inf if found.size or found.shape != expected.shape else 0.0
    scale = max(np.linalg.norm(expected), 1e-30)
    return float(np.linalg.norm(found - expected) / scale)


def convolution(module, x_shape, w_shape, stride, padding, dilation, groups, dtype):
    """Return for each kernel of a convolution the call that measures its error."""
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    windows = Windows(x_shape[2:], w_shape[2:], stride, padding, dilation)
    x, w = draw(x_shape, dtype, 1), draw(w_shape, dtype, 2)
    dy = draw((x_shape[0], w_shape[0], *windows.output), dtype, 3)

    def measured(function, kernel, *arrays, **more):
        found = getattr(module, function)(*arrays, **more, **settings)
        wide = [array.astype("f8") for array in arrays]
        return error(found, kernels[kernel](*wide, algorithm="loops", **more, **settings))

    calls = {
        "numba_direct": lambda: measured("conv_direct", "conv", x, w),
        "numba_tiled": lambda: measured("conv_tiled", "conv", x, w),
        "numba_im2col": lambda: measured("conv_im2col", "conv", x, w),
        "input": lambda: measured("conv_input_direct", "conv_input", dy, w, size=windows.image),
        "weight": lambda: measured("conv_weight_direct", "conv_weight", x, dy, size=windows.kernel),
    }
    if groups > 1:
        del calls["numba_im2col"]
    return calls


def pooling(module, *geometry):
    """Return for each kernel of a pooling such a call; ties, NaN and -inf are among the pixels."""
    windows = Windows(*geometry)
    x = np.random.default_rng(4).integers(-2, 3, (2, 3, *windows.image)).astype("f4")
    finite = x.copy()
    x[0, 0, 1, 1], x[1, 1, -1] = np.nan, -np.inf
    y, winner = kernels["max_winners"](x, windows=windows, algorithm="taps")
    dy = draw(y.shape, "f4", 5)

    def winners():
        largest, won = module.max_winners(x, windows=windows)
        same = np.array_equal(largest, y, equal_nan=True) and np.array_equal(won, winner)
        return 0.0 if same and won.dtype == winner.dtype else math.inf

    def measured(kernel, *arrays):
        found = getattr(module, kernel)(*arrays, windows=windows)
        return error(found, kernels[kernel](*arrays, windows=windows, algorithm="taps"))

    return {
        "max_winners": winners,
        "route_to_winners": lambda: measured("route_to_winners", dy, winner),
        "window_sum": lambda: measured("window_sum", finite),
        "window_spread": lambda: measured("window_spread", dy),
    }


def calls(module, case):
    """Return the calls of a case by its name."""
    if case in CONVOLUTIONS:
        return convolution(module, *CONVOLUTIONS[case])
    return pooling(module, *POOLINGS[case])


def error_of_mistake(text, kernel, case):
    """Return the error that a changed source makes; what the simulator notices is infinite."""
    try:
        return calls(made(text, 2), case)[kernel]()
    except IndexError:
        return math.inf


def main():
    with open(numba_cuda.__file__, encoding="utf-8") as file:
        text = file.read()
    module = made(text, 4)
    right = {
        case: {kernel: call() for kernel, call in calls(module, case).items()}
        for case in (*CONVOLUTIONS, *POOLINGS)
    }
    planted = {}
    for name, (old, new, kernel, case) in PLANTED.items():
        assert old in text, name
        planted[name] = error_of_mistake(text.replace(old, new), kernel, case)
    print(json.dumps({"right": right, "planted": planted}))


if __name__ == "__main__":
    main()
