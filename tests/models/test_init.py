from __future__ import annotations

import numpy as np
import pytest
from small_models import CLASSES, SMALL, count, loss_of, pictures, small

import minicnn
from minicnn import models
from minicnn.errors import UsageError
from minicnn.optim import SGD

# The first narrow copy of each file.
FILES = {models.CATALOGUE[name].builder.__module__: name for name in reversed(SMALL)}
MORE = {"highway_cnn", "preact_resnet164", "resnet50", "resnext50_32x4d", "vgg13_bn"}
FAMILIES = sorted({*FILES.values(), *MORE})


def test_the_list_of_models_is_sorted():
    names = models.list()
    assert list(names) == sorted(names)
    assert {"lenet5", *SMALL} <= set(names)


def test_settings_are_passed_on():
    assert models.create("lenet5", num_classes=3, modern=True)(
        minicnn.rand(1, 1, 32, 32)
    ).shape == (1, 3)


@pytest.mark.parametrize(("name", "text"), [
    ("lenet", r"unknown model 'lenet'; did you mean 'lenet5'\? there are: .*lenet5"),
    ("zzz", "unknown model 'zzz'; there are: .*lenet5"),
])  # fmt: skip
def test_an_unknown_name_is_answered_with_the_known_ones(name, text):
    with pytest.raises(UsageError, match=text):
        models.create(name)


def test_every_builder_is_exported():
    for name in models.list():
        assert getattr(models, name) is models.CATALOGUE[name].builder


@pytest.mark.parametrize("name", models.list())
def test_what_the_catalogue_says(name, undrawn):
    entry = models.CATALOGUE[name]
    model = models.create(name)
    assert isinstance(model, minicnn.nn.Module)
    assert count(model) == entry.parameters
    found = minicnn.summary(model, entry.input_shape, depth=0)
    assert found.multiply_adds == entry.multiply_adds
    assert 1958 < entry.year < 2020
    assert entry.paper.partition(": ")[2]


# --- every family -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_seed_gives_the_same_network(name, seeded):
    built = []
    for _ in range(2):
        minicnn.manual_seed(7)
        built.append(small(name).state_dict())
    for key, value in built[0].items():
        np.testing.assert_array_equal(value.array, built[1][key].array)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_narrow_copy_learns(name, seeded):
    """Four pictures of noise are told apart a little better after a few steps."""
    model, x = small(name), minicnn.tensor(pictures(name, batch=4))
    labels = np.arange(4) % CLASSES
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[1:]) < losses[0]  # with four pictures normalised networks jump about


@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_is_the_slope_of_the_whole_network(name, seeded):
    """Along a random direction of all parameters and the pictures, in float64."""
    model = small(name).double()
    x = minicnn.tensor(pictures(name, dtype=np.float64), requires_grad=True)
    inputs = [x, *model.parameters()]
    labels = np.arange(2) % CLASSES
    loss_of(model(x), labels).backward()
    rng = np.random.default_rng(0)
    directions = [rng.normal(size=v.shape) * (np.abs(v.array).mean() + 1e-3) for v in inputs]
    slope = sum((v.grad.array * d).sum() for v, d in zip(inputs, directions, strict=True))

    def loss_at(t):
        for v, d in zip(inputs, directions, strict=True):
            v.array += t * d
        with minicnn.no_grad():
            loss = loss_of(model(x), labels).item()
        for v, d in zip(inputs, directions, strict=True):
            v.array -= t * d
        return loss

    measured = [(loss_at(h) - loss_at(-h)) / (2 * h) for h in (1e-5, 1e-7, 1e-8, 1e-9)]
    best = min(abs(m - slope) for m in measured)  # one of them meets no kink
    assert best < 1e-5 * max(abs(slope), 1e-3), (slope, measured)
