"""Give every row of the tables to torch and to minicnn with changed inputs: other element types,
a dimension more or less, sizes that do not fit, nothing at all.  Both must accept or both refuse.
"""

from __future__ import annotations

from fnmatch import fnmatch

import numpy as np
import pytest
from deviations import DEVIATIONS

from minicnn.errors import MinicnnError
from minicnn.tensor import Tensor
from minicnn.testing.cases import CASES, PLAIN

PAIRED = [case for case in CASES if case.public]
TYPES = ("int64", "int32", "uint8", "bool")


def changes(arrays):
    """Yield (what is changed, the changed arrays)."""
    for dtype in TYPES:
        yield dtype, [(a > 0) if dtype == "bool" else abs(a * 2).astype(dtype) for a in arrays]
    if arrays and all(a.ndim for a in arrays):
        yield "all: size 0", [a[:0] for a in arrays]
    for i, array in enumerate(arrays):
        for what, changed in changes_of_one(array):
            yield f"input {i}: {what}", [*arrays[:i], changed, *arrays[i + 1 :]]


def changes_of_one(array):
    if array.ndim and len(array):
        yield "a dimension less", array[0]
    yield "a dimension more", array[None]
    for axis, size in enumerate(array.shape):
        if size:
            yield f"axis {axis}: size + 1", np.take(array, [*range(size), 0], axis)
        if size > 1:
            yield f"axis {axis}: size - 1", np.take(array, range(size - 1), axis)
            yield f"axis {axis}: size 0", np.take(array, [], axis)


def results_of(value):
    """Return values, or values and positions, as a list of arrays."""
    values = value if isinstance(value, (tuple, list)) else [value]
    return [v.array if isinstance(v, Tensor) else v for v in values]


def outcome(function, *inputs):
    """Return (results, None) or (None, the error)."""
    try:
        return function(*inputs), None
    except Exception as error:
        return None, error


def with_gradients(y, inputs, gradients_of):
    """Return y and, if it has one, the gradient of a weighted sum by each input."""
    results = results_of(y)
    first = y[0] if isinstance(y, (tuple, list)) else y
    if not getattr(first, "requires_grad", False):
        return results
    return [*results, *gradients_of(first, inputs)]


def ours_on(case, arrays):
    inputs = [Tensor(a.copy(), requires_grad=a.dtype == np.float64) for a in arrays]

    def gradients_of(y, inputs):
        y.backward(Tensor(weights(y.shape)))
        return [np.zeros(x.shape) if x.grad is None else x.grad.array for x in inputs]

    return with_gradients(case.function(*inputs), inputs, gradients_of)


def theirs_on(case, arrays, torch):
    inputs = [torch.tensor(a.copy(), requires_grad=a.dtype == np.float64) for a in arrays]

    def gradients_of(y, inputs):
        y.backward(torch.tensor(weights(y.shape)))
        return [torch.zeros_like(x) if x.grad is None else x.grad for x in inputs]

    y = with_gradients(case.torch(torch, *inputs), inputs, gradients_of)
    return [v.numpy(force=True) if isinstance(v, torch.Tensor) else v for v in y]


def weights(shape):
    return np.cos(np.arange(int(np.prod(shape)), dtype=np.float64)).reshape(tuple(shape))


def disagreement(case, arrays, torch):
    """Return in words how minicnn and torch differ on these inputs; None if they agree."""
    theirs, refusal = outcome(theirs_on, case, arrays, torch)
    ours, error = outcome(ours_on, case, arrays)
    if error is not None and not isinstance(error, MinicnnError):
        return f"an internal error: {error!r}"
    if refusal is not None and "not implemented for" in str(refusal):
        return None  # torch has no kernel for this element type; we may have one
    if refusal is not None and error is None:
        return f"torch refuses: {refusal!r}"
    if refusal is not None:
        return None if is_such(error, refusal) else f"torch raises {refusal!r}, we {error!r}"
    if error is not None:
        return f"torch accepts, we raise {error!r}"
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return f"result {number}: {a.dtype} {a.shape}, torch has {b.dtype} {b.shape}"
        narrow = b.dtype == np.float32
        if not np.allclose(a, b, *((1e-5, 1e-6) if narrow else (1e-10, 1e-12)), equal_nan=True):
            return f"result {number} differs: {a.tolist()}, torch has {b.tolist()}"
    return None


def is_such(error, refusal):
    """Say whether an `except` clause for torch's error catches ours."""
    if isinstance(refusal, AssertionError):  # torch checks some arguments by assert
        return True
    kind = RuntimeError if isinstance(refusal, NotImplementedError) else type(refusal)
    return isinstance(error, kind)


def allowed(case, what):
    names = {case.op, case.through}
    return any(fnmatch(f"{name}: {what}", pattern) for name in names for pattern in DEVIATIONS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", [*PAIRED, *PLAIN], ids=str)
def test_changed_inputs_are_accepted_or_refused_as_by_torch(case, torch):
    found = []
    for what, arrays in changes(case.arrays()):
        words = None if allowed(case, what) else disagreement(case, arrays, torch)
        if words is not None:
            found.append(f"{case.through or case.op}: {what}: {words}")
    assert not found, "\n" + "\n".join(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_values_without_a_gradient_are_those_of_torch(case, torch):
    arrays = case.arrays()
    assert disagreement(case, arrays, torch) is None
    narrow = [a.astype(np.float32) for a in arrays]
    assert disagreement(case, narrow, torch) is None


def test_a_disagreement_is_found(torch):
    case = next(case for case in PAIRED if str(case) == "exp: signed")
    arrays = case.arrays()
    assert disagreement(case, arrays, torch) is None
    wrong = type(case)("exp", "wrong", lambda x: x * 2, case.inputs, case.torch)
    assert "result 0 differs" in disagreement(wrong, arrays, torch)
    wrong = type(case)("exp", "wrong", lambda x: x.array + "x", case.inputs, case.torch)
    assert "an internal error" in disagreement(wrong, arrays, torch)
