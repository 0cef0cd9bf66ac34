from __future__ import annotations

import pytest

import minicnn.errors
from minicnn_kernels import errors


@pytest.mark.parametrize("name", ["ShapeError", "DTypeError", "DeviceError", "AlgorithmError"])
def test_kernel_errors_are_part_of_the_one_tree(name):
    error = getattr(errors, name)
    assert issubclass(error, errors.MinicnnError)
    assert getattr(minicnn.errors, name) is error


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ShapeError", RuntimeError),
        ("ShapeError", ValueError),
        ("DTypeError", TypeError),
        ("DeviceError", RuntimeError),
        ("AlgorithmError", ValueError),
    ],
)
def test_kernel_errors_are_caught_by_clauses_written_for_torch(name, kind):
    with pytest.raises(kind):
        raise getattr(errors, name)("message")
