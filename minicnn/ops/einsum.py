"""Sums of products, written with letters or with lists of dimensions.

Whatever the letters, a pair of tensors is contracted by one batch of matrix products: the
dimensions are brought into the order (batch, rows, inner) and (batch, inner, columns).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, ShapeError
from minicnn.ops.indexing import dimension, index
from minicnn.ops.linear import matrix_product
from minicnn.ops.reduce import sum
from minicnn.ops.shape import permute_dims, view_as
from minicnn.tensor import values_of

__all__ = ["einsum", "tensordot"]

LETTERS = ascii_uppercase + ascii_lowercase
Term = list[Any]  # the number of each letter, and Ellipsis
Labels = tuple[int, ...]  # a number for each dimension; those of an ellipsis end with -2, -1


def einsum(*args: Any) -> Any:
    """Return a sum of products, as in Einstein's notation.

    y[i..] = sum over all letters that the result lacks of a[letters of a] * b[letters of b] * ...

    `einsum("ij,jk->ik", a, b)` is the matrix product, "ii->i" a diagonal, "...ij->...ji" a
    transposition; without "->" the result has the letters that occur once, in alphabetical order.
    `einsum(a, [0, 1], b, [1, 2], [0, 2])` names the dimensions by numbers below 52.

    >>> import minicnn
    >>> minicnn.einsum("bij,bjk->bik", minicnn.ones(5, 2, 3), minicnn.ones(5, 3, 4)).shape
    (5, 2, 4)

    Raises:
        ShapeError: the letters do not fit the shapes.
        ArgumentError: the equation cannot be read.
    """
    if not args:
        raise ArgumentError('einsum: needs an equation such as "ij,jk->ik" and tensors')
    parse = _from_equation if isinstance(args[0], str) else _from_lists
    terms, result, operands = parse(*args)
    if len(terms) != len(operands):
        raise ShapeError(f"einsum: the equation has {len(terms)} terms for {len(operands)} tensors")
    labels = [_labels(term, x.shape) for term, x in zip(terms, operands, strict=True)]
    sizes = _sizes(operands, labels)
    wanted = _result_labels(result, labels)
    factors = [_distinct(x, names, sizes) for x, names in zip(operands, labels, strict=True)]
    while len(factors) > 1:
        i, j = min(
            combinations(range(len(factors)), 2),  # the pair with the fewest multiplications
            key=lambda ij: math.prod(sizes[n] for n in {*factors[ij[0]][1], *factors[ij[1]][1]}),
        )
        (b, of_b), (a, of_a) = factors.pop(j), factors.pop(i)
        needed = {*wanted, *(name for _, names in factors for name in names)}
        factors.append(contract(a, of_a, b, of_b, needed))
    y, names = _summed(*factors[0], {*wanted})
    return permute_dims(y, tuple(names.index(name) for name in wanted))


def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """Return the sum of products over `dims` dimensions: the last of a and the first of b.

    y[i..,j..] = sum_k.. a[i..,k..] * b[k..,j..]

    `dims` may also be two lists: dimensions of a, and those of b that they meet.

    Raises:
        ShapeError: two dimensions that meet differ in size.
        ArgumentError: there are not as many dimensions.
    """
    of_a, of_b = _meeting(a, b, dims)
    labels_a, labels_b = list(range(a.ndim)), list(range(a.ndim, a.ndim + b.ndim))
    for i, j in zip(of_a, of_b, strict=True):
        labels_b[j] = i
    result = [n for i, n in enumerate(labels_a) if i not in of_a]
    result += [n for j, n in enumerate(labels_b) if j not in of_b]
    return einsum(a, labels_a, b, labels_b, result)


def _meeting(a: Any, b: Any, dims: Any) -> tuple[list[int], list[int]]:
    """Return the dimensions of a and of b that `tensordot` contracts."""
    dims = values_of(dims)
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ArgumentError(f"tensordot: dims {dims} of tensors {a.shape} and {b.shape}")
        return list(range(a.ndim - dims, a.ndim)), list(range(dims))
    if len(dims) != 2 or any(not hasattr(part, "__len__") for part in dims):
        raise ArgumentError(f"tensordot: dims must be a number or two lists, got {dims}")
    of_a, of_b = (
        [dimension("tensordot", int(d), t.ndim) for d in part]
        for part, t in zip(dims, (a, b), strict=True)
    )
    if len(of_a) != len(of_b) or len({*of_a}) < len(of_a) or len({*of_b}) < len(of_b):
        raise ArgumentError(f"tensordot: dims {dims} must name as many of both, each once")
    for i, j in zip(of_a, of_b, strict=True):
        if a.shape[i] != b.shape[j] and 1 not in (a.shape[i], b.shape[j]):
            raise ShapeError(
                f"tensordot: dimension {i} of {a.shape} must meet dimension {j} of {b.shape}"
            )
    return of_a, of_b


# --- the contraction of two tensors ---------------------------------------------------------------


def contract(a: Any, of_a: Labels, b: Any, of_b: Labels, needed: set[int]) -> tuple[Any, Labels]:
    """Multiply two tensors and add up over what nobody needs; return the result and its labels."""
    a, of_a = _summed(a, of_a, needed | {*of_b})
    b, of_b = _summed(b, of_b, needed | {*of_a})
    batch = tuple(name for name in of_a if name in of_b and name in needed)
    inner = tuple(name for name in of_a if name in of_b and name not in needed)
    rows = tuple(name for name in of_a if name not in of_b)
    columns = tuple(name for name in of_b if name not in of_a)
    size = {**dict(zip(of_a, a.shape, strict=True)), **dict(zip(of_b, b.shape, strict=True))}

    def count(names: Labels) -> int:
        return math.prod(size[name] for name in names)

    outer = tuple(size[name] for name in batch)
    a = permute_dims(a, tuple(of_a.index(name) for name in (*batch, *rows, *inner)))
    b = permute_dims(b, tuple(of_b.index(name) for name in (*batch, *inner, *columns)))
    a = view_as(a, (*outer, count(rows), count(inner)))
    b = view_as(b, (*outer, count(inner), count(columns)))
    y = matrix_product(a, b) if inner else a * b  # (rows, 1) * (1, columns)
    names = (*batch, *rows, *columns)
    return view_as(y, tuple(size[name] for name in names)), names


def _summed(x: Any, names: Labels, needed: set[int]) -> tuple[Any, Labels]:
    """Add up over the dimensions that are not needed."""
    dropped = tuple(i for i, name in enumerate(names) if name not in needed)
    return (sum(x, dropped) if dropped else x), tuple(name for name in names if name in needed)


def _distinct(x: Any, names: Labels, sizes: dict[int, int]) -> tuple[Any, Labels]:
    """Take diagonals where a label is repeated, and drop dimensions of 1 that are broadcast."""
    for name in {*names}:
        if names.count(name) > 1:
            places = [i for i, other in enumerate(names) if other == name]
            rest = [i for i in range(x.ndim) if i not in places]
            x = permute_dims(x, (*places, *rest))
            x = index(x, (np.arange(x.shape[0], like=values_of(x)),) * len(places))
            names = (name, *(names[i] for i in rest))
    kept = [i for i, name in enumerate(names) if x.shape[i] == sizes[name]]
    if len(kept) == x.ndim:
        return x, names
    return view_as(x, tuple(x.shape[i] for i in kept)), tuple(names[i] for i in kept)


def _sizes(operands: Sequence[Any], labels: Sequence[Labels]) -> dict[int, int]:
    """Return the size of each label; a size of 1 is broadcast.

    Raises:
        ShapeError: a label has two sizes.
    """
    sizes: dict[int, int] = {}
    for x, names in zip(operands, labels, strict=True):
        own: dict[int, int] = {}
        for name, size in zip(names, x.shape, strict=True):
            known = sizes.get(name, 1)
            if own.setdefault(name, size) != size or (size != known and 1 not in (size, known)):
                which = f"letter {LETTERS[name]}" if name >= 0 else "a dimension of ..."
                other = own[name] if own[name] != size else known
                raise ShapeError(f"einsum: {which} has sizes {other} and {size}")
            sizes[name] = size if known == 1 else known
    return sizes


# --- reading the equation -------------------------------------------------------------------------


def _from_equation(equation: str, *operands: Any) -> tuple[list[Term], Term | None, Sequence[Any]]:
    """Return the terms, the result's term or None, and the tensors of `"ij,jk->ik", a, b`."""
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = [_from_letters(equation, text) for text in left.split(",")]
    return terms, _from_letters(equation, right) if arrow else None, operands


