"""Time every operator against PyTorch at one input of a convolutional network's size, side by side.

Each library runs in a process of its own, so that thread pools do not meet; for every operator the
two take turns, so that a busy moment of the machine hits both.  float32; the figures are ratios of
minima, minicnn's time over PyTorch's: 1 is as fast, 2 is twice as slow.  "backward" is the time of
forward and backward together, the gradient of a sum.

    python benchmarks/ops.py [--threads 2] [--only conv,pool] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

TURNS, SECONDS_A_TURN = 5, 0.04

IMAGES = (16, 64, 28, 28)
MATRIX = (256, 1024)


class Positive(tuple):
    """A shape whose values lie in [0.1, 0.9]."""


class Integers:
    """Whole numbers below `high`."""

    def __init__(self, shape: tuple[int, ...], high: int, floating: bool = False) -> None:
        self.shape, self.high, self.floating = shape, high, floating


def elementwise() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """One tensor or two of the images' shape, element by element."""
    unary = (
        "abs", "atan", "ceil", "cos", "cosh", "deg2rad", "erf", "erfc", "exp", "exp2", "expm1",
        "floor", "frac", "isfinite", "isnan", "lgamma", "digamma", "logical_not", "nan_to_num",
        "neg", "relu", "round", "sigmoid", "sign", "sin", "sinc", "sinh", "square", "tan", "tanh",
        "trunc",
    )  # fmt: skip
    for name in unary:
        yield name, lambda m, x, name=name: getattr(m, name)(x), (IMAGES,)
    for name in (
        "log", "log1p", "log2", "log10", "sqrt", "rsqrt", "reciprocal", "logit", "asin", "acos",
        "atanh", "erfinv",
    ):  # fmt: skip
        yield name, lambda m, x, name=name: getattr(m, name)(x), (Positive(IMAGES),)
    for name in (
        "add", "sub", "mul", "div", "maximum", "minimum", "atan2", "hypot", "logaddexp", "eq", "lt",
        "copysign", "fmax", "fmod", "remainder",
    ):  # fmt: skip
        yield name, lambda m, a, b, name=name: getattr(m, name)(a, b), (IMAGES, Positive(IMAGES))
    yield "pow 2", lambda m, x: x**2, (IMAGES,)
    yield "pow 0.5", lambda m, x: x**0.5, (Positive(IMAGES),)
    yield "pow of tensors", lambda m, a, b: a**b, (Positive(IMAGES), Positive(IMAGES))
    yield "add a channel's bias", lambda m, a, b: a + b, (IMAGES, (64, 1, 1))
    yield "clamp", lambda m, x: m.clamp(x, -0.5, 0.5), (IMAGES,)
    yield "where", lambda m, a, b: m.where(a > 0, a, b), (IMAGES, IMAGES)
    yield "lerp", lambda m, a, b: m.lerp(a, b, 0.3), (IMAGES, IMAGES)
    yield "addcmul", lambda m, a, b, c: m.addcmul(a, b, c), (IMAGES, IMAGES, IMAGES)
    for name in (
        "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardsigmoid",
        "logsigmoid", "hardtanh", "hardswish", "softplus", "softsign", "softshrink", "hardshrink",
        "tanhshrink",
    ):  # fmt: skip
        yield name, lambda m, x, name=name: getattr(m.nn.functional, name)(x), (IMAGES,)
    yield "gelu tanh", lambda m, x: m.nn.functional.gelu(x, approximate="tanh"), (IMAGES,)
    yield "prelu", lambda m, x, w: m.nn.functional.prelu(x, w), (IMAGES, (64,))
    yield "rrelu", lambda m, x: m.nn.functional.rrelu(x, training=True), (IMAGES,)
    yield "threshold", lambda m, x: m.nn.functional.threshold(x, 0.1, -1.0), (IMAGES,)
    yield "glu", lambda m, x: m.nn.functional.glu(x, 1), (IMAGES,)
    for name in ("softmax", "log_softmax", "softmin"):
        yield f"{name} of rows", lambda m, x, n=name: getattr(m.nn.functional, n)(x, 1), (MATRIX,)
        yield f"{name} of pixels", lambda m, x, n=name: getattr(m.nn.functional, n)(x, 1), (IMAGES,)


