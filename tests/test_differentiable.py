from __future__ import annotations

import copy
import gc
import weakref

import numpy as np
import pytest

import minicnn
from minicnn.differentiable import Node, Op, Spec, differentiable
from minicnn.errors import GradientError
from minicnn.ops import arithmetic, elementwise, shape
from minicnn.tensor import Tensor


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


@differentiable
def cube(x, /):
    """y = x^3."""
    return x**3


@cube.gradient(saves="x")
def _(dy, y, x):
    return lambda: dy * 3 * x**2


@differentiable
def scaled_product(a, b, /, scale=1.0, power=1):
    return scale * (a * b) ** power


@scaled_product.gradient()
def _(dy, y, a, b, *, scale, power):
    inner = dy * (scale * power) * (a * b) ** (power - 1)
    return lambda: inner * b, lambda: inner * a


@differentiable
def total(*tensors):
    return sum(tensors[1:], tensors[0].copy())


@total.gradient(saves="")
def _(dy, y, *tensors):
    return tuple(lambda: dy for _ in tensors)


# --- an operation of one's own --------------------------------------------------------------------


def test_an_operation_of_six_lines_works_from_outside_the_package():
    @minicnn.differentiable
    def square(x, /):
        return x * x

    @square.gradient()
    def _(dy, y, x):
        return lambda: 2 * dy * x

    x = leaf([3.0, -4.0])
    (first,) = minicnn.grad(square(x).sum(), x, create_graph=True)
    (second,) = minicnn.grad(first.sum(), x)
    assert first.tolist() == [6.0, -8.0]
    assert second.tolist() == [2.0, 2.0]


def test_an_operation_keeps_its_name_and_its_text():
    assert cube.name == cube.__name__ == "cube"
    assert cube.__doc__ == "y = x^3."
    assert cube.__module__ == __name__
    assert cube.__wrapped__(2) == 8
    assert repr(cube) == "<differentiable operation cube>"


def test_gradient_returns_the_operation_itself():
    op = differentiable(lambda x, /: x)
    assert op.gradient()(lambda dy, y, x: lambda: dy) is op
    assert isinstance(op, Op)


def test_left_of_the_slash_are_tensors_right_of_it_settings():
    assert scaled_product.tensor_names == ["a", "b"]
    assert scaled_product.setting_names == ["scale", "power"]
    assert scaled_product.setting_defaults == {"scale": 1.0, "power": 1}
    assert total.variadic


@pytest.mark.parametrize("call", [
    lambda a, b: scaled_product(a, b, 3.0, 2),
    lambda a, b: scaled_product(a, b, 3.0, power=2),
    lambda a, b: scaled_product(a, b, power=2, scale=3.0),
], ids=["by position", "mixed", "by name"])  # fmt: skip
def test_settings_by_position_or_by_name(call):
    a, b = leaf(2.0), leaf(5.0)
    y = call(a, b)
    y.backward()
    assert y.item() == 300.0
    assert (a.grad.item(), b.grad.item()) == (300.0, 120.0)


def test_any_number_of_tensors():
    a, b, c = leaf(1.0), Tensor(np.array(2.0)), leaf(3.0)
    y = total(a, b, c)
    y.backward()
    assert y.item() == 6.0
    assert (a.grad.item(), b.grad, c.grad.item()) == (1.0, None, 1.0)


def test_without_a_slash_there_is_no_telling_tensors_from_settings():
    with pytest.raises(TypeError, match=r"power\(x, n=2\): write the tensors left of a slash"):

        @differentiable
        def power(x, n=2):
            return x**n


def test_a_tensor_cannot_have_a_default():
    with pytest.raises(TypeError, match="a tensor cannot have a default"):

        @differentiable
        def affine(x, w, b=None, /):
            return x * w


def test_saves_must_name_tensors():
    with pytest.raises(ValueError, match="z"):
        differentiable(lambda x, /: x).gradient(saves="x z")


# --- on arrays ------------------------------------------------------------------------------------


def test_on_arrays_an_operation_returns_an_array():
    for value in (np.arange(3.0), np.float32(2)):
        y = cube(value)
        assert isinstance(y, (np.ndarray, np.generic))
        assert y.dtype == value.dtype


def test_a_gradient_on_arrays_returns_arrays_and_records_nothing():
    x, dy = np.arange(3.0), np.ones(3)
    assert type(cube.gradient_function(dy, None, x)()) is np.ndarray


def test_operations_written_with_operations_work_on_arrays_too():
    y = arithmetic.clamp(arithmetic.where(np.array([True, False]), np.ones(2), 5.0), 0.0, 3.0)
    assert type(y) is np.ndarray
    assert y.tolist() == [1.0, 3.0]


# --- recording ------------------------------------------------------------------------------------


def test_on_tensors_an_operation_returns_a_tensor():
    y = cube(Tensor(np.arange(3.0)))
    assert type(y) is Tensor
    assert y.is_leaf  # nothing required a gradient


def test_a_call_is_recorded_if_one_tensor_requires_grad():
    a, b = leaf([1.0]), Tensor(np.array([2.0]))
    for y in (scaled_product(a, b), scaled_product(b, a), scaled_product(np.ones(1), a)):
        assert isinstance(y.node, Node)
        assert y.node.op is scaled_product
    assert scaled_product(a, b).node.parents == (a, None)


