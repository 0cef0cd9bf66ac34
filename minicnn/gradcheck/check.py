"""`gradcheck`, `gradgradcheck` and `gradcheck_pair`: measure, compare, diagnose, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, DTypeError
from minicnn.gradcheck.causes import Hint
from minicnn.gradcheck.compare import (
    AT_KINK,
    VANISHING,
    WRONG,
    Comparison,
    Ground,
    Tolerances,
    typical_size,
)
from minicnn.gradcheck.diagnosis import diagnose
from minicnn.gradcheck.evidence import Evidence
from minicnn.gradcheck.promises import (
    Finding,
    check_form,
    check_precision,
    check_promises,
    check_repeatable,
    largest_difference,
)
from minicnn.gradcheck.replay import Replay
from minicnn.gradcheck.report import GradcheckError, Report
from minicnn.gradcheck.search import Row, Search
from minicnn.gradcheck.subject import (
    Gradients,
    Subject,
    elsewhere,
    from_function,
    from_pair,
    signs,
)
from minicnn_kernels.arrays import Array, is_floating

MODES = ("auto", "full", "fast")
UPSTREAMS = 2  # independent dy
DIAGNOSED = 2  # inputs whose wrong gradients are diagnosed
NATIVE = 1e-3  # how far gradients in float32 may be from those in float64, relative
SMALL = 2000  # elements up to which a diagnosis may measure a whole gradient again


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to check; `gradcheck` says what each means."""

    eps: float | None = None
    atol: float = 0.0
    rtol: float | None = None
    raise_exception: bool = True
    allow_inconclusive: bool = False
    mode: str = "auto"
    fast_mode: bool = False
    nondet_tol: float = 0.0
    seed: int = 0
    budget: float = 2.0
    progress: bool | None = None
    repeat: str = ""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            modes = ", ".join(MODES)
            raise ArgumentError(f"gradcheck: mode must be one of {modes}, got {self.mode!r}")
        for name in ("eps", "atol", "rtol", "nondet_tol", "budget"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ArgumentError(f"gradcheck: {name} must not be negative, got {value}")
        if self.eps == 0:
            raise ArgumentError(
                "gradcheck: eps must be larger than 0; leave it out to let steps be chosen"
            )

    def tolerances(self, dtype: Any) -> Tolerances:
        """Return the tolerances for a function computed in this element type."""
        usual = Tolerances() if np.finfo(dtype).eps < 1e-10 else Tolerances(2e-3, 0.0, 1e-4)
        return usual._replace(atol=self.atol, rtol=usual.rtol if self.rtol is None else self.rtol)


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    loss: Callable[..., Any] | None = None,
    names: Sequence[str] | None = None,
    **settings: Any,
) -> Report:
    """Check the gradients of a function of Tensors, an operation, a layer or a whole model.

    Compares d sum(dy * y) / dx, for random signed dy, with slopes measured in float64 along each
    element (or, for many elements, along random and structured directions).

    >>> import minicnn
    >>> from minicnn.gradcheck import gradcheck
    >>> x = minicnn.tensor([[0.5, -1.0], [2.0, 0.0]], requires_grad=True)
    >>> report = gradcheck(lambda x: minicnn.relu(x) * x.sum(), x)
    >>> report.verdict
    'pass'

    Args:
        func: takes the inputs, returns a Tensor or several.  Of a Module a copy is checked, with
            its parameters as further inputs.
        inputs: one input or a tuple.  Tensors that require a gradient are checked; if none does,
            all floating-point Tensors and arrays.
        loss: applied to what `func` returns, as `lambda logits: F.cross_entropy(logits, labels)`.
        names: names of the inputs for the report.
        settings: `eps` step of the quotients, absolute (default: steps are chosen);
            `rtol` relative tolerance (default 1e-8; 2e-3 where only float32 is possible);
            `atol` differences this small are excused, but certify nothing;
            `mode` "full" looks along each element, "fast" along directions, "auto" takes full if
            it fits into `budget` seconds; `fast_mode=True` is torch's way to say "fast";
            `raise_exception` raise instead of returning a report that says fail;
            `allow_inconclusive` do not raise for an inconclusive report;
            `nondet_tol` by how much two equal calls may differ; `seed` of all random choices;
            `progress` a bar: True, False, or None: only for checks over 2 seconds in a terminal;
            `repeat` a line for the report that tells how to repeat the check.

    Returns:
        A Report; true in a condition if the check passed.

    Raises:
        GradcheckError: a gradient is wrong, or nothing could be said about it.
        ArgumentError: the function returns no Tensor, or a setting is out of range.
    """
    __tracebackhide__ = True  # pytest then shows the report, not the checker
    return _checked(
        lambda dtype: from_function(func, inputs, loss, names, dtype=dtype), Settings(**settings)
    )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    loss: Callable[..., Any] | None = None,
    names: Sequence[str] | None = None,
    **settings: Any,
) -> Report:
    """Check the second derivatives: the gradients of the gradients, by the inputs and by dy.

    Takes and raises the same as `gradcheck`.

    >>> import minicnn
    >>> from minicnn.gradcheck import gradgradcheck
    >>> bool(gradgradcheck(lambda x: x**3, minicnn.tensor([0.5, -1.0])))
    True
    """
    __tracebackhide__ = True  # pytest then shows the report, not the checker
    return _checked(
        lambda dtype: from_function(func, inputs, loss, names, order=2, dtype=dtype),
        Settings(**settings),
    )


