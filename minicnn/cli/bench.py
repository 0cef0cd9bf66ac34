"""`minicnn bench`: measure kernels and models, algorithm against algorithm, and against PyTorch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn.cli.progress import progress
from minicnn.errors import UsageError
from minicnn_kernels.precision import MODES

if TYPE_CHECKING:
    from minicnn.bench.results import Report
    from minicnn.bench.session import Plan
    from minicnn.bench.work import Work

DESCRIPTION = """Measure kernels and whole models: which algorithm is how fast, how far from
what the machine allows, and beside PyTorch.

A contestant whose result is wrong prints FAIL and gets no time. All others take turns, so that a
busy moment of the machine hits everybody; compare the minima. PyTorch runs in a process of its own.
"""

EXAMPLES = """examples:
  minicnn bench conv                            AlexNet's layers, beside PyTorch if it is installed
  minicnn bench conv --suite vgg16 --dir fwd,bwd_d,bwd_w --html vgg16.html
  minicnn bench conv --problem mb16ic64ih56oc64kh3ph1 --algo all
                                                every algorithm on one layer
  minicnn bench gemm --suite cnn --threads 1,2  products of matrices, on one thread and on two
  minicnn bench pool --dir max,max_d,avg,avg_d  pooling and its gradients
  minicnn bench model resnet18 vgg16 --batch 8 --dir train,infer
                                                whole networks
  minicnn bench conv --device cpu,cuda --math tf32
                                                the processor and a card, whose factors are rounded
  minicnn bench conv --suite resnet50 --json new.json --compare old.json --fail-over 5%

exit codes: 0 done, 1 a result is wrong or, with --compare, something is slower, 2 a mistake in the
command line, 130 stopped by Ctrl-C (what was measured until then is printed and written)
"""

CONV = """Measure convolution: the layers of a suite, or single problems.

A problem is written as in oneDNN's benchdnn: mb16ic64ih56oc64kh3ph1 is a batch (mb) of 16, 64 input
channels (ic), images of 56x56 (ih, iw), 64 filters (oc) of 3x3 (kh, kw), padding 1 (ph, pw); also g
groups, sh stride, dh dilation minus 1. What is left out is the same as the side before it, or
benchdnn's default (mb2, stride 1, padding 0). A file for --suite holds one problem a line.

Columns: least and median time of a call; GFLOP/s by definition (2 N O C KH KW OH OW / groups), so
that Winograd's algorithm can pass the peak; this as a share of the peak, and of what the roofline
allows; scratch memory in MB; relative error in the norm against float64; speed-up over the
baseline, by default the fastest of PyTorch's variants, else the readable im2col.
"""

GEMM = """Measure products of matrices, as 256x64:64x128: 256 rows and 64 columns times 64 rows and
128 columns. The columns of the table are those of `minicnn bench conv`.
"""

POOL = """Measure pooling over windows, as mb8ic64ih112kh3sh2ph1: a batch (mb) of 8, 64 channels
(ic), images of 112x112 (ih), windows of 3x3 (kh), stride 2 (sh), padding 1 (ph). One comparison or
addition for each cell of a window counts as an operation. The columns of the table are those of
`minicnn bench conv`.
"""

MODEL = """Measure whole networks: minicnn's, beside the same network made of PyTorch's layers.

