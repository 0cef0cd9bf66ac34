"""Rows for `minicnn.ops.pooling`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from minicnn.nn import functional as F
from minicnn.ops.pooling import route_to_winners, take_winners, window_spread, window_sum
from minicnn.testing.cases.case import Case, Shape, both, layer, plain, positive
from minicnn_kernels.geometry import Windows

POOLED = Windows((4, 5), (3, 2), (2, 1), (1, 1))
WINNER = np.random.default_rng(3).integers(1, 6, (2, 1, *POOLED.output)).astype(np.uint8)


def pool(op: str, name: str, kind: str, x: Shape, *given: Any, **settings: Any) -> Case:
    """Make a row for a pooling function of `nn.functional`."""
    return both(op, f"{kind} {name}", lambda m, x: getattr(m.nn.functional, kind)(
        x, *given, **settings), x, through=kind)  # fmt: skip


def values_pooled(name: str, kind: str, x: Shape, *given: Any, **settings: Any) -> Case:
    """Make a row for the first result of a pooling that also returns positions."""
    return both("take_winners", f"{kind} {name}", lambda m, x: getattr(m.nn.functional, kind)(
        x, *given, return_indices=True, **settings)[0], x, through=kind)  # fmt: skip


def positions(name: str, kind: str, x: Shape, *given: Any, **settings: Any) -> Case:
    """Make a row for the positions of the maxima."""
    return plain(kind, f"positions, {name}", lambda m, x: getattr(m.nn.functional, kind)(
        x, *given, return_indices=True, **settings)[1], x)  # fmt: skip


def unpooled(name: str, ndim: int, x: Shape, *given: Any, size: Any = None) -> Case:
    """Make a row for the way back: the maxima of x are put where they were."""

    def function(m: Any, x: Any) -> Any:
        F = m.nn.functional
        y, indices = getattr(F, f"max_pool{ndim}d")(x, *given, return_indices=True)
        return getattr(F, f"max_unpool{ndim}d")(y, indices, *given, output_size=size)

    return both("unpool", f"{ndim} sides, {name}", function, x, through=f"max_unpool{ndim}d")


def ours(
    op: str, name: str, kind: str, x: Shape, theirs: Any, *given: Any, **settings: Any
) -> Case:
    """Make a row for a pooling that torch spells differently."""
    function = partial(getattr(F, kind), **settings)
    return Case(op, f"{kind} {name}", lambda x: function(x, *given), (x,), theirs, through=kind)


def median_in_torch(torch: Any, x: Any) -> Any:
    """Take the median of windows of 3 by 2 pixels without padding."""
    cols = torch.nn.functional.unfold(x, (3, 2), stride=(1, 2))
    return cols.reshape(*x.shape[:2], 6, -1).median(2).values.reshape(*x.shape[:2], 3, 2)


ROWS = [
    pool("take_winners", "tiles", "max_pool2d", (1, 2, 4, 6), 2),
    pool("take_winners", "overlap", "max_pool2d", (1, 1, 5, 4), 3, 1),
    pool("take_winners", "oblong", "max_pool2d", (2, 1, 4, 5), (2, 3), (1, 2)),
    pool("take_winners", "padded", "max_pool2d", (1, 2, 5, 4), 3, 2, 1),
    pool("take_winners", "stride larger than the kernel", "max_pool2d", (1, 1, 6, 7), 2, 3),
    pool("take_winners", "dilated", "max_pool2d", (1, 1, 4, 5), 2, 1, 1, (2, 3)),
    pool("take_winners", "rounded up", "max_pool2d", (1, 1, 5, 3), 2, ceil_mode=True),
    pool("take_winners", "rounded up, padded", "max_pool2d", (1, 1, 4, 6), 3, 2, 1, ceil_mode=True),
    pool("take_winners", "one image", "max_pool2d", (2, 3, 4), 2),
    pool("take_winners", "one by one", "max_pool2d", (1, 2, 2, 3), 1),
    pool("take_winners", "batch 0", "max_pool2d", (0, 2, 4, 4), 2),
    pool("take_winners", "sequence", "max_pool1d", (2, 2, 7), 3, 2),
    pool("take_winners", "all settings", "max_pool1d", (1, 2, 8), 3, 2, 1, 2, True),
    pool("take_winners", "one sequence", "max_pool1d", (2, 5), (2,)),
    pool("take_winners", "batch 0", "max_pool1d", (0, 2, 5), 2),
    pool("take_winners", "volume", "max_pool3d", (1, 2, 3, 4, 5), (2, 3, 2), (1, 1, 2)),
    pool("take_winners", "all settings", "max_pool3d", (1, 1, 4, 3, 5), 2, 2, 1, (1, 2, 1), True),
    pool("take_winners", "one volume", "max_pool3d", (1, 2, 3, 2), 2, 1),
    values_pooled("with positions", "max_pool2d", (1, 2, 4, 5), 2, 1),
    values_pooled("one image, with positions", "max_pool2d", (2, 4, 5), 3, 2, 1),
    ours("take_winners", "overlap", "min_pool2d", (1, 2, 5, 4),
         lambda torch, x: -torch.nn.functional.max_pool2d(-x, 3, 2, 1), 3, 2, 1),
    ours("take_winners", "all settings", "min_pool1d", (2, 8),
         lambda torch, x: -torch.nn.functional.max_pool1d(-x, 3, 2, 1, 2, True), 3, 2, 1, 2, True),
    ours("take_winners", "volume", "min_pool3d", (1, 1, 3, 4, 2),
         lambda torch, x: -torch.nn.functional.max_pool3d(-x, 2, 1), 2, 1),
    ours("take_winners", "oblong", "median_pool2d", (1, 2, 5, 4), median_in_torch, (3, 2), (1, 2)),
    ours("take_winners", "padded", "median_pool2d", (2, 4, 5), None, 3, 1, 1),
    ours("take_winners", "sequence", "median_pool1d", (2, 1, 7), None, 3, 2, 1, ceil_mode=True),
    ours("take_winners", "volume", "median_pool3d", (1, 1, 2, 3, 4), None, 2, 1),
    Case("take_winners", "given winners", lambda x: take_winners(x, WINNER, POOLED),
         ((2, 1, 4, 5),)),
    Case("route_to_winners", "given winners", lambda dy: route_to_winners(dy, WINNER, POOLED),
         (WINNER.shape,)),
    unpooled("tiles", 2, (1, 2, 4, 6), 2),
    unpooled("left-over rows", 2, (2, 1, 5, 7), (2, 3), size=(5, 7)),
    unpooled("one image", 2, (2, 4, 4), 2),
    unpooled("left-over values", 1, (2, 1, 7), 2, 3, size=(2, 1, 7)),
    unpooled("one sequence", 1, (2, 6), 2),
    unpooled("tiles", 3, (1, 1, 2, 4, 4), 2),
    unpooled("padded", 3, (1, 4, 4, 5), 2, 2, (1, 0, 0), size=(4, 4, 5)),
    pool("window_sum", "tiles", "avg_pool2d", (1, 2, 4, 6), 2),
    pool("window_sum", "overlap", "avg_pool2d", (1, 1, 5, 4), 3, 1),
    pool("window_sum", "oblong", "avg_pool2d", (2, 1, 4, 5), (2, 3), (1, 2)),
    pool("window_sum", "padded", "avg_pool2d", (1, 2, 5, 4), 3, 2, 1),
    pool("window_sum", "padding not counted", "avg_pool2d", (1, 2, 5, 4), 3, 2, 1, False, False),
    pool("window_sum", "stride larger than the kernel", "avg_pool2d", (1, 1, 6, 7), 2, 3),
    pool("window_sum", "rounded up", "avg_pool2d", (1, 1, 4, 5), (3, 2), 2, 1, True),
    pool("window_sum", "rounded up, padding not counted", "avg_pool2d", (1, 1, 4, 6), 3, 2, 1, True,
         False),
    pool("window_sum", "given divisor", "avg_pool2d", (1, 1, 4, 5), 2, divisor_override=3),
    pool("window_sum", "one image", "avg_pool2d", (2, 3, 4), 2),
    pool("window_sum", "batch 0", "avg_pool2d", (0, 2, 4, 4), 2),
    pool("window_sum", "all settings", "avg_pool1d", (2, 2, 8), 3, 2, 1, True, False),
    pool("window_sum", "one sequence", "avg_pool1d", (2, 5), (2,), 1),
    pool("window_sum", "all settings", "avg_pool3d", (1, 1, 4, 3, 5), 2, 2, 1, True, False),
    pool("window_sum", "given divisor", "avg_pool3d", (1, 2, 3, 2, 4), (2, 1, 3), 1,
         divisor_override=4),
    Case("window_sum", "plain sums", lambda x: window_sum(x, POOLED), ((2, 1, 4, 5),),
         lambda torch, x: torch.nn.functional.avg_pool2d(x, (3, 2), (2, 1), 1, divisor_override=1)),
    Case("window_spread", "overlap and padding", lambda dy: window_spread(dy, POOLED),
         (WINNER.shape,)),
    pool("window_sum", "squares", "lp_pool2d", (1, 2, 5, 4), 2, (3, 2), 1),
    pool("window_sum", "rounded up", "lp_pool2d", (2, 3, 5), 2, 2, ceil_mode=True),
    pool("window_sum", "power 3", "lp_pool2d", positive(1, 1, 4, 4), 3.0, 2),
    pool("take_winners", "infinite power", "lp_pool2d", (1, 1, 4, 5), float("inf"), 2),
    pool("take_winners", "power -inf", "lp_pool1d", (1, 1, 5), -float("inf"), 2),
    pool("window_sum", "power 1.5", "lp_pool1d", positive(2, 2, 5), 1.5, 2, 1),
    pool("window_sum", "volume", "lp_pool3d", (1, 1, 2, 3, 4), 2, 2, 1),
    pool("weighted_sums", "uneven bins", "adaptive_avg_pool2d", (1, 2, 5, 4), (2, 3)),
    pool("weighted_sums", "more bins than pixels", "adaptive_avg_pool2d", (1, 1, 2, 3), (3, 5)),
    pool("window_sum", "of one side", "adaptive_avg_pool2d", (1, 1, 3, 4), (None, 2)),
    pool("weighted_sums", "of one image", "adaptive_avg_pool2d", (2, 3, 4), 2),
    pool("sum", "to one", "adaptive_avg_pool2d", (2, 2, 3, 2), 1),
    pool("weighted_sums", "uneven bins", "adaptive_avg_pool1d", (2, 2, 5), 3),
    pool("window_sum", "even bins", "adaptive_avg_pool1d", (2, 6), 3),
    pool("weighted_sums", "uneven bins", "adaptive_avg_pool3d", (1, 1, 3, 5, 4), (2, 3, None)),
    pool("sum", "to one", "adaptive_avg_pool3d", (2, 2, 3, 2), 1),
    pool("take_winners", "uneven bins", "adaptive_max_pool2d", (1, 2, 5, 4), (2, 3)),
    pool("take_winners", "more bins than pixels", "adaptive_max_pool2d", (1, 1, 2, 3), (3, 5)),
    pool("take_winners", "of one side", "adaptive_max_pool2d", (1, 1, 3, 4), (None, 2)),
    pool("take_winners", "to one, of one image", "adaptive_max_pool2d", (2, 3, 4), 1),
    pool("take_winners", "uneven bins", "adaptive_max_pool1d", (2, 2, 5), 3),
    pool("take_winners", "uneven bins", "adaptive_max_pool3d", (1, 1, 3, 5, 4), (2, 3, None)),
    pool("take_winners", "batch 0", "adaptive_max_pool2d", (0, 2, 5, 4), (2, 3)),
]  # fmt: skip

PLAIN = [
    positions("overlap", "max_pool2d", (2, 2, 5, 4), 3, 2),
    positions("rounded up, padded", "max_pool2d", (2, 4, 6), (3, 2), 2, 1, ceil_mode=True),
    positions("dilated", "max_pool2d", (1, 1, 6, 7), 2, 1, 1, (2, 3)),
    positions("sequence", "max_pool1d", (2, 1, 8), 3, 2, 1, 2, True),
    positions("volume", "max_pool3d", (1, 2, 3, 4, 5), (2, 3, 2), 1, (0, 1, 1)),
    positions("uneven bins", "adaptive_max_pool2d", (1, 2, 5, 4), (2, 3)),
    positions("even bins", "adaptive_max_pool2d", (2, 4, 6), (2, 3)),
    positions("uneven bins", "adaptive_max_pool1d", (2, 5), 3),
    positions("uneven bins", "adaptive_max_pool3d", (1, 1, 3, 5, 4), (2, 3, None)),
]

LAYERS = [
    layer("overlap", lambda nn: nn.MaxPool2d(3, stride=2, padding=1), (2, 2, 5, 4)),
    layer("padding not counted", lambda nn: nn.AvgPool2d(2, padding=1, count_include_pad=False),
          (2, 2, 3, 4)),
    layer("uneven bins", lambda nn: nn.AdaptiveAvgPool2d((2, 3)), (1, 2, 5, 4)),
    layer("default", lambda nn: nn.MaxPool2d(2), (1, 4, 5, 4)),
    layer("by position", lambda nn: nn.MaxPool2d((3, 2), (2, 1), 1, 1, ceil_mode=True),
          (1, 4, 5, 4)),
    layer("dilated", lambda nn: nn.MaxPool2d(2, 1, dilation=2), (1, 4, 5, 4)),
    layer("default", lambda nn: nn.AvgPool2d(2), (1, 4, 5, 4)),
    layer("by position", lambda nn: nn.AvgPool2d(3, 2, 1, True, False), (1, 4, 5, 4)),
    layer("divisor", lambda nn: nn.AvgPool2d(2, divisor_override=3), (1, 4, 5, 4)),
    layer("1", lambda nn: nn.AdaptiveAvgPool2d(1), (1, 4, 5, 4)),
    layer("pair", lambda nn: nn.AdaptiveAvgPool2d((3, None)), (1, 4, 5, 4)),
    layer("all settings", lambda nn: nn.MaxPool1d(3, 2, 1, 2, False, True), (1, 2, 8)),
    layer("volume", lambda nn: nn.MaxPool3d((1, 2, 2), stride=1), (1, 1, 2, 3, 4)),
    layer("all settings", lambda nn: nn.AvgPool1d(3, 2, 1, True, False), (1, 2, 8)),
    layer("volume", lambda nn: nn.AvgPool3d((1, 2, 2), 1, divisor_override=3), (1, 1, 2, 3, 4)),
    layer("sequence", lambda nn: nn.LPPool1d(2, 3, stride=2), (1, 2, 8)),
    layer("rounded up", lambda nn: nn.LPPool2d(2.0, (2, 3), ceil_mode=True), (1, 1, 3, 5)),
    layer("volume", lambda nn: nn.LPPool3d(2, 2), (1, 1, 2, 2, 4)),
    layer("uneven bins", lambda nn: nn.AdaptiveAvgPool1d(3), (2, 1, 5)),
    layer("uneven bins", lambda nn: nn.AdaptiveAvgPool3d((2, None, 3)), (1, 1, 3, 2, 4)),
    layer("uneven bins", lambda nn: nn.AdaptiveMaxPool1d(3), (2, 1, 5)),
    layer("uneven bins", lambda nn: nn.AdaptiveMaxPool2d((2, 3)), (1, 2, 5, 4)),
    layer("uneven bins", lambda nn: nn.AdaptiveMaxPool3d((2, None, 3)), (1, 1, 3, 2, 4)),
    layer("given positions", lambda nn: nn.MaxUnpool1d(2), (1, 1, 3), np.array([[[1, 3, 4]]])),
    layer("given positions", lambda nn: nn.MaxUnpool2d((1, 2)), (1, 2, 2),
          np.array([[[1, 2], [4, 7]]])),
    layer("given positions", lambda nn: nn.MaxUnpool3d(2), (1, 1, 1, 2), np.array([[[[3, 5]]]])),
    layer("overlap", lambda nn: nn.MinPool1d(3, 2), (1, 2, 8), torch=False),
    layer("overlap", lambda nn: nn.MinPool2d(3, 2, 1), (1, 2, 5, 4), torch=False),
    layer("overlap", lambda nn: nn.MinPool3d(2, 1), (1, 1, 3, 2, 3), torch=False),
    layer("overlap", lambda nn: nn.MedianPool1d(3, 2), (1, 2, 8), torch=False),
    layer("overlap", lambda nn: nn.MedianPool2d(3, 2, 1), (1, 2, 5, 4), torch=False),
    layer("overlap", lambda nn: nn.MedianPool3d(2, 1), (1, 1, 3, 2, 3), torch=False),
]  # fmt: skip
