from __future__ import annotations

import functools

import numpy as np
import pytest

import minicnn
import minicnn.nn.functional as F
from minicnn import nn
from minicnn.errors import ArgumentError, DTypeError
from minicnn.gradcheck import gradcheck, gradcheck_pair, gradgradcheck
from minicnn.gradcheck.subject import elsewhere, from_function, from_pair, name_of, signs

X = np.random.default_rng(0).normal(size=(3, 4))
IMAGES = np.random.default_rng(2).normal(size=(3, 2, 2, 1))


def tensor(array, **settings):
    return minicnn.tensor(array, dtype=minicnn.float64, **settings)


# --- pairs ----------------------------------------------------------------------------------------


def affine_forward(x, w, b):
    return x @ w + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(0)


W, B = np.random.default_rng(1).normal(size=(4, 2)), np.array([0.5, -1])

PAIRS = {
    "one input": (np.tanh, lambda dy, x: dy * (1 - np.tanh(x) ** 2), [X]),
    "two inputs": (np.multiply, lambda dy, a, b: (dy * b, dy * a), [X, X + 1]),
    "a list of gradients": (np.multiply, lambda dy, a, b: [dy * b, dy * a], [X, X + 1]),
    "cs231n": (affine_forward, affine_backward, [X, W, B]),
    "cs231n with an array as cache": (
        lambda x: (np.maximum(x, 0), x),
        lambda dout, cache: dout * (cache > 0),
        [X],
    ),
    "cs231n with no cache": (lambda x: (2 * x, None), lambda dout, cache: 2 * dout, [X]),
    "two outputs": (
        lambda x: (np.sin(x), x.sum()),
        lambda dy, dz, x: dy * np.cos(x) + dz,
        [X],
    ),
    "a list of outputs": (lambda x: [2 * x, 3 * x], lambda dy, dz, x: 2 * dy + 3 * dz, [X]),
    "two outputs of one argument each": (
        lambda x, y: (x * y, x + y),
        lambda dy, dz, x, y: (dy * y + dz, dy * x + dz),
        [X, X - 1],
    ),
    "a number out": (lambda x: float(x.sum()), lambda dy, x: np.full(x.shape, dy), [X]),
    "a number in": (lambda x: x**2, lambda dy, x: 2 * x * dy, [1.5]),
    "0-d": (lambda x: x**2, lambda dy, x: 2 * x * dy, [np.array(-0.5)]),
    "a whole number out": (
        lambda x: (2 * x, x.argmax()),
        lambda dy, di, x: 2 * dy,
        [X],
    ),
    "a part of the input": (
        lambda x: x[1:],
        lambda dy, x: np.concatenate([np.zeros((1, 4)), dy]),
        [X],
    ),
    "the input itself": (lambda x: x, lambda dy, x: dy, [X]),
    "a transposed view": (lambda x: x.T, lambda dy, x: dy.T, [X]),
    "keyword settings": (
        functools.partial(lambda x, *, p: x**p, p=3),
        lambda dy, x: 3 * dy * x**2,
        [X],
    ),
    "float32 inputs": (np.sin, lambda dy, x: dy * np.cos(x), [X.astype(np.float32)]),
    "Tensors": (np.sin, lambda dy, x: dy * np.cos(x), [tensor(X)]),
}


@pytest.mark.parametrize(("forward", "backward", "inputs"), PAIRS.values(), ids=PAIRS)
def test_pairs_of_every_form_are_understood(forward, backward, inputs):
    report = gradcheck_pair(forward, backward, inputs)
    assert report.verdict == "pass"
    assert report.compared >= 1


def added(x, index, dy):
    dx = np.zeros_like(x)
    np.add.at(dx, index, dy)
    return dx


@pytest.mark.parametrize("with_none", [True, False])
def test_whole_numbers_need_no_gradient(with_none):
    def backward(dy, x, index):
        dx = added(x, index, dy)
        return (dx, None) if with_none else dx

    report = gradcheck_pair(lambda x, index: x[index], backward, [X, np.array([0, 2, 2])])
    assert report.verdict == "pass"
    assert [row.place.position for row in report.rows] == [0]