def _from_letters(equation: str, text: str) -> Term:
    parts = [[LETTERS.find(letter) for letter in part] for part in text.split("...")]
    if len(parts) > 2 or any(-1 in part for part in parts):
        raise ArgumentError(
            f"einsum: cannot read {text!r} in {equation!r}; it may hold letters and one ..."
        )
    return parts[0] if len(parts) == 1 else [*parts[0], Ellipsis, *parts[1]]


def _from_lists(*args: Any) -> tuple[list[Term], Term | None, Sequence[Any]]:
    """Return the same three of `a, [0, 1], b, [1, 2], [0, 2]`."""
    operands, terms = args[: len(args) // 2 * 2 : 2], [list(term) for term in args[1::2]]
    result = list(args[-1]) if len(args) % 2 else None
    for term in [*terms, result or []]:
        if not all(n is Ellipsis or 0 <= n < len(LETTERS) for n in term):
            raise ArgumentError(f"einsum: {term} must hold numbers in [0, {len(LETTERS)}) and ...")
    return terms, result, operands


def _labels(term: Term, shape: tuple[int, ...]) -> Labels:
    """Return a label for each dimension of a tensor.

    Raises:
        ShapeError: the tensor has more or fewer dimensions than the term.
    """
    hidden = len(shape) - (len(term) - term.count(Ellipsis))
    if hidden < 0 or (hidden > 0 and Ellipsis not in term):
        raise ShapeError(f"einsum: a term with {len(term)} letters does not fit the shape {shape}")
    return _filled(term, hidden)


def _filled(term: Term, hidden: int) -> Labels:
    """Put -hidden, ..., -2, -1 in the place of the ellipsis."""
    dots = range(-hidden, 0)
    return tuple(n for part in term for n in (dots if part is Ellipsis else (part,)))


def _result_labels(term: Term | None, labels: list[Labels]) -> Labels:
    """Return the labels of the result; unless given, those of ... and what occurs once.

    Raises:
        ArgumentError: a letter is new, or named twice.
    """
    found = [name for names in labels for name in names]
    hidden = -min([0, *found])
    if term is None:
        once = sorted(n for n in found if n >= 0 and found.count(n) == 1)
        return _filled([Ellipsis, *once], hidden)
    wanted = _filled(term, hidden)
    if len({*wanted}) < len(wanted) or not {*wanted} <= {*found}:
        letters = "".join("..." if n is Ellipsis else LETTERS[n] for n in term)
        raise ArgumentError(
            f"einsum: each letter of the result {letters!r} must occur once, and in a term before"
        )
    return wanted
