from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import minicnn
from minicnn import arguments, differentiable
from minicnn.errors import DeviceError, DTypeError, GradientError, IndexOutOfRange, ShapeError
from minicnn.tensor import Tensor


@differentiable
def weighted(a, b, /, weight, power=1):
    return a * b**power * weight


@differentiable
def stacked(*tensors, dim=0):
    return np.stack(tensors, axis=dim)


@differentiable
def broken(x, /, error):
    raise error


def tensor_of(dtype):
    return Tensor(np.ones(2, dtype))


# --- binding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("args", "kwargs"), [
    ((2, 3), {"weight": 5}), ((2, 3, 5), {}), ((2, 3, 5, 1), {}),
    ((2, 3), {"weight": 5, "power": 1}), ((2, 3, 5), {"power": 1}),
])  # fmt: skip
def test_settings_by_position_and_by_name(args, kwargs):
    assert arguments.bind(weighted, args, kwargs) == ((2, 3), {"weight": 5, "power": 1})


@pytest.mark.parametrize("kwargs", [{"other": 3}, {"input": 2, "other": 3}])
def test_tensors_by_the_names_of_torch(kwargs):
    args = () if "input" in kwargs else (2,)
    found = arguments.bind(weighted, args, {**kwargs, "weight": 5})
    assert found == ((2, 3), {"weight": 5, "power": 1})


def test_a_variadic_operation_takes_all_positions_as_tensors():
    assert arguments.bind(stacked, (1, 2, 3), {"dim": 1}) == ((1, 2, 3), {"dim": 1})
    assert arguments.bind(stacked, (1,), {}) == ((1,), {"dim": 0})


@pytest.mark.parametrize(("args", "kwargs", "message"), [
    ((1, 2, 3, 4, 5), {}, r"weighted\(a, b, weight, power\) got 5 positional arguments"),
    ((1, 2, 3), {"weight": 3}, "weighted got weight by position and by name"),
    ((1, 2), {}, "weight"),
    ((1,), {"weight": 1}, "b"),
    ((1, 2), {"weight": 1, "wieght": 2}, "wieght"),
])  # fmt: skip
def test_calls_that_do_not_fit_name_the_argument(args, kwargs, message):
    with pytest.raises(TypeError, match=message):
        weighted(*args, **kwargs)


def test_a_tensor_as_a_setting_becomes_its_array():
    mask = minicnn.tensor([1.0, 2.0])
    _, settings = arguments.bind(weighted, (1, 2), {"weight": mask})
    assert settings["weight"] is mask.array


def test_a_setting_has_no_gradient_and_says_so():
    x = minicnn.ones(2)
    with pytest.raises(GradientError, match="weighted: no gradient flows to weight"):
        weighted(x, x, weight=minicnn.ones(2, requires_grad=True))


# --- the type rule --------------------------------------------------------------------------------

FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["bool", "uint8", "int32", "int64"]


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("other", [
    2, 2.5, True, np.float32(2), np.float64(2), np.int64(2), np.bool_(True),
], ids=repr)  # fmt: skip
def test_numbers_follow_the_tensor(name, other):
    x = tensor_of(name)
    for y in (
        x * other,
        other * x,
        x + other,
        other - x,
        x / other,
        other / x,
        minicnn.maximum(x, other),
    ):
        assert y.dtype == name


@pytest.mark.parametrize("floating", FLOATS)
@pytest.mark.parametrize("integer", INTEGERS)
def test_integer_tensors_follow_floating_ones(floating, integer):
    x, n = tensor_of(floating), tensor_of(integer)
    for y in (x * n, n * x, x + n, n / x, minicnn.where([True, False], n, x), minicnn.cat([n, x])):
        assert y.dtype == floating
    assert (x * n.array).dtype == floating


@pytest.mark.parametrize("integer", INTEGERS[1:])
def test_integers_stay_integers_until_they_are_divided(integer):
    n = tensor_of(integer)
    assert (n * n).dtype == (n + 1).dtype == integer
    assert (n / n).dtype == (n / 2).dtype == (n * 0.5).dtype == np.float32


def test_integers_of_two_sizes_are_promoted_as_in_numpy():
    assert (tensor_of("int32") + tensor_of("int64")).dtype == np.int64
    assert (tensor_of("bool") + tensor_of("uint8")).dtype == np.uint8


@pytest.mark.parametrize(("left", "right"), [
    ("float32", "float64"), ("float64", "float32"), ("float16", "float32"),
])  # fmt: skip
@pytest.mark.parametrize("combine", [
    lambda a, b: a + b, lambda a, b: a @ b, lambda a, b: minicnn.cat([a, b]), lambda a, b: a < b,
    lambda a, b: minicnn.where([True, False], a, b),
], ids=["add", "matmul", "cat", "lt", "where"])  # fmt: skip
def test_two_floating_point_types_are_refused(combine, left, right):
    message = f"got {left} and {right}; convert one with .to(dtype)"
    for b in (tensor_of(right), np.ones(2, right)):
        with pytest.raises(DTypeError) as error:
            combine(tensor_of(left), b)
        assert message in str(error.value)


