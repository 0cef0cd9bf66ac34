from __future__ import annotations

import operator

import numpy as np
import pytest

import minicnn
from minicnn import ops
from minicnn.errors import ArgumentError, DeviceError, DTypeError
from minicnn.tensor import Tensor

A, B = np.array([[1.5, -2.0, 0.5]]), np.array([[2.0], [3.0]])


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


# --- operators ------------------------------------------------------------------------------------

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("apply", ARITHMETIC + COMPARISONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Tensor(A), Tensor(B)),
        (Tensor(A), B),
        (A, Tensor(B)),
        (Tensor(A), 2.0),
        (2.0, Tensor(B)),
        (Tensor(A), 3),
        (3, Tensor(B)),
        (Tensor(A), np.float64(2)),
        (np.float64(2), Tensor(B)),
        (np.int64(2), Tensor(B)),
        (np.array(2.0), Tensor(B)),
    ],
    ids=[
        "tensors",
        "tensor array",
        "array tensor",
        "tensor number",
        "number tensor",
        "tensor integer",
        "integer tensor",
        "tensor scalar",
        "scalar tensor",
        "integer scalar",
        "0-d array",
    ],
)
def test_operators_are_those_of_numpy_and_give_tensors(apply, left, right):
    result = apply(left, right)
    plain = [value.array if isinstance(value, Tensor) else value for value in (left, right)]
    with np.errstate(all="ignore"):
        expected = apply(*plain)
    assert type(result) is Tensor
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.array, expected)


@pytest.mark.parametrize("apply", ARITHMETIC, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "other", [A + 3.0, 2.5, np.float64(2.5)], ids=["array", "number", "scalar"]
)
def test_a_tensor_on_the_right_is_recorded(apply, other):
    x = leaf(B)
    apply(other, x).sum().backward()
    step = 1e-6
    numeric = (apply(other, B + step) - apply(other, B - step)) / (2 * step)
    numeric = np.broadcast_to(numeric, np.broadcast_shapes(np.shape(other), B.shape))
    np.testing.assert_allclose(x.grad.array, numeric.sum(1, keepdims=True), rtol=1e-6)


def test_matrix_products_from_either_side():
    square = np.arange(4.0).reshape(2, 2)
    for left, right in ((Tensor(square), B), (square, Tensor(B)), (Tensor(square), Tensor(B))):
        result = left @ right
        assert type(result) is Tensor
        np.testing.assert_array_equal(result.array, square @ B)


def test_operators_of_one_operand():
    x = Tensor(A)
    assert (-x).tolist() == (-A).tolist()
    assert abs(x).tolist() == np.abs(A).tolist()
    assert (~(x > 0)).tolist() == (~(A > 0)).tolist()


def test_logical_operators():
    x = Tensor(A)
    assert ((x > 0) & (x < 1)).tolist() == ((A > 0) & (A < 1)).tolist()
    assert ((x < 0) | (x > 1)).tolist() == ((A < 0) | (A > 1)).tolist()
    bits = minicnn.tensor([6, 3])
    assert ((bits & 5).tolist(), (bits | 5).tolist(), (~bits).tolist()) == (
        [4, 1],
        [7, 7],
        [-7, -4],
    )
    with pytest.raises(DTypeError, match="bitwise_and"):
        x & x


def test_an_array_is_not_changed_in_place_by_a_tensor():
    array = np.ones(2)
    with pytest.raises(TypeError, match="Tensor"):
        array += leaf([1.0, 1.0])
    assert array.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("apply", [
    np.exp, np.sqrt, np.add, np.multiply, np.maximum, np.matmul,
], ids=lambda f: f.__name__)  # fmt: skip
def test_numpys_functions_refuse_tensors(apply):
    for x in (Tensor(np.ones((1, 1))), leaf([[1.0]])):
        with pytest.raises(TypeError, match="Tensor"):
            apply(*[x] * apply.nin)


# --- methods --------------------------------------------------------------------------------------

