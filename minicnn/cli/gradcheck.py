"""`minicnn gradcheck`: check gradients of minicnn, gradients of your own, or the checker itself."""

from __future__ import annotations

import argparse
import html
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import minicnn
from minicnn.cli import kinks, proof
from minicnn.cli.progress import progress
from minicnn.errors import MinicnnError, UsageError

if TYPE_CHECKING:
    from minicnn.cli.targets import Check
    from minicnn.gradcheck import Report

DESCRIPTION = """Check gradients against slopes that are measured with error bounds.

TARGET is one of
  conv2d              an operation or a layer of minicnn, with all its sample inputs
  "conv: padded"    one of them
  file.py::relu       a function of Tensors, an operation or a Module in a file of yours
  package.module::fn  the same by its import name
  file.py::conv_forward
                      plain NumPy: if the file also has conv_backward, the two are checked as a
                      pair, forward(x, ...) -> out and backward(dy, x, ...) -> (dx, ...), or in the
                      style of the course cs231n, forward -> (out, cache), backward(dout, cache)

A function in a file needs inputs: either the file has a function FN_inputs() or sample_inputs()
that returns them, settings last, as `return x, w, {"stride": 1}`, or --shape says what random
inputs to draw.
"""

EXAMPLES = """examples:
  minicnn gradcheck conv2d relu                 two operations
  minicnn gradcheck layers.py::affine_forward --shape 4,6 --shape 6,3 --shape 3
                                                your affine_forward and affine_backward
  minicnn gradcheck net.py::model --shape 2,1,8,8 --html report.html
                                                a whole model; the report with maps as a page
  minicnn gradcheck --all --order 2             second derivatives of everything
  minicnn gradcheck --planted                   is the checker any good? try it on known mistakes
  minicnn gradcheck --planted conv2d_stride_ignored
                                                one known mistake, with its report
  minicnn gradcheck --kinks 100                 does it raise false alarms at kinks?

exit codes: 0 pass, 1 a gradient is wrong, 2 a mistake in the command or an error in your file,
3 inconclusive: nothing is wrong for certain, and nothing certainly right
"""

