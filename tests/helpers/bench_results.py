"""Results as a measurement would give them, for what shows them."""

from __future__ import annotations

from minicnn.bench.results import Result


def result(contestant="im2col", times=(0.002, 0.001, 0.004), **changes):
    """Make a result of one convolution: 2 GFLOP, 10 FLOP/byte."""
    fields = {
        "layer": "conv1",
        "problem": "mb1ic3ih5oc4kh3",
        "count": 1,
        "direction": "fwd",
        "contestant": contestant,
        "device": "cpu",
        "threads": 2,
        "layout": "nhwc",
        "flops": 2 * 10**9,
        "executed": 10**9,
        "bytes": 2 * 10**8,
        "algorithms": [contestant],
        "times": list(times),
    }
    return Result(**{**fields, **changes})