def reductions() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Many values to one, and products."""
    for name in ("sum", "mean", "var", "std", "amax", "amin", "logsumexp"):
        yield f"{name} of pixels", lambda m, x, k=name: getattr(m, k)(x, (2, 3)), (IMAGES,)
        yield f"{name} of channels", lambda m, x, k=name: getattr(m, k)(x, 1), (IMAGES,)
    yield "prod", lambda m, x: m.prod(x, 1), (IMAGES,)
    for name in ("max", "min", "median"):
        yield f"{name} along", lambda m, x, n=name: getattr(m, n)(x, 1)[0], (IMAGES,)
    for name in ("argmax", "all", "any", "count_nonzero"):
        yield name, lambda m, x, n=name: getattr(m, n)(x, 1), (IMAGES,)
    yield "norm", lambda m, x: m.norm(x, dim=1), (IMAGES,)
    yield "normalize", lambda m, x: m.nn.functional.normalize(x), (IMAGES,)
    yield "matmul", lambda m, a, b: m.matmul(a, b), (MATRIX, (1024, 512))
    yield "bmm", lambda m, a, b: m.bmm(a, b), ((32, 64, 128), (32, 128, 64))
    yield "einsum", lambda m, a, b: m.einsum("nchw,cd->ndhw", a, b), (IMAGES, (64, 32))
    yield "linear", lambda m, *t: m.nn.functional.linear(*t), (MATRIX, (512, 1024), (512,))
    yield "bilinear", lambda m, *t: m.nn.functional.bilinear(*t), ((64, 32), (64, 48), (16, 32, 48))
    yield "embedding", lambda m, w, i: m.nn.functional.embedding(i, w), (
        (5000, 128), Integers((64, 64), 5000))  # fmt: skip
    yield "outer", lambda m, a, b: m.outer(a, b), ((1024,), (1024,))
    yield "dot", lambda m, a, b: m.dot(a, b), ((2**20,), (2**20,))


def arrangements() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """The same values elsewhere: shapes, positions, sorting, resampling."""
    yield "cat", lambda m, a, b: m.cat([a, b], 1), (IMAGES, IMAGES)
    yield "stack", lambda m, a, b: m.stack([a, b]), (IMAGES, IMAGES)
    yield "split", lambda m, x: m.split(x, 16, 1)[1], (IMAGES,)
    yield "transposed copy", lambda m, x: x.transpose(1, 3) * 1, (IMAGES,)
    yield "flip", lambda m, x: m.flip(x, (2, 3)), (IMAGES,)
    yield "roll", lambda m, x: m.roll(x, (3, 2), (2, 3)), (IMAGES,)
    yield "rot90", lambda m, x: m.rot90(x, 1, (2, 3)), (IMAGES,)
    yield "tile", lambda m, x: m.tile(x, (2, 1, 1, 1)), (IMAGES,)
    yield "repeat_interleave", lambda m, x: m.repeat_interleave(x, 2, 3), (IMAGES,)
    yield "tril", lambda m, x: m.tril(x), (IMAGES,)
    yield "diagonal", lambda m, x: m.diagonal(x, 0, 2, 3), (IMAGES,)
    yield "index a channel", lambda m, x: x[:, 3], (IMAGES,)
    yield "index by a mask", lambda m, x: x[x > 0], (IMAGES,)
    yield "index_select", lambda m, x, i: m.index_select(x, 1, i), (IMAGES, Integers((48,), 64))
    yield "gather", lambda m, x, i: m.gather(x, 1, i), (IMAGES, Integers((16, 8, 28, 28), 64))
    yield "scatter_add", lambda m, x, i, s: m.scatter_add(x, 1, i, s), (
        IMAGES, Integers((16, 8, 28, 28), 64), (16, 8, 28, 28))  # fmt: skip
    yield "index_add", lambda m, x, i, s: m.index_add(x, 0, i, s), (
        MATRIX, Integers((512,), 256), (512, 1024))  # fmt: skip
    yield "take_along_dim", lambda m, x, i: m.take_along_dim(x, i, 1), (
        IMAGES, Integers((16, 8, 28, 28), 64))  # fmt: skip
    yield "masked_fill", lambda m, x: x.masked_fill(x > 0, 1.5), (IMAGES,)
    yield "masked_select", lambda m, x: m.masked_select(x, x > 0), (IMAGES,)
    yield "nonzero", lambda m, x: m.nonzero(x > 0), (IMAGES,)
    yield "one_hot", lambda m, i: m.nn.functional.one_hot(i, 100), (Integers((16, 784), 100),)
    yield "sort", lambda m, x: m.sort(x, 1)[0], (MATRIX,)
    yield "argsort", lambda m, x: m.argsort(x, 1), (MATRIX,)
    yield "topk", lambda m, x: m.topk(x, 5, 1)[0], (MATRIX,)
    yield "cumsum", lambda m, x: m.cumsum(x, 1), (IMAGES,)
    yield "cumprod", lambda m, x: m.cumprod(x, 1), (Positive(IMAGES),)
    for mode in ("constant", "reflect", "replicate", "circular"):
        yield f"pad {mode}", lambda m, x, o=mode: m.nn.functional.pad(x, (1, 2, 2, 1), o), (IMAGES,)
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
        yield f"interpolate {mode}", lambda m, x, o=mode: m.nn.functional.interpolate(
            x, scale_factor=2, mode=o), (IMAGES,)  # fmt: skip
    yield "interpolate linear", lambda m, x: m.nn.functional.interpolate(
        x, scale_factor=2, mode="linear"), ((16, 64, 784),)  # fmt: skip
    yield "interpolate trilinear", lambda m, x: m.nn.functional.interpolate(
        x, scale_factor=2, mode="trilinear"), ((4, 16, 8, 14, 14),)  # fmt: skip
    yield "affine_grid", lambda m, t: m.nn.functional.affine_grid(
        t, (16, 64, 28, 28), align_corners=False), ((16, 2, 3),)  # fmt: skip
    for mode in ("bilinear", "nearest", "bicubic"):
        yield f"grid_sample {mode}", lambda m, x, g, o=mode: m.nn.functional.grid_sample(
            x, g, mode=o, align_corners=False), (IMAGES, (16, 28, 28, 2))  # fmt: skip
    yield "pixel_shuffle", lambda m, x: m.nn.functional.pixel_shuffle(x, 2), (IMAGES,)
    yield "pixel_unshuffle", lambda m, x: m.nn.functional.pixel_unshuffle(x, 2), (IMAGES,)


def convolutions() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Convolution, pooling, normalisation, dropout."""

    def conv(kind: str, x: Any, w: Any, **settings: Any) -> Any:
        return lambda m, x, w, b: getattr(m.nn.functional, kind)(x, w, b, **settings), (
            x,
            w,
            (w[0],),
        )

    for name, (function, shapes) in {
        "conv1d 3": conv("conv1d", (16, 64, 784), (64, 64, 3), padding=1),
        "conv2d 3x3": conv("conv2d", IMAGES, (64, 64, 3, 3), padding=1),
        "conv2d 1x1": conv("conv2d", IMAGES, (128, 64, 1, 1)),
        "conv2d 3x3, stride 2": conv("conv2d", IMAGES, (128, 64, 3, 3), padding=1, stride=2),
        "conv2d 7x7, stride 2": conv(
            "conv2d", (8, 3, 112, 112), (64, 3, 7, 7), padding=3, stride=2
        ),
        "conv2d dilated": conv("conv2d", IMAGES, (64, 64, 3, 3), padding=2, dilation=2),
        "conv2d depthwise": conv("conv2d", IMAGES, (64, 1, 3, 3), padding=1, groups=64),
        "conv2d 32 groups": conv("conv2d", (8, 128, 28, 28), (128, 4, 3, 3), padding=1, groups=32),
        "conv3d 3x3x3": conv("conv3d", (2, 16, 8, 28, 28), (16, 16, 3, 3, 3), padding=1),
    }.items():
        yield name, function, shapes
    for name, kind, x, w, settings in (
        ("conv_transpose1d", "conv_transpose1d", (16, 64, 392), (64, 32, 4), {}),
        ("conv_transpose2d", "conv_transpose2d", (16, 64, 14, 14), (64, 32, 4, 4), {"padding": 1}),
        ("conv_transpose3d", "conv_transpose3d", (2, 16, 4, 14, 14), (16, 8, 2, 2, 2), {}),
    ):
        yield name, lambda m, x, w, k=kind, s=settings: getattr(m.nn.functional, k)(
            x, w, stride=2, **s), (x, w)  # fmt: skip
    yield "unfold", lambda m, x: m.nn.functional.unfold(x, 3, padding=1), (IMAGES,)
    yield "fold", lambda m, x: m.nn.functional.fold(x, (28, 28), 3, padding=1), ((16, 144, 784),)
    volume, sequence = (4, 16, 8, 28, 28), (16, 64, 784)
    for n, x in ((1, sequence), (2, IMAGES), (3, volume)):
        for name, given in (("max_pool", (3, 2, 1)), ("avg_pool", (2,)), ("lp_pool", (2, 2)),
                            ("adaptive_avg_pool", (5,)), ("adaptive_max_pool", (5,))):  # fmt: skip
            yield f"{name}{n}d", lambda m, x, k=f"{name}{n}d", g=given: getattr(
                m.nn.functional, k)(x, *g), (x,)  # fmt: skip

    def unpooled(m: Any, x: Any) -> Any:
        y, indices = m.nn.functional.max_pool2d(x, 2, return_indices=True)
        return m.nn.functional.max_unpool2d(y, indices, 2)

    yield "max_pool2d and max_unpool2d", unpooled, (IMAGES,)
    yield "global average", lambda m, x: m.nn.functional.adaptive_avg_pool2d(x, 1), (IMAGES,)
    yield "batch_norm training", lambda m, x, w, b: m.nn.functional.batch_norm(
        x, None, None, w, b, True), (IMAGES, (64,), (64,))  # fmt: skip
    yield "batch_norm inference", lambda m, x, w, b: m.nn.functional.batch_norm(
        x, w.detach(), w.detach().abs(), w, b), (IMAGES, (64,), (64,))  # fmt: skip
    yield "layer_norm", lambda m, x, w, b: m.nn.functional.layer_norm(x, (1024,), w, b), (
        MATRIX, (1024,), (1024,))  # fmt: skip
    yield "group_norm", lambda m, x, w, b: m.nn.functional.group_norm(x, 8, w, b), (
        IMAGES, (64,), (64,))  # fmt: skip
    yield "instance_norm", lambda m, x: m.nn.functional.instance_norm(x), (IMAGES,)
    yield "rms_norm", lambda m, x, w: m.nn.functional.rms_norm(x, (1024,), w), (MATRIX, (1024,))
    yield "local_response_norm", lambda m, x: m.nn.functional.local_response_norm(x, 5), (IMAGES,)
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
                 "feature_alpha_dropout"):  # fmt: skip
        shape = {"dropout1d": sequence, "dropout3d": volume}.get(name, IMAGES)
        yield name, lambda m, x, k=name: getattr(m.nn.functional, k)(x, 0.5, True), (shape,)


