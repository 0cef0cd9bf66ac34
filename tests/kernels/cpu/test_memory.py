import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn_kernels.cpu import memory

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
    assert memory.as_matrices(x, axes) == expected


def test_copies_are_made_only_where_there_are_gaps():
    for x in (X, LAST, X.T, X[:1]):
        assert memory.without_gaps(x) is x
    for x in (X[:, ::2], X[..., ::-1], np.broadcast_to(X[:1], X.shape)):
        copy = memory.without_gaps(x)
        assert copy.flags.c_contiguous
        np.testing.assert_array_equal(copy, x)


def test_lying_like():
    assert memory.lying_like(X, X + 1) is not None
    same = memory.lying_like(LAST, LAST.copy(order="K"))
    assert same is LAST
    copy = memory.lying_like(X, LAST)
    assert copy.strides == LAST.strides
    np.testing.assert_array_equal(copy, X)


def test_in_row():
    np.testing.assert_array_equal(memory.in_row(LAST), np.moveaxis(X, 1, -1).ravel())
    assert np.shares_memory(memory.in_row(LAST), LAST)
