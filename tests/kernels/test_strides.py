import numpy as np
import pytest

from minicnn_kernels import strides

X = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
LAST = np.moveaxis(np.moveaxis(X, 1, -1).copy(), -1, 1)  # channels last


@pytest.mark.parametrize(
    ("x", "axes", "expected"),
    [
        (X, (1,), (2, 3, 20)),
        (X, (2, 3), (6, 20, 1)),
        (X, (0, 1), (1, 6, 20)),
        (X, (0, 2, 3), None),
        (X, (0, 1, 2, 3), (1, 120, 1)),
        (X, (), (120, 1, 1)),
        (LAST, (1,), (40, 3, 1)),
        (LAST, (2, 3), (2, 20, 3)),
        (LAST, (0, 2, 3), (1, 40, 3)),
        (X[:, :1].copy(), (1,), (40, 1, 1)),
    ],
)
def test_matrices_have_the_axes_along_their_rows(x, axes, expected):
    assert strides.as_matrices(x, axes) == expected


def test_copies_are_made_only_where_there_are_gaps():
    for x in (X, LAST, X.T, X[:1]):
        assert strides.without_gaps(x) is x
    for x in (X[:, ::2], X[..., ::-1], np.broadcast_to(X[:1], X.shape)):
        copy = strides.without_gaps(x)
        assert copy.flags.c_contiguous
        np.testing.assert_array_equal(copy, x)


def test_lying_like():
    assert strides.lying_like(X, X + 1) is not None
    same = strides.lying_like(LAST, LAST.copy(order="K"))
    assert same is LAST
    copy = strides.lying_like(X, LAST)
    assert copy.strides == LAST.strides
    np.testing.assert_array_equal(copy, X)


def test_in_row():
    np.testing.assert_array_equal(strides.in_row(LAST), np.moveaxis(X, 1, -1).ravel())
    assert np.shares_memory(strides.in_row(LAST), LAST)


def test_sides_are_joined_where_all_arrays_move_through_them_as_through_one():
    y, bias = np.empty((2, 3, 4, 5)), np.empty((3, 1, 1))
    order = strides.memory_order(y)
    assert strides.joined_sides(y, [y], order) == [(120, (1,))]
    assert strides.joined_sides(y, [y, bias], order) == [(2, (60, 0)), (3, (20, 1)), (20, (1, 0))]
    assert strides.joined_sides(y, [y[:1]], order) == [(2, (0,)), (60, (1,))]
    assert strides.joined_sides(y[:1, :1], [y[:1, :1]], order) == [(20, (1,))]
    assert strides.joined_sides(np.empty(()), [np.empty(1)], ()) == [(1, (0,))]


def test_a_result_lies_like_the_first_array_of_its_shape():
    bias = np.empty((3, 1, 1), np.float32)
    assert strides.result_of([bias, LAST, X], X.shape, X.dtype).strides == LAST.strides
    assert strides.result_of([bias], X.shape, bias.dtype).flags.c_contiguous