train is a step: forward, cross-entropy, backward, SGD with momentum. infer has its batch norms
folded into the convolutions, in both libraries. Each contestant has a process of its own. The
weights are the same in all of them, and drawn at random; logits, loss and the first layer's
gradient of two images are compared with float64. The column "scratch" is the largest memory of the
process, less that before the network was built. GFLOP/s count convolutions and linear layers,
thrice in training.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand, and its own subcommands."""
    parser = commands.add_parser(
        "bench",
        help="measure kernels and models, beside PyTorch",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", metavar="WHAT", required=True)
    conv = add_kind(kinds, "conv", "convolution, forward and both gradients", CONV)
    add_suite_arguments(
        conv,
        "alexnet (default), alexnet-original, vgg16, googlenet, resnet50, resnet50-v1, mobilenet, "
        "convnet-benchmarks, deepbench",
        "fwd (default), bwd_d (gradient by the data), bwd_w (by the weights), train (all three)",
        "what minicnn chooses itself (auto, default), all that can, or names",
    )
    add_image_arguments(conv)
    gemm = add_kind(kinds, "gemm", "products of matrices", GEMM)
    add_suite_arguments(
        gemm,
        "square (default), cnn",
        "fwd (default), bwd_a and bwd_b (the gradients by both matrices), train (all three)",
        "numpy, blocks (compiled), or all (default)",
    )
    pool = add_kind(kinds, "pool", "maximum and mean pooling, and their gradients", POOL)
    add_suite_arguments(
        pool,
        "networks (default)",
        "max (default), max_d (its gradient by the data), avg, avg_d",
        "what minicnn chooses itself (auto, default), all that can, or names",
    )
    add_image_arguments(pool)
    model = add_kind(kinds, "model", "a training step and inference of a whole network", MODEL)
    model.add_argument("models", nargs="+", metavar="NAME", help="networks, as resnet18")
    model.add_argument("--batch", type=int, default=8, metavar="N", help="images (default 8)")
    model.add_argument("--dir", type=words, metavar="D,...", help="train (a step, default), infer")
    model.set_defaults(suite=None, algo=None, layout=["nchw"])


def add_kind(kinds: Any, name: str, help: str, description: str) -> argparse.ArgumentParser:
    """Add the subcommand of a kind, with what all of them share."""
    parser: argparse.ArgumentParser = kinds.add_parser(
        name,
        help=help,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common_arguments(parser)
    parser.set_defaults(run=run, batch=None, layout=["nhwc"])
    return parser


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what belongs to batches of images."""
    parser.add_argument("--batch", type=int, metavar="N", help="take this batch everywhere")
    parser.add_argument(
        "--layout", type=words, default=["nhwc"], metavar="L,...",
        help="memory order of minicnn's images: nhwc (default), nchw",
    )  # fmt: skip


