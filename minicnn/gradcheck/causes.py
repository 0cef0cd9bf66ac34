"""The mistakes the checker can name; the keys are what reports, planted bugs and tests agree on."""

from __future__ import annotations

from typing import NamedTuple

CAUSES = {
    # --- promises a backward keeps whatever its values ---
    "raises": "the backward raises an error",
    "count": "a wrong number of gradients is returned",
    "none": "the gradient is missing (None) although the result depends on the input",
    "shape": "the gradient has the wrong shape",
    "broadcast": "the gradient of a broadcast input is not summed over the axes it grew along",
    "dtype": "the gradient has another element type than its input",
    "input-modified": "the forward or the backward changes one of the inputs in place",
    "upstream-modified": "the backward changes the upstream gradient dy in place",
    "aliased": "a gradient shares its memory with an input, another gradient or the next call",
    "nonlinear": "the backward is not linear in dy",
    "unrepeatable": "a second call gives another result",
    "random": "the backward draws random numbers of its own: the mask of forward is not reused",
    "layout": "the result changes with the memory layout of the arrays",
    "stale": "values saved by an earlier call are used",
    # --- values ---
    "zero": "the gradient is zero",
    "not-finite": "the gradient holds NaN or infinity where the derivative is finite",
    "sign": "the sign is flipped",
    "factor": "the gradient is off by a constant factor",
    "transposed": "axes are exchanged",
    "turned": "the filter is turned by 180 degrees, or is not where it should be",
    "shifted": "the gradient is shifted along an axis, as by a padding offset",
    "swapped": "the gradient belongs to another input",
    "permuted": "the elements are right but stand in another order",
    "upstream-ignored": "the upstream gradient dy is ignored",
    "upstream-misused": "dy enters twice, or as its absolute value, sum or mean",
    "assigned": "overlapping or repeated contributions are assigned (=), not accumulated (+=)",
    "partial": "only a part is right: one batch item, group, channel, row or block",
    "left-over": "the rows or columns that no full window covers are wrong",
    "geometry": "stride, dilation or padding is ignored, or exchanged between the axes",
    "missing-term": "a term is missing, as that through the mean or the variance",
    "extra-term": "there is a term too many, as that of a weight decay",
    "local-derivative": "the local derivative is the wrong function of x or y",
    "ties": "tied maxima do not share one gradient: each gets all of it, or none gets any",
    "precision": "something is computed or saved in float32",
}


class Hint(NamedTuple):
    """A likely cause: its key in CAUSES, a sentence with the particulars, and how well it fits."""

    cause: str
    text: str
    misfit: float  # largest difference between the explained and the found gradient, relative
