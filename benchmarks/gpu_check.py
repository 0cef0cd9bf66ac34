"""Check minicnn on a card and measure it, in one run of less than ten minutes.

    python benchmarks/gpu_check.py [--out FOLDER] [--only STAGE ...] [--tiny]
    python benchmarks/gpu_check.py --table FILE.json

Each stage has a budget of seconds, and what it found is written to gpu_check.json as it goes, so a
run that is cut short loses nothing.  What was not computed says "not measured", and why.  After a
fault, as an address that is not there, a process cannot use its card any more.  So each stage has a
process of its own, and another one goes on behind the row that made it fault.

environment   the card, its driver, versions
correctness   every algorithm for cards against float64 on the CPU, on new random values, in memory
              full of NaN; and what is chosen in each math mode
operations    every operation, and its gradient, in float32 against float64 on the CPU
captured      training steps replayed as a graph against the same steps run eagerly
ceilings      multiply-adds, tensor cores and memory, by kernels of our own
convolutions  layers of known networks in each direction and math mode
models        training steps of whole networks

PyTorch is measured beside it if it is installed and sees the card: eager, in its usual order (NCHW)
and in channels_last, `cudnn.benchmark` on, TF32 allowed where our math mode rounds, and arrays of
bfloat16 beside our mode "bf16", whose arrays are float32.  A convolution is timed twice: calls one
after the other, Python included, and ten calls in a graph, without Python.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache, partial
from itertools import chain, zip_longest
from math import ceil, exp, inf, log
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

import minicnn
from minicnn.bench import conv, machine, model, suites, torch_side
from minicnn.bench.conv import KERNELS, ConvWork
from minicnn.bench.model import ModelProblem, ModelWork, Net
from minicnn.bench.problem import ConvProblem
from minicnn.bench.work import ROUNDING, relative_error, rounding
from minicnn.errors import DeviceError, MinicnnError
from minicnn.testing.cases import CASES, PLAIN
from minicnn.testing.cases.case import Case, repeatable
from minicnn_kernels import cards, kernels
from minicnn_kernels.arrays import to_device
from minicnn_kernels.precision import MODES, math_mode
from minicnn_kernels.registry import Kernel, only_numpy

MISSING = "not measured"
VARIANTS = ("torch", "torch-cl")
HELPERS = Path(__file__).parents[1] / "tests" / "helpers"
EXACT, ROUGH = 2e-6, 2e-5  # of convolutions and products, and of everything else, in float32
FAULTS = ("IllegalAddress", "Misaligned", "LaunchFailure", "IllegalInstruction", "HardwareStack")
GRACE = 60  # seconds beyond its budget, after which a stage is ended
OF_OPERATIONS = 2e-4  # some of which subtract numbers that are nearly equal
RUNS, SECONDS, MOST_CALLS = 3, 0.02, 300  # of a timing: the best of so many, each of about so long
IN_A_GRAPH = 10  # calls
CALLS_OF_A_KERNEL = 8  # that are checked

ODD = (
    *("mb3ic5ih19oc7kh3ph1", "mb2ic64ih14oc70kh3ph1", "mb4ic32ih15oc96kh1"),
    *("mb2ic3ih31oc64kh7sh2ph3", "mb2ic3ih35oc96kh11sh4ph2", "mb1ic1ih28oc6kh5"),
    *("g48mb2ic48ih13oc48kh3ph1", "g48mb2ic48ih14oc48kh5sh2ph2", "g5mb2ic10ih9oc15kh3ph2dh1"),
    *("g32mb2ic128ih12oc128kh3sh2ph1", "mb2ic8iw50oc12kw5pw2", "mb64ic256ih6oc256kh3ph1"),
    *("mb2ic130ih11oc129kh3sh2ph2dh1", "mb2ic16ih10iw17oc24kh2kw3sh3sw1ph1pw2"),
)
LAYERS = {"resnet50": 6, "vgg16": 3, "mobilenet": 4, "alexnet": 2, "googlenet": 3}
MODELS = ("lenet5", "resnet50", "vgg16", "mobilenet_v1", "resnet18", "alexnet", "googlenet",
          "densenet121")  # fmt: skip


class Sizes(NamedTuple):
    """How much is done."""

    odd: tuple[str, ...] = ODD
    layers: dict[str, int] = LAYERS
    models: tuple[str, ...] = MODELS
    small_models: tuple[str, ...] = ("lenet5", "resnet18")
    batch: int = 64
    steps: int = 2**14  # of the multiply-adds
    stream_bytes: int = 2**30
    blocks: int | None = None
    seconds: float = SECONDS
    calls: int = CALLS_OF_A_KERNEL
    operations: int = 10**6


TINY = Sizes(
    ("mb1ic3ih7oc5kh3ph1", "g4mb1ic4ih6oc4kh3ph1"), {}, ("lenet5",), ("lenet5",),
    1, 2, 3 * 2**12, 2, 0.0, 1, 3,
)  # fmt: skip


# --- what is found, and where it is kept ----------------------------------------------------------


class Report:
    """The rows of each stage, written to a file as they come."""

    def __init__(self, path: Path, budgets: dict[str, float], after: int = 0) -> None:
        self.path, self.saved, self.after = path, 0.0, after
        self.data: dict[str, Any] = {"budgets": budgets, "stages": {}}

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        stage = Stage(self, self.data["budgets"][name], self.after)
        self.data["stages"][name] = {"rows": stage.rows}
        try:
            yield stage
        except Exception as error:  # the other stages are worth having all the same
            self.data["stages"][name]["error"] = f"{type(error).__name__}: {error}"
        self.data["stages"][name]["seconds"] = round(time.perf_counter() - stage.begin, 1)
        self.save()

    def save(self) -> None:
        partial_file = self.path.with_suffix(".partial")
        partial_file.write_text(json.dumps(self.data, indent=1), encoding="utf-8")
        partial_file.replace(self.path)
        self.saved = time.perf_counter()


class Stage:
    """Rows, and how long it may still take to find more; the first `after` were tried before."""

    def __init__(self, report: Report, budget: float, after: int = 0) -> None:
        self.report, self.begin, self.after = report, time.perf_counter(), after
        self.rows: list[dict[str, Any]] = []
        self.end = self.begin + budget

    def add(self, **row: Any) -> None:
        self.rows.append(row)
        if time.perf_counter() > self.report.saved + 5:
            self.report.save()

    def measured(self, compute: Callable[[], dict[str, Any]], **row: Any) -> None:
        """Add what `compute` returns, or why it returned nothing.

        Raises:
            Exception: the card cannot be used any more.
        """
        if self.after:
            self.after -= 1
            return
        if time.perf_counter() > self.end:
            self.add(**row, missing=f"{MISSING}: the budget of the stage was used up")
            return
        try:
            found = compute()
        except DeviceError as error:  # something is not installed, or too old
            found = {"missing": f"{MISSING}: {first_line(error)}"}
        except Exception as error:
            reason = f"{MISSING}: {type(error).__name__}: {first_line(error)}"
            self.add(**row, missing=reason, failed=True)
            if any(fault in str(error) for fault in FAULTS):
                raise
            return
        self.add(**row, **found)


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


# --- correctness ----------------------------------------------------------------------------------


def moved(value: Any, device: str, exactly: bool = False) -> Any:
    """Return a value with copies of the arrays in it on a device; `exactly`: in float64."""
    if isinstance(value, np.ndarray):
        wide = exactly and value.dtype.kind == "f"
        return to_device(value.astype(np.float64) if wide else value.copy(), device)
    if type(value) in (list, tuple):
        return type(value)(moved(part, device, exactly) for part in value)
    if type(value) is dict:
        return {name: moved(part, device, exactly) for name, part in value.items()}
    return value


def arrays_in(value: Any) -> list[Any]:
    """Return the arrays among results or arguments, as NumPy's."""
    if isinstance(value, (list, tuple)):
        return [array for part in value for array in arrays_in(part)]
    return [to_device(value, "cpu")] if hasattr(value, "dtype") and hasattr(value, "shape") else []


