"""Rows for `minicnn.ops.pooling`."""

from __future__ import annotations

import numpy as np

from minicnn.ops.pooling import (
    route_to_winners,
    take_winners,
    window_spread,
    window_sum,
)
from minicnn.testing.cases.case import Case, functional, layer
from minicnn_kernels.geometry import Windows

POOLED = Windows((4, 5), (3, 2), (2, 1), (1, 1))
WINNER = np.random.default_rng(3).integers(1, 6, (2, 1, *POOLED.output)).astype(np.uint8)

ROWS = [
    functional("take_winners", "tiles", "max_pool2d", (1, 2, 4, 6), kernel_size=2),
    functional("take_winners", "overlap", "max_pool2d", (1, 1, 5, 4), kernel_size=3, stride=1),
    functional("take_winners", "oblong", "max_pool2d", (2, 1, 4, 5), kernel_size=(2, 3), stride=(1, 2)),
    functional("take_winners", "padded", "max_pool2d", (1, 2, 5, 4), kernel_size=3, stride=2, padding=1),
    functional("take_winners", "stride larger than the kernel", "max_pool2d", (1, 1, 6, 7),
          kernel_size=2, stride=3),
    functional("take_winners", "dilated", "max_pool2d", (1, 1, 4, 5),
          kernel_size=2, stride=1, padding=1, dilation=(2, 3)),
    functional("take_winners", "rounded up", "max_pool2d", (1, 1, 5, 3), kernel_size=2, ceil_mode=True),
    functional("take_winners", "rounded up, padded", "max_pool2d", (1, 1, 4, 6),
          kernel_size=3, stride=2, padding=1, ceil_mode=True),
    functional("take_winners", "one image", "max_pool2d", (2, 3, 4), kernel_size=2),
    functional("take_winners", "one by one", "max_pool2d", (1, 2, 2, 3), kernel_size=1),
    functional("take_winners", "batch 0", "max_pool2d", (0, 2, 4, 4), kernel_size=2),
    Case("take_winners", "given winners", lambda x: take_winners(x, WINNER, POOLED),
         ((2, 1, 4, 5),)),
    Case("route_to_winners", "given winners", lambda dy: route_to_winners(dy, WINNER, POOLED),
         (WINNER.shape,)),
    functional("window_sum", "tiles", "avg_pool2d", (1, 2, 4, 6), kernel_size=2),
    functional("window_sum", "overlap", "avg_pool2d", (1, 1, 5, 4), kernel_size=3, stride=1),
    functional("window_sum", "oblong", "avg_pool2d", (2, 1, 4, 5), kernel_size=(2, 3), stride=(1, 2)),
    functional("window_sum", "padded", "avg_pool2d", (1, 2, 5, 4), kernel_size=3, stride=2, padding=1),
    functional("window_sum", "padding not counted", "avg_pool2d", (1, 2, 5, 4),
          kernel_size=3, stride=2, padding=1, count_include_pad=False),
    functional("window_sum", "stride larger than the kernel", "avg_pool2d", (1, 1, 6, 7),
          kernel_size=2, stride=3),
    functional("window_sum", "rounded up", "avg_pool2d", (1, 1, 4, 5),
          kernel_size=(3, 2), stride=2, padding=1, ceil_mode=True),
    functional("window_sum", "rounded up, padding not counted", "avg_pool2d", (1, 1, 4, 6),
          kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    functional("window_sum", "given divisor", "avg_pool2d", (1, 1, 4, 5),
          kernel_size=2, divisor_override=3),
    functional("window_sum", "one image", "avg_pool2d", (2, 3, 4), kernel_size=2),
    functional("window_sum", "batch 0", "avg_pool2d", (0, 2, 4, 4), kernel_size=2),
    Case("window_sum", "plain sums", lambda x: window_sum(x, POOLED), ((2, 1, 4, 5),),
         lambda torch, x: torch.nn.functional.avg_pool2d(x, (3, 2), (2, 1), 1, divisor_override=1)),
    Case("window_spread", "overlap and padding", lambda dy: window_spread(dy, POOLED),
         (WINNER.shape,)),
    functional("matrix_product", "adaptive pooling", "adaptive_avg_pool2d", (1, 2, 5, 4),
          output_size=(2, 3)),
    functional("matrix_product", "adaptive pooling, more bins than pixels", "adaptive_avg_pool2d",
          (1, 1, 2, 3), output_size=(3, 5)),
    functional("window_sum", "adaptive pooling of one side", "adaptive_avg_pool2d", (1, 1, 3, 4),
          output_size=(None, 2)),
    functional("matrix_product", "adaptive pooling of one image", "adaptive_avg_pool2d", (2, 3, 4),
          output_size=2),
    functional("sum", "adaptive pooling to one", "adaptive_avg_pool2d", (2, 2, 3, 2), output_size=1),
]  # fmt: skip

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
]  # fmt: skip
