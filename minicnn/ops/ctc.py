"""Connectionist temporal classification: how likely a sequence of labels is, however it is timed.

A path gives each time step a label or a blank; it spells the labels that are left when repeated
symbols are merged and blanks are dropped.  The paths of a sequence walk through its labels with
blanks between and around them: at each time step they stay, go on to the next symbol, or skip a
blank that stands between two different labels.

Paper: Graves, Fernandez, Gomez, Schmidhuber 2006, section 4.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minicnn.differentiable import Array, Gradients, differentiable
from minicnn.errors import GradientError
from minicnn.ops.indexing import gather
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import taken_to

LOWEST = -1e300  # stands in for -inf where two of them would be subtracted


class Sequences(NamedTuple):
    """Label sequences with blanks between and around the labels, and for how long they are spelled.

    Attributes:
        symbols: the labels and blanks, (N, S).
        counts: how many of them each sequence has, (N).
        input_lengths: how many time steps each sequence has, (N).
    """

    symbols: Array
    counts: Array
    input_lengths: Array


def path_scores(emitted: Array, symbols: Array) -> Array:
    """Return a[t,n,s], the logarithm of the probability of all paths up to time t that end at s.

    `emitted` holds the logarithm of the probability of symbol s at time t, (T, N, S).  The sums
    are float64; only the exponentials, which are at most 1, have the type of `emitted`.
    """
    steps, batch, places = emitted.shape
    skip_cost = np.zeros((batch, places), like=emitted)
    skip_cost[:, 2:] = np.where(symbols[:, 2:] == symbols[:, :-2], -np.inf, 0)
    before_first = 2  # places
    shape = steps, batch, before_first + places
    scores = np.full_like(emitted, -np.inf, np.float64, shape=shape, order="C")
    scores[0, :, 2:4] = emitted[0, :, :2]
    ways = np.empty((3, batch, places), like=emitted)
    relative = np.empty_like(emitted, shape=ways.shape)
    for before, now, probability in zip(scores[:-1], scores[1:], emitted[1:], strict=True):
        ways[0], ways[1] = before[:, 2:], before[:, 1:-1]  # stay, go on, skip
        np.add(before[:, :-2], skip_cost, out=ways[2])
        highest = np.maximum(ways.max(axis=0), LOWEST)
        np.subtract(ways, highest, out=relative, casting="same_kind")
        np.exp(relative, out=relative)
        np.add(np.log(relative.sum(axis=0)) + highest, probability, out=now[:, 2:])
    return scores[:, :, 2:]


def backwards(values: Array, sequences: Sequences) -> tuple[Array, Array]:
    """Turn (T, N, S) round in time and in place, each sequence within its own lengths.

    Return it with a mask of what belongs to a sequence; turned twice, that is back in its place.
    """
    steps, batch, places = values.shape
    times, numbers = np.arange(steps, like=values), np.arange(batch, like=values)
    time = (sequences.input_lengths - 1 - times[:, None])[:, :, None]
    place = sequences.counts[:, None] - 1 - np.arange(places, like=values)
    inside = (time >= 0) & (place >= 0)
    turned = values[np.maximum(time, 0), numbers[:, None], np.maximum(place, 0)]
    return turned, inside


def log_likelihood(scores: Array, sequences: Sequences) -> Array:
    """Return the logarithm of the probability of all paths that end with the sequence, (N)."""
    each = np.arange(len(sequences.counts), like=scores)
    final = scores[sequences.input_lengths - 1, each]
    last, last_but_one = final[each, sequences.counts - 1], final[each, sequences.counts - 2]
    nothing = sequences.counts == 1  # only the blank, and no label before it
    found = np.logaddexp(last, np.where(nothing, -np.inf, last_but_one))
    return np.where(sequences.input_lengths > 0, found, np.where(nothing, 0, -np.inf))


@differentiable
def alignment_loss(emitted: Array, /, sequences: Sequences, scores: Array) -> Array:
    """y[n] = -ln sum_paths prod_t e^emitted[t,n,path[t]].

    `scores` are the `path_scores` of this very `emitted`, computed by the caller.
    """
    return -log_likelihood(scores, sequences).astype(emitted.dtype)


@alignment_loss.gradient(saves="emitted")
def _(dy: Array, y: Array, emitted: Array, *, sequences: Sequences, scores: Array) -> Gradients:
    if isinstance(dy, Tensor):
        raise GradientError(
            "ctc_loss: its gradient cannot be differentiated; leave out create_graph=True"
        )

    def demitted() -> Array:
        per_sequence = dy[:, None]
        slope = -occupancy(emitted, sequences, scores) * per_sequence
        # an infinite loss that nobody asks for (zero_infinity) has no gradient, not 0 * NaN
        return np.where(per_sequence == 0, 0, slope).astype(emitted.dtype)

    return demitted


def occupancy(emitted: Array, sequences: Sequences, scores: Array) -> Array:
    """Return the probability that a path of the sequence is at symbol s at time t, (T, N, S)."""
    turned, _ = backwards(emitted, sequences)
    symbols, _ = backwards(np.broadcast_to(sequences.symbols, emitted.shape), sequences)
    with np.errstate(all="ignore"):
        scores_to_end, inside = backwards(path_scores(turned, symbols[0]), sequences)
        both = scores + scores_to_end - emitted - log_likelihood(scores, sequences)[:, None]
        return np.where(inside & (emitted > -np.inf), np.exp(both), 0)


def ctc(log_probs: Any, labels: Array, lengths: Array, input_lengths: Array, blank: int) -> Any:
    """Return -ln of the probability of each label sequence.

    y[n] = -ln sum_paths prod_t e^log_probs[t,n,path[t]], over the paths that spell labels[n]

    Shapes: log_probs (T, N, C), labels (N, S), of which the first `lengths` (N) count.
    """
    symbols = np.full((len(labels), 2 * labels.shape[1] + 1), blank)
    symbols[:, 1::2] = labels
    tables = symbols, 2 * lengths + 1, input_lengths
    sequences = Sequences(*(taken_to(values_of(log_probs), table) for table in tables))
    symbols = sequences.symbols
    emitted = gather(log_probs, 2, np.broadcast_to(symbols, (len(log_probs), *symbols.shape)))
    with np.errstate(all="ignore"):
        scores = path_scores(values_of(emitted), symbols)
    return alignment_loss(emitted, sequences, scores)