def test_an_array_without_dimensions_is_no_number():
    with pytest.raises(DTypeError, match="mul got float32 and float64"):
        tensor_of("float32") * np.array(2.0)


def test_gradients_follow_the_type_of_their_tensor():
    for name in FLOATS:
        x = tensor_of(name).requires_grad_()
        y = x * tensor_of("int64") / 3 + np.float64(2)
        y.sum().backward()
        assert y.dtype == x.grad.dtype == name


def test_plain_arrays_keep_numpys_own_rule():
    assert weighted(np.ones(2, "f4"), np.ones(2), 1).dtype == np.float64


def test_the_result_has_the_type_of_its_inputs():
    doubles, singles = np.ones(2), np.ones(2, "f4")
    assert arguments.not_promoted(np.ones(2, "f2"), [np.ones(2, "u1")]).dtype == np.float32
    assert arguments.not_promoted(doubles, [singles, 2.0]).dtype == np.float32
    assert arguments.not_promoted(doubles, [doubles, np.ones(2, int)]) is doubles
    assert arguments.not_promoted(singles, [singles]) is singles


@pytest.mark.parametrize("value", [[1.0, 2.0], "2", (1,)])
def test_lists_and_texts_are_no_operands(value):
    message = f"mul takes tensors, arrays and numbers, got {type(value).__name__}"
    with pytest.raises(DTypeError, match=message):
        tensor_of("float32") * value


def test_a_change_of_type_on_request_is_no_promotion():
    x = tensor_of("float32").requires_grad_()
    y = x.double()
    y.sum().backward()
    assert y.dtype == np.float64
    assert x.grad.dtype == np.float32


# --- devices --------------------------------------------------------------------------------------


class CardArray:
    """Stands in for a CuPy array."""

    dtype, shape, base = np.dtype("f4"), (2,), None

    def __init__(self, card):
        self.device = SimpleNamespace(id=card)


@pytest.mark.parametrize(("a", "b", "named"), [
    (np.ones(2, "f4"), CardArray(0), "['cpu', 'cuda:0']"),
    (CardArray(1), CardArray(0), "['cuda:1', 'cuda:0']"),
])  # fmt: skip
def test_arrays_on_two_devices_are_refused(a, b, named):
    with pytest.raises(DeviceError) as error:
        minicnn.add(Tensor(a), Tensor(b))
    assert str(error.value) == f"add got arrays on {named}; move one with .to(device)"


def test_numbers_are_on_every_device():
    card = Tensor(CardArray(1))
    assert arguments.to_arrays(minicnn.add, (card, 2.0)) == [card.array, 2.0]


# --- what NumPy refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "kind"), [
    (ValueError("no"), ShapeError), (np.exceptions.AxisError("no"), IndexOutOfRange),
])  # fmt: skip
def test_an_error_of_numpy_names_the_operation_and_the_shapes(error, kind):
    with pytest.raises(kind, match=r"^broken: does not take \(2,\): no$"):
        broken(minicnn.ones(2), error)


@pytest.mark.parametrize("error", [ShapeError("mine"), KeyError("bug"), ZeroDivisionError("bug")])
def test_other_errors_pass_unchanged(error):
    with pytest.raises(type(error)) as caught:
        broken(minicnn.ones(2), error)
    assert caught.value is error


# --- who owns the memory --------------------------------------------------------------------------


def test_the_owner_is_found_through_views_of_views():
    array = np.arange(6.0)
    for view in (array, array[1:], array.reshape(2, 3).T[0], np.broadcast_to(array, (2, 6))):
        assert arguments.owner(view) is array


@pytest.mark.parametrize(
    "value", [None, 3, (1, 2), np.dtype("f4"), np.float64(1), "text"], ids=repr
)
def test_what_is_no_array_is_its_own_owner(value):
    assert arguments.owner(value) is value


def test_a_single_whole_number_follows_the_type_of_the_others(torch):
    for dtype in ("uint8", "int32", "bool"):
        values = np.array([1, 0], dtype)
        ours = Tensor(values) + Tensor(np.array(2))
        theirs = torch.tensor(values) + torch.tensor(2)
        assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
        assert ours.tolist() == theirs.tolist()


# --- noting calls ---------------------------------------------------------------------------------


class Doubled(arguments.Calls):
    def instead_of(self, op):
        return lambda *arrays, **settings: 2 * op.forward(*arrays, **settings)


def test_calls_are_noted_and_may_be_computed_otherwise():
    a, b = tensor_of(np.float32), tensor_of(np.float32)
    with arguments.noting(arguments.Calls()) as noted:
        y = weighted(a, b, 3.0)
    (call,) = noted
    assert (call.op, call.settings) == (weighted, {"weight": 3.0, "power": 1})
    assert call.arrays == [a.array, b.array]
    assert call.result is y.array
    with arguments.noting(Doubled()) as noted:
        assert weighted(a, b, 3.0).tolist() == [6, 6]
    assert len(noted) == 1
    assert weighted(a, b, 3.0).tolist() == [3, 3]
    assert len(noted) == 1
