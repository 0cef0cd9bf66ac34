"""Check every row of the gradient table; the rows are in `minicnn/testing/cases`."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from gradient_checks import check_first, check_second, first, leaves, second, value

import minicnn
from minicnn import differentiable, ops
from minicnn.ops.broadcast import unbroadcast
from minicnn.tensor import values_of
from minicnn.testing.cases import CASES, Case, arithmetic
from minicnn.testing.operations import all_operations

pytestmark = pytest.mark.filterwarnings("ignore:.*Using padding='same' with even kernel")
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_twice = pytest.mark.parametrize("case", [c for c in CASES if c.order > 1], ids=str)

BITWISE = {f"bitwise_{name}" for name in ("not", "and", "or", "xor", "left_shift", "right_shift")}
LOGICAL = {"eq", "ne", "lt", "le", "gt", "ge", "isclose", "signbit"}
LOGICAL |= {f"logical_{name}" for name in ("not", "and", "or", "xor")}
LOGICAL |= {"isnan", "isinf", "isposinf", "isneginf", "isfinite"}


def signed(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Make values of both signs, none of them small."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


@cache
def prepared(case: Case):
    """Return the inputs, an upstream gradient, and weights for the second derivative."""
    arrays = case.arrays()
    dy = signed(value(case.function, arrays).shape, seed=1)
    for array in (*arrays, dy):
        array.flags.writeable = False
    return arrays, dy, [signed(a.shape, seed=2) for a in arrays]


def assert_close(ours, theirs, rtol=1e-10, atol=1e-12):
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


# --- value and derivatives, against PyTorch and against central differences -----------------------


@pytest.mark.parametrize("case", [case for case in CASES if case.torch is not None], ids=str)
def test_value_and_derivatives_equal_those_of_torch(case, torch):
    arrays, dy, weights = prepared(case)
    inputs = [torch.tensor(a, requires_grad=True) for a in arrays]
    upstream = torch.tensor(dy, requires_grad=True)
    y = case.torch(torch, *inputs)
    dxs = gradients_by_torch(torch, y, inputs, upstream)
    assert_close([value(case.function, arrays)], [y.detach()])
    assert_close(first(case.function, arrays, dy), [g.numpy(force=True) for g in dxs])
    total = sum((dx * torch.tensor(w)).sum() for dx, w in zip(dxs, weights, strict=True))
    if case.order < 2 or not total.requires_grad:
        return
    try:
        ddxs = gradients_by_torch(torch, total, [*inputs, upstream])
    except RuntimeError as error:
        if "not implemented" in str(error) or "not differentiable" in str(error):
            return  # central differences below check what torch cannot
        raise
    assert_close(second(case.function, arrays, dy, weights), [g.numpy(force=True) for g in ddxs])


def gradients_by_torch(torch, y, inputs, upstream=None):
    found = torch.autograd.grad(y, inputs, upstream, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


@each_case
def test_first_derivative_equals_central_differences(case):
    arrays, dy, _ = prepared(case)
    check_first(case.function, arrays, dy)


@each_twice
def test_second_derivative_equals_central_differences(case):
    arrays, dy, weights = prepared(case)
    check_second(case.function, arrays, dy, weights)


@each_twice
def test_recorded_gradient_equals_the_gradient_on_arrays(case):
    arrays, dy, _ = prepared(case)
    recorded = first(case.function, arrays, dy, create_graph=True)
    assert_close(recorded, first(case.function, arrays, dy), rtol=1e-13, atol=1e-14)


# --- element types and memory ---------------------------------------------------------------------


@each_case
def test_float32_stays_float32(case):
    arrays, dy, weights = prepared(case)
    narrow = [a.astype(np.float32) for a in arrays]
    y = value(case.function, narrow)
    derivatives = first(case.function, narrow, dy.astype(np.float32))
    expected = first(case.function, arrays, dy)
    if case.order > 1:
        narrow_weights = [w.astype(np.float32) for w in weights]
        derivatives += second(case.function, narrow, dy.astype(np.float32), narrow_weights)
        expected += second(case.function, arrays, dy, weights)
    assert {a.dtype for a in (y, *derivatives)} == {np.dtype(np.float32)}
    assert_close([y, *derivatives], [value(case.function, arrays), *expected], 2e-4, 2e-4)


def backwards(array):
    return np.flip(np.flip(array).copy())


def every_second(array):
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array


def column_major(array):
    return np.array(array, order="F")


@each_case
def test_strides_of_inputs_and_upstream_gradient_are_no_matter(case):
    arrays, dy, weights = prepared(case)
    for layout in (backwards, every_second, column_major):
        laid_out = [layout(a) for a in arrays]
        assert_close([value(case.function, laid_out)], [value(case.function, arrays)])
        assert_close(first(case.function, laid_out, layout(dy)), first(case.function, arrays, dy))
        if case.order > 1:
            assert_close(
                second(case.function, laid_out, layout(dy), weights),
                second(case.function, arrays, dy, weights),
            )


@each_case
def test_inputs_and_upstream_gradient_may_repeat_one_value_in_memory(case):
    arrays, dy, _ = prepared(case)
    flat = [np.broadcast_to(a.flat[0], a.shape) if a.size else a for a in arrays]
    flat_dy = np.broadcast_to(np.array(0.75), dy.shape)
    copies, dy_copy = [a.copy() for a in flat], flat_dy.copy()
    assert_close([value(case.function, flat)], [value(case.function, copies)])
    assert_close(first(case.function, flat, flat_dy), first(case.function, copies, dy_copy))


@each_case
def test_nothing_is_changed(case):
    arrays, dy, weights = prepared(case)
    writable = [a.copy() for a in (*arrays, dy)]
    first(case.function, writable[:-1], writable[-1])
    if case.order > 1:
        second(case.function, writable[:-1], writable[-1], weights)
    for now, old in zip(writable, (*arrays, dy), strict=True):
        np.testing.assert_array_equal(now, old)


# --- the table is complete ------------------------------------------------------------------------


def recorded_operations(y) -> set[str]:
    names, places = set(), [y.node]
    while places:
        node = places.pop()
        if node is not None and hasattr(node, "op"):
            names.add(node.op.name)
            places.extend(node.parents)
    return names


@each_case
def test_a_row_exercises_the_operation_it_names(case):
    assert case.op in recorded_operations(case.function(*leaves(case.arrays())))


def test_every_operation_with_a_gradient_has_a_row():
    with_gradient = [op.name for op in all_operations() if op.gradient_function is not None]
    assert sorted(with_gradient) == sorted(set(with_gradient)), "two operations share a name"
    assert set(with_gradient) == {case.op for case in CASES}


def test_operations_without_a_gradient_have_no_floating_point_result():
    without = {op.name: op for op in all_operations() if op.gradient_function is None}
    assert without.keys() == LOGICAL | BITWISE
    x = minicnn.tensor([1.0, 0.0], requires_grad=True)
    for name, op in without.items():
        inputs = [x if name in LOGICAL else minicnn.arange(2)] * len(op.tensor_names)
        y = op(*inputs)
        assert y.dtype == (bool if name in LOGICAL else np.int64)
        assert not y.requires_grad


# --- a wrong gradient is caught -------------------------------------------------------------------


@differentiable
def wrong_sign(x, /):
    return x * x


@wrong_sign.gradient()
def _(dy, y, x):
    return lambda: -2 * dy * x


@differentiable
def one_sided(a, b, /):
    return a * b


@one_sided.gradient()
def _(dy, y, a, b):
    return lambda: unbroadcast(dy * b, a), lambda: unbroadcast(dy * b, b)


@differentiable
def frozen(x, /):
    return x**3


@frozen.gradient()
def _(dy, y, x):
    return lambda: dy * (3 * values_of(x) ** 2)  # right once; as a constant wrong the second time


@differentiable
def without_stride(x, w, /):
    return ops.convolution.conv.forward(x, w, (2, 2), (0, 0), (1, 1), 1)


@without_stride.gradient()
def _(dy, y, x, w):
    return (
        lambda: ops.convolution.conv_input(dy, w, x.shape[2:], (2, 2), (0, 0), (1, 1), 1),
        lambda: ops.convolution.conv_weight(x, dy, w.shape[2:], (1, 1), (0, 0), (1, 1), 1),
    )


@differentiable
def without_unbroadcast(a, b, /):
    return a * b


@without_unbroadcast.gradient()
def _(dy, y, a, b):
    return lambda: dy * b, lambda: dy * a


@pytest.mark.parametrize(
    ("wrong", "shapes"),
    [
        (wrong_sign, ((3,),)),
        (one_sided, ((2, 3), (3,))),
        (without_stride, ((1, 1, 5, 5), (1, 1, 3, 3))),
        (without_unbroadcast, ((2, 3), (3,))),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_wrong_first_derivative_is_caught(wrong, shapes):
    arrays, dy, _ = prepared(Case(wrong.name, "wrong", wrong, shapes))
    with pytest.raises((AssertionError, ValueError)):
        check_first(wrong, arrays, dy)


def test_a_derivative_that_is_right_only_once_is_caught_the_second_time():
    arrays, dy, weights = prepared(Case("frozen", "right once", frozen, ((3,),)))
    check_first(frozen, arrays, dy)
    with pytest.raises(AssertionError):
        check_second(frozen, arrays, dy, weights)


def test_the_inputs_of_a_row_are_kept_away_from_kinks_and_ties():
    for case in arithmetic.ROWS:
        values = np.sort(np.concatenate([a.ravel() for a in case.arrays()]))
        if values.size:
            assert np.abs(values).min() > 0.01, case
            assert np.diff(values).min(initial=1) > 0.01, case