def losses() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Losses, and recurrent networks."""
    labels = Integers((256,), 1000)
    yield "cross_entropy of rows", lambda m, x, t: m.nn.functional.cross_entropy(x, t), (
        (256, 1000), labels)  # fmt: skip
    yield "cross_entropy smoothed", lambda m, x, t: m.nn.functional.cross_entropy(
        x, t, label_smoothing=0.1), ((256, 1000), labels)  # fmt: skip
    yield "cross_entropy of pixels", lambda m, x, t: m.nn.functional.cross_entropy(x, t), (
        (8, 21, 64, 64), Integers((8, 64, 64), 21))  # fmt: skip
    yield "nll_loss", lambda m, x, t: m.nn.functional.nll_loss(x, t), ((256, 1000), labels)
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div",
                 "soft_margin_loss", "poisson_nll_loss", "multilabel_soft_margin_loss",
                 "binary_cross_entropy_with_logits"):  # fmt: skip
        yield name, lambda m, x, t, k=name: getattr(m.nn.functional, k)(x, t), (
            MATRIX, Integers(MATRIX, 2, floating=True))  # fmt: skip
    yield "binary_cross_entropy", lambda m, x, t: m.nn.functional.binary_cross_entropy(x, t), (
        Positive(MATRIX), Integers(MATRIX, 2, floating=True))  # fmt: skip
    yield "gaussian_nll_loss", lambda m, x, t, v: m.nn.functional.gaussian_nll_loss(x, t, v), (
        MATRIX, MATRIX, Positive(MATRIX))  # fmt: skip
    yield "hinge_embedding_loss", lambda m, x, t: m.nn.functional.hinge_embedding_loss(
        x, 2 * t - 1), (MATRIX, Integers(MATRIX, 2, floating=True))  # fmt: skip
    yield "margin_ranking_loss", lambda m, a, b: m.nn.functional.margin_ranking_loss(
        a, b, m.ones(256, 1024)), (MATRIX, MATRIX)  # fmt: skip
    yield "multi_margin_loss", lambda m, x, t: m.nn.functional.multi_margin_loss(x, t), (
        (256, 1000), labels)  # fmt: skip
    yield "multilabel_margin_loss", lambda m, x, t: m.nn.functional.multilabel_margin_loss(x, t), (
        (64, 40), Integers((64, 40), 40))  # fmt: skip
    yield "triplet_margin_loss", lambda m, *t: m.nn.functional.triplet_margin_loss(*t), (
        MATRIX, MATRIX, MATRIX)  # fmt: skip
    yield "cosine_embedding_loss", lambda m, a, b: m.nn.functional.cosine_embedding_loss(
        a, b, m.ones(256)), (MATRIX, MATRIX)  # fmt: skip
    yield "cosine_similarity", lambda m, a, b: m.nn.functional.cosine_similarity(a, b), (
        MATRIX, MATRIX)  # fmt: skip
    yield "pairwise_distance", lambda m, a, b: m.nn.functional.pairwise_distance(a, b), (
        MATRIX, MATRIX)  # fmt: skip
    yield "ctc_loss", lambda m, x, t: m.nn.functional.ctc_loss(
        m.nn.functional.log_softmax(x, 2), t, (100,) * 16, (20,) * 16), (
        (100, 16, 40), Integers((16, 20), 39))  # fmt: skip
    for kind, gates in (("rnn_tanh_cell", 1), ("gru_cell", 3)):
        yield kind, lambda m, *t, k=kind: getattr(m, k)(*t), (
            (64, 128), (64, 256), (gates * 256, 128), (gates * 256, 256))  # fmt: skip
    yield "lstm_cell", lambda m, x, h, c, *t: m.lstm_cell(x, (h, c), *t)[0], (
        (64, 128), (64, 256), (64, 256), (1024, 128), (1024, 256))  # fmt: skip
    for kind in ("RNN", "LSTM", "GRU"):
        yield f"{kind} over 50 steps", _layer(kind), ((50, 32, 128),)


def _layer(kind: str) -> Callable[[Any, Any], Any]:
    made: dict[str, Any] = {}

    def call(m: Any, x: Any) -> Any:
        if "layer" not in made:
            made["layer"] = getattr(m.nn, kind)(128, 256)
        return made["layer"](x)[0]

    return call


FAMILIES = (elementwise, reductions, arrangements, convolutions, losses)


def table() -> dict[str, tuple[str, Any, tuple[Any, ...]]]:
    """Return every operator by name: its family, the call, and its inputs."""
    return {
        name: (family.__name__, function, inputs)
        for family in FAMILIES
        for name, function, inputs in family()
    }


# --- one library in a process of its own ----------------------------------------------------------


def work(library: str, threads: int) -> None:
    """Answer each name on standard input with the times of one turn, in seconds."""
    warnings.simplefilter("ignore")
    m: Any = __import__(library)
    if library == "torch":
        m.set_num_threads(threads)
    operators, prepared = table(), {}
    for line in sys.stdin:
        name = line.strip()
        try:
            if name not in prepared:
                prepared.clear()
                prepared[name] = prepare(m, *operators[name][1:])
            answer = [None if run is None else best_of_a_turn(run) for run in prepared[name]]
        except Exception as error:
            answer = [f"{type(error).__name__}: {error}"[:200]]
        print(json.dumps(answer), flush=True)


def prepare(m: Any, function: Any, inputs: tuple[Any, ...]) -> list[Callable[[], Any] | None]:
    """Return the forward call and, if there is a gradient, forward and backward."""
    rng = np.random.default_rng(0)
    arrays = [values_of(given, rng) for given in inputs]
    leaves = [
        m.tensor(array, requires_grad=not isinstance(given, Integers))
        for array, given in zip(arrays, inputs, strict=True)
    ]
    plain = [m.tensor(array) for array in arrays]

    def forward() -> Any:
        with m.no_grad():
            return function(m, *plain)

    def backward() -> None:
        for leaf in leaves:
            leaf.grad = None
        function(m, *leaves).sum().backward()

    return [forward, backward if function(m, *leaves).requires_grad else None]


def values_of(given: Any, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    if isinstance(given, Integers):
        values = rng.integers(0, given.high, given.shape)
        return values.astype(np.float32) if given.floating else values
    if isinstance(given, Positive):
        return rng.uniform(0.1, 0.9, given).astype(np.float32)
    return rng.normal(size=given).astype(np.float32)


def best_of_a_turn(run: Callable[[], Any]) -> float:
    best, started = math.inf, time.perf_counter()
    while time.perf_counter() - started < SECONDS_A_TURN:
        before = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - before)
    return best


# --- both, in turns -------------------------------------------------------------------------------


class Worker:
    """A library in a process of its own."""

    def __init__(self, library: str, threads: int) -> None:
        limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), str(threads))
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", library, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **limits},
        )  # fmt: skip

    def turn(self, name: str) -> list[Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        answer: list[Any] = json.loads(self.process.stdout.readline())
        return answer


def compare(names: list[str], threads: int) -> Iterator[tuple[str, list[float | None] | str]]:
    """Yield (name, ratios of forward and of forward and backward), or what went wrong."""
    workers = [Worker(library, threads) for library in ("minicnn", "torch")]
    for name in names:
        turns = [[worker.turn(name) for worker in workers] for _ in range(TURNS)]
        failed = [answer[0] for answer in turns[0] if isinstance(answer[0], str)]
        if failed:
            yield name, failed[0]
            continue
        ratios: list[float | None] = []
        for way in range(2):
            ours, theirs = ([turn[i][way] for turn in turns] for i in range(2))
            ratios.append(None if ours[0] is None else min(ours) / min(theirs))
        yield name, ratios
    for worker in workers:
        worker.process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="parts of names, with commas between")
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.threads)
        return
    parts = options.only.split(",")
    operators = table()
    names = [name for name in operators if any(part in name for part in parts)]
    lines = ["| operator | family | forward | forward and backward |", "|---|---|---|---|"]
    worst: list[float] = []
    for name, ratios in compare(names, options.threads):
        if isinstance(ratios, str):
            cells = [ratios, ""]
        else:
            cells = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
            worst.append(max(ratio for ratio in ratios if ratio is not None))
        lines.append(f"| {name} | {operators[name][0]} | {cells[0]} | {cells[1]} |")
        print(f"{name:30} {cells[0]:>8} {cells[1]:>8}", flush=True)
    within = {limit: sum(ratio <= limit for ratio in worst) for limit in (1, 2, 5)}
    summary = (
        f"{len(worst)} operators, {options.threads} threads, {platform.machine()}: "
        f"{within[1]} at least as fast as PyTorch, {within[2]} within 2x, {within[5]} within 5x "
        f"(the slower of forward, and forward and backward)."
    )
    print(summary)
    if options.markdown:
        text = "\n".join(["# Operators against PyTorch", "", summary, "", *lines]) + "\n"
        options.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
