from __future__ import annotations

import threading
import traceback

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import random
from minicnn.data.dataset import Dataset, TensorDataset
from minicnn.data.loader import DataLoader
from minicnn.errors import ArgumentError, DataError
from minicnn.tensor import Tensor


def _numbers(count, batch_size=1, shuffle=False, **options):
    return DataLoader(TensorDataset(np.arange(count)), batch_size, shuffle, **options)


def _values(batches):
    return [batch.array.tolist() for (batch,) in batches]


class OneByOne(Dataset):
    """Records which samples were asked for, and in which thread."""

    def __init__(self, length, broken=None):
        self.length, self.broken = length, broken
        self.asked, self.threads = [], set()

    def __getitem__(self, index):
        if index == self.broken:
            raise LookupError(f"sample {index} is broken")
        self.asked.append(index)
        self.threads.add(threading.current_thread())
        return np.full((1, 2, 2), index, dtype=np.float32), index

    def __len__(self):
        return self.length


# --- batches --------------------------------------------------------------------------------


@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 45),
    shuffle=st.booleans(),
    prefetch=st.sampled_from([0, 1, 3]),
)
@settings(max_examples=40, deadline=None)
def test_every_sample_comes_once_and_only_the_last_batch_is_smaller(
    count, batch_size, shuffle, prefetch
):
    loader = _numbers(count, batch_size, shuffle, prefetch=prefetch)
    batches = _values(loader)
    assert len(batches) == len(loader)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= batch_size
    assert sorted(np.concatenate(batches)) == list(range(count))


@pytest.mark.parametrize("prefetch", [0, 2])
def test_drop_last_leaves_out_only_the_incomplete_batch(prefetch):
    loader = _numbers(7, 3, drop_last=True, prefetch=prefetch)
    assert len(loader) == 2
    assert _values(loader) == [[0, 1, 2], [3, 4, 5]]
    assert len(_numbers(6, 3, drop_last=True)) == 2


def test_a_batch_is_a_tuple_of_tensors():
    loader = DataLoader(TensorDataset(np.zeros((5, 1, 4, 4), np.float32), [1, 2, 3, 4, 5]), 2)
    images, labels = next(iter(loader))
    assert isinstance(images, Tensor)
    assert (images.shape, images.dtype) == ((2, 1, 4, 4), np.float32)
    assert (labels.shape, labels.dtype) == ((2,), np.int64)


def test_a_batch_has_memory_of_its_own():
    array = np.zeros(4)
    (batch,) = next(iter(DataLoader(TensorDataset(array), 4)))
    batch.array[:] = 1
    assert not array.any()


def test_samples_of_a_plain_dataset_are_stacked():
    images, labels = next(iter(DataLoader(OneByOne(5), 3)))
    np.testing.assert_array_equal(images.array[:, 0, 1, 1], [0, 1, 2])
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)


def test_any_sequence_of_samples_will_do():
    loader = DataLoader([(0.5, 1), (1.5, 2), (2.5, 3)], batch_size=2)
    halves, numbers = next(iter(loader))
    assert (halves.array.tolist(), halves.dtype) == ([0.5, 1.5], np.float32)
    assert (numbers.array.tolist(), numbers.dtype) == ([1, 2], np.int64)


def test_a_dataset_that_indexes_at_once_is_asked_once_a_batch():
    class Counted(TensorDataset):
        calls = 0

        def __getitem__(self, index):
            self.calls += 1
            return super().__getitem__(index)

    dataset = Counted(np.arange(10))
    list(DataLoader(dataset, 4))
    assert dataset.calls == 3


def test_collate_fn_takes_a_list_of_samples():
    def padded(samples):
        width = max(len(sample) for sample in samples)
        rows = [np.pad(sample, (0, width - len(sample))) for sample in samples]
        return np.stack(rows), Tensor(np.array([len(sample) for sample in samples]))

    words = [np.ones(1), np.ones(3), np.ones(2)]
    batches = list(DataLoader(words, 2, collate_fn=padded))
    assert [rows.shape for rows, _ in batches] == [(2, 3), (1, 2)]
    assert [lengths.array.tolist() for _, lengths in batches] == [[1, 3], [2]]
    assert all(isinstance(rows, Tensor) for rows, _ in batches)


@pytest.mark.parametrize("result", [None, np.zeros(3), {"x": np.zeros(3)}], ids=type)
def test_collate_fn_must_return_a_tuple(result):
    with pytest.raises(DataError, match=f"collate_fn .*{type(result).__name__}"):
        list(_numbers(3, collate_fn=lambda samples: result))


# --- order ----------------------------------------------------------------------------------


def test_without_shuffle_every_epoch_has_the_order_of_the_dataset():
    loader = _numbers(5, 2)
    assert _values(loader) == _values(loader) == [[0, 1], [2, 3], [4]]


def test_the_order_is_philox_keyed_by_seed_and_epoch():
    loader = _numbers(50, 50, shuffle=True, seed=7)
    for epoch in range(3):
        expected = np.random.Generator(np.random.Philox(key=[7, epoch])).permutation(50)
        assert _values(loader) == [expected.tolist()]


def test_orders_differ_between_epochs_and_seeds():
    orders = [
        _numbers(50, shuffle=True, seed=seed).order(epoch).tolist()
        for seed in (0, 1, 2**64 - 1)
        for epoch in range(3)
    ]
    assert len({tuple(order) for order in orders}) == 9


