from __future__ import annotations

import numpy as np
import pytest

from minicnn.data.dataset import Dataset, ImageDataset, Subset, TensorDataset, check_choice
from minicnn.errors import ArgumentError, DataError, ShapeError
from minicnn.tensor import Tensor


class Squares(Dataset):
    """Samples one by one only."""

    def __init__(self, length):
        self.length = length

    def __getitem__(self, index):
        assert type(index) is int
        return np.full(2, index, dtype=np.float32), index**2

    def __len__(self):
        return self.length


class Counted(TensorDataset):
    """A TensorDataset that records how it was indexed."""

    def __init__(self, *arrays):
        super().__init__(*arrays)
        self.calls = []

    def __getitem__(self, index):
        self.calls.append(index)
        return super().__getitem__(index)


# --- Dataset --------------------------------------------------------------------------------


def test_dataset_needs_getitem_and_len():
    with pytest.raises(TypeError, match="abstract"):
        Dataset()


def test_batch_stacks_samples_asked_for_one_by_one():
    vectors, squares = Squares(9).batch(np.array([4, 0, 4]))
    np.testing.assert_array_equal(vectors, [[4, 4], [0, 0], [4, 4]])
    np.testing.assert_array_equal(squares, np.array([16, 0, 16]), strict=True)


# --- TensorDataset --------------------------------------------------------------------------


def test_tensor_dataset_takes_an_integer_a_slice_or_an_index_array():
    x, y = np.arange(12.0).reshape(4, 3), np.array([5, 6, 7, 8])
    dataset = TensorDataset(x, y)
    assert len(dataset) == 4
    for index in (2, -1, slice(1, 3), slice(None, None, 2), np.array([3, 0, 3])):
        got_x, got_y = dataset[index]
        np.testing.assert_array_equal(got_x, x[index], strict=True)
        np.testing.assert_array_equal(got_y, y[index])


def test_tensor_dataset_shares_memory_with_its_arrays_but_a_batch_does_not():
    x = np.zeros((3, 2))
    dataset = TensorDataset(Tensor(x))
    (batch,) = dataset.batch(np.arange(3))
    batch += 1
    assert not x.any()
    x[1] = 7
    assert dataset[1][0].tolist() == [7, 7]


def test_tensor_dataset_is_iterable_as_a_sequence():
    assert [int(y) for (y,) in TensorDataset([4, 5, 6])] == [4, 5, 6]


def test_a_batch_is_one_indexing_call():
    dataset = Counted(np.arange(10))
    indices = np.array([3, 1, 4])
    dataset.batch(indices)
    assert [call.tolist() for call in dataset.calls] == [[3, 1, 4]]


@pytest.mark.parametrize(
    "arrays",
    [(), (np.zeros((3, 2)), np.zeros(4)), (np.zeros(()),), (np.zeros(2), 1.0)],
    ids=["none", "lengths", "scalar", "array and scalar"],
)
def test_tensor_dataset_refuses_arrays_that_do_not_fit(arrays):
    with pytest.raises(ShapeError, match="TensorDataset"):
        TensorDataset(*arrays)


# --- Subset ---------------------------------------------------------------------------------


def test_subset_of_a_subset_of_arrays():
    inner = Subset(TensorDataset(np.arange(0, 100, 10)), [9, 3, 5, 3])
    outer = Subset(inner, np.array([3, 0], dtype=np.uint8))
    assert len(outer) == 2
    assert [int(y) for (y,) in outer] == [30, 90]
    assert outer[np.array([1, 1, 0])][0].tolist() == [90, 90, 30]
    assert outer[-1][0] == 90


def test_subset_batches_with_one_call_of_its_dataset():
    dataset = Counted(np.arange(10))
    (batch,) = Subset(dataset, [9, 3, 5]).batch(np.array([2, 0]))
    assert batch.tolist() == [5, 9]
    assert len(dataset.calls) == 1


def test_subset_of_a_dataset_of_single_samples():
    subset = Subset(Squares(5), [4, 2])
    assert subset[0][1] == 16
    assert subset.batch(np.array([1, 0]))[1].tolist() == [4, 16]


def test_subset_keeps_its_own_copy_of_the_indices():
    indices = np.array([1, 2])
    subset = Subset(TensorDataset(np.arange(5)), indices)
    indices[:] = 0
    assert subset[0][0] == 1


def test_an_empty_subset():
    subset = Subset(TensorDataset(np.arange(5)), [])
    assert len(subset) == 0
    assert list(subset) == []