def test_no_grad_records_nothing():
    with minicnn.no_grad():
        assert cube(leaf([1.0])).is_leaf


def test_results_without_floating_point_values_are_not_recorded():
    x = leaf([1.0, 2.0])
    assert (x > 1).is_leaf
    assert x.to(np.int64).is_leaf


def test_what_the_gradient_does_not_read_is_not_kept():
    x = leaf([1.0, 2.0])
    before = elementwise.neg(x)
    array = weakref.ref(before.array)
    y = cube(before)  # saves x
    z = arithmetic.add(y, 1.0)  # saves nothing
    result = weakref.ref(y.array)
    del before, y
    assert array() is not None
    assert result() is None
    assert z.node.saved[:2] == (Spec((2,), np.dtype("float64")),) * 2


def test_a_spec_knows_shape_dtype_and_dimensions():
    spec = Spec((2, 3), np.dtype("float32"))
    assert (spec.shape, spec.dtype, spec.ndim) == ((2, 3), np.float32, 2)


def test_a_gradient_may_return_one_thunk_without_a_tuple():
    x = leaf(2.0)
    cube(x).backward()
    assert x.grad.item() == 12.0


def test_release_lets_everything_go_that_was_saved():
    x, mask = leaf([1.0, 2.0]), np.array([True, False])
    held = weakref.ref(mask)
    y = arithmetic.select(x, 0.0, condition=mask)
    del mask
    assert held() is not None
    y.sum().backward()
    assert held() is None
    assert y.node.saved is None


def test_results_are_freed_by_counting_references_alone():
    gc.collect()
    gc.disable()
    try:
        x, w = leaf([[1.0, 2.0]]), leaf([[3.0], [4.0]])
        h = (x @ w).tanh()
        h.retain_grad()
        loss = (h * h + x.sum()).sum()
        loss.backward(retain_graph=True)
        (first,) = minicnn.grad(loss, x, create_graph=True)
        first.sum().backward(retain_graph=True)
        x.grad = w.grad = None
        dead = [weakref.ref(tensor) for tensor in (h, loss, first)]
        dead += [weakref.ref(tensor.array) for tensor in (h, loss, first)]
        del h, loss, first
        assert [ref() for ref in dead] == [None] * 6
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_without_backward_a_graph_is_freed_as_well():
    gc.collect()
    gc.disable()
    try:
        y = cube(leaf([1.0, 2.0])) * 2
        array = weakref.ref(y.node.parents[0].saved[1])
        assert array() is not None
        del y
        assert array() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


# --- gradients that are recorded ------------------------------------------------------------------


def test_a_recorded_gradient_is_given_the_leaves_themselves():
    seen = []

    @differentiable
    def double(x, c, /):
        return x * 2 + 0 * c

    @double.gradient()
    def _(dy, y, x, c):
        seen.append((dy, y, x, c))
        return lambda: dy * 2, lambda: dy * 0

    x, c = leaf(3.0), Tensor(np.array(7.0))
    y = double(x, c)
    minicnn.grad(y, x, create_graph=True)
    dy, same_y, same_x, same_c = seen[0]
    assert isinstance(dy, Tensor)
    assert same_x is x
    assert same_y.node is y.node
    assert same_c.array is c.array
    assert not same_c.requires_grad


def test_a_gradient_that_is_not_recorded_is_given_arrays():
    seen = []

    @differentiable
    def double(x, /):
        return x * 2

    @double.gradient()
    def _(dy, y, x):
        seen.extend((dy, y, x))
        return lambda: dy * 2

    double(leaf([3.0])).backward(Tensor(np.ones(1)))
    assert [type(value) for value in seen] == [np.ndarray] * 3


# --- changes in place -----------------------------------------------------------------------------


@pytest.mark.parametrize("view", [
    lambda x: x[1:],
    lambda x: x.reshape(2, 2)[0],
    lambda x: x.unsqueeze(0).transpose(0, 1),
    lambda x: x.detach().reshape(4, 1).T,
    lambda x: x.data,
], ids=["slice", "view of a view", "transposed", "detached", "data"])  # fmt: skip
def test_a_view_counts_changes_together_with_its_memory(view):
    x = leaf([1.0, 2.0, 3.0, 4.0])
    with minicnn.no_grad():
        looking = view(x)
        looking.fill_(0)
        assert x.version == [1]
        x.fill_(1)
    assert looking.version is x.version


def test_a_copy_counts_for_itself():
    x = Tensor(np.arange(4.0).reshape(2, 2))
    flat = x.T.reshape(4)  # transposed: the values have to be copied
    flat.fill_(0)
    assert x.version == [0]


def test_an_operation_that_returns_its_input_shares_the_count():
    @differentiable
    def same(x, /):
        return x

    x = Tensor(np.zeros(2))
    y = same(x)
    y.fill_(1)
    assert x.version == [1]


def test_a_node_cannot_be_copied_with_its_result():
    with pytest.raises(GradientError, match="detach"):
        copy.deepcopy(shape.view_as(leaf([1.0]), (1, 1)))