def gradcheck_pair(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    cache: bool | None = None,
    **settings: Any,
) -> Report:
    """Check a backward written in plain NumPy against its forward.

    >>> from minicnn.gradcheck import gradcheck_pair
    >>> x = np.random.default_rng(0).normal(size=(3, 4))
    >>> bool(gradcheck_pair(np.tanh, lambda dy, x: dy * (1 - np.tanh(x) ** 2), [x]))
    True

    Args:
        forward: `forward(*inputs)` returns an array, or a tuple of arrays; or `(out, cache)`.
        backward: `backward(dy, *inputs)` returns one gradient per input (None for whole-number
            inputs, or leave those out); several outputs have several dy.  With a cache,
            `backward(dout, cache)`.
        inputs: the arrays to check at.  Settings go into a `functools.partial`.
        names: names of the inputs for the report.
        cache: whether forward returns `(out, cache)`; by default the functions tell.
        settings: as for `gradcheck`.

    Raises:
        GradcheckError: a gradient is wrong, or nothing could be said about it.
    """
    __tracebackhide__ = True  # pytest then shows the report, not the checker
    return _checked(
        lambda dtype: from_pair(forward, backward, inputs, names, cache, dtype),
        Settings(**settings),
    )


# --- the check ------------------------------------------------------------------------------------


def _checked(make: Callable[[Any], Subject], settings: Settings) -> Report:
    """Check the subject in float64, and in float32 too if that is what the user gave."""
    __tracebackhide__ = True
    start = time.perf_counter()
    replay = Replay()
    try:
        report = _in_usual_types(make, settings)
    finally:
        replay.restore()  # of the generators that everybody shares
    report.seconds = time.perf_counter() - start
    report.repeat = settings.repeat
    accepted = ("pass", "inconclusive") if settings.allow_inconclusive else ("pass",)
    if settings.raise_exception and report.verdict not in accepted:
        raise GradcheckError(report) from report.error
    return report


def _in_usual_types(make: Callable[[Any], Subject], settings: Settings) -> Report:
    """Report on the subject in float64; in float32 where it runs in nothing else."""
    try:
        subject = make(np.float64)
        report = _report(subject, settings)
    except DTypeError:
        subject = make(np.float32)  # holds float32 constants: measure as well as float32 allows
        if subject.native != np.float32:
            raise
        report = _report(subject, settings)
        report.notes.append("it cannot run in float64, so float32's rounding limits the oracle")
    else:
        if subject.native == np.float32 and report.verdict == "pass":
            try:
                _check_native(subject, make(np.float32), report)
            finally:
                subject.replay.restore()
    return report


