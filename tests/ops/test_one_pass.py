"""Every row of the gradient table once more, recorded and computed in one pass.

The loops run as the Python they are written in; compiled ones are tested with the compiler.
"""

import numpy as np
import pytest
from gradient_checks import first, value

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn.pointwise import PointwiseOp
from minicnn.testing.cases import CASES
from minicnn.testing.operations import all_operations
from minicnn_kernels.cpu import pointwise as loops
from minicnn_kernels.pointwise import record_from

POINTWISE = {op.name for op in all_operations() if isinstance(op, PointwiseOp)}
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture
def as_python(monkeypatch):
    monkeypatch.setattr(loops, "jit", lambda **settings: lambda function: function)
    monkeypatch.setattr(loops, "_loops", {})
    with record_from(1):
        yield


@pytest.mark.parametrize("case", [case for case in CASES if case.op in POINTWISE], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_gradient_are_those_of_numpy(case, dtype, as_python):
    arrays = [array.astype(dtype) for array in case.arrays()]
    with record_from(2**40):
        expected = value(case.function, arrays)
        dy = np.linspace(-1, 1, expected.size).reshape(expected.shape).astype(expected.dtype)
        gradients = first(case.function, arrays, dy) if dy.dtype.kind == "f" else []
    found = value(case.function, arrays)
    assert found.dtype == expected.dtype
    tolerance = (
        {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}
    )
    np.testing.assert_allclose(found, expected, **tolerance)
    if dy.dtype.kind == "f":
        for a, b in zip(first(case.function, arrays, dy), gradients, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, **tolerance)
