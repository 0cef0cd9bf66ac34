from __future__ import annotations

import math

import numpy as np
import pytest

from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from minicnn.tensor import Tensor
from minicnn.train.metrics import accuracy, confusion_matrix, top_k_accuracy


def top_k_by_loop(logits, labels, k):
    """Sort the classes of each example, the better first, and look the label up."""
    right = 0
    for scores, label in zip(logits.tolist(), labels.tolist(), strict=True):
        ranking = sorted(range(len(scores)), key=lambda c: (-scores[c], c))
        right += label in ranking[:k]
    return right / len(labels)


@pytest.mark.parametrize("k", [1, 2, 5, 7])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8"])
def test_top_k_against_a_loop_with_many_ties(k, dtype):
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 5, size=(200, 7)).astype(dtype)
    labels = rng.integers(0, 7, size=200)
    assert top_k_accuracy(logits, labels, k) == top_k_by_loop(logits, labels, k)


def test_top_1_is_argmax():
    rng = np.random.default_rng(1)
    logits = rng.integers(0, 3, size=(200, 4)).astype("float32")
    labels = rng.integers(0, 4, size=200)
    assert accuracy(logits, labels) == np.mean(logits.argmax(axis=1) == labels)


def test_all_classes_are_enough_for_any_label():
    assert top_k_accuracy(np.zeros((3, 4)), np.array([0, 1, 3]), k=4) == 1.0


def test_equal_logits_do_not_make_all_labels_right():
    assert accuracy(np.zeros((4, 4)), np.arange(4)) == 0.25


def test_one_class():
    assert accuracy(np.zeros((3, 1)), np.zeros(3, dtype=int)) == 1.0


@pytest.mark.parametrize("row", [[np.nan, np.nan], [0.0, np.nan], [np.nan, 1.0]])
@pytest.mark.parametrize("label", [0, 1])
def test_a_nan_is_never_right(row, label):
    assert accuracy(np.array([row]), np.array([label])) == 0.0


def test_infinite_logits_rank_as_any_other():
    logits = np.array([[-np.inf, np.inf, 0.0], [-np.inf, -np.inf, -np.inf]])
    assert accuracy(logits, np.array([1, 0])) == 1.0


def test_accuracy_of_predictions():
    labels, predictions = np.array([3, 1, 0, 2]), np.array([3, 0, 0, 2])
    assert accuracy(predictions, labels) == 0.75
    assert accuracy(predictions.astype("uint8"), labels.astype("int16")) == 0.75


def test_no_example_has_no_accuracy():
    nothing = np.zeros(0, dtype=int)
    assert math.isnan(accuracy(np.zeros((0, 3)), nothing))
    assert math.isnan(accuracy(nothing, nothing))
    np.testing.assert_array_equal(confusion_matrix(nothing, nothing, 2), np.zeros((2, 2)))


def test_tensors_are_taken_and_left_alone():
    logits = Tensor(np.array([[0.1, 0.9], [0.8, 0.2]]), requires_grad=True)
    labels = Tensor(np.array([1, 1]))
    assert accuracy(logits, labels) == 0.5
    assert top_k_accuracy(logits, labels, 2) == 1.0
    np.testing.assert_array_equal(confusion_matrix(labels, labels, 2), [[0, 0], [0, 2]])
    assert logits.requires_grad


def test_the_result_is_a_plain_number():
    assert type(accuracy(np.array([1]), np.array([1]))) is float
    assert type(top_k_accuracy(np.ones((1, 2), "float32"), np.array([1]), 2)) is float


def confusion_by_loop(labels, predictions, num_classes):
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for label, prediction in zip(labels.tolist(), predictions.tolist(), strict=True):
        matrix[label][prediction] += 1
    return matrix


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "uint64"])
@pytest.mark.parametrize("num_classes", [1, 2, 7, 100])
def test_confusion_matrix_against_a_loop(num_classes, dtype):
    rng = np.random.default_rng(2)
    # 100 classes make cell numbers that int8 and uint8 cannot hold
    labels, predictions = rng.integers(0, num_classes, size=(2, 300)).astype(dtype)
    matrix = confusion_matrix(labels, predictions, num_classes)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, confusion_by_loop(labels, predictions, num_classes))


def test_rows_are_the_truth():
    matrix = confusion_matrix(np.array([0, 0]), np.array([1, 1]), num_classes=3)
    np.testing.assert_array_equal(matrix, [[0, 2, 0], [0, 0, 0], [0, 0, 0]])


def test_strided_and_read_only_arrays():
    labels = np.arange(6)[::-2]
    labels.flags.writeable = False
    assert accuracy(np.array([5, 3, 0]), labels) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(np.diag(confusion_matrix(labels, labels, 6)), [0, 1] * 3)


I2 = np.array([0, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: accuracy(np.array([0, 1, 2]), I2), ShapeError, "of 3 examples and labels of 2"),
        (lambda: accuracy(np.zeros((3, 2)), I2), ShapeError, "logits are of 3 examples"),
        (lambda: accuracy(np.zeros((2, 2, 1)), I2), ShapeError, r"\(2, 2, 1\); give \(N,\)"),
        (lambda: accuracy(np.zeros((2, 2)), np.eye(2, dtype=int)), ShapeError, "labels have"),
        (lambda: accuracy(np.array([0.2, 0.7]), I2), DTypeError, "predictions are float64"),
        (lambda: accuracy(I2, I2 * 1.0), DTypeError, "labels are float64; give class numbers"),
        (lambda: accuracy(np.zeros((2, 2)), I2 + 1), IndexOutOfRange, "number 2, outside 0 to 1"),
        (lambda: accuracy(np.zeros((2, 2)), I2 - 1), IndexOutOfRange, "class number -1"),
        (lambda: top_k_accuracy(np.zeros(2), I2, 1), ShapeError, r"shape \(2,\); give \(N, K\)"),
        (lambda: top_k_accuracy(np.zeros((2, 2)), I2, 0), ArgumentError, "k is 0; choose"),
        (lambda: top_k_accuracy(np.zeros((2, 2)), I2, 3), ArgumentError, "from 1 to 2"),
        (lambda: confusion_matrix(I2, I2[:1], 2), ShapeError, "predictions are of 1 examples"),
        (lambda: confusion_matrix(I2, I2 + 1, 2), IndexOutOfRange, "predictions hold .* 2"),
        (lambda: confusion_matrix(I2 - 1, I2, 2), IndexOutOfRange, "labels hold .* -1"),
        (lambda: confusion_matrix(I2, I2, 0), IndexOutOfRange, "labels hold"),
        (lambda: confusion_matrix(I2, I2 > 0, 2), DTypeError, "predictions are bool"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