def add_suite_arguments(
    parser: argparse.ArgumentParser, suites: str, directions: str, algorithms: str
) -> None:
    """Add what chooses the problems, the directions and the algorithms."""
    parser.add_argument("--suite", metavar="NAME|FILE", help=f"{suites}; or a file of problems")
    parser.add_argument(
        "--problem", action="append", default=[], metavar="TEXT", help="a problem; can be repeated"
    )
    parser.add_argument("--dir", type=words, metavar="D,...", help=directions)
    parser.add_argument("--algo", type=words, metavar="NAME,...", help=algorithms)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what all kinds share: contestants, times, files."""
    parser.add_argument(
        "--vs", type=words, metavar="V,...",
        help="torch (its usual layout), torch-cl (channels_last) or none; default both if PyTorch "
        "is installed",
    )  # fmt: skip
    parser.add_argument("--baseline", metavar="NAME", help="the contestant to compare with")
    parser.add_argument(
        "--device", type=words, default=["cpu"], metavar="D,...", help="cpu (default), cuda"
    )
    parser.add_argument(
        "--math", choices=MODES, default="fp32",
        help="how exactly cards multiply: fp32 (default; PyTorch without TF32), tf32, bf16",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=numbers, metavar="N,...", help="numbers of threads (default: all cores)"
    )
    parser.add_argument(
        "--min-time", type=float, default=0.5, metavar="S",
        help="least seconds of runs for each contestant (default 0.5)",
    )  # fmt: skip
    parser.add_argument(
        "--min-runs", type=int, default=10, metavar="N", help="and least number (default 10)"
    )
    parser.add_argument(
        "--max-time", type=float, default=5.0, metavar="S",
        help="seconds after which no further run begins (default 5)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", choices=("warm", "cold"), default="warm",
        help="whether operands may stay in the caches from run to run (warm, default), or the "
        "caches are emptied before each run (cold)",
    )  # fmt: skip
    parser.add_argument("--wide", action="store_true", help="more columns than fit 100 characters")
    parser.add_argument("--json", metavar="FILE", help="also write everything, each run included")
    parser.add_argument("--csv", metavar="FILE", help="also write a table for a spreadsheet")
    parser.add_argument("--html", metavar="FILE", help="also write a page with pictures")
    parser.add_argument(
        "--compare", metavar="OLD.json", help="show what has changed since an older --json"
    )
    parser.add_argument(
        "--fail-over", type=share, default=0.05, metavar="5%",
        help="slower by more than this counts as a change, and gives exit code 1 (default 5%%)",
    )  # fmt: skip


def words(text: str) -> list[str]:
    """Read a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str) -> list[int]:
    """Read positive integers with commas."""
    if not all(word.isdigit() and int(word) for word in words(text)) or not words(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers; write it as 1,2")
    return [int(word) for word in words(text)]


def share(text: str) -> float:
    """Read a share, as 5% or 0.05.

    >>> share("5%"), share("0.05")
    (0.05, 0.05)
    """
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = -1.0
    if not found >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write it as 5% or 0.05")
    return found


# --- running --------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> int:
    """Measure what is asked for and return the exit code."""
    from minicnn.bench import compare, table
    from minicnn.bench.results import FAILED, WRONG, Report

    plan, works = checked(options), chosen_works(options)
    old = compare.load(options.compare) if options.compare else None
    report = Report(options.kind)
    stopped: BaseException | None = None
    try:
        measure(plan, works, options, report)
    except BaseException as error:  # what was measured is printed and written all the same
        stopped = error
    if len({result.problem for result in report.results}) > 1:
        print(f"\n{table.footing(report.results)}", flush=True)
    if text := table.warning(report.results):
        print(f"\n{text}", file=sys.stderr)
    save(options, report)
    failed = any(result.status in (WRONG, FAILED) for result in report.results)
    if old:
        text, worse = compare.table(report, old, options.fail_over)
        print(f"\n{text}")
        failed |= worse
    if stopped:
        raise stopped
    return int(failed)


def checked(options: argparse.Namespace) -> Plan:
    """Return who competes; refuse what cannot be measured, before anything runs."""
    from minicnn.bench.kinds import KINDS
    from minicnn.bench.session import Plan
    from minicnn.bench.timing import Limits
    from minicnn_kernels.arrays import to_device
    from minicnn_kernels.registry import preferred

    preferred()  # names in the environment that are unknown are refused here
    kind = KINDS[options.kind]
    options.dir = options.dir or kind.directions[:1]
    rivals = options.vs or (kind.rivals if find_spec("torch") else ["none"])
    own = ["auto", *sorted(kind.known(kind.directions))]
    check_words("--dir", options.dir, kind.directions)
    check_words("--algo", options.algo or [kind.algorithms], ["all", *own])
    check_words("--layout", options.layout, ["nchw", "nhwc"])
    check_words("--device", options.device, ["cpu", "cuda"])
    check_words("--vs", rivals, ["none", *kind.rivals])
    rivals = [variant for variant in rivals if variant != "none"]
    if options.baseline:
        check_words("--baseline", [options.baseline.partition("/")[0]], [*rivals, *own])
    if options.batch is not None and options.batch < 1:
        raise UsageError(f"--batch must be at least 1, got {options.batch}")
    for name in ("json", "csv", "html"):
        path = getattr(options, name)
        if path and Path(path).is_dir():
            raise UsageError(f"--{name}: {path} is a folder; name a file")
    for device in options.device:
        to_device(np.zeros(1), device)
    limits = Limits(options.min_time, options.min_runs, options.max_time)
    return Plan(
        kind, options.algo or [kind.algorithms], rivals, options.device, options.layout,
        options.baseline, limits, options.cache == "cold", options.math,
    )  # fmt: skip


def check_words(option: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise UsageError if a word is not allowed."""
    for word in given:
        if word not in allowed:
            raise UsageError(f"{option}: unknown {word!r}; there are {', '.join(allowed)}")


def chosen_works(options: argparse.Namespace) -> list[Work]:
    """Return the problems of the suite and of the command line, in each direction."""
    from minicnn.bench import suites
    from minicnn.bench.kinds import KINDS

    kind = KINDS[options.kind]
    if options.kind == "model":
        options.problem = [f"{name}mb{options.batch}" for name in options.models]
    problems = [kind.read(text) for text in options.problem]
    if options.suite or not problems:
        problems = suites.load(options.kind, options.suite or kind.suite, kind.read) + problems
    if options.batch and options.kind != "model":
        problems = [problem.with_batch(options.batch) for problem in problems]
    return [kind.work(problem, direction) for problem in problems for direction in options.dir]


def measure(plan: Plan, works: Sequence[Work], options: argparse.Namespace, report: Report) -> None:
    """Measure all works on each number of threads; print and collect the results."""
    from minicnn.bench import table
    from minicnn.bench.results import place
    from minicnn.bench.session import Session
    from minicnn_kernels.threads import get_num_threads

    for threads in options.threads or [get_num_threads()]:
        with Session(plan, threads) as session, progress(len(works), "layer") as (write, tick):
            report.machine = session.facts
            for device, roof in session.roofs.items():
                report.roofs[place(device, threads)] = roof
            write(table.heading(session.facts, threads, session.roofs, options.wide))
            for work in works:
                results = session.contest(work)
                write(table.group(results, report.results, options.wide))
                report.results += results
                tick()


def save(options: argparse.Namespace, report: Report) -> None:
    """Write the files that were asked for, whole or not at all."""
    from minicnn.bench.page import page
    from minicnn.bench.results import to_csv
    from minicnn.io.files import write_json, write_text

    if options.json:
        write_json(options.json, report.to_dict())
    if options.csv:
        write_text(options.csv, to_csv(report.results))
    if options.html:
        write_text(options.html, page(report))
