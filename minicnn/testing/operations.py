"""Check operations by name: every one that `minicnn.ops` defines, at the rows of the table.

>>> from minicnn.testing import cases_of, check_operation
>>> [case.name for case in cases_of("cosh")]
['signed']
>>> check_operation("conv: groups").verdict
'pass'
"""

from __future__ import annotations

import difflib
import pkgutil
import shlex
from collections.abc import Callable, Iterable
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn import ops as families
from minicnn.differentiable import Op
from minicnn.errors import ArgumentError
from minicnn.gradcheck import GradcheckError, Report, gradcheck, gradgradcheck
from minicnn.testing.cases import CASES, Case
from minicnn.testing.cases.case import Positive, Shape
from minicnn_kernels.arrays import is_floating

if TYPE_CHECKING:
    import pytest

GUESSES: tuple[tuple[Shape, ...], ...] = (  # shapes an operation without a row may take
    ((2, 3),) * 3,  # element by element
    ((2, 3, 5, 5),) * 3,
    ((2, 3, 5, 5), (4, 3, 2, 2), (4,)),  # a convolution
    ((2, 3), (4, 3), (4,)),  # a linear layer
    ((2, 3), (3, 4), (4,)),  # a matrix product
    ((2, 3, 5, 5), (3,), (3,)),  # a normalisation
)


def all_operations() -> list[Op[Any]]:
    """Find every operation that a module of `minicnn.ops` defines, in the order of the text."""
    found = pkgutil.walk_packages(families.__path__, f"{families.__name__}.")
    values = [value for module in found for value in vars(import_module(module.name)).values()]
    return list({id(value): value for value in values if isinstance(value, Op)}.values())


def operations() -> dict[str, Op[Any]]:
    """Return every operation that has a gradient, by name."""
    return {op.name: op for op in all_operations() if op.gradient_function is not None}


def functions() -> set[str]:
    """Name the public functions that rows with a gradient are written with."""
    public = {name for family in families.FAMILIES for name in family.__all__}
    of_minicnn = {name for case in CASES for name in case.names & public}
    return of_minicnn | {case.through for case in CASES if case.through}


def cases_of(name: str) -> list[Case]:
    """Return the rows for an operation, for a public function, or the row of a name.

    For an operation that no row names, inputs are guessed; if it takes none of them, there is
    nothing to return.

    >>> [str(case) for case in cases_of("fold")][:2]
    ['col2im: overlap', 'col2im: one by one']

    Raises:
        ArgumentError: nothing has this name.
    """
    rows = [case for case in CASES if name in (case.op, case.through, str(case))]
    if not rows and name in functions():
        rows = [case for case in CASES if name in case.names]
    if rows:
        return rows
    known = operations()
    if name in known:
        guess = guessed_case(known[name])
        return [] if guess is None else [guess]
    names = {*known, *functions(), *map(str, CASES)}
    close = difflib.get_close_matches(name, names, n=3)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "see operations()"
    raise ArgumentError(f"cases_of: there is no operation {name!r}; {hint}")


def guessed_case(op: Op[Any]) -> Case | None:
    """Return a case with inputs that the operation accepts with its default settings, if any do."""
    count = 2 if op.variadic else len(op.tensor_names)
    for guess, kind in product(GUESSES, (tuple, Positive)):
        shapes = tuple(kind(shape) for shape in guess[:count])
        case = Case(op.name, "guessed inputs", op, shapes)
        if count <= len(guess) and _works(op, case):
            return case
    return None


def _works(op: Op[Any], case: Case) -> bool:
    try:
        with np.errstate(all="ignore"):
            y = np.asarray(op(*case.arrays()))
    except Exception:  # whatever it says to inputs that may be wrong
        return False
    return is_floating(y.dtype) and bool(np.isfinite(y).all())


def check_operation(case: Case | str, order: int = 1, **settings: Any) -> Report:
    """Check the gradient of a row, or of the first row that `cases_of` finds for a name.

    Args:
        order: 1 for the gradient, 2 for the gradient of the gradient.
        settings: as for `gradcheck`.

    Raises:
        GradcheckError: a gradient is wrong, or nothing could be said about it.
        ArgumentError: nothing has this name, or the operation needs a row of its own.
    """
    if isinstance(case, str):
        found = cases_of(case)
        if not found:
            raise ArgumentError(
                f"check_operation: {case} accepts no inputs that can be guessed; give it a row in "
                f"minicnn/testing/cases"
            )
        case = found[0]
    repeat = repeat_line(str(case), order, settings)
    return checked(str(case), order, case.function, case.arrays(), {"repeat": repeat, **settings})


def checked(
    name: str, order: int, function: Callable[..., Any], inputs: Any, settings: dict[str, Any]
) -> Report:
    """Run `gradcheck` or `gradgradcheck` and report under another name than the function's."""
    if order not in (1, 2):
        raise ArgumentError(f"order must be 1 or 2, got {order!r}")
    check = gradcheck if order == 1 else gradgradcheck
    report = check(function, inputs, **{**settings, "raise_exception": False})
    report.name = name if order == 1 else f"the gradient of {name}"
    raise_if_refused(report, settings)
    return report


def raise_if_refused(report: Report, settings: dict[str, Any]) -> None:
    """Raise what `gradcheck` with these settings would raise for this report."""
    __tracebackhide__ = True  # pytest leaves this frame out
    accepted = ("pass", "inconclusive") if settings.get("allow_inconclusive") else ("pass",)
    if settings.get("raise_exception", True) and report.verdict not in accepted:
        raise GradcheckError(report)


def repeat_line(case: str, order: int, settings: dict[str, Any]) -> str:
    """Return the command that repeats the check of a row.

    >>> repeat_line("add: one shape", 2, {"seed": 3})
    "minicnn gradcheck 'add: one shape' --order 2 --seed 3"
    """
    given = {"order": order} if order != 1 else {}
    given |= {key: settings[key] for key in ("mode", "seed", "rtol", "eps") if key in settings}
    words = ["minicnn", "gradcheck", shlex.quote(case)]
    return " ".join([*words, *(f"--{key} {value}" for key, value in given.items())])


def ops(*names: str) -> pytest.MarkDecorator:
    """Parametrise a test over the table's rows, as its argument `case`.

    ::

        @ops("conv2d", "relu")
        def test_on_my_device(case, gradcheck):
            gradcheck(case.function, case.arrays())

    Without names it takes every row, and for operations without one guessed inputs.

    Raises:
        ArgumentError: there is no operation of one of the names.
    """
    import pytest

    return pytest.mark.parametrize("case", _cases_of_all(names or operations()), ids=str)


def _cases_of_all(names: Iterable[str]) -> list[Case]:
    cases = [case for name in names for case in cases_of(name)]
    return list(dict.fromkeys(cases))
