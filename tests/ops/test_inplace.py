from __future__ import annotations

import operator

import numpy as np
import pytest

import minicnn
from minicnn.errors import (
    ArgumentError,
    DeviceError,
    DTypeError,
    GradientError,
    IndexOutOfRange,
    ShapeError,
)
from minicnn.nn import functional as F
from minicnn.ops import activation, arithmetic, elementwise
from minicnn.ops.inplace import METHODS, VIEWS
from minicnn.tensor import Tensor
from minicnn.testing.cases import CASES

UPDATES = [operator.iadd, operator.isub, operator.imul, operator.itruediv]
each_update = pytest.mark.parametrize("update", UPDATES, ids=lambda f: f.__name__)


def plain(*values):
    return Tensor(np.array(values, dtype=np.float64))


def leaf(*values):
    return plain(*values).requires_grad_()


CHANGES = {
    "copy_": lambda t: t.copy_(plain(7, 8)),
    "fill_": lambda t: t.fill_(3),
    "zero_": lambda t: t.zero_(),
    "tensor[index] = value": lambda t: t.__setitem__(0, 5.0),
    "+=": lambda t: operator.iadd(t, 2.0),
    "-=": lambda t: operator.isub(t, 2.0),
    "*=": lambda t: operator.imul(t, 2.0),
    "/=": lambda t: operator.itruediv(t, 2.0),
    "//=": lambda t: operator.ifloordiv(t, 2.0),
    "%=": lambda t: operator.imod(t, 2.0),
}
RESULTS = {
    "copy_": [7, 8],
    "fill_": [3, 3],
    "zero_": [0, 0],
    "tensor[index] = value": [5, 2],
    "+=": [3, 4],
    "-=": [-1, 0],
    "*=": [2, 4],
    "/=": [0.5, 1],
    "//=": [0, 1],
    "%=": [1, 0],
}
each_change = pytest.mark.parametrize("name", CHANGES)

# --- values and counts ----------------------------------------------------------------------------


@each_change
def test_a_change_writes_to_the_same_memory_and_is_counted(name):
    x = plain(1, 2)
    array, before = x.array, x.version[0]
    CHANGES[name](x)
    assert x.array is array
    assert array.tolist() == RESULTS[name]
    assert x.version[0] == before + 1


@each_change
def test_a_leaf_may_be_changed_without_recording(name):
    x = leaf(1, 2)
    with minicnn.no_grad():
        CHANGES[name](x)
    assert x.tolist() == RESULTS[name]
    assert x.requires_grad
    assert x.is_leaf


@each_change
def test_all_who_look_at_the_memory_share_the_count(name):
    x = plain(1, 2)
    views = [x.detach(), x.reshape(2, 1), x[:1], x.T, x.expand(3, 2), x.reshape(2, 1)[0]]
    other = x + 0
    CHANGES[name](x)
    assert {view.version[0] for view in views} == {1}
    assert other.version[0] == 0


def test_changes_return_the_tensor_itself():
    x = plain(1, 2)
    assert x.fill_(1) is x.zero_() is x.copy_(np.ones(2)) is x
    y = x
    y += 1
    assert y is x


@pytest.mark.parametrize(("where", "value", "expected"), [
    (1, 9, [[0, 1, 2], [9, 9, 9]]),
    ((slice(None), -1), [7, 8], [[0, 1, 7], [3, 4, 8]]),
    (np.array([[True, False, False], [False, True, True]]), -1, [[-1, 1, 2], [3, -1, -1]]),
    ((0, [2, 0]), [8, 9], [[9, 1, 8], [3, 4, 5]]),
    (minicnn.tensor([1]), 0, [[0, 1, 2], [0, 0, 0]]),
    ((minicnn.tensor(0), slice(1, None)), 5, [[0, 5, 5], [3, 4, 5]]),
    ((slice(None), (0, 1)), minicnn.tensor([6, 7]), [[6, 7, 2], [6, 7, 5]]),
    (..., 4, [[4, 4, 4], [4, 4, 4]]),
])  # fmt: skip
def test_setitem(where, value, expected):
    x = Tensor(np.arange(6).reshape(2, 3))
    x[where] = value
    assert x.tolist() == expected


