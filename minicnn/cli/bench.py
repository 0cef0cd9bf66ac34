"""`minicnn bench`: measure kernels and models, algorithm against algorithm, and against PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn.cli.progress import progress
from minicnn.errors import UsageError

if TYPE_CHECKING:
    from minicnn.bench.contest import Entry
    from minicnn.bench.results import Report, Result
    from minicnn.bench.timing import Limits
    from minicnn.bench.work import Operands, Work
    from minicnn.bench.worker import Worker

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
  minicnn bench conv --suite resnet50 --json new.json --compare old.json --fail-over 5%

exit codes: 0 done, 1 a result is wrong or, with --compare, something is slower, 2 a mistake in the
command line, 130 stopped by Ctrl-C (what was measured until then is printed and written)
"""

CONV_DESCRIPTION = """Measure convolution: the layers of a suite, or single problems.

A problem is written as in oneDNN's benchdnn: mb16ic64ih56oc64kh3ph1 is a batch (mb) of 16, 64 input
channels (ic), images of 56x56 (ih, iw), 64 filters (oc) of 3x3 (kh, kw), padding 1 (ph, pw); also g
groups, sh stride, dh dilation minus 1. What is left out is the same as the side before it, or
benchdnn's default (mb2, stride 1, padding 0). A file for --suite holds one problem a line.

Columns: least and median time of a call; GFLOP/s by definition (2 N O C KH KW OH OW / groups), so
that Winograd's algorithm can pass the peak; this as a share of the peak, and of what the roofline
allows; scratch memory in MB; relative error in the norm against float64; speed-up over the
baseline, by default the fastest of PyTorch's variants, else the first contestant.
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
    conv = kinds.add_parser(
        "conv",
        help="convolution, forward and both gradients",
        description=CONV_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_suite_arguments(conv, "alexnet, alexnet-original, vgg16, googlenet, resnet50, resnet50-v1, "
                        "mobilenet, convnet-benchmarks, deepbench")  # fmt: skip
    conv.add_argument(
        "--dir", type=words, default=["fwd"], metavar="D,...",
        help="fwd, bwd_d (gradient by the data), bwd_w (by the weights), train (all three); "
        "default fwd",
    )  # fmt: skip
    conv.add_argument(
        "--algo", type=words, default=["auto"], metavar="NAME,...",
        help="algorithms by name, all, or auto: what minicnn chooses itself (default)",
    )  # fmt: skip
    conv.add_argument(
        "--layout", type=words, default=["nhwc"], metavar="L,...",
        help="memory order of minicnn's images: nhwc (default), nchw",
    )  # fmt: skip
    add_common_arguments(conv)
    conv.set_defaults(run=run)


def add_suite_arguments(parser: argparse.ArgumentParser, suites: str) -> None:
    """Add what chooses the problems."""
    parser.add_argument("--suite", metavar="NAME|FILE", help=f"{suites}, or a file of problems")
    parser.add_argument(
        "--problem", action="append", default=[], metavar="TEXT", help="a problem; can be repeated"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="take this batch everywhere")


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
    parser.add_argument("--wide", action="store_true", help="more columns than fit 100 characters")
    parser.add_argument("--json", metavar="FILE", help="also write everything, each run included")
    parser.add_argument("--csv", metavar="FILE", help="also write a table for a spreadsheet")
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

    check(options)
    works, old = chosen_works(options), compare.load(options.compare) if options.compare else None
    report = Report(options.kind)
    stopped = False
    try:
        measure(options, works, report)
    except KeyboardInterrupt:
        stopped = True
    if report.results:
        print(f"\n{table.footing(report.results)}", flush=True)
    save(options, report)
    failed = any(result.status in (WRONG, FAILED) for result in report.results)
    if old:
        text, worse = compare.table(report, old, options.fail_over)
        print(f"\n{text}")
        failed |= worse
    if stopped:
        raise KeyboardInterrupt
    return int(failed)


def check(options: argparse.Namespace) -> None:
    """Refuse what cannot be measured, before anything runs."""
    from minicnn.bench.kinds import KINDS
    from minicnn.bench.worker import VARIANTS
    from minicnn_kernels.arrays import to_device

    kind = KINDS[options.kind]
    check_words("--dir", options.dir, kind.directions)
    check_words("--layout", options.layout, ("nchw", "nhwc"))
    check_words("--algo", options.algo, ("auto", "all", *sorted(kind.known(options.dir))))
    check_words("--device", options.device, ("cpu", "cuda"))
    if options.vs is None:
        options.vs = VARIANTS if find_spec("torch") else ["none"]
    check_words("--vs", options.vs, ("none", *VARIANTS))
    options.vs = [variant for variant in options.vs if variant != "none"]
    if options.baseline:
        own = ("auto", *sorted(kind.known(options.dir)))
        check_words("--baseline", [options.baseline.partition("/")[0]], (*options.vs, *own))
    if options.batch is not None and options.batch < 1:
        raise UsageError(f"--batch must be at least 1, got {options.batch}")
    for name in ("json", "csv"):
        path = getattr(options, name)
        if path and Path(path).is_dir():
            raise UsageError(f"--{name}: {path} is a folder; name a file")
    for device in options.device:
        to_device(np.zeros(1), device)


def check_words(option: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise UsageError if a word is not allowed, or none is given."""
    for word in given or [""]:
        if word not in allowed:
            raise UsageError(f"{option}: unknown {word!r}; there are {', '.join(allowed)}")