def test_the_order_neither_depends_on_global_generators_nor_changes_them():
    np.random.seed(1)
    random.manual_seed(1)
    first = _values(_numbers(20, 3, shuffle=True))
    assert random.default.get_state() == (1, 0)
    after = np.random.random()
    np.random.seed(1)
    assert np.random.random() == after
    random.manual_seed(99)
    assert _values(_numbers(20, 3, shuffle=True)) == first


# --- resuming -------------------------------------------------------------------------------


def test_each_iter_takes_the_next_epoch_when_it_begins():
    loader = _numbers(20, 3, shuffle=True)
    assert loader.epoch == 0
    first = iter(loader)
    assert loader.epoch == 1
    second = iter(loader)
    assert loader.epoch == 2
    assert _values(second) == _values(loader.batches(1))
    assert _values(first) == _values(loader.batches(0))
    assert loader.epoch == 2


def test_setting_epoch_resumes_a_run():
    steady, resumed = _numbers(20, 3, shuffle=True), _numbers(20, 3, shuffle=True)
    epochs = [_values(steady) for _ in range(4)]
    resumed.epoch = 2
    assert [_values(resumed), _values(resumed)] == epochs[2:]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_epoch_can_start_at_any_batch(prefetch, drop_last):
    loader = _numbers(20, 3, shuffle=True, prefetch=prefetch, drop_last=drop_last)
    whole = _values(loader.batches(4))
    for start in range(len(loader) + 1):
        assert _values(loader.batches(4, start)) == whole[start:]


def test_starting_late_does_not_load_what_was_before():
    dataset = OneByOne(9)
    list(DataLoader(dataset, 2).batches(epoch=0, start=3))
    assert dataset.asked == [6, 7, 8]


@pytest.mark.parametrize("start", [-1, 8, 1.5])
def test_start_must_be_a_batch_of_the_epoch(start):
    with pytest.raises(ArgumentError, match=rf"start .* from 0 to 7, got {start}"):
        _numbers(20, 3).batches(0, start)


@pytest.mark.parametrize("epoch", [-1, 2**64, None])
def test_a_bad_epoch_is_refused_at_once(epoch):
    loader = _numbers(20, 3)
    with pytest.raises(ArgumentError, match="epoch"):
        loader.batches(epoch)
    loader.epoch = epoch
    with pytest.raises(ArgumentError, match="epoch"):
        iter(loader)
    assert loader.epoch == epoch


# --- the background thread ------------------------------------------------------------------


def test_prefetch_0_loads_in_the_thread_of_the_reader():
    dataset = OneByOne(4)
    list(DataLoader(dataset, 2, prefetch=0))
    assert dataset.threads == {threading.current_thread()}


def test_prefetch_loads_in_one_other_thread():
    dataset = OneByOne(4)
    list(DataLoader(dataset, 2))
    assert len(dataset.threads) == 1
    assert threading.current_thread() not in dataset.threads


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_of_the_dataset_reaches_the_reader(prefetch):
    batches = iter(DataLoader(OneByOne(6, broken=3), 2, prefetch=prefetch))
    next(batches)
    with pytest.raises(LookupError, match="sample 3 is broken") as caught:
        next(batches)
    assert "__getitem__" in [frame.name for frame in traceback.extract_tb(caught.tb)]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_loader_works_again_after_an_error(prefetch):
    dataset = OneByOne(6, broken=3)
    loader = DataLoader(dataset, 2, prefetch=prefetch)
    with pytest.raises(LookupError):
        list(loader)
    dataset.broken = None
    assert [labels.array.tolist() for _, labels in loader] == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_stop_iteration_in_the_dataset_does_not_shorten_the_epoch(prefetch):
    class Broken(OneByOne):
        def __getitem__(self, index):
            return next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(DataLoader(Broken(3), prefetch=prefetch))


@pytest.mark.parametrize("prefetch", [0, 2])
def test_two_iterators_run_at_the_same_time(prefetch):
    loader = _numbers(20, 3, shuffle=True, prefetch=prefetch)
    pairs = list(zip(loader, loader, strict=True))
    assert _values(first for first, _ in pairs) == _values(loader.batches(0))
    assert _values(second for _, second in pairs) == _values(loader.batches(1))


def test_leaving_the_loop_stops_the_thread(prefetch_threads, assert_ended):
    for _ in _numbers(1000):
        (thread,) = prefetch_threads()
        break
    assert_ended(thread)


# --- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("batch_size", 0),
        ("batch_size", -3),
        ("batch_size", 2.0),
        ("batch_size", True),
        ("prefetch", -1),
        ("prefetch", None),
        ("seed", -1),
        ("seed", 2**64),
    ],
)
def test_a_number_out_of_range_is_refused(argument, value):
    with pytest.raises(ArgumentError, match=f"DataLoader: {argument} .*got {value}"):
        _numbers(5, **{argument: value})


def test_numpy_integers_are_integers():
    loader = _numbers(5, np.int32(2), seed=np.uint64(2**64 - 1), prefetch=np.int8(1), shuffle=True)
    assert len(_values(loader)) == 3


def test_a_loader_without_any_batch_is_refused():
    with pytest.raises(DataError, match="0 samples gives no batch"):
        _numbers(0)
    with pytest.raises(DataError, match="3 samples gives no batch of 4, and drop_last"):
        _numbers(3, 4, drop_last=True)