def test_setitem_takes_integers_first_as_getitem_does():
    x = Tensor(np.zeros((2, 2, 3)))
    x[0, :, [2, 1, 0]] = np.array([[1, 2, 3], [4, 5, 6]])
    assert x.tolist() == [[[3, 2, 1], [6, 5, 4]], [[0, 0, 0], [0, 0, 0]]]


def test_integers_are_updated_by_integers():
    x = minicnn.tensor([1, 2])
    x += minicnn.tensor([1, 1])
    x *= 3
    assert x.tolist() == [6, 9]
    assert x.dtype == np.int64


# --- what is refused, and that it changes nothing -------------------------------------------------


@each_change
def test_a_leaf_in_a_graph_is_not_changed(name):
    x = leaf(1, 2)
    with pytest.raises(GradientError, match=r"in\s+place"):
        CHANGES[name](x)
    assert x.tolist() == [1, 2]
    assert x.version == [0]


@pytest.mark.parametrize("name", ["copy_", "fill_", "zero_", "tensor[index] = value"])
def test_a_result_in_a_graph_is_not_overwritten(name):
    y = leaf(1, 2) * 1
    with pytest.raises(GradientError) as error:
        CHANGES[name](y)
    assert name in str(error.value)
    assert "(2,)" in str(error.value)
    assert y.tolist() == [1, 2]


@pytest.mark.parametrize(("name", "change"), [
    ("copy_", lambda t, v: t.copy_(v)), ("tensor[index] = value", lambda t, v: t.__setitem__(0, v)),
])  # fmt: skip
def test_the_gradient_of_new_values_is_not_dropped(name, change):
    x, value = plain(1, 2), Tensor(np.array(5.0), requires_grad=True)
    with pytest.raises(GradientError) as error:
        change(x, value)
    assert name in str(error.value)
    assert x.tolist() == [1, 2]
    change(x, value.detach())
    assert x.tolist()[0] == 5


@each_update
def test_a_leaf_that_requires_grad_is_not_updated(update):
    x = leaf(1, 2)
    with pytest.raises(GradientError, match="a leaf that requires grad cannot be changed in place"):
        update(x, leaf(3, 4))
    assert x.tolist() == [1, 2]


def test_a_view_of_a_constant_does_not_leave_it():
    buffer = minicnn.zeros(2, 2, dtype=minicnn.float64)
    row = buffer[0]
    with pytest.raises(GradientError, match="a view cannot be changed in place inside a graph"):
        row += leaf(1, 2)
    assert buffer.tolist() == [[0, 0], [0, 0]]


def test_a_constant_may_collect_a_graph():
    x, total = leaf(1, 2), minicnn.zeros((), dtype=minicnn.float64)
    for factor in (2.0, 3.0):
        total += (x * factor).sum()
    total.backward()
    assert total.item() == 15.0
    assert x.grad.tolist() == [5.0, 5.0]


@each_update
def test_a_view_in_a_graph_is_not_updated(update):
    for view in (
        lambda t: t.reshape(2),
        lambda t: t[0],
        lambda t: t.T,
        lambda t: t.expand(1, 1, 2),
    ):
        y = view(plain(1, 2).reshape(1, 2).requires_grad_())
        with pytest.raises(GradientError, match="a view cannot be changed in place inside a graph"):
            update(y, 1.0)


@each_change
def test_read_only_memory_is_not_written(name):
    array = np.array([1.0, 2.0])
    array.flags.writeable = False
    for x in (Tensor(array), Tensor(np.ones(1)).expand(2)):
        with pytest.raises(ArgumentError, match=r"shape \(2,\), is read-only") as error:
            CHANGES[name](x)
        assert name in str(error.value)
        assert x.version[0] == 0


@pytest.mark.parametrize(("change", "kind", "message"), [
    (lambda t: t.copy_(np.ones(3)), ShapeError, r"copy_: shape \(2,\): .*\(3,\)"),
    (lambda t: t.__setitem__(2, 1), IndexOutOfRange, r"value: shape \(2,\): index 2"),
    (lambda t: t.__setitem__(0, [1, 2]), (ShapeError, DTypeError), r"tensor\[index\] = value: "),
    (lambda t: operator.iadd(t, np.ones(3)), ShapeError, r"\+=: shape \(2,\): .*\(3,\)"),
    (lambda t: operator.iadd(t, np.ones((3, 2))), ShapeError, r"\+=: shape \(2,\): .*\(3,2\)"),
])  # fmt: skip
def test_values_that_do_not_fit_are_named_and_change_nothing(change, kind, message):
    x = plain(1, 2)
    with pytest.raises(kind, match=message):
        change(x)
    assert x.tolist() == [1, 2]
    assert x.version == [0]