METHODS = {
    "add": (2.0,),
    "sub": (2.0,),
    "mul": (2.0,),
    "div": (2.0,),
    "pow": (2,),
    "neg": (),
    "exp": (),
    "log": (),
    "sqrt": (),
    "abs": (),
    "clamp": (0.0, 1.0),
    "maximum": (1.0,),
    "minimum": (1.0,),
    "tanh": (),
    "sigmoid": (),
    "relu": (),
    "softmax": (1,),
    "log_softmax": (1,),
    "sum": (0,),
    "mean": (0,),
    "var": (1,),
    "std": (1,),
    "max": (),
    "min": (),
    "amax": (1,),
    "amin": (1,),
    "argmax": (1,),
    "argmin": (1,),
    "reshape": (3, 1),
    "flatten": (),
    "permute": (1, 0),
    "transpose": (0, 1),
    "movedim": (0, 1),
    "squeeze": (0,),
    "unsqueeze": (0,),
    "flip": ([0],),
    "matmul": (np.ones((3, 2)),),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_the_function_of_that_name(name):
    x = Tensor(np.abs(A))
    method, function = getattr(x, name), getattr(minicnn, name)
    result, expected = method(*METHODS[name]), function(x, *METHODS[name])
    np.testing.assert_array_equal(result.array, expected.array)
    assert method.__name__ == name
    assert method.__doc__ == function.__doc__


def test_methods_that_are_no_function():
    x = Tensor(np.arange(6.0).reshape(1, 2, 3))
    assert x.view(3, 2).shape == (3, 2)
    assert x.expand(4, 2, 3).shape == (4, 2, 3)
    assert [part.shape for part in x.split(2, dim=2)] == [(1, 2, 2), (1, 2, 1)]
    assert [part.shape for part in x.chunk(2, dim=1)] == [(1, 1, 3)] * 2
    assert x.gather(2, np.zeros((1, 2, 1), int)).tolist() == [[[0.0], [3.0]]]
    assert x.T.shape == (3, 2, 1)
    assert x.mT.shape == (1, 3, 2)
    assert Tensor(np.float64(1)).T.shape == ()


def test_methods_accept_settings_by_name():
    x = leaf(A)
    assert x.sum(dim=1, keepdim=True).shape == (1, 1)
    assert x.softmax(dim=1).sum().item() == pytest.approx(1)


def test_parameters_have_the_methods_too():
    p = minicnn.nn.Parameter(minicnn.ones(2))
    (3.0 * p + p.sum()).sum().backward()
    assert p.grad.tolist() == [5.0, 5.0]


def test_every_operation_of_the_table_has_a_docstring():
    for name in METHODS:
        assert getattr(Tensor, name).__doc__


# --- type and device ------------------------------------------------------------------------------


def test_to_another_type():
    x = leaf([1.5, 2.5])
    for y in (
        x.to(minicnn.float32),
        x.to("float32"),
        x.to(dtype=np.float32),
        x.float(),
        x.to(Tensor(np.float32([0]))),
    ):
        assert y.dtype == np.float32
        assert y.requires_grad
    assert x.long().tolist() == [1, 2]
    assert Tensor(np.array([1, 2])).double().dtype == np.float64


def test_the_gradient_comes_back_in_the_old_type():
    x = leaf([1.5, 2.5])
    (x.float() * 2).sum().backward()
    assert x.grad.dtype == np.float64
    assert x.grad.tolist() == [2.0, 2.0]


def test_to_what_it_is_already_is_the_tensor_itself():
    x = leaf([1.5])
    for same in (
        x.to("cpu"),
        x.to(np.float64),
        x.to("cpu", np.float64),
        x.to(x),
        x.cpu(),
        x.double(),
        x.to(),
    ):
        assert same is x


def test_to_a_device_and_a_type_in_any_order():
    x = Tensor(np.array([1, 2]))
    assert x.to("cpu", np.float32).dtype == x.to(np.float32, "cpu").dtype == np.float32


@pytest.mark.parametrize("target", ["float99", "gpu", 3.5], ids=repr)
def test_to_something_else_is_refused(target):
    with pytest.raises(DTypeError, match="neither an element type nor a device"):
        leaf([1.0]).to(target)


def test_a_card_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    for move in (
        lambda: leaf([1.0]).cuda(),
        lambda: leaf([1.0]).to("cuda:0"),
        lambda: minicnn.ones(1, device="cuda"),
    ):
        with pytest.raises(DeviceError, match="CuPy"):
            move()


def test_only_leaves_move_between_devices():
    with pytest.raises(ArgumentError, match="detach"):
        ops.to(leaf([1.0]) * 2, "cuda")