def test_a_pair_without_elements_compares_nothing_and_says_so():
    report = gradcheck_pair(lambda x: 2 * x, lambda dy, x: 2 * dy, [np.zeros((0, 3))])
    assert report.verdict == "pass"
    assert report.compared == 0
    assert any("nothing was compared" in note for note in report.notes)


def test_cache_decides_where_the_functions_do_not_tell():
    def forward(x):
        return 2 * x, 3 * x

    assert gradcheck_pair(forward, lambda *dy: 2 * dy[0] + 3 * dy[1], [X], cache=False)
    assert gradcheck_pair(forward, lambda dout, cache: 2 * dout, [X], cache=True)


def test_the_inputs_of_the_caller_stay_as_they_are():
    x = X.copy()

    def forward(x):
        y = np.array(x)
        y *= y
        x[...] = 0
        return y

    gradcheck_pair(forward, lambda dy, x: dy, [x], raise_exception=False)
    assert np.array_equal(x, X)


@pytest.mark.parametrize("bad", ["text", X.astype(complex), [None]])
def test_inputs_that_are_no_real_numbers_are_named(bad):
    with pytest.raises(ArgumentError, match=r"input 1 is .*functools\.partial"):
        gradcheck_pair(np.multiply, lambda dy, a, b: (dy, dy), [X, bad])


@pytest.mark.parametrize(
    "bad",
    [lambda x: "text", lambda x: x + 1j, lambda x: None],
    ids=["text", "complex", "None"],
)
def test_outputs_that_are_no_real_numbers_are_named(bad):
    with pytest.raises(ArgumentError, match="must return"):
        gradcheck_pair(bad, lambda dy, x: dy, [X])


def test_a_forward_that_raises_is_the_callers_mistake():
    def forward(x):
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        gradcheck_pair(forward, lambda dy, x: dy, [X])


# --- functions of Tensors -------------------------------------------------------------------------


def closure_over(module):
    return lambda x: module(x).tanh()


FUNCTIONS = {
    "an op": (F.relu, (X,)),
    "a lambda": (lambda x: x**2 * 3, (X,)),
    "a tuple": (lambda x: (x * 2, x.sum()), (X,)),
    "a list in a dict": (lambda x: {"a": [x * 2, x.exp()], "b": 3}, (X,)),
    "a setting in between": (lambda x, p, y: x * p + y, (X, 2.5, X)),
    "whole numbers": (lambda x, i: F.cross_entropy(x, i), (X, np.array([0, 3, 1]))),
    "0-d": (lambda x: x * x, (np.array(1.5),)),
    "a whole number out": (lambda x: (x * 2, x.argmax(1)), (X,)),
    "a closure over a layer": (closure_over(nn.Linear(4, 2).to(dtype=minicnn.float64)), (X,)),
    "a partial": (functools.partial(F.log_softmax, dim=1), (X,)),
}