@pytest.mark.parametrize("change", [
    lambda t: operator.iadd(t, 0.5), lambda t: operator.itruediv(t, 2),
    lambda t: t.copy_(plain(1, 2)),
], ids=["+=", "/=", "copy_"])  # fmt: skip
def test_integers_cannot_hold_fractions(change):
    x = minicnn.tensor([1, 2])
    with pytest.raises(DTypeError, match="int64 cannot hold the new values"):
        change(x)
    assert x.tolist() == [1, 2]


def test_a_result_in_a_graph_cannot_grow():
    y = leaf(1, 2) * 1
    with pytest.raises(ShapeError, match=r"\+=: \(2,\) cannot hold the result's \(3, 2\)"):
        y += np.ones((3, 2))
    assert y.tolist() == [1, 2]


# --- inside a graph -------------------------------------------------------------------------------


@each_update
def test_an_update_of_a_result_is_differentiated(update):
    plainly = {"iadd": operator.add, "isub": operator.sub, "imul": operator.mul}
    apply = plainly.get(update.__name__, operator.truediv)
    a, b = leaf(1.5, -2), leaf(4, 0.5)
    y = a * a
    y = update(y, b)
    expected = minicnn.grad(apply(a * a, b).sum(), [a, b])
    for ours, correct in zip(minicnn.grad(y.sum(), [a, b]), expected, strict=True):
        np.testing.assert_array_equal(ours.array, correct.array)


def test_whoever_saved_the_old_value_keeps_it():
    x = leaf(1, 2)
    y = x * 3
    z = y * y  # saves y
    y += 100
    (dx,) = minicnn.grad((z + y).sum(), x)
    assert dx.tolist() == [2 * 9 * 1 + 3, 2 * 9 * 2 + 3]


def test_a_tensor_may_be_added_to_itself():
    x = leaf(1, 2)
    y = x * 2
    y += y
    y *= y
    assert y.tolist() == [16, 64]
    assert minicnn.grad(y.sum(), x)[0].tolist() == [32, 64]


@pytest.mark.parametrize("branch", [
    lambda x: F.conv2d(x, np.ones((2, 2, 3, 3)), padding=1),
    lambda x: F.conv2d(x, np.ones((2, 2, 1, 1)), np.ones(2)),
    lambda x: F.batch_norm(x, None, None, training=True),
    lambda x: F.max_pool2d(x, 3, 1, 1),
    lambda x: minicnn.relu(x),
], ids=["conv2d", "conv2d with bias", "batch_norm", "max_pool2d", "relu"])  # fmt: skip
def test_out_plus_identity_keeps_the_gradients_right(rng, branch):
    x = Tensor(rng.normal(size=(2, 2, 4, 3)), requires_grad=True)
    dy = Tensor(rng.normal(size=x.shape))
    (expected,) = minicnn.grad(branch(x) + x, x, dy)
    out = branch(x)
    out += x
    (dx,) = minicnn.grad(out, x, dy)
    np.testing.assert_allclose(dx.array, expected.array, rtol=1e-13)


def test_a_saved_value_that_was_overwritten_is_noticed():
    x = leaf(1, 2)
    y = (x * x).sum()
    with minicnn.no_grad():
        x[0] = 5
    with pytest.raises(GradientError, match=r"mul: its input a, .* was changed in place"):
        y.backward()


def test_a_view_that_was_overwritten_is_noticed_too():
    x = leaf(1, 2)
    y = (x.reshape(2, 1) ** 2).sum()
    with minicnn.no_grad():
        x += 1
    with pytest.raises(GradientError, match=r"pow: .* was changed in place"):
        y.backward()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_operation_that_shares_memory_is_listed_as_a_view(case):
    inputs = [Tensor(array, requires_grad=True) for array in case.arrays()]
    y = case.function(*inputs)
    if any(np.shares_memory(y.array, x.array) for x in inputs):
        assert y.node.op in VIEWS
        assert y.version is inputs[0].version


