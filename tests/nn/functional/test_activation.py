from __future__ import annotations

import inspect

import numpy as np
import pytest
from geometries import integers
from refusals import refused

import minicnn
from minicnn.errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from minicnn.nn import functional as F
from minicnn.nn.functional import _activation as activation
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


# --- names ----------------------------------------------------------------------------------------

OURS_ONLY = {"maxout"}
NOT_IN_PYTHON = {  # what torch's documentation says of them
    "gelu": "(input, approximate='none')",
    "hardshrink": "(input, lambd=0.5)",
    "logsigmoid": "(input)",
    "prelu": "(input, weight)",
    "softplus": "(input, beta=1.0, threshold=20.0)",
    "softshrink": "(input, lambd=0.5)",
}


@pytest.mark.parametrize("name", sorted(set(activation.__all__) - OURS_ONLY))
def test_arguments_have_the_names_order_and_defaults_of_torch(torch, name):
    ours = inspect.signature(getattr(F, name))
    if name in NOT_IN_PYTHON:
        parameters = [p.replace(annotation=p.empty) for p in ours.parameters.values()]
        assert str(inspect.Signature(parameters)) == NOT_IN_PYTHON[name]
        return
    theirs = inspect.signature(getattr(torch.nn.functional, name)).parameters
    left_out = {"_stacklevel", "eps"}
    expected = [(p.name, p.default) for p in theirs.values() if p.name not in left_out]
    assert [(p.name, p.default) for p in ours.parameters.values()] == expected


@pytest.mark.parametrize("name", [
    "celu", "elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu", "relu6",
    "rrelu", "selu", "silu", "threshold",
])  # fmt: skip
def test_in_place_is_accepted_and_changes_nothing(name):
    x = Tensor(np.array([-1.5, 0.5]), requires_grad=True)
    given = (0.1, 2.0) if name == "threshold" else ()
    y = getattr(F, name)(x, *given, inplace=True)
    assert y.tolist() == getattr(F, name)(x, *given).tolist()
    assert x.tolist() == [-1.5, 0.5]


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softmax", "softmin", "log_softmax"])
def test_activations_by_keyword(torch, name):
    x = integers((2, 3)).astype(np.float32)
    settings = {"dim": 1, "dtype": "float64"} if "soft" in name else {}
    theirs = {**settings, "dtype": torch.float64} if settings else {}
    ours = getattr(F, name)(input=minicnn.tensor(x), **settings)
    expected = getattr(torch.nn.functional, name)(input=torch.tensor(x), **theirs)
    assert str(ours.dtype) == str(expected.dtype).removeprefix("torch.")
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-6)


def test_plain_arrays_give_plain_arrays():
    x = np.array([[-1.0, 0.5, 2.0, -0.1]])
    for name in set(activation.__all__) - {"gumbel_softmax"}:
        given = {
            "threshold": (0.1, 2.0), "prelu": (np.ones(1),), "maxout": (2,), "softmax": (1,),
            "softmin": (1,), "log_softmax": (1,),
        }.get(name, ())  # fmt: skip
        y = getattr(F, name)(x, *given)
        assert type(y) is np.ndarray, name
        np.testing.assert_allclose(y, getattr(F, name)(Tensor(x), *map(as_tensor, given)).array)


def as_tensor(value):
    return Tensor(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
def test_the_dimension_of_classes_is_not_guessed(name):
    with pytest.raises(ArgumentError, match=rf"name the dimension.*{name}\(x, dim=1\)"):
        getattr(F, name)(ones(2, 3))


# --- over several values --------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "pieces", "dim"), [
    ((2, 6, 3, 2), 2, 1), ((2, 6, 3, 2), 3, 1), ((2, 6), 6, -1), ((6,), 2, 0), ((2, 4, 1), 1, 1),
    ((0, 4), 2, 1),
])  # fmt: skip
def test_maxout_by_definition(rng, shape, pieces, dim):
    x = rng.normal(size=shape)
    moved = np.moveaxis(x, dim, 0)
    groups = [moved[start : start + pieces] for start in range(0, len(moved), pieces)]
    expected = np.moveaxis(np.array([group.max(0) for group in groups]), 0, dim)
    y = F.maxout(Tensor(x), pieces, dim)
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y.array, expected)


