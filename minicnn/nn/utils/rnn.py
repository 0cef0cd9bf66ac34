"""Sequences of different lengths: padded to one length, or packed without padding.

A packed batch holds the values of time step 0 of all sequences, then those of step 1 of the
sequences that are long enough, and so on.  The sequences are sorted, the longest first, so that
those still running are always the first ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minicnn.errors import ArgumentError, ShapeError
from minicnn.ops.arithmetic import where
from minicnn.ops.indexing import index, index_sum
from minicnn.ops.shape import cat, transpose
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import Array, as_array, taken_to, to_device

__all__ = [
    "PackedSequence", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class PackedSequence(NamedTuple):
    """A batch of sequences without padding; made by `pack_padded_sequence` or `pack_sequence`.

    Attributes:
        data: (sum of all lengths, ...), time step after time step.
        batch_sizes: how many sequences are still running at each step.
        sorted_indices: the sequence of the batch that comes first, second, ...; None: in order.
        unsorted_indices: the place of each sequence of the batch; None: in order.
    """

    data: Any
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    @property
    def lengths(self) -> Array:
        """The length of each sequence, the longest first."""
        sizes = self.batch_sizes.array
        lengths: Array = (sizes[:, None] > np.arange(sizes[0])).sum(axis=0)
        return lengths


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Leave the padding out of a batch of sequences.

    Args:
        input: (T, N, ...), or (N, T, ...) with `batch_first`.
        lengths: the length of each sequence, at least 1 and at most T.
        enforce_sorted: the lengths fall already; otherwise the sequences are sorted.

    >>> import minicnn
    >>> packed = pack_padded_sequence(minicnn.tensor([[1, 2], [3, 0]]), [2, 1])
    >>> packed.data, packed.batch_sizes
    (tensor([1, 2, 3]), tensor([2, 1]))

    Raises:
        ShapeError, ArgumentError: the lengths do not fit the batch, or are not sorted.
    """
    sizes = to_device(as_array(values_of(lengths)), "cpu").astype(np.int64)
    padded = transpose(input, 0, 1) if batch_first else input
    if padded.ndim < 2 or sizes.shape != padded.shape[1:2]:
        raise ShapeError(
            f"pack_padded_sequence: one length for each sequence of input {input.shape} is needed, "
            f"got {sizes.shape}"
        )
    if not sizes.size or sizes.min() < 1 or sizes.max() > padded.shape[0]:
        raise ArgumentError(
            f"pack_padded_sequence: lengths must lie in 1 to {padded.shape[0]}, got "
            f"{sizes.tolist()}"
        )
    order = None if enforce_sorted else np.argsort(-sizes, kind="stable")
    if order is None and (np.diff(sizes) > 0).any():
        raise ArgumentError(
            f"pack_padded_sequence: lengths {sizes.tolist()} are not sorted, the longest first; "
            f"sort them, or pass enforce_sorted=False"
        )
    running = np.arange(sizes.max())[:, None] < (sizes if order is None else sizes[order])
    step, place = np.nonzero(running)
    place = place if order is None else order[place]
    data = index(padded, tuple(taken_to(values_of(padded), part) for part in (step, place)))
    batch_sizes = Tensor(running.sum(axis=1))
    if order is None:
        return PackedSequence(data, batch_sizes)
    return PackedSequence(data, batch_sizes, Tensor(order), Tensor(np.argsort(order)))


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Any, Tensor]:
    """Return (padded sequences, lengths): the inverse of `pack_padded_sequence`.

    Raises:
        ArgumentError: `total_length` is shorter than the longest sequence.
    """
    lengths = sequence.lengths
    longest = int(lengths[0])
    if total_length is not None and total_length < longest:
        raise ArgumentError(
            f"pad_packed_sequence: total_length {total_length} is less than the longest sequence, "
            f"{longest}"
        )
    count = len(lengths)
    steps = longest if total_length is None else total_length
    place = np.arange(count)
    if sequence.sorted_indices is not None and sequence.unsorted_indices is not None:
        place = sequence.sorted_indices.array
        lengths = lengths[sequence.unsorted_indices.array]
    step, running = np.nonzero(np.arange(steps)[:, None] < sequence.lengths)
    shape = (steps, count, *sequence.data.shape[1:])
    data = values_of(sequence.data)
    places = tuple(taken_to(data, part) for part in (step, place[running]))
    padded = index_sum(sequence.data, places, shape)
    if padding_value:
        inside = np.arange(steps)[:, None] < lengths
        inside = inside.reshape(*inside.shape, *[1] * (len(shape) - 2))
        padded = where(taken_to(data, inside), padded, padding_value)
    return transpose(padded, 0, 1) if batch_first else padded, Tensor(lengths)


def pad_sequence(
    sequences: Iterable[Any],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Any:
    """Put sequences (L, ...) of different lengths side by side: (T, N, ...), T the longest.

    Raises:
        ShapeError: there are none, or they differ in more than their lengths.
        ArgumentError: `padding_side` is neither "right" nor "left".
    """
    if padding_side not in ("right", "left"):
        raise ArgumentError(
            f'pad_sequence: padding_side must be "right" or "left", got {padding_side!r}'
        )
    sequences = list(sequences)  # of a tensor, its rows
    if not sequences or len({tuple(s.shape[1:]) for s in sequences}) > 1 or not sequences[0].ndim:
        shapes = [tuple(s.shape) for s in sequences]
        raise ShapeError(f"pad_sequence: needs sequences that differ in length only, got {shapes}")
    lengths = np.array([s.shape[0] for s in sequences])
    longest, count = int(lengths.max()), len(sequences)
    place = np.repeat(np.arange(count), lengths)
    step = np.concatenate([np.arange(n) for n in lengths])
    if padding_side == "left":
        step += np.repeat(longest - lengths, lengths)
    shape = (longest, count, *sequences[0].shape[1:])
    data = cat(sequences)
    places = tuple(taken_to(values_of(data), part) for part in (step, place))
    padded = index_sum(data, places, shape)
    if padding_value:
        inside = np.zeros((longest, count), bool)
        inside[step, place] = True
        inside = inside.reshape(*inside.shape, *[1] * (len(shape) - 2))
        padded = where(taken_to(values_of(data), inside), padded, padding_value)
    return transpose(padded, 0, 1) if batch_first else padded


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Any]:
    """Return the sequences of a padded batch: the inverse of `pad_sequence`."""
    padded = padded_sequences if batch_first else transpose(padded_sequences, 0, 1)
    sizes = to_device(as_array(values_of(lengths)), "cpu").tolist()
    return [index(padded, (i, slice(0, n))) for i, n in enumerate(sizes)]


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L, ...) of different lengths."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Any]:
    """Return the sequences of a packed batch: the inverse of `pack_sequence`."""
    return unpad_sequence(
        *pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True
    )
