"""DataLoader: a data set in batches, shuffled anew and reproducibly every epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from minicnn.data.collate import as_array, collate
from minicnn.data.dataset import Dataset
from minicnn.data.prefetch import prefetched
from minicnn.errors import ArgumentError, DataError
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array

Batch: TypeAlias = tuple[Tensor, ...]


class DataLoader:
    """Iterate over a data set in batches: tuples of Tensors, the first dimension the sample.

    The order of epoch e depends on (seed, e) alone, not on any global state, so that a run can
    be repeated, or resumed in the middle of an epoch:

        loader.epoch = 7                            # the epoch that the next loop will run
        for images, labels in loader.batches(epoch=6, start=120):    # the rest of epoch 6

    Args:
        dataset: a Dataset, or any sequence of samples.
        batch_size: samples in a batch; the last batch of an epoch may be smaller.
        shuffle: whether each epoch has a random order of its own.
        drop_last: whether to leave out a last batch that is smaller.
        collate_fn: turns a list of samples into a tuple of arrays or Tensors; by default samples
            are stacked, and a Dataset that can index many samples at once does so.
        seed: an integer in [0, 2**64).
        prefetch: batches that a background thread keeps ready; 0 for no thread. The data set
            and `collate_fn` are called in that thread: use 0 if they draw from minicnn's global
            generator, else its order depends on which thread comes first.

    Attributes:
        epoch: the epoch that the next `iter(loader)` runs; each `iter` adds one.

    Raises:
        ArgumentError: a number is out of its range.
        DataError: the data set would give no batch at all.

    >>> from minicnn.data.dataset import TensorDataset
    >>> loader = DataLoader(TensorDataset(np.arange(5)), batch_size=2)
    >>> [batch.array.tolist() for (batch,) in loader]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Dataset | Sequence[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        seed: int = 0,
        prefetch: int = 2,
    ) -> None:
        self.dataset = dataset
        self.batch_size = _integer("batch_size", batch_size, least=1)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.seed = _integer("seed", seed, least=0, most=2**64 - 1)
        self.prefetch = _integer("prefetch", prefetch, least=0)
        self.epoch = 0
        if len(self) == 0:
            dropped = f" of {batch_size}, and drop_last is set" if drop_last else ""
            raise DataError(
                f"DataLoader: a data set of {len(dataset)} samples gives no batch{dropped}"
            )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        samples = len(self.dataset)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        batches = self.batches(self.epoch)
        self.epoch += 1
        return batches

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from number `start` on, leaving `self.epoch` alone.

        Raises:
            ArgumentError: `epoch` is negative, or `start` is not in 0..len(self).
        """
        first = _integer("start", start, least=0, most=len(self)) * self.batch_size
        stop = len(self) * self.batch_size
        order = self.order(epoch)
        batches = (
            self._load(order[position : position + self.batch_size])
            for position in range(first, stop, self.batch_size)
        )
        return prefetched(batches, self.prefetch) if self.prefetch else batches

    def order(self, epoch: int) -> Array:
        """Return the numbers of the samples in the order in which `epoch` visits them."""
        epoch = _integer("epoch", epoch, least=0, most=2**64 - 1)
        if not self.shuffle:
            return np.arange(len(self.dataset))
        key = np.array([self.seed, epoch], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).permutation(len(self.dataset))

    def _load(self, indices: Array) -> Batch:
        if self.collate_fn is None and isinstance(self.dataset, Dataset):
            return _tensors(self.dataset.batch(indices))
        samples = [self.dataset[int(index)] for index in indices]
        if self.collate_fn is None:
            return _tensors(collate(samples))
        fields = self.collate_fn(samples)
        if not isinstance(fields, tuple | list):
            raise DataError(
                f"DataLoader: collate_fn must return a tuple of arrays or Tensors, "
                f"it returned a {type(fields).__name__}"
            )
        return _tensors(fields)


def _tensors(fields: Sequence[Any]) -> Batch:
    return tuple(f if isinstance(f, Tensor) else Tensor(as_array(f)) for f in fields)


def _integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ArgumentError(f"DataLoader: {name} must be an integer {limits}, got {value!r}")
    return int(value)