@pytest.mark.parametrize("index", [-1, 5, 2**40])
def test_subset_refuses_an_index_outside(index):
    with pytest.raises(ArgumentError, match=rf"0\.\.4, got {index}"):
        Subset(TensorDataset(np.arange(5)), [0, index])


@pytest.mark.parametrize("indices", [[0.0, 1.0], [[0, 1]], np.array([True, False]), ["a"]], ids=str)
def test_subset_refuses_indices_that_are_no_row_of_integers(indices):
    with pytest.raises(ArgumentError, match="flatnonzero"):
        Subset(TensorDataset(np.arange(5)), indices)


# --- ImageDataset ---------------------------------------------------------------------------

MEAN, STD = (0.1, 0.5, 0.7), (0.2, 0.25, 0.5)


def _images(count=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 6), dtype=np.uint8)


def _dataset(**options):
    return ImageDataset(_images(), [0, 1, 2, 1, 0], ["a", "b", "c"], MEAN, STD, **options)


def _by_definition(images):
    values = images.astype(np.float64) / 255
    return (values - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))


@pytest.mark.parametrize("index", [2, -1, slice(1, 4), np.array([4, 0, 4])], ids=str)
def test_images_are_normalised_by_channel(index):
    images, labels = _dataset()[index]
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    np.testing.assert_allclose(images, _by_definition(_images()[index]), rtol=0, atol=2e-6)
    np.testing.assert_array_equal(labels, np.array([0, 1, 2, 1, 0])[index])


def test_images_without_normalisation_lie_between_0_and_1():
    dataset = _dataset(normalize=False)
    np.testing.assert_allclose(dataset[:][0], _images() / 255, rtol=0, atol=1e-7)
    assert (dataset.mean, dataset.std) == ((0, 0, 0), (1, 1, 1))


def test_mean_and_std_undo_the_normalisation():
    dataset = _dataset()
    std, mean = np.reshape(dataset.std, (3, 1, 1)), np.reshape(dataset.mean, (3, 1, 1))
    np.testing.assert_array_equal(np.rint((dataset[:][0] * std + mean) * 255), _images())


def test_images_stay_bytes_and_are_not_changed():
    images = _images()
    images.flags.writeable = False
    dataset = ImageDataset(images, np.zeros(5, np.uint8), ["a"], MEAN, STD)
    dataset.batch(np.arange(5))
    assert dataset.images is images
    np.testing.assert_array_equal(images, _images())


def test_image_dataset_describes_itself():
    dataset = _dataset()
    assert len(dataset) == 5
    assert dataset.classes == ("a", "b", "c")
    assert dataset.num_classes == 3
    assert dataset.input_shape == (3, 4, 6)


@pytest.mark.parametrize(
    ("images", "labels", "mean", "std"),
    [
        (_images()[0], [0, 1, 2], MEAN, STD),
        (_images(), [0, 1, 2], MEAN, STD),
        (_images(), [[0], [0], [0], [0], [0]], MEAN, STD),
        (_images(), [0] * 5, MEAN[:1], STD),
        (_images(), [0] * 5, MEAN, STD[:1]),
    ],
    ids=["one image", "too few labels", "labels (N, 1)", "mean", "std"],
)
def test_image_dataset_refuses_shapes_that_do_not_fit(images, labels, mean, std):
    with pytest.raises(ShapeError, match="ImageDataset"):
        ImageDataset(images, labels, ["a", "b", "c"], mean, std)


def test_image_dataset_refuses_other_types():
    with pytest.raises(DataError, match="float64"):
        ImageDataset(_images() / 255, [0] * 5, ["a"], MEAN, STD)
    with pytest.raises(DataError, match="float64"):
        ImageDataset(_images(), [0.0] * 5, ["a"], MEAN, STD)


@pytest.mark.parametrize("label", [-1, 3])
def test_image_dataset_names_the_label_that_is_out_of_range(label):
    with pytest.raises(DataError, match=rf"label of image 3 is {label}, outside 0\.\.2"):
        ImageDataset(_images(), [0, 1, 2, label, 0], ["a", "b", "c"], MEAN, STD)


def test_check_choice():
    check_choice("MNIST", "split", "test", ["train", "test"])
    with pytest.raises(ArgumentError, match=r"MNIST: split .*'train', 'test'.*'tset'"):
        check_choice("MNIST", "split", "tset", ["train", "test"])
