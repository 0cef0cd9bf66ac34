"""Name the likely mistake behind a wrong gradient, or say nothing.

Each hypothesis proposes gradients that a certain mistake would give.  One rule accepts a proposal:
it has to reproduce, at every measured element, the gradient that was found, not for one upstream
gradient dy but for three.  Read the hypotheses as a list of the mistakes that exist:

    plain.py       zero, NaN, a wrong shape, a broadcast that is not summed
    scale.py       sign, constant factors, factors per channel or per output
    order.py       transposed, turned, shifted, permuted, swapped with another input
    upstream.py    dy ignored, used twice, summed
    parts.py       assigned instead of accumulated, one part only, left-over rows
    convolution.py stride, padding, dilation and groups ignored or exchanged
    pooling.py     the same for windows, and the wrong winners in them
    local.py       the wrong function of x and y as local derivative
    terms.py       a term that is missing, or one too many
    regions.py     some elements only: a few, a block, a row, one in each row
    precision.py   rounding to float32
"""

from __future__ import annotations

import warnings

import numpy as np

from minicnn.gradcheck.causes import Hint
from minicnn.gradcheck.diagnosis import (
    convolution,
    local,
    order,
    parts,
    plain,
    pooling,
    precision,
    regions,
    scale,
    terms,
    upstream,
)
from minicnn.gradcheck.diagnosis.case import Case, Hypothesis
from minicnn.gradcheck.evidence import Evidence

MOST_HINTS = 2
ALIKE = [
    {"missing-term", "extra-term", "local-derivative"},
    {"factor", "sign", "partial", "local-derivative", "extra-term", "missing-term"},
    {"permuted", "transposed", "shifted", "turned"},
]
HYPOTHESES: list[Hypothesis] = [
    scale.sign,
    scale.factor,
    upstream.ignored,
    upstream.output_ignored,
    upstream.misused,
    upstream.scaled,
    order.gradient_rearranged,
    order.gradient_shifted,
    order.swapped,
    order.dy_moved,
    order.dy_unmoved,
    order.dy_rearranged,
    order.forward_instead_of_backward,
    order.at_other_inputs,
    parts.assigned,
    parts.partial_output,
    parts.partial_input,
    parts.left_over,
    scale.factor_by_index,
    local.derivative,
    local.sides,
    convolution.wrong_settings,
    pooling.wrong_windows,
    terms.without_upstream,
    terms.multiple,
    terms.at_labels,
    terms.own_outputs_only,
    terms.through_statistics,
    terms.other_axis,
    local.largest_only,
    scale.factor_by_output,
    order.gradient_permuted,
    parts.dropped,
    parts.partial_garbage,
    parts.one_use,
    parts.one_gets_all,
    regions.few_elements,
    regions.region,
    regions.one_in_each_row,
    regions.where_it_should_be_zero,
    regions.by_flag,
    regions.summed,
    local.at_each_element,
]


def diagnose(evidence: Evidence) -> list[Hint]:
    """Return the mistakes that explain a wrong gradient, best first: at most 3, often none."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _diagnose(evidence)


def _diagnose(evidence: Evidence) -> list[Hint]:
    if evidence.analytic[evidence.position] is None or not evidence.inputs[evidence.position].size:
        return []
    case = Case(evidence)
    for certain in (plain.shape, plain.not_finite, plain.zero):
        hints = certain(case)
        if hints:
            return hints
    case.complete()
    if case.right.shape != case.x.shape or not case.is_wrong or not case.repeats:
        return []
    for known in (plain.should_be_zero, precision.rounding):
        hints = known(case)
        if hints:
            return hints
    return _explanations(case) or precision.small_error(case)


def _explanations(case: Case) -> list[Hint]:
    accepted: dict[str, tuple[float, Hint]] = {}
    for hypothesis in HYPOTHESES:
        for candidate in hypothesis(case):
            best = accepted.get(candidate.cause)
            if best is not None and best[0] <= candidate.rank:
                continue
            misfit = case.accepts(candidate)
            if misfit is not None:
                hint = Hint(candidate.cause, candidate.text, misfit)
                accepted[candidate.cause] = (candidate.rank, hint)
    ordered = sorted(accepted.values(), key=lambda entry: (entry[0], entry[1].misfit))
    told = ordered[:1]
    for rank, hint in ordered[1:MOST_HINTS]:
        first_rank, first = told[0]
        if first_rank >= 2 and rank <= first_rank + 1 and not _same_matter(first, hint):
            told.append((rank, hint))
    return [hint for _, hint in told]


def _same_matter(first: Hint, second: Hint) -> bool:
    """Would the second hint repeat the first, or contradict it?"""
    return any({first.cause, second.cause} <= causes for causes in ALIKE)