def poison(n_bytes: int) -> None:
    """Leave NaN in the memory that the next arrays get."""
    cards.cupy().full(n_bytes // 4, np.nan, np.float32)


Call = tuple[tuple[Any, ...], dict[str, Any]]


def exact(kernel: Kernel, call: Call) -> list[Any]:
    """Return results, and what became of the arguments, in float64 on the CPU."""
    arrays, settings = moved(call, "cpu", exactly=True)
    with only_numpy():
        results = kernel(*arrays, **settings)
    return [*map(np.asarray, arrays_in(results)), *arrays_in(arrays)]


def compared(
    kernel: Kernel, algorithm: str, call: Call, right: Callable[[], list[Any]], bound: float
) -> dict[str, Any]:
    """Compute in float32 on the card, and compare results and arguments."""
    expected = right()
    arrays, settings = moved(call, "cuda")
    chosen = kernel.choose(*arrays, algorithm=algorithm, **settings)
    poison(4 * sum(array.nbytes for array in expected))
    found = [*arrays_in(chosen.compute(*arrays, **settings)), *arrays_in(arrays)]
    error = max(map(relative_error, found, expected), default=0.0)
    return {"algorithm": chosen.name, "error": error, "bound": bound, "right": error <= bound}


def overheard() -> dict[str, list[Call]]:
    """Return what operations give to each kernel, computing the project's sample inputs here."""
    calls: dict[str, list[Call]] = {}
    usual = Kernel.__call__

    def noted(kernel: Kernel, *arrays: Any, algorithm: str | None = None, **settings: Any) -> Any:
        copies = moved(arrays, "cpu"), moved(settings, "cpu")
        calls.setdefault(kernel.name, []).append(copies)
        return usual(kernel, *arrays, algorithm=algorithm, **settings)

    Kernel.__call__ = noted  # type: ignore[assignment, method-assign]
    try:
        for row in [*CASES, *PLAIN]:
            arrays = [array.astype(np.float32) for array in row.arrays()]
            with only_numpy(), suppress(MinicnnError):
                xs = [minicnn.Tensor(x, requires_grad=row not in PLAIN) for x in arrays]
                result = row.function(*xs)
                if isinstance(result, minicnn.Tensor) and result.requires_grad:
                    dy = np.cos(np.arange(result.array.size)).reshape(result.shape)
                    result.backward(minicnn.Tensor(dy.astype(result.dtype)))
    finally:
        Kernel.__call__ = usual  # type: ignore[method-assign]
    rng = np.random.default_rng(0)  # what no sample input is large enough for
    lines, added = (rng.standard_normal((n, 70)).astype(np.float32) for n in (9, 500))
    calls.setdefault("add_lines", []).append(((lines, added, rng.integers(0, 9, 500)), {"dim": 0}))
    return calls


def check_algorithms(stage: Stage, sizes: Sizes) -> None:
    """Let every algorithm for cards compute what it serves."""
    for text in sizes.odd:
        for part, name in KERNELS.items():
            work = ConvWork(ConvProblem.read(text), part)
            call = tuple(conv.arrays_of(work, part, work.operands())), work.settings(part)
            right = check(stage, kernels[name], call, text, EXACT)
            for mode in MODES:
                with math_mode(mode):
                    stage.measured(
                        partial(compared, kernels[name], "auto", call, right, EXACT * rounding("")),
                        kernel=name, asked="auto", problem=text, math=mode,
                    )  # fmt: skip
    for name, calls in sorted(overheard().items()):
        if name not in KERNELS.values():
            calls = [call for call in calls if is_floating(call)] or calls
            for call in calls[:: ceil(len(calls) / sizes.calls)]:
                text = " ".join(str(a.shape) for a in call[0] if hasattr(a, "shape"))
                check(stage, kernels[name], call, text, ROUGH)


def is_floating(call: Call) -> bool:
    """Say whether a kernel computes with floating-point numbers."""
    return any(getattr(array, "dtype", None) == np.float32 for array in call[0])


def check(
    stage: Stage, kernel: Kernel, call: Call, text: str, bound: float
) -> Callable[[], list[Any]]:
    """Add a row for each algorithm that serves a call on a card; return what is right."""
    arrays, settings = moved(call, "cuda")
    right = cache(partial(exact, kernel, call))
    for name, algorithm in kernel.algorithms.items():
        if "cuda" in algorithm.devices and algorithm.serves(*arrays, **settings):
            stage.measured(
                partial(compared, kernel, name, call, right, bound * ROUNDING.get(name, 1.0)),
                kernel=kernel.name, asked=name, problem=text, math="fp32",
            )  # fmt: skip
    return right


def check_operations(stage: Stage, sizes: Sizes) -> None:
    """Compute a sample input of each operation, and of each function that calls it, both ways."""
    spec = importlib.util.spec_from_file_location("rows_on_card", HELPERS / "rows_on_card.py")
    assert spec is not None
    assert spec.loader is not None
    rows_on_card = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rows_on_card)
    cupy = cards.cupy()
    place = SimpleNamespace(array=cupy.asarray, cupy=cupy, copies=nullcontext)
    rows = list({(row.op, row.through): row for row in [*CASES, *PLAIN]}.values())

    def both(row: Case) -> dict[str, Any]:
        arrays = [array.astype(np.float32) for array in row.arrays()]
        right = values_and_gradients(row, row.function, [a.astype(np.float64) for a in arrays])
        poison(2**20)
        there = rows_on_card.moved(place, row.function)
        found = values_and_gradients(row, there, [to_device(array, "cuda") for array in arrays])
        error = max(map(relative_error, found, right), default=0.0)
        return {"error": error, "bound": OF_OPERATIONS, "right": error <= OF_OPERATIONS}

    for row in rows[:: max(1, len(rows) // sizes.operations)]:
        stage.measured(partial(both, row), operation=str(row), math="fp32")


def values_and_gradients(row: Case, function: Callable[..., Any], inputs: list[Any]) -> list[Any]:
    """Return the results of a row and the gradients of its inputs, as NumPy's arrays."""
    xs = [minicnn.Tensor(x, requires_grad=row not in PLAIN) for x in inputs]
    results = repeatable(function)(*xs)
    results = results if isinstance(results, (list, tuple)) else [results]
    ys = [y for y in results if isinstance(y, minicnn.Tensor)]
    for y in ys:
        if y.requires_grad:
            dy = np.cos(np.arange(y.array.size)).reshape(y.shape).astype(y.dtype)
            y.backward(minicnn.Tensor(to_device(dy, y.device)), retain_graph=True)
    gradients = [x.grad for x in xs if x.grad is not None]
    return [tensor.detach().cpu().array for tensor in (*ys, *gradients)]


# --- captured steps -------------------------------------------------------------------------------


def card_net(name: str, batch: int) -> Net:
    """Build a network and a batch on the card."""
    work = ModelWork(ModelProblem.read(f"{name}mb{batch}"), "train")
    operands = {key: to_device(array, "cuda") for key, array in work.operands().items()}
    return model.own_net(work, operands)


def training(net: Net, rate: float) -> Callable[[], Any]:
    """Return a training step that waits for nothing."""
    optimizer = net.library.optim.SGD(net.net.parameters(), lr=rate, momentum=0.9)

    def step() -> Any:
        optimizer.zero_grad()
        loss = net.loss(net.x, net.labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def replayed(name: str, batch: int, steps: int = 6) -> dict[str, Any]:
    """Train twice from the same weights and random numbers, eagerly and captured, and compare."""
    ends, reason = [], None
    for captured in (False, True):
        minicnn.manual_seed(0)
        net = card_net(name, batch)
        step = training(net, 1e-3)
        run = minicnn.cuda.capture(step) if captured else step
        losses = [run().clone() for _ in range(steps)]
        ends.append([*(p.detach().cpu().numpy() for p in net.net.parameters()), losses[-1].item()])
        reason = getattr(run, "reason", None)
    if reason:
        return {"missing": f"{MISSING}: run eagerly, {reason}"}
    apart = max(relative_error(np.asarray(a), np.asarray(b)) for a, b in zip(*ends, strict=True))
    return {"steps": steps, "difference": apart, "right": apart == 0, "loss": ends[0][-1]}


def check_capture(stage: Stage, sizes: Sizes) -> None:
    for name in sizes.small_models:
        stage.measured(partial(replayed, name, min(8, sizes.batch)), model=name)


# --- time -----------------------------------------------------------------------------------------


def wait() -> None:
    """Wait for the card."""
    cards.cupy().cuda.Device().synchronize()


def seconds_of(call: Callable[[], Any], seconds: float, wait: Callable[[], None] = wait) -> float:
    """Return the seconds of a call: the best of several runs of many."""
    call()
    wait()
    begin = time.perf_counter()
    call()
    wait()
    count = int(seconds / max(time.perf_counter() - begin, 1e-6))
    count, best = min(MOST_CALLS, max(1, count)), inf
    for _ in range(RUNS):
        begin = time.perf_counter()
        for _ in range(count):
            call()
        wait()
        best = min(best, (time.perf_counter() - begin) / count)
    return best


def in_a_graph(call: Callable[[], Any]) -> Callable[[], Any]:
    """Return ten calls, captured as a graph.

    Raises:
        DeviceError: they cannot be captured.
    """

    def calls() -> None:
        for _ in range(IN_A_GRAPH):
            call()

    graph = minicnn.cuda.capture(calls)
    for _ in range(3):
        graph()
    if graph.reason:
        raise DeviceError(f"not captured: {graph.reason}")
    return graph


def torch_or_reason() -> Any:
    """Return PyTorch, or say why it is not measured."""
    try:
        import torch
    except ImportError:
        return f"{MISSING}: PyTorch is not installed"
    return torch if torch.cuda.is_available() else f"{MISSING}: PyTorch sees no card"


def in_torchs_graph(torch: Any, call: Callable[[], Any]) -> Callable[[], Any]:
    """Return ten calls of PyTorch's, captured as a graph."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.stream(stream):
        call()
    torch.cuda.synchronize()
    with torch.inference_mode(), torch.cuda.graph(graph):
        for _ in range(IN_A_GRAPH):
            call()
    replay: Callable[[], Any] = graph.replay
    return replay


def measure_ceilings(stage: Stage, sizes: Sizes) -> None:
    """Measure what the card can do at most."""
    from minicnn_kernels.cuda import peak

    blocks = sizes.blocks or peak.blocks_that_fill_the_card()

    def arithmetic(name: str) -> dict[str, Any]:
        operations, call = peak.arithmetic(name, blocks, sizes.steps)
        return {"value": operations / seconds_of(call, sizes.seconds) / 1e12, "unit": "TFLOP/s"}

    def triad() -> dict[str, Any]:
        n_bytes, call = peak.stream(sizes.stream_bytes, blocks)
        return {"value": n_bytes / seconds_of(call, sizes.seconds) / 1e12, "unit": "TB/s"}

    def copy() -> dict[str, Any]:
        x = cards.cupy().ones(sizes.stream_bytes // 4, np.float32)
        y = cards.cupy().empty_like(x)
        seconds = seconds_of(lambda: cards.cupy().copyto(y, x), sizes.seconds)
        return {"value": 2 * x.nbytes / seconds / 1e12, "unit": "TB/s"}

    for name in peak.OPERATIONS:
        stage.measured(partial(arithmetic, name), what=name)
    stage.measured(triad, what="triad a = b + s c")
    stage.measured(copy, what="copy on the card")


def layers(sizes: Sizes) -> list[ConvProblem]:
    """Return some layers of each network, spread evenly over it, of one network after the other."""
    if not sizes.layers:
        return [ConvProblem.read(sizes.odd[0])]
    of_networks = []
    for suite, count in sizes.layers.items():
        problems = suites.load("conv", suite, ConvProblem.read)
        of_networks.append(problems[:: ceil(len(problems) / count)])
    found: dict[str, ConvProblem] = {}
    for problem in filter(None, chain.from_iterable(zip_longest(*of_networks))):
        problem = problem.with_batch(sizes.batch)
        found.setdefault(problem.key, problem)
    return list(found.values())


def measure_convolutions(stage: Stage, sizes: Sizes) -> None:
    """Time layers in each direction and math mode, ours and PyTorch's."""
    torch = torch_or_reason()
    for problem in layers(sizes):
        works = {part: ConvWork(problem, part) for part in KERNELS}
        operands = ConvWork(problem, "train").operands()
        for part, work in works.items():
            right = work.expected(operands)
            for mode in MODES:
                with math_mode(mode):
                    stage.measured(
                        partial(timed_layer, work, part, operands, right, torch, sizes.seconds),
                        problem=str(problem), direction=part, math=mode, flops=work.flops,
                    )  # fmt: skip


def timed_layer(
    work: ConvWork, part: str, operands: Any, right: Any, torch: Any, seconds: float
) -> dict[str, Any]:
    """Return the milliseconds of a layer by each contestant, and how exact ours are."""
    own = {name: operands[name] for name in conv.OPERANDS[part]}
    there = {name: to_device(array, "cuda") for name, array in own.items()}
    poison(4 * sum(array.nbytes for array in there.values()))
    built = conv.build("auto", work, there)
    samples = work.sampled([to_device(array, "cpu") for array in built.call()])
    error = max(map(relative_error, samples, right))
    row: dict[str, Any] = {"algorithm": built.algorithms[0], "error": error}
    row["right"] = error <= work.tolerance(part, built.algorithms[0])
    row["minicnn"] = 1e3 * seconds_of(built.call, seconds)
    row["minicnn graph"] = timed_graph(lambda: in_a_graph(built.call), seconds, wait)
    minicnn.cuda.empty_cache()  # PyTorch has a pool of its own
    for variant in VARIANTS:
        if isinstance(torch, str):
            row[variant] = row[f"{variant} graph"] = torch
            continue
        call = torchs_call(torch, variant, work, own)
        row[variant] = 1e3 * seconds_of(call, seconds, torch.cuda.synchronize)
        row[f"{variant} graph"] = timed_graph(
            partial(in_torchs_graph, torch, call), seconds, torch.cuda.synchronize
        )
    return row


def torchs_call(torch: Any, variant: str, work: ConvWork, operands: Any) -> Callable[[], Any]:
    """Return PyTorch's call for a layer, which waits for nothing."""
    torch_side.multiply_as(math_mode.get())

    def placed(tensor: Any) -> Any:
        there = torch_side.in_format(tensor, variant).to("cuda")
        return there.bfloat16() if math_mode.get() == "bf16" else there

    tensors = {name: placed(torch.from_numpy(array)) for name, array in operands.items()}
    (compute,) = torch_side.conv_calls(work, tensors, placed)

    def call() -> Any:
        with torch.inference_mode():
            return compute()

    return call


def timed_graph(
    make: Callable[[], Callable[[], Any]], seconds: float, wait: Callable[[], None]
) -> float | str:
    """Return the milliseconds of one call in a graph, or why there is none."""
    try:
        return 1e3 * seconds_of(make(), seconds, wait) / IN_A_GRAPH
    except Exception as error:
        return f"{MISSING}: {first_line(error)}"


# --- networks -------------------------------------------------------------------------------------


def measure_models(stage: Stage, sizes: Sizes) -> None:
    """Time training steps of whole networks, ours and PyTorch's."""
    torch = torch_or_reason()
    for name in sizes.models:
        for mode in ("fp32", "tf32"):
            with math_mode(mode):
                row = {"model": name, "batch": sizes.batch, "math": mode}
                stage.measured(partial(timed_steps, name, sizes, torch), **row)


def timed_steps(name: str, sizes: Sizes, torch: Any) -> dict[str, Any]:
    """Return the milliseconds of a training step by each contestant."""
    seconds = 10 * sizes.seconds
    net = card_net(name, sizes.batch)
    step = training(net, 0.0)
    row: dict[str, Any] = {"loss": float(step().item())}
    row["minicnn"] = 1e3 * seconds_of(step, seconds)
    fast = minicnn.cuda.capture(step)
    for _ in range(3):
        fast()
    row["minicnn captured"] = (
        f"{MISSING}: {fast.reason}" if fast.reason else 1e3 * seconds_of(fast, seconds)
    )
    row["bytes"] = minicnn.cuda.memory_reserved()
    del net, step, fast
    minicnn.cuda.empty_cache()
    for variant in VARIANTS:
        if isinstance(torch, str):
            row[variant] = torch
            continue
        torch_side.multiply_as(math_mode.get())
        step = training(torch_net(torch, variant, name, sizes.batch), 0.0)
        row[f"{variant} loss"] = float(step().item())
        row[variant] = 1e3 * seconds_of(step, seconds, torch.cuda.synchronize)
        del step
        torch.cuda.empty_cache()
    return row


def torch_net(torch: Any, variant: str, name: str, batch: int) -> Net:
    """Build the network from PyTorch's layers, with the same weights and images."""
    from minicnn.models import in_torch

    operands = ModelWork(ModelProblem.read(f"{name}mb{batch}"), "train").operands()
    net = in_torch.create(name, **model.SETTINGS.get(name, {}))
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    drawn = model.weights(shapes)
    net.load_state_dict({key: torch.from_numpy(array) for key, array in drawn.items()})
    order = torch.channels_last if variant == "torch-cl" else torch.contiguous_format
    images, labels = (torch.from_numpy(operands[key]).to("cuda") for key in ("x", "labels"))
    images = torch_side.in_format(images, variant)
    return Net(torch, net.to("cuda", memory_format=order), images, labels, lambda net, x: net)


# --- the tables -----------------------------------------------------------------------------------


def as_markdown(data: dict[str, Any]) -> str:
    """Return what was found as tables; what was not measured is not there."""
    stages = data["stages"]
    parts = ["# minicnn on a card", ""]
    facts = stages.get("environment", {}).get("rows", [])
    parts += [f"* {row['what']}: {row['value']}" for row in facts]
    for name, stage in stages.items():
        if "error" in stage:
            parts += ["", f"The stage {name} broke off: {stage['error']}"]
    for name in ("correctness", "operations", "captured"):
        if rows := stages.get(name, {}).get("rows"):
            parts += ["", f"## {name.capitalize()}", "", *counted(rows)]
    if rows := stages.get("ceilings", {}).get("rows"):
        parts += ["", "## Ceilings", "", *table(rows, ("what", "value", "unit"))]
    if rows := stages.get("convolutions", {}).get("rows"):
        parts += ["", "## Convolutions", "", LEGEND, ""]
        parts += means(rows, ("direction", "math"), "minicnn graph", " graph")
        parts += ["", *table(with_ratios(rows, "minicnn graph", " graph"), (
            "problem", "direction", "math", "algorithm", "minicnn", "minicnn graph",
            "torch graph", "torch-cl graph", "ratio to torch", "ratio to torch-cl", "right",
        ))]  # fmt: skip
        parts += ["", *reasons(rows)]
    if rows := stages.get("models", {}).get("rows"):
        parts += ["", "## Training steps", "", LEGEND, ""]
        parts += table(with_ratios(rows, "minicnn captured", ""), (
            "model", "batch", "math", "minicnn", "minicnn captured", "torch", "torch-cl",
            "ratio to torch", "ratio to torch-cl",
        ))  # fmt: skip
        parts += ["", *reasons(rows)]
    return "\n".join(parts) + "\n"


LEGEND = (
    "Times are milliseconds; ratios are PyTorch's time over ours, above 1 ours is faster. torch is "
    "eager PyTorch in NCHW, torch-cl in channels_last, both with cudnn.benchmark; TF32 is allowed "
    "in the rows tf32 and bf16 and forbidden in fp32."
)


def reasons(rows: list[dict[str, Any]]) -> list[str]:
    """List why something of a row was not measured."""
    found = {
        f"* {row.get('model', row.get('problem', ''))}, {row['math']}: {value}": None
        for row in rows
        for value in row.values()
        if isinstance(value, str) and value.startswith(MISSING)
    }
    return list(found)


def counted(rows: list[dict[str, Any]]) -> list[str]:
    """Say how many rows are right, which are wrong, and why others were not measured."""
    done = [row for row in rows if "right" in row]
    wrong = [row for row in done if not row["right"]]
    missing: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "missing" in row:
            missing.setdefault(row["missing"], []).append(row)
    lines = [f"{len(done) - len(wrong)} of {len(done)} are right."]
    lines += [f"* wrong: {json.dumps(row)}" for row in wrong]
    for reason, others in missing.items():
        first = {key: value for key, value in others[0].items() if key != "missing"}
        lines.append(f"* {len(others)} {reason}; the first is {json.dumps(first)}")
    return lines


def with_ratios(rows: list[dict[str, Any]], ours: str, suffix: str) -> list[dict[str, Any]]:
    """Add PyTorch's time over ours to each row that has both."""
    found = []
    for row in rows:
        ratios = {
            f"ratio to {variant}": row[variant + suffix] / row[ours]
            for variant in VARIANTS
            if isinstance(row.get(variant + suffix), float) and isinstance(row.get(ours), float)
        }
        found.append({**row, **ratios})
    return found


def means(rows: list[dict[str, Any]], keys: tuple[str, ...], ours: str, suffix: str) -> list[str]:
    """Return the geometric means of the ratios of rows that agree in some columns."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in with_ratios(rows, ours, suffix):
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    found = []
    for group, members in groups.items():
        averages: dict[str, Any] = dict(zip(keys, group, strict=True))
        for name in (f"ratio to {variant}" for variant in VARIANTS):
            ratios = [log(row[name]) for row in members if name in row]
            averages[name] = exp(sum(ratios) / len(ratios)) if ratios else MISSING
        found.append(averages)
    return table(found, (*keys, *(f"ratio to {variant}" for variant in VARIANTS)))


def table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> list[str]:
    """Write rows as a table."""
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = (row.get(column, MISSING) for column in columns)
        lines.append(f"| {' | '.join(map(written, cells))} |")
    return lines


def written(value: Any) -> str:
    """Write a number with three digits; of a reason only that there is one."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return MISSING if isinstance(value, str) and value.startswith(MISSING) else str(value)


# --- the run --------------------------------------------------------------------------------------


def note_environment(stage: Stage, sizes: Sizes) -> None:
    """Note everything that the figures depend on."""
    torch = torch_or_reason()
    found = {"day": time.strftime("%Y-%m-%d"), **machine.facts(), **machine.card_facts()}
    found["PyTorch"] = (
        torch
        if isinstance(torch, str)
        else (f"{torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    )
    for what, value in found.items():
        stage.add(what=what, value=value)


STAGES: dict[str, tuple[Callable[[Stage, Sizes], None], float]] = {
    "environment": (note_environment, 10),
    "correctness": (check_algorithms, 150),
    "operations": (check_operations, 80),
    "captured": (check_capture, 30),
    "ceilings": (measure_ceilings, 15),
    "convolutions": (measure_convolutions, 140),
    "models": (measure_models, 150),
}
"""What is done, and in how many seconds."""


def in_own_process(name: str, report: Report, out: Path) -> None:
    """Run a stage in a process, and go on in another one behind each row that made it fault."""
    begin, error = time.perf_counter(), ""
    rows: list[dict[str, Any]] = []
    folder, budget = out / "stages" / name, report.data["budgets"][name]
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        (folder / "gpu_check.json").unlink(missing_ok=True)
        left = budget - (time.perf_counter() - begin)
        command = [sys.executable, __file__, "--here", "--only", name, "--out", str(folder)]
        command += ["--after", str(len(rows)), "--seconds", str(left)]
        found: dict[str, Any] = {}
        try:
            subprocess.run(command, timeout=left + GRACE, stdout=subprocess.DEVNULL)
            error = "it ended without a word"
        except subprocess.TimeoutExpired:
            error = f"it did not end within {left + GRACE:.0f} s"
        with suppress(OSError, ValueError):
            found = json.loads((folder / "gpu_check.json").read_text())["stages"][name]
        rows += found.get("rows", [])
        if "seconds" in found:  # it came to its end
            error = found.get("error", "")
        on = any(fault in error for fault in FAULTS) and found.get("rows")
        if not on or time.perf_counter() - begin > budget:
            break
    report.data["stages"][name] = {"rows": rows, **({"error": error} if error else {})}
    report.data["stages"][name]["seconds"] = round(time.perf_counter() - begin, 1)
    report.save()


def main(arguments: list[str] | None = None) -> int:
    """Return 0; 1 if something is wrong; 2 without a card."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--tiny", action="store_true", help="problems for the test of this script")
    parser.add_argument("--here", action="store_true", help="run all stages in this process")
    parser.add_argument("--after", type=int, default=0, help="rows to leave out, with --here")
    parser.add_argument("--seconds", type=float, help="the budget of a stage, with --here")
    parser.add_argument("--table", type=Path, help="write the tables of a gpu_check.json")
    options = parser.parse_args(arguments)
    if options.table:
        print(as_markdown(json.loads(options.table.read_text(encoding="utf-8"))), end="")
        return 0
    try:
        cards.count()
    except DeviceError as error:
        print(f"nothing is measured: {first_line(error)}")
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    budgets = {name: options.seconds or seconds for name, (_, seconds) in STAGES.items()}
    report = Report(options.out / "gpu_check.json", budgets, options.after)
    for name in options.only:
        print(f"{name}: at most {budgets[name]:.0f} s", flush=True)
        if not (options.here or options.tiny):
            in_own_process(name, report, options.out)
            continue
        with report.stage(name) as stage:
            STAGES[name][0](stage, TINY if options.tiny else Sizes())
    text = as_markdown(report.data)
    report.path.with_suffix(".md").write_text(text, encoding="utf-8")
    rows = [row for stage in report.data["stages"].values() for row in stage["rows"]]
    wrong = sum(row.get("failed", not row.get("right", True)) for row in rows)
    failed = [name for name, stage in report.data["stages"].items() if "error" in stage]
    print(f"{wrong} results are wrong or could not be computed")
    print(f"stages that broke off: {', '.join(failed) or 'none'}")
    print(f"{report.path}, {report.path.with_suffix('.md')}")
    return 1 if wrong or failed else 0


if __name__ == "__main__":
    sys.exit(main())