def _report(subject: Subject, settings: Settings) -> Report:
    """Run all checks on one subject; leave the random generators as they were."""
    report = Report(subject.name, subject.inputs, subject.names, subject.settings, settings.seed)
    try:
        subject.disturb()  # whoever keeps what the first call saved is stale from now on
        outputs = subject.values(subject.inputs)
        report.findings += check_repeatable(subject, outputs, settings.nondet_tol)
        if not report.findings:
            _compare(subject, outputs, settings, report)
    finally:
        subject.replay.restore()
        report.calls = subject.calls
    return report


def _compare(subject: Subject, outputs: list[Array], settings: Settings, report: Report) -> None:
    """Compare the gradients with measured slopes, then check the promises."""
    rng = np.random.default_rng(settings.seed)
    ground = Ground(subject, subject.checked)
    upstreams = [ground.usable([signs(rng, y.shape) for y in outputs]) for _ in range(UPSTREAMS)]
    if not ground.defined.all():
        share = f"{int((~ground.defined).sum())} of {ground.defined.size}"
        report.notes.append(f"{share} outputs are NaN, infinite or jump here, and were left out")
    gradients = []
    for upstream in upstreams:
        subject.disturb()
        try:
            gradients.append(subject.gradients(upstream, subject.inputs))
        except Exception as error:
            report.findings.append(Finding("raises", f"{type(error).__name__}: {error}"))
            report.error = error
            return
    report.findings += check_form(subject, gradients[0])
    report.findings += check_precision(subject, outputs)
    if report.found("count"):
        return
    precision = min(
        (y.dtype for y in outputs if is_floating(y.dtype)), key=_digits, default=subject.dtype
    )
    if _digits(precision) < _digits(subject.dtype):
        report.notes.append(f"forward returns {precision}, whose rounding limits the oracle")
    misshapen = [i for i in subject.checked if not _comparable(subject.inputs[i], gradients[0][i])]
    comparison = Comparison(
        subject,
        [i for i in subject.checked if i not in misshapen],
        ground,
        upstreams,
        gradients,
        settings.tolerances(precision),
        settings.eps,
    )
    report.mode = _chosen_mode(comparison, settings)
    with _progress(report, comparison, settings) as tick:
        search = Search(comparison, settings.seed, tick, 3 * settings.budget)
        search.full() if report.mode == "full" else search.fast()
    report.rows = search.rows
    if not report.compared:
        report.notes.append("nothing was compared: no element of floating-point type to look along")
    report.ties = search.wrong_ties
    for row in search.rows:
        if gradients[0][row.place.position] is None and np.any(row.state == WRONG):
            name = subject.names[row.place.position]
            report.findings.append(Finding("none", f"d{name} is None"))
    if not misshapen:
        expected = list(gradients[0])
        for row in search.rows:
            if np.any(row.state == VANISHING):  # it is rounding, which need not repeat itself
                expected[row.place.position] = None
        report.findings += check_promises(subject, upstreams[0], expected, settings.nondet_tol)
    _diagnose(subject, outputs, upstreams[0], gradients[0], search.rows, report)


def _digits(dtype: Any) -> int:
    return int(np.finfo(dtype).precision)


def _comparable(x: Array, dx: Array | None) -> bool:
    return dx is None or (dx.shape == x.shape and dx.dtype.kind in "fiub")


def _chosen_mode(comparison: Comparison, settings: Settings) -> str:
    if settings.fast_mode or settings.mode != "auto":
        return "fast" if settings.fast_mode else settings.mode
    start = time.perf_counter()
    comparison.curve(np.ones(comparison.size))(0.0)
    seconds = time.perf_counter() - start
    return "full" if 3 * comparison.size * seconds <= settings.budget else "fast"


@contextmanager
def _progress(
    report: Report, comparison: Comparison, settings: Settings
) -> Iterator[Callable[[int], None]]:
    """Show a bar over the directions if it takes long, or if the caller wants one."""
    if settings.progress is False:
        yield lambda directions: None
        return
    from tqdm import tqdm

    quiet = None if settings.progress is None else False  # None: no bar where there is no terminal
    delay = 2.0 if settings.progress is None else 0.0
    total = comparison.size if report.mode == "full" else None
    with tqdm(
        total=total, desc=report.name, unit=" directions", delay=delay, disable=quiet, leave=False
    ) as bar:
        yield bar.update


