"""Convolutions computed with the wrong stride, dilation, padding, filter or groups.

A convolution, a transposed one and all their gradients come from one rule: at output place t,
cell a of the filter meets the image at

    b = t * stride + a * dilation - padding

First the settings are found under which the rule gives the measured gradient; then the gradient
under settings that a slip would give is compared with the one found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np

from minicnn.gradcheck.diagnosis.case import EXACT, Candidate, Case, Trial
from minicnn_kernels.arrays import Array

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Rule:
    """The settings of a convolution, one number per axis, and the mistakes it may have."""

    stride: Sizes
    padding: Sizes
    dilation: Sizes
    turned: bool = False  # the filter, by 180 degrees
    wrapped: bool = False  # places before the image are taken from its end, as by x[-1]
    groups: str = "blocks"  # or "interleaved", "first filters", "reversed"


@cache
def meets(image: int, kernel: int, outputs: int, rule: Rule, axis: int) -> Array:
    """M[a, t, b] = 1 where cell a of the filter at output place t meets place b of the image."""
    a, t = np.arange(kernel)[:, None], np.arange(outputs)
    if rule.turned:
        a = a[::-1]
    b = t * rule.stride[axis] + a * rule.dilation[axis] - rule.padding[axis]
    if rule.wrapped:
        b = np.where((b < 0) & (b >= -image), b + image, b)
    return np.asarray(b[..., None] == np.arange(image), dtype=np.float64)


@dataclass(frozen=True)
class Convolution:
    """Which arrays are image, filter and result, and how the axes of each are read.

    Attributes:
        role: "large", "small" or "filter": what the input with the wrong gradient is.
        partner: the position of the other one of image and filter.
        transposed: the result is the large array, the image the small one.
        space: the number of axes along which the filter moves.
    """

    role: str
    partner: int
    transposed: bool
    space: int

    def lifted(self, array: Array, filters: bool = False) -> Array:
        """Give an array the axes for batch and channel that it lacks, to (N, C, ...)."""
        missing = self.space + 2 - array.ndim
        if missing == 1 and not filters:
            return array[None]
        return array.reshape((1,) * missing + array.shape) if missing else array

    def gradient(self, case: Case, rule: Rule, trial: Trial) -> Array:
        """Compute dx by the rule."""
        dy = self.lifted(trial.dy[0])
        other = np.asarray(case.evidence.inputs[self.partner], dtype=np.float64)
        other = self.lifted(other, self.role != "filter")
        x = self.lifted(case.x, self.role == "filter")
        if self.role == "filter":
            large, small = (dy, other) if self.transposed else (other, dy)
            maps = self._maps(large.shape, x.shape, small.shape, rule)
            letters = _letters(self.space)
            dense = np.einsum(
                f"no{letters.t},nc{letters.b},{letters.m}->oc{letters.a}",
                *(small, large, *maps),
                optimize=True,
            )
            return _from_dense(dense, x.shape, rule).reshape(case.x.shape)
        channels = (dy if self.role == "small" else x).shape[1]
        w = _to_dense(other, channels, rule)
        letters = _letters(self.space)
        if self.role == "large":
            maps = self._maps(x.shape, other.shape, dy.shape, rule)
            form = f"oc{letters.a},no{letters.t},{letters.m}->nc{letters.b}"
        else:
            maps = self._maps(dy.shape, other.shape, x.shape, rule)
            form = f"oc{letters.a},nc{letters.b},{letters.m}->no{letters.t}"
        return np.asarray(np.einsum(form, w, dy, *maps, optimize=True)).reshape(case.x.shape)

    def _maps(self, large: Sizes, kernel: Sizes, small: Sizes, rule: Rule) -> list[Array]:
        sides = zip(large[2:], kernel[2:], small[2:], strict=True)
        return [meets(b, a, t, rule, k) for k, (b, a, t) in enumerate(sides)]


@dataclass(frozen=True)
class _Letters:
    a: str
    t: str
    b: str
    m: str


def _letters(space: int) -> _Letters:
    a, t, b = "ijk"[:space], "tuv"[:space], "xyz"[:space]
    return _Letters(a, t, b, ",".join("".join(three) for three in zip(a, t, b, strict=True)))


def _group_pairs(
    filters: int, channels: int, within: int, rule: Rule
) -> Iterator[tuple[int, int, int, int]]:
    """Go over (filter o, channel c, row of w, column of w) that belong together."""
    groups = channels // within
    each = filters // groups
    for o in range(filters):
        group = o % groups if rule.groups == "interleaved" else o // each
        if rule.groups == "reversed":
            group = groups - 1 - group
        for k in range(within):
            row = o % each if rule.groups == "first filters" else o
            yield o, group * within + k, row, k


def _to_dense(w: Array, channels: int, rule: Rule) -> Array:
    """Write (O, C / G, ...) as (O, C, ...), with zeros between different groups."""
    dense = np.zeros((w.shape[0], channels, *w.shape[2:]))
    for o, c, row, k in _group_pairs(w.shape[0], channels, w.shape[1], rule):
        dense[o, c] = w[row, k]
    return dense


def _from_dense(dense: Array, shape: Sizes, rule: Rule) -> Array:
    w = np.zeros(shape)
    for o, c, row, k in _group_pairs(shape[0], dense.shape[1], shape[1], rule):
        w[row, k] += dense[o, c]
    return w


# --- which convolution is it? ---


def recognize(case: Case) -> tuple[Convolution, Rule] | None:
    """Find the roles and the settings that give the measured gradient."""
    if len(case.y) > 1 or case.jacobian is None or case.unknown.any():
        return None
    trial = case.trials[0]
    for convolution in _readings(case):
        if not _looks_like(convolution, case):
            continue
        for rule in _settings(case, convolution):
            right = convolution.gradient(case, rule, trial)
            if np.abs(right - trial.right).max() <= EXACT * np.abs(trial.right).max():
                return convolution, rule
    return None


def _looks_like(convolution: Convolution, case: Case) -> bool:
    """Say whether J holds the partner's values, and each filter meets its image as a whole."""
    J, partner = case.jacobian, np.asarray(case.evidence.inputs[convolution.partner])
    assert J is not None
    used = np.abs(J) > 1e-8 * np.abs(J).max()
    values, known = J[used], np.sort(partner.ravel())
    place = np.clip(np.searchsorted(known, values), 1, known.size - 1) if known.size > 1 else 0
    gap = np.minimum(np.abs(known[place] - values), np.abs(known[place - 1] - values))
    if gap.max() > EXACT * np.abs(values).max():
        return False
    taps = partner[0].size if partner.ndim > 2 else partner.size
    rows, columns = used.sum(axis=1).max(), used.sum(axis=0).max()
    if convolution.role == "filter":
        small = convolution.lifted(partner if convolution.transposed else case.y[0])
        return bool(2 * columns >= small.size // small.shape[1])
    if convolution.role == "large":
        return bool(2 * rows >= taps)
    return bool(2 * columns >= taps)


def _readings(case: Case) -> Iterator[Convolution]:
    """List the ways to see image, filter and result in the arrays at hand."""
    for j, other in case.others:
        for is_filter in (False, True):
            image, filters = (other, case.x) if is_filter else (case.x, other)
            if case.y[0].ndim != image.ndim or filters.ndim < 1:
                continue
            plain = filters.ndim == image.ndim and image.ndim <= 2
            space = filters.ndim if plain else filters.ndim - 2
            if not 1 <= space <= 3 or image.ndim not in (space, space + 1, space + 2):
                continue
            for transposed in (False, True):
                role = "filter" if is_filter else "small" if transposed else "large"
                convolution = Convolution(role, j, transposed, space)
                if _channels_match(convolution, image, filters, case.y[0]):
                    yield convolution


def _channels_match(convolution: Convolution, image: Array, filters: Array, y: Array) -> bool:
    image, y = convolution.lifted(image), convolution.lifted(y)
    filters = convolution.lifted(filters, filters=True)
    large, small = (y, image) if convolution.transposed else (image, y)
    groups, rest = divmod(large.shape[1], filters.shape[1])
    return bool(
        large.shape[0] == small.shape[0]
        and filters.shape[0] == small.shape[1]
        and rest == 0
        and groups > 0
        and filters.shape[0] % groups == 0
    )


def _settings(case: Case, convolution: Convolution) -> Iterator[Rule]:
    """List the settings that lead from the size of the image to that of the result."""
    other = np.asarray(case.evidence.inputs[convolution.partner])
    image, filters = (other, case.x) if convolution.role == "filter" else (case.x, other)
    large, small = (case.y[0], image) if convolution.transposed else (image, case.y[0])
    axes = [
        list(_along_axis(b, a, t))
        for b, a, t in zip(
            *(side.shape[-convolution.space :] for side in (large, filters, small)), strict=True
        )
    ]
    for turned in (False, True):
        for choice in product(*axes):
            stride, padding, dilation = zip(*choice, strict=True)
            yield Rule(stride, padding, dilation, turned)


def _along_axis(image: int, kernel: int, outputs: int) -> Iterator[tuple[int, int, int]]:
    for dilation in (1, 2, 3) if kernel > 1 else (1,):
        reach = dilation * (kernel - 1) + 1
        for stride in (1, 2, 3, 4) if outputs > 1 else (1,):
            for padding in range(reach + 1):
                if (image + 2 * padding - reach) // stride + 1 == outputs:
                    yield stride, padding, dilation


# --- and with which slip does it give the gradient that was found? ---


def wrong_settings(case: Case) -> Iterator[Candidate]:
    """dx follows the rule with settings that are ignored, exchanged or off by one."""
    known = recognize(case)
    if known is None:
        return
    convolution, right = known
    for told, cause, rule in _slips(case, convolution, right):

        def predict(trial: Trial, rule: Rule = rule) -> Array:
            return convolution.gradient(case, rule, trial)

        text = f"{' and '.join(told)} (stride {right.stride}, padding {right.padding}"
        text += f", dilation {right.dilation})"
        yield Candidate(cause, text, predict, 1.4 + len(told))


def _slips(
    case: Case, convolution: Convolution, right: Rule
) -> Iterator[tuple[list[str], str, Rule]]:
    """List (words, cause, rule) of all slips in one or two of the settings."""
    kernel = np.shape(
        case.x if convolution.role == "filter" else case.evidence.inputs[convolution.partner]
    )
    reach = tuple(
        d * (n - 1) for d, n in zip(right.dilation, kernel[-convolution.space :], strict=True)
    )
    strides = _variants("stride", right.stride, 1)
    dilations = _variants("dilation", right.dilation, 1)
    if right.stride != right.dilation:
        strides.append(("stride and dilation are exchanged", right.dilation))
    paddings = _variants("padding", right.padding, 0)
    paddings.append(
        ("padding is taken for what is left of the kernel", _minus(reach, right.padding))
    )
    paddings.append(("the padding of a full convolution is taken", reach))
    shifts = [
        (f"the padding is off by {step:+d}", tuple(p + step for p in right.padding))
        for step in (1, -1)
    ]
    options: list[list[tuple[str, Rule]]] = [
        [(told, replace(right, stride=new)) for told, new in strides],
        [(told, replace(right, dilation=new)) for told, new in dilations],
        [(told, replace(right, padding=new)) for told, new in [*paddings, *shifts]],
        [
            (
                "the filter is turned, or is not and should be",
                replace(right, turned=not right.turned),
            )
        ],
        [("places before the image wrap around to its end", replace(right, wrapped=True))],
        [
            (f"the groups are taken as {name}", replace(right, groups=name))
            for name in ("interleaved", "first filters", "reversed")
        ],
    ]
    causes = ["geometry", "geometry", "geometry", "turned", "geometry", "permuted"]
    single = [
        (k, told, rule)
        for k, family in enumerate(options)
        for told, rule in family
        if rule != right
    ]
    for k, told, rule in single:
        shifted = (told, rule.padding) in shifts
        yield [told], "shifted" if shifted else causes[k], _exchanged(told, rule, right)
    fields = ["stride", "dilation", "padding", "turned", "wrapped", "groups"]
    for first, told, rule in single:
        for second, more, other in single:
            if first < second:
                both = replace(rule, **{fields[second]: getattr(other, fields[second])})
                yield [told, more], causes[min(first, second)], _exchanged(told, both, right)


def _exchanged(told: str, rule: Rule, right: Rule) -> Rule:
    """Let the dilation follow where stride and dilation are exchanged."""
    return replace(rule, dilation=right.stride) if "and dilation are" in told else rule


def _variants(name: str, right: Sizes, neutral: int) -> list[tuple[str, Sizes]]:
    found: list[tuple[str, Sizes]] = [(f"the {name} is ignored", (neutral,) * len(right))]
    found.append((f"the {name} is exchanged between the axes", right[::-1]))
    for k, value in enumerate(right):
        found.append((f"the {name} of axis {k} is used for all axes", (value,) * len(right)))
        one = tuple(neutral if n == k else v for n, v in enumerate(right))
        found.append((f"the {name} of axis {k} is ignored", one))
    return [(told, new) for told, new in found if new != right]


def _minus(a: Sequence[int], b: Sequence[int]) -> Sizes:
    return tuple(m - n for m, n in zip(a, b, strict=True))
