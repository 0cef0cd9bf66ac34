"""The same work done by PyTorch.  Only the worker process calls these functions.

The variant "torch" has its arrays in PyTorch's usual order, "torch-cl" in `channels_last`, which
oneDNN convolves without putting it in another order first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from minicnn.bench import model
from minicnn.bench.conv import ConvWork
from minicnn.bench.gemm import GemmWork
from minicnn.bench.model import ModelWork, Net
from minicnn.bench.pool import PoolWork
from minicnn.bench.station import Built
from minicnn.bench.work import Operands, Work
from minicnn.models import in_torch
from minicnn_kernels.precision import math_mode

Calls: TypeAlias = list[Callable[[], Any]]
Placed: TypeAlias = Callable[[Any], Any]


def facts() -> dict[str, str]:
    """Return the versions of PyTorch and of the library that computes its convolutions."""
    import torch

    found = re.search(r"(?:MKL-DNN|oneDNN) v([\d.]+)", torch.__config__.show())
    versions = {"torch": torch.__version__, "oneDNN": found[1] if found else "none"}
    if torch.cuda.is_available():
        allowed = multiply_as(math_mode.get())
        versions["cuDNN"] = f"{torch.backends.cudnn.version()}, fastest found, {allowed}"
    return versions


def multiply_as(mode: str) -> str:
    """Let PyTorch compute on a card as our math mode says, and return how.

    Its defaults differ: convolutions may round to TF32, products of matrices may not.
    """
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = mode != "fp32"
    return {"fp32": "no TF32", "tf32": "TF32", "bf16": "arrays of bfloat16"}[mode]


def build(variant: str, device: str, work: Work, operands: Operands) -> Built:
    """Return PyTorch's call for a work."""
    import torch

    if isinstance(work, ModelWork):
        return model_built(variant, device, work, operands)

    rounded = device != "cpu" and math_mode.get() == "bf16"

    def placed(tensor: Any) -> Any:
        there = in_format(tensor, variant).to(device)
        return there.bfloat16() if rounded else there

    tensors = {name: placed(torch.from_numpy(array)) for name, array in operands.items()}
    calls = BUILDERS[work.problem.kind](work, tensors, placed)

    def call() -> list[Any]:
        with torch.inference_mode():
            results = [call() for call in calls]
        if device != "cpu":
            torch.cuda.synchronize()
        return results

    def fetch(results: Any) -> list[Any]:
        return [result.float().cpu().numpy() for result in results]

    return Built(call, [variant] * len(calls), fetch)


def in_format(tensor: Any, variant: str) -> Any:
    """Put a tensor into the memory order of the variant."""
    import torch

    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    if variant == "torch-cl" and tensor.ndim in orders:
        return tensor.contiguous(memory_format=orders[tensor.ndim])
    return tensor


def conv_calls(work: ConvWork, tensors: dict[str, Any], placed: Placed) -> Calls:
    """Forward as `conv2d`; the gradients as autograd calls them."""
    import torch

    problem = work.problem
    stride, padding, dilation = problem.stride, problem.padding, problem.dilation
    nothing = [0] * len(stride)
    forward = (torch.conv1d, torch.conv2d, torch.conv3d)[len(stride) - 1]
    x, w = (  # a gradient does not read both, but looks at the shape and order of both
        tensors[name] if name in tensors else placed(torch.empty(shape))
        for name, shape in (("x", problem.x_shape), ("w", problem.w_shape))
    )

    def gradient(wanted: int) -> Any:
        return torch.ops.aten.convolution_backward(
            tensors["dy"], x, w, None, stride, padding, dilation, False, nothing, problem.groups,
            [place == wanted for place in range(3)],
        )[wanted]  # fmt: skip

    calls: dict[str, Callable[[], Any]] = {
        "fwd": lambda: forward(x, w, None, stride, padding, dilation, problem.groups),
        "bwd_d": partial(gradient, 0),
        "bwd_w": partial(gradient, 1),
    }
    return [calls[part] for part in work.parts]


def gemm_calls(work: GemmWork, tensors: dict[str, Any], placed: Placed) -> Calls:
    """Multiply the same matrices, the transposed ones by their strides."""
    import torch

    return [partial(torch.matmul, *work.factors(part, tensors)) for part in work.parts]


def pool_calls(work: PoolWork, tensors: dict[str, Any], placed: Placed) -> Calls:
    """Pool forward, or let autograd go back through it."""
    import torch

    problem, (name, _, backward) = work.problem, work.direction.partition("_")
    settings: dict[str, Any] = {"stride": problem.stride, "padding": problem.padding}
    if name == "max":
        settings["dilation"] = problem.dilation
    pool = getattr(torch.nn.functional, f"{name}_pool{len(problem.image)}d")
    forward = partial(pool, kernel_size=problem.kernel, **settings)
    if not backward:
        return [partial(forward, tensors["x"])]
    shape = (problem.batch, problem.in_channels, *problem.image)
    x = tensors["x"] if "x" in tensors else placed(torch.empty(shape))
    y = forward(x.requires_grad_())
    return [lambda: torch.autograd.grad(y, x, tensors["dy"], retain_graph=True)[0]]


def model_built(variant: str, device: str, work: ModelWork, operands: Operands) -> Built:
    """Build the network from PyTorch's layers, with the same weights."""
    import torch
    from torch.fx.experimental import optimization

    problem = work.problem
    net = in_torch.create(problem.model, **model.SETTINGS.get(problem.model, {}))
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    drawn = model.weights(shapes)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in drawn.items()})
    order = torch.channels_last if variant == "torch-cl" else torch.contiguous_format
    net = net.to(device, memory_format=order)
    x, labels = (torch.from_numpy(operands[name]).to(device) for name in ("x", "labels"))

    def fold(net: Any, x: Any) -> Any:
        return optimization.fuse(net).to(memory_format=order)

    wait = torch.cuda.synchronize if device != "cpu" else None
    return model.built(Net(torch, net, in_format(x, variant), labels, fold, wait), work, variant)


BUILDERS: dict[str, Callable[[Any, dict[str, Any], Placed], Calls]] = {
    "conv": conv_calls,
    "gemm": gemm_calls,
    "pool": pool_calls,
}