def _diagnose(
    subject: Subject,
    outputs: list[Array],
    upstream: list[Array],
    gradients: Gradients,
    rows: list[Row],
    report: Report,
) -> None:
    """Ask for the likely cause of the wrong gradients, the most wrong inputs first."""
    numeric: list[Array | None] = [None] * len(subject.inputs)
    bounds: list[Array | None] = [None] * len(subject.inputs)
    for row in rows:
        numeric[row.place.position] = row.measured.reshape(row.place.shape)
        bounds[row.place.position] = row.bound.reshape(row.place.shape)
    measured = {row.place.position for row in rows}
    wrong = [row for row in rows if np.any(row.state == WRONG)]
    wrong.sort(key=lambda row: -float(np.mean(row.state == WRONG)))
    suspects = [i for i in subject.checked if i not in measured and subject.inputs[i].size <= SMALL]
    suspects += [row.place.position for row in wrong if gradients[row.place.position] is not None]
    for position in suspects[:DIAGNOSED]:
        evidence = Evidence(
            subject.values,
            lambda dy: subject.gradients(dy, subject.inputs),
            subject.inputs,
            outputs,
            upstream,
            position,
            gradients,
            numeric,
            bounds,
            subject.settings,
            subject.names,
        )
        if numeric[position] is None:
            numeric[position] = evidence.measured_at(subject.inputs, upstream)
            bounds[position] = np.zeros(subject.inputs[position].shape)
        name = subject.names[position]
        stale = _stale(subject, evidence)
        hints = [stale] if stale else diagnose(evidence)
        report.hints += [hint._replace(text=f"d{name}: {hint.text}") for hint in hints]


def _stale(subject: Subject, evidence: Evidence) -> Hint | None:
    """Say whether the gradient is right for the call before: forward ran there just before."""
    claimed = evidence.analytic[evidence.position]
    if claimed is None or claimed.size > SMALL or claimed.dtype.kind != "f":
        return None
    before = evidence.measured_at(elsewhere(subject.inputs), evidence.upstream)
    if claimed.shape != before.shape:
        return None
    size = np.abs(before).max(initial=0.0)
    gap = np.abs(claimed - before).max(initial=0.0)
    if not gap <= 1e-6 * size:
        return None
    text = "it is the gradient at the inputs of an earlier forward"
    return Hint("stale", text, float(gap / size) if size else 0.0)


def _check_native(subject: Subject, native: Subject, report: Report) -> None:
    """Compare the gradients in the user's float32 with those in float64, now known to be right."""
    rng = np.random.default_rng(report.seed)
    upstream = [signs(rng, y.shape) for y in subject.values(subject.inputs)]
    exact = subject.gradients(upstream, subject.inputs)
    found = native.gradients([v.astype(np.float32) for v in upstream], native.inputs)
    report.findings += check_form(native, found)
    kinks = any(row.counts.get(AT_KINK) for row in report.rows)
    outputs = [dy * y for dy, y in zip(upstream, subject.values(subject.inputs), strict=True)]
    size = float(np.sqrt(sum(np.square(part).sum() for part in outputs)))
    for position in subject.checked:  # what is rounding in float32 is no gradient to compare
        dx, x = exact[position], subject.inputs[position]
        least = 16 * native.rounding * size / typical_size(x)
        if dx is not None and np.abs(dx).max(initial=0.0) <= least:
            exact[position] = found[position] = None
    gap, name = largest_difference(native, exact, found)
    if kinks:
        report.notes.append("checked in float64 only: at a kink float32 may take the other side")
    elif gap <= NATIVE:
        report.notes.append(f"checked in float64; in float32 all gradients agree to {NATIVE:g}")
    else:
        text = f"d{name} in float32 is off by {gap:.1g} of its largest value"
        report.findings.append(Finding("precision", text))