# --- methods that end in an underscore ------------------------------------------------------------

UNDERSCORED = {
    "add_": (2.0,), "addcdiv_": (plain(1, 2), plain(2, 4)), "addcmul_": (plain(1, 2), plain(3, 4)),
    "abs_": (), "ceil_": (), "clamp_": (-1.0, 1.0), "div_": (2.0,), "exp_": (), "floor_": (),
    "fmod_": (1.5,), "lerp_": (plain(5, 6), 0.5), "log_": (), "mul_": (3.0,), "neg_": (),
    "pow_": (2,), "reciprocal_": (), "relu_": (), "remainder_": (1.5,), "round_": (),
    "rsqrt_": (), "sigmoid_": (), "sqrt_": (), "square_": (), "sub_": (2.0,), "tanh_": (),
    "trunc_": (),
}  # fmt: skip


def test_every_elementwise_method_with_an_underscore_is_tried():
    families = (activation, arithmetic, elementwise)
    known = {name for name in METHODS if any(hasattr(f, name[:-1]) for f in families)}
    assert known == set(UNDERSCORED)


@pytest.mark.parametrize("name", UNDERSCORED)
def test_methods_with_an_underscore_overwrite(torch, name):
    x, given = plain(0.5, 2.25), UNDERSCORED[name]
    array, same = x.array, x[:1]
    others = [torch.tensor(v.array) if isinstance(v, Tensor) else v for v in given]
    expected = getattr(torch.tensor(array.copy()), name)(*others)
    assert getattr(x, name)(*given) is x
    assert x.array is array
    np.testing.assert_allclose(array, expected.numpy(), rtol=1e-15)
    assert x.version == same.version == [1]


@pytest.mark.parametrize("name", UNDERSCORED)
def test_methods_with_an_underscore_inside_a_graph(name):
    x, given = leaf(0.5, 2.25), UNDERSCORED[name]
    with pytest.raises(GradientError, match=rf"{name}: .*a = a.{name[:-1]}\("):
        getattr(x, name)(*given)
    y = x * 1
    (dx,) = minicnn.grad(getattr(y, name)(*given).sum(), x)
    (expected,) = minicnn.grad(getattr(x * 1, name[:-1])(*given).sum(), x)
    assert dx.tolist() == expected.tolist()
    with minicnn.no_grad():
        assert getattr(x, name)(*given).requires_grad


def test_settings_of_methods_with_an_underscore():
    x = plain(1, 2)
    assert x.add_(1, alpha=2).tolist() == [3, 4]
    assert x.div_(2, rounding_mode="floor").tolist() == [1, 2]
    assert x.clamp_(max=1.5).tolist() == [1, 1.5]


def test_what_methods_with_an_underscore_refuse():
    whole = minicnn.tensor([3, 2])
    for change in (lambda: whole.add_(0.5), lambda: whole.div_(2), lambda: whole.exp_()):
        with pytest.raises(DTypeError, match="int64 cannot hold"):
            change()
    with pytest.raises(ShapeError, match="add_"):
        plain(1, 2).add_(np.ones((3, 2)))
    assert whole.tolist() == [3, 2]
    assert whole.version == [0]


def test_values_of_another_device_are_refused_single_ones_are_numbers(card):
    on_card, on_cpu = minicnn.ones(2, 3, device="cuda"), minicnn.ones(2, 3)
    for a, b in ((on_card, on_cpu), (on_cpu, on_card), (on_cpu, on_card.array)):
        with pytest.raises(DeviceError, match=r"^\*=: the tensor is on c.*; move one with \.to"):
            a *= b
    with pytest.raises(DeviceError, match=r"got arrays on \['cuda:0', 'cpu'\]"):
        on_card.add_(on_cpu)
    with card.no_copies():
        on_card += minicnn.tensor(2.0)
        on_card *= np.float32(3)
    assert on_card.copy_(on_card * 1).tolist() == [[9.0] * 3] * 2
    assert on_card.copy_(on_cpu).tolist() == on_cpu.tolist()
