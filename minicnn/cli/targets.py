"""What of minicnn's own `minicnn gradcheck` can be pointed at: operations, layers and models."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from minicnn.errors import UsageError
from minicnn.gradcheck import Report

if TYPE_CHECKING:
    from minicnn.testing.cases import Case, ModuleCase


class Check(NamedTuple):
    """One thing to check: its name, the words of the command that name it, how to check it."""

    name: str
    words: tuple[str, ...]
    run: Callable[..., Report]  # takes the settings of `gradcheck`


def names() -> dict[str, list[str]]:
    """Return the names that can be asked for, kind by kind."""
    from minicnn.testing.modules import layer_cases, model_cases
    from minicnn.testing.operations import functions, operations

    return {
        "operations": sorted(operations()),
        "functions": sorted(functions() - operations().keys()),
        "layers": sorted({case.kind for case in layer_cases()}),
        "models": sorted({case.kind for case in model_cases()}),
    }


def own_checks(target: str, order: int) -> list[Check]:
    """Return the checks of an operation, function, layer or model, or of one of its rows.

    Raises:
        UsageError: nothing has this name, or there are no inputs for it.
    """
    from minicnn.testing.modules import layer_cases, model_cases
    from minicnn.testing.operations import cases_of

    target = re.sub(r":\s*", ": ", target)
    modules = [c for c in (*layer_cases(), *model_cases()) if target in (c.kind, str(c))]
    if modules:
        return [_module_check(case, order) for case in modules]
    kind = target.partition(":")[0]
    known = list(dict.fromkeys(name for of_kind in names().values() for name in of_kind))
    if kind not in known:
        raise UsageError(f"nothing is called {kind!r}; {near(kind, known)} (--list shows all)")
    rows = [str(case) for case in cases_of(kind)]
    if target != kind and target not in rows:
        raise UsageError(f"{kind} has no row {target!r}; {near(target, rows)}")
    checks = [_operation_check(case, order) for case in cases_of(target)]
    if not checks:
        raise UsageError(
            f"{kind} has no sample inputs, and takes none that can be guessed; add a row to "
            f"minicnn/testing/cases"
        )
    return checks


def model_checks(name: str, order: int) -> list[Check]:
    """Return the checks of a model.

    Raises:
        UsageError: there is no such model.
    """
    known = names()["models"]
    if name.partition(":")[0] not in known:
        raise UsageError(f"no model is called {name!r}; {near(name, known)}")
    return own_checks(name, order)


def everything(order: int) -> list[Check]:
    """Return the checks of every operation, layer and model."""
    from minicnn.testing.modules import layer_cases, model_cases
    from minicnn.testing.operations import cases_of, operations

    cases = [case for name in operations() for case in cases_of(name) if case.order >= order]
    checks = [_operation_check(case, order) for case in cases]
    modules = [case for case in (*layer_cases(), *model_cases()) if case.order >= order]
    return checks + [_module_check(case, order) for case in modules]


def unchecked() -> list[str]:
    """Return the names of what `everything` has no inputs for."""
    from minicnn.testing.modules import layers_without_case, models_without_case
    from minicnn.testing.operations import cases_of, operations

    bare = [name for name in operations() if not cases_of(name)]
    return [*bare, *layers_without_case(), *models_without_case()]


def _operation_check(case: Case, order: int) -> Check:
    from minicnn.testing.operations import check_operation

    return Check(str(case), (str(case),), partial(check_operation, case, order))


def _module_check(case: ModuleCase, order: int) -> Check:
    from minicnn.testing.modules import check_module

    return Check(str(case), (str(case),), partial(check_module, case, order))


def near(name: str, names: Sequence[str]) -> str:
    """Suggest names like `name`, or list them all.

    >>> near("conv2", ["relu", "conv2d"])
    'did you mean conv2d?'
    """
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
