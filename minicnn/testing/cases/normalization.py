"""Rows for `minicnn.ops.normalization`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import minicnn
from minicnn.nn import functional as F
from minicnn.testing.cases.case import Case, Shape, both, functional, layer, positive

AVERAGE, VARIANCE = np.array([0.3, -0.8]), np.array([0.5, 1.7])


def normalized(name: str, *inputs: Shape, eps: float = 1e-5) -> Case:
    """Make a row for batch normalisation in training: x, and scale and shift if there are any."""

    def function(m: Any, x: Any, *scale_and_shift: Any) -> Any:
        return m.nn.functional.batch_norm(x, None, None, *scale_and_shift, training=True, eps=eps)

    return both("normalize_groups", name, function, *inputs, through="batch_norm")


def written_out(torch: Any, y: Any, add: Any) -> Any:
    """Return what `relu=True` and `add` make of y."""
    return torch.relu(y if add is None else y + add)


def rectified(name: str, shape: Shape, *scale_and_shift: Shape, training: bool = True) -> Case:
    """Make a row for batch normalisation with relu; "added" in the name: and with a shortcut."""
    added = "added" in name

    def function(m: Any, x: Any, *tensors: Any) -> Any:
        statistics = [None, None]
        if not training:
            statistics = [m.tensor(v).to(x.dtype) for v in (AVERAGE, VARIANCE)]
        *weights, add = tensors if added else (*tensors, None)
        settings = {"add": add, "relu": True} if m is minicnn else {}
        y = m.nn.functional.batch_norm(x, *statistics, *weights, training=training, **settings)
        return y if m is minicnn else written_out(m, y, add)

    inputs = (shape, *scale_and_shift, *([shape] if added else []))
    op = "normalize_relu" if training else "rescale_relu"
    ours = partial(function, minicnn)
    return Case(op, name, ours, inputs, function, "batch_norm", public=not added)


def standardized(kind: str, name: str, *inputs: Shape) -> Case:
    """Make a row for normalisation with fixed statistics, as in inference."""
    settings = {"use_input_stats": False} if kind == "instance_norm" else {"training": False}

    def function(m: Any, x: Any, *scale_and_shift: Any) -> Any:
        statistics = m.tensor(AVERAGE).to(x.dtype), m.tensor(VARIANCE).to(x.dtype)
        return getattr(m.nn.functional, kind)(x, *statistics, *scale_and_shift, **settings)

    return both("rescale_groups", name, function, *inputs, through=kind)


def by_instance(name: str, *inputs: Shape) -> Case:
    """Make a row for instance normalisation: x, and scale and shift if there are any."""

    def function(m: Any, x: Any, *scale_and_shift: Any) -> Any:
        return m.nn.functional.instance_norm(x, None, None, *scale_and_shift)

    return both("normalize_groups", name, function, *inputs, through="instance_norm")


def last(kind: str, name: str, shape: Shape, *inputs: Shape, **settings: Any) -> Case:
    """Make a row for `layer_norm` or `rms_norm` over the last dimensions `shape`."""

    def function(m: Any, x: Any, *scale_and_shift: Any) -> Any:
        return getattr(m.nn.functional, kind)(x, shape, *scale_and_shift, **settings)

    return both("normalize_groups", name, function, *inputs, through=kind)


def grouped(name: str, groups: int, *inputs: Shape) -> Case:
    """Make a row for group normalisation: x, and scale and shift if there are any."""

    def function(m: Any, x: Any, *scale_and_shift: Any) -> Any:
        return m.nn.functional.group_norm(x, groups, *scale_and_shift)

    return both("normalize_groups", name, function, *inputs, through="group_norm")


def by_neighbours(name: str, shape: Shape, **settings: Any) -> Case:
    """Make a row for local response normalisation."""
    return functional("neighbour_sum", name, "local_response_norm", shape, **settings)


ROWS = [
    normalized("images", (2, 2, 2, 3), positive(2), (2,)),
    normalized("rows", (4, 3), positive(3), (3,)),
    normalized("sequences", (2, 2, 3), (2,), (2,), eps=0.1),
    normalized("volumes", (2, 2, 1, 2, 3), (2,), (2,)),
    normalized("one image", (1, 2, 2, 3), (2,), (2,)),
    normalized("without shift", (2, 2, 2, 1), (2,)),
    normalized("without scale and shift", (3, 2, 1, 1)),
    standardized("batch_norm", "batch norm at inference", (2, 2, 2, 1), (2,), (2,)),
    standardized("batch_norm", "batch norm at inference, one row", (1, 2), (2,)),
    rectified("rectified images", (2, 2, 2, 3), positive(2), (2,)),
    rectified("rectified rows", (4, 3), (3,)),
    rectified("rectified, added", (2, 2, 2, 3), positive(2), (2,)),
    rectified("rectified volumes, added", (2, 2, 1, 2, 3)),
    rectified("rectified at inference", (2, 2, 2, 1), (2,), (2,), training=False),
    rectified("rectified at inference, added", (1, 2, 3), training=False),
    by_instance("instances: images", (2, 2, 4, 2), positive(2), (2,)),
    by_instance("instances: sequences", (3, 2, 4), (2,)),
    by_instance("instances: volumes", (1, 2, 2, 1, 3)),
    standardized("instance_norm", "instances with fixed statistics", (2, 2, 3), (2,), (2,)),
    last("layer_norm", "layer: words", (4,), (2, 3, 4), positive(4), (4,)),
    last("layer_norm", "layer: images", (2, 1, 3), (2, 2, 1, 3), (2, 1, 3), (2, 1, 3), eps=0.1),
    last("layer_norm", "layer: one row", (5,), (5,), (5,)),
    last("layer_norm", "layer: without scale and shift", (2, 3), (2, 2, 3)),
    last("layer_norm", "layer: one value", (1,), (3, 1), (1,), (1,)),
    last("layer_norm", "layer: batch 0", (3,), (0, 3), (3,), (3,)),
    grouped("groups: images", 2, (2, 4, 2, 3), positive(4), (4,)),
    grouped("groups: three", 3, (2, 3, 2, 1), (3,)),
    grouped("groups: one", 1, (2, 3, 4), (3,), (3,)),
    grouped("groups: rows", 2, (3, 4)),
    grouped("groups: batch 0", 2, (0, 4, 3), (4,), (4,)),
    last("rms_norm", "root mean square: words", (4,), (2, 3, 4), (4,)),
    last("rms_norm", "root mean square: images", (2, 3), (2, 2, 3), (2, 3), eps=0.1),
    last("rms_norm", "root mean square: no scale", (3,), (2, 3)),
    last("rms_norm", "root mean square: batch 0", (3,), (0, 3), (3,)),
    by_neighbours("odd", (2, 5, 2, 3), size=3, alpha=0.7, beta=0.6, k=0.8),
    by_neighbours("even", (1, 4, 3), size=4, alpha=0.7),
    by_neighbours("itself", (2, 3, 2), size=1, alpha=0.9, k=0.5),
    by_neighbours("wider than the channels", (2, 2, 2, 1, 2), size=7, alpha=1.5, beta=1.0),
    Case("neighbour_sum", "convention of the paper",
         lambda x: F.local_response_norm(x, 3, 0.7, 0.6, 0.8, average=False), ((2, 5, 2, 3),),
         lambda torch, x: torch.nn.functional.local_response_norm(x, 3, 3 * 0.7, 0.6, 0.8)),
]  # fmt: skip

LAYERS = [
    layer("in training", lambda nn: nn.BatchNorm2d(2), (3, 2, 2, 3)),
    layer("in evaluation", lambda nn: nn.BatchNorm2d(2).eval(), (3, 2, 2, 3)),
    layer("mean over all batches", lambda nn: nn.BatchNorm2d(2, momentum=None), (3, 2, 2, 3)),
    layer("images", lambda nn: nn.BatchNorm2d(4), (1, 4, 5, 4)),
    layer("not affine", lambda nn: nn.BatchNorm2d(4, affine=False), (1, 4, 5, 4)),
    layer("no average", lambda nn: nn.BatchNorm2d(4, track_running_stats=False), (1, 4, 5, 4)),
    layer("by position", lambda nn: nn.BatchNorm2d(4, 0.1, None, True, True), (1, 4, 5, 4)),
    layer("rows", lambda nn: nn.BatchNorm1d(3), (4, 3)),
    layer("sequences", lambda nn: nn.BatchNorm1d(3, momentum=0.3, bias=False), (2, 3, 5)),
    layer("volumes", lambda nn: nn.BatchNorm3d(2, eps=0.1), (2, 2, 2, 1, 3)),
    layer("sequences", lambda nn: nn.InstanceNorm1d(3), (2, 3, 4)),
    layer("a sequence", lambda nn: nn.InstanceNorm1d(3, affine=True), (3, 4)),
    layer("images", lambda nn: nn.InstanceNorm2d(2, affine=True), (3, 2, 2, 3)),
    layer("average", lambda nn: nn.InstanceNorm2d(2, 0.1, 0.3, True, True), (3, 2, 2, 3)),
    layer("one image", lambda nn: nn.InstanceNorm2d(2, track_running_stats=True), (2, 2, 3)),
    layer("volumes", lambda nn: nn.InstanceNorm3d(2, affine=True, bias=False), (2, 2, 2, 1, 3)),
    layer("a volume", lambda nn: nn.InstanceNorm3d(2), (2, 2, 1, 3)),
    layer("words", lambda nn: nn.LayerNorm(4), (2, 3, 4)),
    layer("images", lambda nn: nn.LayerNorm((2, 3), 0.1), (4, 2, 3)),
    layer("no shift", lambda nn: nn.LayerNorm([4], bias=False), (3, 4)),
    layer("not affine", lambda nn: nn.LayerNorm(4, elementwise_affine=False), (3, 4)),
    layer("images", lambda nn: nn.GroupNorm(2, 4), (2, 4, 3, 2)),
    layer("rows", lambda nn: nn.GroupNorm(3, 6, 0.1, bias=False), (2, 6)),
    layer("not affine", lambda nn: nn.GroupNorm(1, 4, affine=False), (2, 4, 3)),
    layer("words", lambda nn: nn.RMSNorm(4), (2, 3, 4)),
    layer("images", lambda nn: nn.RMSNorm((2, 3), 0.1, False), (4, 2, 3)),
    layer("five", lambda nn: nn.LocalResponseNorm(5), (2, 7, 3, 2)),
    layer("two", lambda nn: nn.LocalResponseNorm(2, 0.5, 0.6, 2.0), (2, 3, 4)),
    layer("paper", lambda nn: nn.LocalResponseNorm(5, k=2, average=False), (2, 7, 3), torch=False),
]  # fmt: skip