def test_maxout_gives_the_gradient_to_the_largest():
    x = Tensor(np.array([[1.0, 5.0, -3.0, -2.0, 4.0, 4.0]]), requires_grad=True)
    F.maxout(x, 2).sum().backward()
    assert x.grad.tolist() == [[0, 1, 0, 1, 0.5, 0.5]]


@pytest.mark.parametrize(("shape", "pieces", "dim", "error"), [
    ((2, 5), 2, 1, ShapeError), ((2, 4), 0, 1, ShapeError), ((2, 4), 2, 2, IndexOutOfRange),
    ((), 1, 0, ShapeError),
])  # fmt: skip
def test_what_maxout_refuses(shape, pieces, dim, error):
    with pytest.raises(error, match="maxout"):
        F.maxout(ones(*shape), pieces, dim)


@pytest.mark.usefixtures("seeded")
def test_a_soft_sample_is_a_distribution_with_the_right_winners():
    logits = np.log(np.array([0.6, 0.3, 0.1]))
    x = Tensor(np.tile(logits, (4000, 1)), requires_grad=True)
    y = F.gumbel_softmax(x, tau=0.5)
    np.testing.assert_allclose(y.array.sum(1), 1)
    shares = np.bincount(y.array.argmax(1), minlength=3) / 4000
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=0.03)


@pytest.mark.usefixtures("seeded")
def test_a_hard_sample_has_the_gradient_of_the_soft_one(rng):
    x = Tensor(rng.normal(size=(5, 3, 2)), requires_grad=True)
    weight = rng.normal(size=(5, 3, 2))
    found = []
    for hard in (False, True):
        minicnn.manual_seed(3)
        y = F.gumbel_softmax(x, 0.7, hard, dim=1)
        found.append((y.array, minicnn.grad((y * weight).sum(), x)[0].array))
    (soft, expected), (hard, gradient) = found
    np.testing.assert_allclose(hard.sum(1), 1)
    np.testing.assert_array_equal(hard.argmax(1), soft.argmax(1))
    assert np.allclose(np.sort(hard, axis=1)[:, :2], 0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_gumbel_softmax_needs_fractions():
    with pytest.raises(DTypeError, match="gumbel_softmax"):
        F.gumbel_softmax(minicnn.tensor([1, 2]))


REFUSALS = [
    refused("bounds", lambda m: m.nn.functional.hardtanh(m.ones(2), 2, 1), "hardtanh", "2", "1"),
    refused("unsigned", lambda m: m.nn.functional.hardtanh(m.ones(2).to(m.uint8)), "uint8"),
    refused("booleans", lambda m: m.nn.functional.relu(m.tensor([True])), "relu"),
    refused("cut booleans", lambda m: m.nn.functional.relu6(m.tensor([True])), "hardtanh"),
    refused("height 0", lambda m: m.nn.functional.celu(m.ones(2), 0.0), "celu"),
    refused("shrink", lambda m: m.nn.functional.softshrink(m.ones(2), -1.0), "softshrink", "-1"),
    refused("way", lambda m: m.nn.functional.gelu(m.ones(2), approximate="x"), "gelu", "'x'"),
    refused("odd halves", lambda m: m.nn.functional.glu(m.ones(2, 3)), "glu", "(2, 3)"),
    refused("no halves", lambda m: m.nn.functional.glu(m.ones(())), "glu"),
    refused("no such halves", lambda m: m.nn.functional.glu(m.ones(2, 4), dim=5), "glu", "5"),
    refused("weights", lambda m: m.nn.functional.prelu(m.ones(2, 3), m.ones(2)), "prelu", "3"),
    refused("a vector", lambda m: m.nn.functional.prelu(m.ones(3), m.ones(3)), "prelu"),
    refused("matrix", lambda m: m.nn.functional.prelu(m.ones(2, 3), m.ones(3, 1)), "(3, 1)"),
    refused("slopes", lambda m: m.nn.functional.rrelu(m.ones(2), 0.5, 0.2), "rrelu", "0.5"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refusals(refusal, torch):
    refusal.check(torch)
