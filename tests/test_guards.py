from __future__ import annotations

import inspect

import numpy as np
import pytest

import minicnn
from minicnn import guards
from minicnn.differentiable import differentiable
from minicnn.errors import DTypeError, GradientError, ShapeError
from minicnn.ops import arithmetic
from minicnn.tensor import Tensor


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


def constant(values):
    return Tensor(np.array(values, dtype=np.float64))


def message(caught):
    return str(caught.value)


# --- graphs that were freed, operations without a gradient ----------------------------------------


def test_a_second_backward_names_the_operation_and_the_shape():
    x = leaf([[1.0, 2.0]])
    y = minicnn.exp(x)
    y.sum().backward()
    with pytest.raises(GradientError) as caught:
        y.backward(constant([[1.0, 1.0]]))
    for part in ("exp", "second time", "(1, 2)", "retain_graph=True"):
        assert part in message(caught)


def test_a_missing_gradient_names_the_operation_and_the_shape():
    @differentiable
    def rounded(x, /):
        return np.round(x)

    y = rounded(leaf([1.2, 2.7]))
    with pytest.raises(GradientError) as caught:
        y.sum().backward()
    for part in ("rounded", "no gradient", "(2,)", ".detach()"):
        assert part in message(caught)


# --- saved values that changed --------------------------------------------------------------------


def write_into(x):
    x.detach().fill_(0)


CHANGES = {
    "fill_": lambda x: x.fill_(0),
    "zero_": lambda x: x.zero_(),
    "copy_": lambda x: x.copy_(np.zeros(x.shape)),
    "x[0] = 0": lambda x: x.__setitem__(0, 0.0),
    "x -= step": lambda x: x.__isub__(0.1),
    "x *= 0.9": lambda x: x.__imul__(0.9),
    "a view": lambda x: x[1:].fill_(0),
    "a view of a view": lambda x: x.reshape(1, -1)[0].fill_(0),
    "detach": write_into,
    "a view of detach": lambda x: write_into(x[:1]),
    "data": lambda x: x.data.fill_(0),
    "data -= step": lambda x: x.data.__isub__(0.1),
}


@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_saved_input_that_was_changed_is_noticed(change, recorded):
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = (x * w).sum()
    with minicnn.no_grad():
        change(w)
    with pytest.raises(GradientError) as caught:
        y.backward(create_graph=recorded)
    for part in ("mul", "its input b", "float64", "(2,)", "changed in place"):
        assert part in message(caught)
    assert x.grad is None
    assert w.grad is None


def test_a_saved_result_that_was_changed_is_noticed():
    y = minicnn.exp(leaf([1.0, 2.0]))
    z = y.sum()
    y.detach().zero_()
    with pytest.raises(GradientError, match="exp: its result, float64 of shape"):
        z.backward()


def test_a_saved_constant_that_was_changed_is_noticed():
    x, c = leaf([1.0, 2.0]), constant([3.0, 4.0])
    y = (x * c).sum()
    c += 1
    with pytest.raises(GradientError, match="mul: its input b"):
        y.backward()


@pytest.mark.parametrize("kind", ["leaf", "result", "constant"])
def test_a_change_between_first_and_second_derivative_is_noticed(kind):
    x, w = leaf(2.0), leaf(5.0)
    c = {"leaf": leaf(3.0), "result": leaf(1.5) * 2.0, "constant": constant(3.0)}[kind]
    (first,) = minicnn.grad((x * c) * w, x, create_graph=True)  # c w: only this graph needs c now
    with minicnn.no_grad():
        c.detach().fill_(0)
    with pytest.raises(GradientError, match=r"mul: its input b, .*changed in place"):
        minicnn.grad(first, w)


def test_an_update_as_optimisers_make_it_is_noticed_by_an_older_graph():
    w = leaf([1.0, 2.0])
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    with minicnn.no_grad():
        w -= 0.1 * w.grad
    with pytest.raises(GradientError, match="changed in place"):
        loss.backward()
    (w * w).sum().backward()  # a new graph has the new values


def test_a_change_of_what_the_gradient_does_not_read_is_allowed():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = (x + w).sum()
    with minicnn.no_grad():
        w.zero_()
    y.backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_change_before_recording_is_allowed():
    w = leaf([1.0, 2.0])
    with minicnn.no_grad():
        w *= 3.0
    (w * w).sum().backward()
    assert w.grad.tolist() == [6.0, 12.0]


def test_data_assigned_after_the_forward_pass_is_noticed_when_recording():
    x = leaf(2.0)
    y = x * x
    x.data = constant(5.0)
    with pytest.raises(GradientError, match=r"mul: its input [ab], shape \(\), .*\.data"):
        minicnn.grad(y, x, create_graph=True)


# --- changes in place that are refused ------------------------------------------------------------


@pytest.mark.parametrize("name", ["fill_", "copy_", "x[0] = 0", "x -= step"])
def test_a_leaf_of_a_graph_cannot_be_changed_in_place(name):
    x = leaf([1.0, 2.0])
    with pytest.raises(GradientError, match="no_grad"):
        CHANGES[name](x)
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("write", [
    lambda t, new: t.copy_(new),
    lambda t, new: t.__setitem__(slice(None), new),
], ids=["copy_", "set_item"])  # fmt: skip
def test_a_gradient_is_not_lost_by_writing_it_into_a_constant(write):
    target, new = constant([1.0, 2.0]), leaf([3.0, 4.0])
    with pytest.raises(GradientError, match=r"shape \(2,\), would be lost"):
        write(target, new)
    assert target.tolist() == [1.0, 2.0]
    with minicnn.no_grad():
        write(target, new)
    assert target.tolist() == [3.0, 4.0]