@pytest.mark.parametrize(("function", "inputs"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions_of_every_form_are_understood(function, inputs):
    inputs = tuple(tensor(x) if isinstance(x, np.ndarray) and x.dtype == float else x
                   for x in inputs)  # fmt: skip
    report = gradcheck(function, inputs)
    assert report.verdict == "pass"
    assert report.compared >= 1


def test_only_what_requires_a_gradient_is_checked():
    a, b = tensor(X, requires_grad=True), tensor(X)
    assert [r.place.position for r in gradcheck(lambda a, b: a * b, (a, b)).rows] == [0]
    assert [r.place.position for r in gradcheck(lambda a, b: a * b, (b, b)).rows] == [0, 1]


def test_the_names_are_those_of_the_parameters_or_those_given():
    subject = from_function(lambda image, scale: image * scale, (tensor(X), tensor(X)))
    assert subject.names == ["image", "scale"]
    assert from_function(F.linear, (tensor(X), tensor(W.T))).names[0] in ("input", "x")
    subject = from_function(lambda *many: many[0] * many[1], (tensor(X), tensor(X)))
    assert subject.names == ["x0", "x1"]
    named = gradcheck(lambda a, b: a * b, (tensor(X), tensor(X)), names=["left", "right"])
    assert named.names == ["left", "right"]


@pytest.mark.parametrize(
    "bad",
    [lambda x: 3, lambda x: None, lambda x: x.argmax()],
    ids=["number", "None", "whole numbers"],
)
def test_a_function_must_return_a_floating_point_tensor(bad):
    with pytest.raises(ArgumentError, match="must return a floating-point Tensor"):
        gradcheck(bad, tensor(X))


def test_the_loss_gets_what_the_function_returns():
    report = gradcheck(
        lambda x: (x * 2, x + 1), tensor(X), loss=lambda a, b: (a * b).sum()
    )  # fmt: skip
    assert report.verdict == "pass"
    assert report.compared == X.size


# --- modules --------------------------------------------------------------------------------------


def test_the_parameters_of_a_module_are_inputs_by_name_and_stay_as_they_are():
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Tanh())
    before = {name: x.numpy().copy() for name, x in model.state_dict().items()}
    report = gradcheck(model, minicnn.tensor(IMAGES.astype(np.float32)))
    assert report.verdict == "pass"
    names = [report.names[row.place.position] for row in report.rows]
    assert names[1:] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    after = {name: x.numpy() for name, x in model.state_dict().items()}
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert all(p.grad is None and p.dtype == np.float32 for p in model.parameters())


def test_frozen_parameters_are_not_checked():
    model = nn.Linear(4, 2)
    model.bias.requires_grad = False
    report = gradcheck(model, tensor(X))
    assert [report.names[row.place.position] for row in report.rows][1:] == ["weight"]
    assert not model.bias.requires_grad


def test_a_shared_parameter_is_one_input_and_its_uses_are_summed():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False)
            self.second = nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(self.first(x).tanh())

    report = gradcheck(Tied(), tensor(X))
    assert report.verdict == "pass"
    assert len(report.rows) == 2


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_replayed_and_the_state_of_training_is_kept(training, seeded):
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    model.train(training)
    state = minicnn.random.default.get_state()
    assert gradcheck(model, tensor(X)).verdict == "pass"
    assert minicnn.random.default.get_state() == state
    assert model.training is model[1].training is training


def test_running_statistics_of_a_module_in_a_closure_are_put_back():
    norm = nn.BatchNorm2d(2).to(dtype=minicnn.float64)
    assert gradcheck(lambda x: norm(x), tensor(IMAGES)).verdict == "pass"
    assert not norm.running_mean.numpy().any()
    assert int(norm.num_batches_tracked.numpy()) == 0


def test_a_module_with_a_loss_has_a_row_for_each_parameter():
    report = gradcheck(
        nn.Linear(4, 3), tensor(X), loss=lambda y: F.cross_entropy(y, minicnn.tensor([0, 1, 2]))
    )
    assert report.verdict == "pass"
    assert len(report.rows) == 3


def test_a_module_without_parameters_is_a_function():
    assert gradcheck(nn.ReLU(), tensor(X)).verdict == "pass"


def test_a_module_that_cannot_be_copied_says_what_to_do():
    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            self.stream = (i for i in range(3))

        def forward(self, x):
            return x * 2

    with pytest.raises(ArgumentError, match=r"cannot be copied .*lambda x: model"):
        gradcheck(Locked(), tensor(X))


# --- element types --------------------------------------------------------------------------------


def test_float32_is_checked_in_float64_and_compared_in_float32():
    x = minicnn.tensor(X.astype(np.float32))
    report = gradcheck(lambda x: x.tanh(), x)
    assert report.verdict == "pass"
    assert any("in float32 all gradients agree" in note for note in report.notes)


