"""A frozen model computes what the model computes, and refuses what it cannot do."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import NamedTuple

import numpy as np
import pytest
from small_models import pictures, small

import minicnn
from minicnn import nn
from minicnn.errors import ArgumentError, GradientError
from minicnn.nn import functional as F
from minicnn.nn.utils import freeze
from minicnn_kernels import constants


class Lambda(nn.Module):
    """A convolution, and a function of it and the input."""

    def __init__(self, function, **settings):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, **settings)
        self.function = function

    def forward(self, x):
        return self.function(self.conv, x)


def names_of(frozen):
    """Return the names of the operations, in order, and how many convolutions end with which."""
    (program,) = frozen._programs.values()
    ends = [
        ("add" if 3 in step.places else "") + ("relu" if "relu" in step.settings else "")
        for step in program.steps
        if step.op.name.startswith("conv")
    ]
    return [step.op.name for step in program.steps], ends


def images(batch=2, seed=0):
    return minicnn.tensor(np.random.default_rng(seed).normal(size=(batch, 3, 5, 6)))


def assert_same(frozen, model, x, rtol=1e-9):
    expected, found = model.eval()(x), frozen(x)
    np.testing.assert_allclose(found.array, expected.array, rtol=rtol, atol=rtol)
    assert not found.requires_grad


@pytest.mark.parametrize("name", [
    "lenet5", "alexnet", "vgg13_bn", "googlenet", "resnet18", "resnet50", "mobilenet_v2",
    "squeezenet1_1", "densenet121", "inception_v3",
])  # fmt: skip
def test_a_frozen_model_computes_the_same(name, seeded):
    model, x = small(name).double(), minicnn.tensor(pictures(name, dtype=np.float64))
    model(x)
    frozen = freeze(model, x)
    for batch in (x, minicnn.tensor(x.array[:, :, ::-1].copy()), x[:1]):
        assert_same(frozen, model, batch, rtol=1e-7)
    assert len(frozen._programs) == 2  # of two images, and of one


def test_convolutions_add_and_rectify(seeded):
    x = minicnn.tensor(pictures("resnet18"))
    names, ends = names_of(freeze(small("resnet18"), x))
    assert not {"add", "relu"} & set(names)
    assert sorted(ends) == sorted(["relu"] * 9 + ["addrelu"] * 8 + [""] * 3)


JOINED = {  # a function of a convolution and the input, and how its convolutions end
    "relu": (lambda conv, x: F.relu(conv(x)), ["relu"]),
    "relu twice": (lambda conv, x: F.relu(F.relu(conv(x))), ["relu"]),
    "a sum": (lambda conv, x: conv(x) + x, ["add"]),
    "the other way round": (lambda conv, x: x + conv(x), ["add"]),
    "a rectified sum": (lambda conv, x: F.relu(x + conv(x)), ["addrelu"]),
    "of two convolutions": (lambda conv, x: F.relu(conv(x) + conv(x * 2)), ["", "addrelu"]),
    "of one that is rectified": (lambda conv, x: F.relu(conv(x)) + x, ["relu"]),
    "three terms": (lambda conv, x: conv(x) + x + x * x, ["add"]),
    "a later shortcut": (lambda conv, x: conv(x) + (x * x + 1), ["add"]),
    "the double": (lambda conv, x: double(conv(x)), [""]),
    "used twice": (lambda conv, x: both(conv(x)), [""]),
    "a sum used twice": (lambda conv, x: both(conv(x) + x), ["add"]),
    "broadcast": (lambda conv, x: conv(x) + x[:, :1], [""]),
    "a number": (lambda conv, x: conv(x) + 1.5, [""]),
    "handed on": (lambda conv, x: conv(F.dropout(x, training=False)).relu(), ["relu"]),
    "of constants": (lambda conv, x: conv(x) + conv(minicnn.ones(2, 3, 5, 6).double()), [""]),
}


def double(y):
    return y + y


def both(y):
    return F.relu(y) * y


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("function", "expected"), JOINED.values(), ids=list(JOINED))
def test_what_is_joined(function, expected, bias, seeded):
    model = Lambda(function, bias=bias).double()
    frozen = freeze(model, images())
    assert_same(frozen, model, images(seed=1))
    assert names_of(frozen)[1] == expected


def test_a_result_that_is_returned_too_is_not_joined(seeded):
    def parts(conv, x):
        y = conv(x)
        return y, F.relu(y)

    model = Lambda(parts).double()
    frozen = freeze(model, images())
    for found, expected in zip(frozen(images()), model(images()), strict=True):
        np.testing.assert_allclose(found.array, expected.array)


class Both(NamedTuple):
    first: object
    second: object


def test_results_keep_their_structure(seeded):
    model = Lambda(lambda conv, x: Both([x, conv(x)], (x * 2, conv.bias))).double()
    found = freeze(model, images())(images())
    assert type(found) is Both
    assert (type(found.first), type(found.second)) == (list, tuple)
    np.testing.assert_array_equal(found.first[0].array, images().array)
    np.testing.assert_array_equal(found.second[1].array, model.conv.bias.array)


REFUSED = {
    "by values": lambda conv, x: conv(x) if x.array.flat[0] > 0 else x,
    "random": lambda conv, x: conv(x) + F.dropout(x, training=True),
    "arrays": lambda conv, x: conv(minicnn.tensor(np.sin(x.array))),
    "positions": lambda conv, x: x.flatten()[conv(x).flatten().argmax()],
}


@pytest.mark.parametrize("function", REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_fixed_sequence_of_operations_is_refused(function, seeded):
    x = images()
    x.array.flat[[0, -1]] = 1, -1
    model = Lambda(function).double()
    with pytest.raises(ArgumentError, match="repeating the operations"):
        nn.utils.freezing.Frozen(model)(x)
    with pytest.raises(ArgumentError, match="something else"):
        freeze(model, x)


def test_a_frozen_model_cannot_be_changed(seeded):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).double()
    frozen, x = freeze(model, images()), images(seed=1)
    before = frozen(x).array.copy()
    assert not list(frozen.parameters())
    assert not frozen.training
    assert frozen.eval() is frozen
    for change in (
        frozen.train,
        lambda: frozen.load_state_dict(model.state_dict()),
        frozen.float,
        lambda: frozen.to(np.float32),
    ):
        with pytest.raises(ArgumentError, match="the model it was made from"):
            change()
    with pytest.raises(ValueError, match="parameter"):
        minicnn.optim.SGD(frozen.parameters(), lr=1.0)
    with minicnn.no_grad():  # the model itself goes its own way
        model[0].weight.fill_(0)
    np.testing.assert_array_equal(frozen(x).array, before)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_weights_that_are_computed(monkeypatch, seeded):
    """What is made of constants alone is computed once for each program, and goes with it."""
    monkeypatch.setattr(nn.utils.freezing, "MOST_PROGRAMS", 2)
    model = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)).double()
    frozen = freeze(model, images())
    assert names_of(frozen)[0] == ["conv_bias"]
    for batch in (2, 3, 4, 5):
        assert_same(frozen, model, images(batch, seed=1))
        assert len(frozen._constants) <= 2


def test_what_it_takes(seeded):
    frozen = freeze(nn.Conv2d(3, 4, 3).double(), images())
    with pytest.raises(ArgumentError, match="tensors"):
        frozen(images().array)
    with pytest.raises(GradientError, match="detach"):
        frozen(images().requires_grad_())
    with minicnn.no_grad():
        frozen(images().requires_grad_())


def test_copies(seeded):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).double()
    frozen, x = freeze(model, images()), images(seed=1)
    for other in (copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        np.testing.assert_array_equal(other(x).array, frozen(x).array)
        assert not other.training
    assert "Conv2d(3, 4" in repr(frozen)


def test_values_of_the_run_that_was_noted_are_not_kept(seeded):
    x = minicnn.tensor(pictures("googlenet"))
    (program,) = freeze(small("googlenet"), x)._programs.values()
    for step in program.steps:
        assert all(step.arguments[position] is None for position in step.places)
        assert not any(value is x.array for value in step.arguments)


def test_many_shapes_and_then_none(monkeypatch, seeded):
    monkeypatch.setattr(nn.utils.freezing, "MOST_PROGRAMS", 2)
    gc.collect()
    before = len(constants._constants)
    model = nn.Conv2d(3, 4, 3).double()
    frozen = freeze(model, images())
    for batch in (1, 3, 4, 1):
        assert_same(frozen, model, images(batch))
        assert len(frozen._programs) <= 2
    assert len(constants._constants) == before + 1  # one weight, whatever the shapes
    del frozen
    gc.collect()
    assert len(constants._constants) == before
