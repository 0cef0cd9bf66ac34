"""The arguments of torch: from the signature of a function, or from the first line of its help."""

from __future__ import annotations

import ast
import inspect
import re

from minicnn.arguments import TORCH_NAMES
from minicnn.differentiable import Op

LEFT_OUT = {
    "size_average", "reduce", "out", "_stacklevel", "foreach", "fused", "capturable", "device",
    "differentiable", "memory_format", "layout", "pin_memory", "generator", "names", "sparse",
    "min_value", "max_value", "_weight", "_freeze",
}  # fmt: skip
"""What is deprecated in torch, or speaks of how and where it computes."""


def arguments_of_torch(function, name):
    """Return {name: default} in order, and which of them are by keyword only; None if unknown.

    Arguments that follow a deprecated one are by keyword only with us: no position can then mean
    something else than in torch.
    """
    found = _from_signature(function) or _from_help(function, name)
    if found is None:
        return None
    arguments, keyword = {}, set()
    by_keyword = False
    for argument, default in found:
        if argument == "*":
            by_keyword = True
        elif argument in LEFT_OUT:
            by_keyword = by_keyword or argument in ("size_average", "reduce", "_stacklevel", "out")
        else:
            arguments[argument] = default
            if by_keyword:
                keyword.add(argument)
    return arguments, keyword


def _from_signature(function):
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return None
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return None
    found = []
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and ("*", None) not in found:
            found.append(("*", None))
        if p.name != "self":
            found.append((p.name, p.default))
    return found


def _from_help(function, name):
    text = " ".join((function.__doc__ or "").split())
    match = re.match(rf"{name}\((.*?)\) ?->", text)
    if match is None:
        return None
    try:
        tree = ast.parse(f"def f({match[1]}): pass").body[0].args
    except SyntaxError:
        return None
    positional = [*tree.posonlyargs, *tree.args]
    missing = [inspect.Parameter.empty] * (len(positional) - len(tree.defaults))
    found = list(
        zip((a.arg for a in positional), [*missing, *map(_value, tree.defaults)], strict=True)
    )
    if tree.kwonlyargs:
        found.append(("*", None))
        found += [
            (a.arg, inspect.Parameter.empty if d is None else _value(d))
            for a, d in zip(tree.kwonlyargs, tree.kw_defaults, strict=True)
        ]
    return found


def _value(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def difference(ours, theirs, name, without=()):
    """Say how our arguments differ from torch's; None if they do not, or torch's are unknown.

    The help shows one of several forms of a function only: there ours may have more arguments.
    More arguments by keyword are always allowed.
    """
    exact = _from_signature(theirs) is not None
    expected = arguments_of_torch(theirs, name)
    if expected is None:
        return None
    arguments, keyword = expected
    arguments = {name: value for name, value in arguments.items() if name not in without}
    parameters = inspect.signature(getattr(ours, "__wrapped__", ours)).parameters
    if any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
        return None
    if isinstance(ours, Op):  # it takes its tensors under these names too
        for own, known in zip(ours.tensor_names, TORCH_NAMES, strict=False):
            torch_name = next((n for n in known if n in arguments), known[0])
            parameters = {torch_name if n == own else n: p for n, p in parameters.items()}
    mine = [p for p in parameters if p != "self" and (p in arguments or p not in LEFT_OUT)]
    positional = [n for n in mine if parameters[n].kind is not inspect.Parameter.KEYWORD_ONLY]
    if set(arguments) - set(mine) or (exact and set(positional) - set(arguments)):
        return f"{name}{tuple(mine)}, torch has {tuple(arguments)}"
    wanted = [n for n in arguments if n not in keyword]
    if [n for n in positional if n in wanted] != wanted or (exact and positional != wanted):
        return f"{name}: by position {positional}, torch has {wanted}"
    for argument, default in arguments.items():
        own = parameters[argument].default
        optional = default is inspect.Parameter.empty and own is None and not exact
        same = own == default or {own, default} <= {None, ()} or str(own) == str(default)
        if not same and not optional:
            return f"{name}: {argument}={own!r}, torch has {default!r}"
    return None