def test_a_function_that_only_runs_in_float32_is_checked_in_float32():
    constant = minicnn.tensor(X.astype(np.float32))
    x = minicnn.tensor((X + 1).astype(np.float32))
    report = gradcheck(lambda x: (x * constant).tanh(), x)
    assert report.verdict == "pass"
    assert any("cannot run in float64" in note for note in report.notes)


def test_a_float64_input_beside_a_float32_constant_is_the_callers_mistake():
    constant = minicnn.tensor(X.astype(np.float32))
    with pytest.raises(DTypeError):
        gradcheck(lambda x: x * constant, tensor(X))


def test_an_output_in_float32_is_judged_with_its_rounding():
    x = X.astype(np.float32)
    report = gradcheck_pair(
        lambda x: np.sin(x).astype(np.float32), lambda dy, x: dy * np.cos(x), [x]
    )
    assert report.verdict == "pass"
    assert any("returns float32" in note for note in report.notes)
    wrong = gradcheck_pair(
        lambda x: np.sin(x).astype(np.float32),
        lambda dy, x: 1.1 * dy * np.cos(x),
        [x],
        raise_exception=False,
    )
    assert wrong.verdict == "fail"


# --- second derivatives ---------------------------------------------------------------------------


def test_second_derivatives_of_a_product_by_both_and_by_dy():
    report = gradgradcheck(lambda a, b: a * b, (tensor(X), tensor(X + 1)))
    assert report.verdict == "pass"
    assert [report.names[row.place.position] for row in report.rows] == ["a", "b", "dy"]


def test_the_second_derivative_is_that_of_the_gradient():
    report = gradgradcheck(lambda x: x**3, tensor(X))
    of_x, of_dy = (row.measured.reshape(X.shape) for row in report.rows)
    dy = signs(np.random.default_rng(1), X.shape)
    assert of_x / of_dy == pytest.approx(6 * X * dy / (3 * X**2), rel=1e-6)
    assert report.name == "the gradient of the function"


@pytest.mark.parametrize(
    "function",
    [minicnn.tanh, lambda x: x**3, lambda x: (x.exp(), x.tanh().sum())],
    ids=["tanh", "cube", "two outputs"],
)
def test_second_derivatives_of_ops(function):
    assert gradgradcheck(function, tensor(X)).verdict == "pass"


def test_second_derivatives_of_a_module_with_a_loss():
    report = gradgradcheck(nn.Linear(4, 3), tensor(X), loss=lambda y: (y.tanh() ** 2).mean())
    assert report.verdict == "pass"
    assert len(report.rows) == 4


# --- parts ----------------------------------------------------------------------------------------


def test_elsewhere_has_the_same_values_in_another_place():
    x, index = elsewhere([X, np.array([0, 2])])
    assert sorted(x.ravel()) == sorted(X.ravel())
    assert not np.array_equal(x, X)
    assert index.tolist() == [0, 2]


def test_signs_are_of_both_signs_and_none_is_small():
    v = signs(np.random.default_rng(0), (100,))
    assert 0.5 <= np.abs(v).min() <= np.abs(v).max() <= 1.5
    assert 20 < np.count_nonzero(v < 0) < 80
    assert signs(np.random.default_rng(0), ()).shape == ()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (np.sin, "sin"),
        (affine_forward, "affine_forward"),
        (functools.partial(affine_forward, 1), "affine_forward"),
        (lambda x: x, "the function"),
        (nn.Linear(1, 1), "Linear"),
    ],
)
def test_functions_have_names(function, name):
    assert name_of(function) == name


def test_settings_are_the_keywords_of_partials_also_of_nested_ones():
    inner = functools.partial(np.add, out=None)
    subject = from_pair(functools.partial(inner, order="K"), lambda dy, a, b: (dy, dy), [X, X])
    assert subject.settings == {"out": None, "order": "K"}


def test_calls_are_counted():
    subject = from_pair(np.sin, lambda dy, x: dy * np.cos(x), [X], cache=False)
    subject.values(subject.inputs)
    subject.gradients([X], subject.inputs)
    assert subject.calls == 2