def chosen_works(options: argparse.Namespace) -> list[Work]:
    """Return the problems of the suite and of the command line, in each direction."""
    from minicnn.bench import suites
    from minicnn.bench.kinds import KINDS

    kind = KINDS[options.kind]
    problems = [kind.read(text) for text in options.problem]
    if options.suite or not problems:
        problems = suites.load(options.kind, options.suite or kind.suite, kind.read) + problems
    if options.batch:
        problems = [problem.with_batch(options.batch) for problem in problems]
    return [kind.work(problem, direction) for problem in problems for direction in options.dir]


def measure(options: argparse.Namespace, works: Sequence[Work], report: Report) -> None:
    """Measure all works for each number of threads; print and collect the results."""
    from minicnn.bench import machine, peak, table
    from minicnn.bench.timing import Limits
    from minicnn_kernels.threads import get_num_threads, set_num_threads

    limits = Limits(options.min_time, options.min_runs, options.max_time)
    usual = get_num_threads()
    try:
        for threads in options.threads or [usual]:
            set_num_threads(threads)
            with rival(options, threads) as worker:
                report.machine = {**machine.facts(), **(worker.facts if worker else {})}
                roof = report.roofs[threads] = peak.measure()
                print(table.heading(report.machine, threads, roof, options.wide), flush=True)
                with progress(len(works), "layer") as (write, tick):
                    for work in works:
                        results = contest(options, work, worker, threads, limits)
                        for result in results:
                            result.under(roof)
                        write(table.group(results, report.results, options.wide))
                        report.results += results
                        tick()
    finally:
        set_num_threads(usual)


@contextmanager
def rival(options: argparse.Namespace, threads: int) -> Iterator[Worker | None]:
    """Keep PyTorch's process running, if it is asked for."""
    from minicnn.bench.worker import Worker

    worker = Worker(threads) if options.vs else None
    try:
        yield worker
    finally:
        if worker:
            worker.close()


def contest(
    options: argparse.Namespace, work: Work, worker: Worker | None, threads: int, limits: Limits
) -> list[Result]:
    """Let all contestants compute one work."""
    from minicnn.bench.contest import compete
    from minicnn.bench.results import rate

    operands = work.operands()
    entries = [*own_entries(options, work, operands), *rival_entries(options, worker)]
    results = compete(work, operands, entries, threads, limits)
    labels = [entry.station.label for entry in entries]
    rivals = [label for label in labels if label.partition("/")[0] in options.vs]
    rate(results, [options.baseline] if options.baseline else rivals or labels[:1])
    return results


def own_entries(options: argparse.Namespace, work: Work, operands: Operands) -> list[Entry]:
    """Return minicnn's contestants: algorithms, on each device, with each layout."""
    from minicnn.bench.contest import Entry
    from minicnn.bench.kinds import KINDS
    from minicnn.bench.station import Own, on_device

    kind, entries = KINDS[options.kind], []
    for device, layout in product(options.device, options.layout):
        every = [*kind.served_by(work, operands, device), "auto"]
        names = dict.fromkeys(
            n for name in options.algo for n in (every if name == "all" else [name])
        )
        for name in names:
            label = labelled(options, name, device, layout)
            build = partial(kind.build, name)
            entries.append(Entry(Own(label, on_device(build, device)), device, layout))
    return entries


def rival_entries(options: argparse.Namespace, worker: Worker | None) -> list[Entry]:
    """Return PyTorch's contestants."""
    from minicnn.bench.contest import Entry
    from minicnn.bench.worker import Remote

    if worker is None:
        return []
    return [
        Entry(
            Remote(labelled(options, variant, device), worker, variant, device),
            device,
            "nhwc" if variant == "torch-cl" else "nchw",
        )
        for device, variant in product(options.device, options.vs)
    ]


def labelled(options: argparse.Namespace, name: str, device: str, layout: str = "") -> str:
    """Add device and layout to a name where there are several."""
    parts = [name]
    if len(options.device) > 1 and device != "cpu":
        parts.append(device)
    if len(options.layout) > 1 and layout:
        parts.append(layout)
    return "/".join(parts)


def save(options: argparse.Namespace, report: Report) -> None:
    """Write the files that were asked for, whole or not at all."""
    from minicnn.bench.results import to_csv
    from minicnn.io.files import write_json, write_text

    if options.json:
        write_json(options.json, report.to_dict())
    if options.csv:
        write_text(options.csv, to_csv(report.results))