# --- what the author of an operation may get wrong ------------------------------------------------


def author_writes(returned):
    @differentiable
    def join(left, right, /):
        return left + right.sum()

    @join.gradient()
    def _(dy, y, left, right):
        return returned(dy, left, right)

    return join


WRONG_COUNTS = {
    "too few": lambda dy, left, right: lambda: dy,
    "too many": lambda dy, left, right: (lambda: dy,) * 3,
    "no thunks": lambda dy, left, right: (dy, dy),
    "a list": lambda dy, left, right: [lambda: dy, lambda: dy],
    "none": lambda dy, left, right: None,
}


@pytest.mark.parametrize("returned", WRONG_COUNTS.values(), ids=WRONG_COUNTS)
def test_a_gradient_must_return_one_thunk_per_tensor(returned):
    y = author_writes(returned)(leaf([1.0]), leaf([2.0, 3.0]))
    with pytest.raises(GradientError, match="join: its gradient must return 2 thunks"):
        y.backward()


@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize(
    ("wrong", "got"),
    [(lambda dy: dy, r"\(1,\)"), (lambda dy: None, "NoneType"), (lambda dy: 1.0, "float")],
    ids=["shape", "None", "number"],
)
def test_a_gradient_of_another_shape_names_operation_tensor_and_shapes(wrong, got, recorded):
    op = author_writes(lambda dy, left, right: (lambda: dy, lambda: wrong(dy)))
    with pytest.raises(ShapeError, match=rf"join: .*its input right .*\(2,\), got {got}"):
        op(leaf([1.0]), leaf([2.0, 3.0])).backward(create_graph=recorded)


def test_a_gradient_of_another_type_names_operation_tensor_and_types():
    op = author_writes(lambda dy, left, right: (lambda: dy.astype("float32"), lambda: right))
    with pytest.raises(DTypeError, match=r"join: .*input left must be float64, got float32"):
        op(leaf([1.0]), leaf([2.0, 3.0])).backward()


def test_the_tensors_of_a_variadic_operation_are_numbered():
    @differentiable
    def joined(*tensors):
        return np.concatenate(tensors)

    @joined.gradient()
    def _(dy, y, *tensors):
        return tuple(lambda: dy for _ in tensors)

    with pytest.raises(ShapeError, match=r"joined: .*its input tensor 0 .*\(1,\), got \(3,\)"):
        joined(leaf([1.0]), leaf([2.0, 3.0])).backward(constant([1.0, 1.0, 1.0]))


def test_the_parameters_of_an_operation_are_checked():
    def fine(a, /, n=1):
        return a

    def variadic(*tensors, n=1):
        return tensors

    for function in (fine, variadic):
        parameters = guards.checked_signature("op", inspect.signature(function))
        assert [p.name for p in parameters][-1] == "n"
    with pytest.raises(TypeError, match=r"op\(\): write the tensors left of a slash"):
        guards.checked_signature("op", inspect.signature(lambda: None))


# --- hooks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize(
    ("returned", "error", "text"),
    [
        (
            constant([1.0]),
            ShapeError,
            r"a leaf must return a Tensor of shape \(2,\) or None, got \(1,\)",
        ),
        (np.ones(3), ShapeError, r"got \(3,\)"),
        (1.0, ShapeError, "got float"),
        (Tensor(np.ones(2, np.float32)), DTypeError, "a leaf must return float64, got float32"),
    ],
    ids=["shape", "array", "number", "type"],
)
def test_a_hook_must_return_what_can_take_the_place_of_the_gradient(
    returned, error, text, recorded
):
    x = leaf([1.0, 2.0])
    x.register_hook(lambda gradient: returned)
    with pytest.raises(error, match=text):
        (x * x).sum().backward(create_graph=recorded)
    assert x.grad is None


def test_a_wrong_hook_on_a_result_names_the_operation():
    h = arithmetic.exp(leaf([1.0, 2.0]))
    h.register_hook(lambda gradient: gradient.sum())
    with pytest.raises(ShapeError, match="a hook on the result of exp must return"):
        h.sum().backward()


# --- what backward starts from --------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "error", "text"), [
    (constant([1.0, 1.0, 1.0]), ShapeError, r"gradient has shape \(3,\), the tensor \(2,\)"),
    (constant(1.0), ShapeError, r"gradient has shape \(\), the tensor \(2,\)"),
    (Tensor(np.ones(2, np.float32)), DTypeError, "gradient is float32, the tensor float64"),
    (np.ones(3), ShapeError, r"gradient has shape \(3,\)"),
    (2.0, GradientError, "must be a Tensor, got float"),
    (None, ShapeError, r"a tensor of shape \(2,\) needs gradient"),
], ids=["shape", "no dimensions", "type", "array", "number", "none"])  # fmt: skip
def test_the_gradient_to_start_from_must_fit(seed, error, text):
    x = leaf([1.0, 2.0])
    y = x * 2
    with pytest.raises(error, match=text):
        y.backward(seed)
    with pytest.raises(error, match=text):
        minicnn.grad(y, x, grad_outputs=seed)
    y.backward(constant([1.0, 1.0]))  # the graph is still there
    assert x.grad.tolist() == [2.0, 2.0]