PASS, FAIL, INCONCLUSIVE = 0, 1, 3


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "gradcheck",
        help="check gradients: minicnn's, or those you wrote",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="what to check")
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="a model")
    parser.add_argument("--all", action="store_true", help="every operation, layer and model")
    parser.add_argument(
        "--planted", action="store_true", help="prove the checker on mistakes made on purpose"
    )
    parser.add_argument(
        "--kinks",
        type=int,
        metavar="N",
        help="check N random ReLU and max-pool networks at and near their kinks",
    )
    parser.add_argument("--list", action="store_true", help="print what can be named")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=shape,
        metavar="N,N,...",
        help="shape of a random float64 input for file.py::fn; repeat it for each argument",
    )
    parser.add_argument("--order", type=int, choices=(1, 2), default=1, help="order of derivative")
    parser.add_argument(
        "--mode",
        choices=("auto", "full", "fast"),
        default="auto",
        help="each element (full), directions (fast), or full where it is quick (auto, default)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all random choices (default 0)")
    parser.add_argument("--rtol", type=float, help="relative tolerance (default 1e-8)")
    parser.add_argument("--atol", type=float, help="differences to excuse (default 0)")
    parser.add_argument("--eps", type=float, help="step of the quotients (default: chosen)")
    parser.add_argument(
        "--budget", type=float, metavar="S", help="seconds that full mode may take (default 2)"
    )
    parser.add_argument(
        "--allow-inconclusive", action="store_true", help="exit with 0 instead of 3"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the results as JSON")
    parser.add_argument("--html", metavar="FILE", help="also write them as a page with maps")
    parser.set_defaults(run=run)


def shape(text: str) -> tuple[int, ...]:
    """Read a shape as `2,3,5,5`; an empty text is the shape of a single number.

    >>> shape("2,3")
    (2, 3)
    """
    try:
        found = tuple(int(number) for number in text.strip("(), ").split(",") if text.strip("(), "))
    except ValueError:
        found = (-1,)
    if any(length < 0 for length in found):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape; write it as 2,3,5,5")
    return found


def run(options: argparse.Namespace) -> int:
    """Check what is asked for and return the exit code."""
    try:
        settings = settings_of(options)
        if options.list:
            return print_list()
        if options.planted:
            return proof.run(options, settings)
        if options.kinks is not None:
            return kinks.run(options)
        return check_targets(options, settings)
    except BrokenPipeError:  # the reader has gone, as with `| head`
        raise
    except (MinicnnError, OSError) as error:  # exit code 1 says that a gradient is wrong
        raise UsageError(str(error)) from error


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the checks, and refuse what makes no sense before anything runs."""
    from minicnn.gradcheck.check import Settings

    if options.seed < 0:
        raise UsageError(f"--seed must be at least 0, got {options.seed}")
    if options.budget is not None and not options.budget >= 0:
        raise UsageError(f"--budget must be at least 0 seconds, got {options.budget}")
    for name in ("json", "html"):
        if getattr(options, name) and Path(getattr(options, name)).is_dir():
            raise UsageError(f"--{name}: {getattr(options, name)} is a folder; name a file")
    kinds = [name for name in ("all", "planted", "list") if getattr(options, name)]
    kinds += ["kinks"] if options.kinks is not None else []
    if options.kinks is not None and options.targets:
        raise UsageError("--kinks takes no targets")
    if len(kinds) > 1:
        raise UsageError(f"choose one of {', '.join('--' + name for name in kinds)}")
    named = ("mode", "seed", "rtol", "atol", "eps", "budget")
    given = {name: getattr(options, name) for name in named}
    settings = {name: value for name, value in given.items() if value is not None}
    Settings(**settings)
    return settings


# --- functions, operations, models ----------------------------------------------------------------


def check_targets(options: argparse.Namespace, settings: dict[str, Any]) -> int:
    """Check the targets one after the other; print a line for each pass and a report otherwise."""
    from minicnn.cli import targets
    from minicnn.cli.user_code import visitors_welcome

    start = time.perf_counter()
    with visitors_welcome(options.seed):
        checks = chosen(options)
        reports: list[Report] = []
        with progress(len(checks), "check") as (write, tick):
            for check in checks:
                report = check.run(
                    **settings,
                    raise_exception=False,
                    progress=None if len(checks) == 1 else False,
                    repeat=repeat_line(check, options),
                )
                reports.append(report)
                write(line(report) if report else str(report))
                tick()
    verdicts = [report.verdict for report in reports]
    if options.all:
        for name in targets.unchecked():
            print(f"not checked  {name}: there are no sample inputs in minicnn/testing")
            verdicts.append("inconclusive")
    if len(checks) > 1:
        counts = [f"{verdicts.count(v)} {v}" for v in ("pass", "fail", "inconclusive")]
        print(f"{len(checks)} checks: {', '.join(counts)}, {time.perf_counter() - start:.1f} s")
    save(options, checks, reports)
    if "fail" in verdicts:
        return FAIL
    return INCONCLUSIVE if "inconclusive" in verdicts and not options.allow_inconclusive else PASS


def chosen(options: argparse.Namespace) -> list[Check]:
    """Return the checks that the command line names.

    Raises:
        UsageError: something is not there; then nothing has been checked yet.
    """
    from minicnn.cli import targets, user_code

    if options.shape and not any("::" in target for target in options.targets):
        raise UsageError("--shape is for file.py::function; operations have sample inputs")
    checks = targets.everything(options.order) if options.all else []
    for target in options.targets:
        if "::" in target:
            checks.append(user_code.user_check(target, options.shape, options.order, options.seed))
        else:
            checks += targets.own_checks(target, options.order)
    for name in options.model:
        checks += targets.model_checks(name, options.order)
    if not checks:
        raise UsageError(
            "name what to check, as in `minicnn gradcheck conv2d` or `minicnn gradcheck "
            "layers.py::relu`; --list shows the operations, --help has examples"
        )
    return checks


def line(report: Report) -> str:
    """Say in one line that a check passed."""
    notes = "".join(f"; {note}" for note in report.notes[:1])
    return (
        f"pass  {report.signature()}: {report.compared} comparisons, {report.seconds:.2f} s{notes}"
    )


def repeat_line(check: Check, options: argparse.Namespace) -> str:
    """Return the command that repeats one check."""
    words = ["minicnn", "gradcheck", *check.words]
    if "::" in check.words[-1]:
        for given in options.shape:
            words += ["--shape", ",".join(map(str, given))]
    return " ".join(shlex.quote(word) for word in [*words, *setting_words(options)])


def setting_words(options: argparse.Namespace) -> list[str]:
    """Return the settings that are not the default, as words of a command."""
    words = ["--seed", str(options.seed)]
    for name, usual in (("order", 1), ("mode", "auto")):
        if getattr(options, name) != usual:
            words += [f"--{name}", str(getattr(options, name))]
    for name in ("rtol", "atol", "eps", "budget"):
        if getattr(options, name) is not None:
            words += [f"--{name}", repr(getattr(options, name))]
    return words


def print_list() -> int:
    """Print the names of operations, layers and models."""
    from minicnn.cli import targets

    for title, names in targets.names().items():
        print(f"{title}:")
        print("".join(f"  {name}\n" for name in names), end="")
    return PASS


def save(options: argparse.Namespace, checks: Sequence[Check], reports: Sequence[Report]) -> None:
    """Write the files that were asked for, whole or not at all."""
    from minicnn.gradcheck.report import PAGE
    from minicnn.io.files import write_json, write_text

    if options.json:
        results = [
            {"target": check.name, **report.to_dict()}
            for check, report in zip(checks, reports, strict=True)
        ]
        write_json(options.json, {"minicnn": minicnn.__version__, "checks": results})
    if options.html:
        parts = [
            f"<h2>{html.escape(check.name)}</h2>{report._repr_html_()}"
            for check, report in zip(checks, reports, strict=True)
        ]
        write_text(options.html, PAGE.format(title="minicnn gradcheck", body="\n".join(parts)))
