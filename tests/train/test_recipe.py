"""Recipes: what is usual for a network, and networks that fit the pictures or say why not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import minicnn
from minicnn import data, models, random
from minicnn.data import Digits, Shapes, Subset
from minicnn.errors import DataError, UsageError
from minicnn.nn import functional as F
from minicnn.optim import SGD, Adam, RMSprop
from minicnn.train.recipe import Recipe, as_shape, check_fit, recipe_for

# --- what is usual --------------------------------------------------------------------------


def test_the_recipe_of_lenet_is_the_default():
    assert recipe_for("lenet5") == Recipe()
    assert recipe_for("lenet5", modern=True) == Recipe(modern=True, lr=0.02)
    assert recipe_for("lenet5", modern=True, lr=0.5).lr == 0.5
    assert recipe_for("lenet5", data="mnist", data_root="x").epochs == 60


@pytest.mark.parametrize(("model", "expected"), [
    ("mlp", {"optimizer": "adam", "lr": 0.001}),
    ("cifar_cnn", {"optimizer": "rmsprop", "lr": 1e-4, "lr_decay": 1e-6, "schedule": "constant"}),
    ("vgg16", {"lr": 0.01, "size": 32}),
    ("vgg16_bn", {"lr": 0.05}),
    ("alexnet", {"lr": 0.01, "size": 64}),
    ("resnet20", {"lr": 0.05, "batch_size": 64, "epochs": 10, "augment": False}),
])  # fmt: skip
def test_what_is_usual_for_others(model, expected):
    recipe = dataclasses.asdict(recipe_for(model, data="shapes"))
    assert {name: recipe[name] for name in expected} == expected


def test_another_optimiser_brings_its_own_rate():
    assert recipe_for("lenet5", optimizer="adam").lr == 0.002
    assert recipe_for("mlp", optimizer="sgd").lr == 0.05
    assert recipe_for("mlp", optimizer="adam").lr == 0.001
    assert recipe_for("mlp", optimizer="sgd", lr=0.3).lr == 0.3


def test_optimisers_and_schedules():
    model = minicnn.nn.Linear(2, 2)
    kinds = {"sgd": SGD, "adam": Adam, "rmsprop": RMSprop}
    for name, kind in kinds.items():
        optimizer = recipe_for("lenet5", optimizer=name, lr=0.5).build_optimizer(model)
        assert type(optimizer) is kind
        assert optimizer.param_groups[0]["lr"] == 0.5
    keras = recipe_for("cifar_cnn")
    optimizer = keras.build_optimizer(model)
    group = optimizer.param_groups[0]
    assert (group["lr_decay"], group["alpha"], group["eps"]) == (1e-6, 0.9, 1e-7)
    assert keras.build_scheduler(optimizer) is None
    with pytest.raises(UsageError, match="schedule 'steps'; there are cosine and constant"):
        Recipe(schedule="steps").build_scheduler(optimizer)


# --- data -----------------------------------------------------------------------------------


def test_data_without_files_come_in_the_size_asked_for():
    assert Recipe(size=40).open_data("test").input_shape == (1, 40, 40)
    assert Recipe(data="shapes", size=48).open_data("validation").input_shape == (3, 48, 48)
    with pytest.raises(DataError, match="name their folder"):
        Recipe(data="cifar10", size=64).open_data("test")


def test_a_data_set_without_validation_lends_a_tenth(monkeypatch):
    monkeypatch.setattr(Recipe, "open_data", lambda self, split: Digits(split))
    train, validation = Recipe(data="mnist").loaders()
    assert isinstance(train.dataset, Subset)
    assert isinstance(validation.dataset, Subset)
    chosen = np.concatenate([train.dataset.indices, validation.dataset.indices])
    assert len(validation.dataset) == 119
    assert sorted(chosen.tolist()) == list(range(1197))


def test_a_small_last_batch_is_left_out(monkeypatch):
    monkeypatch.setattr(Recipe, "open_data", lambda self, split: Digits(split, 8))
    for batch_size, batches in ((2, 598), (4, 299), (34, 35), (32, 38), (133, 9), (2000, 1)):
        # 1197 = 4 * 299 + 1 = 34 * 35 + 7 = 32 * 37 + 13 = 133 * 9
        assert len(Recipe(batch_size=batch_size).loaders()[0]) == batches


# --- networks for the pictures --------------------------------------------------------------


def test_images_are_brought_to_a_shape():
    grey = minicnn.rand(2, 1, 4, 4)
    three = as_shape(grey, (3, 4, 4)).numpy()
    np.testing.assert_array_equal(three, np.repeat(grey.numpy(), 3, axis=1))
    colours = minicnn.rand(2, 3, 4, 6)
    np.testing.assert_allclose(
        as_shape(colours, (1, 4, 6)).numpy()[:, 0], colours.numpy().mean(axis=1), rtol=1e-6
    )
    large = as_shape(colours, (3, 8, 8))
    expected = F.interpolate(colours, size=(8, 8), mode="bilinear").numpy()
    np.testing.assert_array_equal(large.numpy(), expected)


@pytest.mark.parametrize(("model", "settings", "data_set"), [
    ("lenet5", {}, Shapes),  # takes channels
    ("lenet5", {"modern": True}, Digits),
    ("lenet5_1998", {}, Shapes),  # one channel
    ("mlp", {}, Shapes),  # takes a shape
    ("resnet20", {"width": 0.25}, Digits),
    ("mobilenet_v2", {"width": 0.25}, Digits),  # three channels; width is called width_mult
    ("squeezenet1_1", {"width": 0.25}, Shapes),
    ("googlenet", {"width": 0.125}, Shapes),  # auxiliary heads
    ("alexnet", {"width": 0.0625}, Shapes),
])  # fmt: skip
def test_networks_fit_the_pictures(model, settings, data_set):
    recipe = recipe_for(model, data=data_set.__name__.lower(), **settings)
    dataset = data_set("test", recipe.size)
    network = recipe.build_model(dataset)
    before = {name: value.array.copy() for name, value in network.state_dict().items()}
    state = random.default.get_state()
    check_fit(recipe, network, dataset)
    assert random.default.get_state() == state
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value.array, before[name], err_msg=name)


def test_pictures_from_files_are_enlarged_by_the_network():
    recipe = Recipe(model="alexnet", size=64, width=0.0625)
    images = data.ImageDataset(
        np.zeros((2, 3, 32, 32), np.uint8), [0, 1], "ab", mean=[0.0] * 3, std=[1.0] * 3
    )
    check_fit(recipe, recipe.build_model(images), images)


@pytest.mark.parametrize(("recipe", "text"), [
    (Recipe(model="lenet6"), "unknown model 'lenet6'; did you mean 'lenet5'"),
    (Recipe(size=40), r"lenet5 does not take pictures of 1x40x40: .*\nIt was made for 1x32x32"),
    (Recipe(model="alexnet", width=0.1), r"choose another --size, or a larger --width$"),
    (Recipe(model="mobilenet_v2", width=0.1, batch_size=1), "or a larger --batch"),
    (Recipe(model="resnet20", modern=True), "resnet20 has no setting modern"),
    (Recipe(model="lenet5", width=0.5), "lenet5 has no setting width"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(recipe, text):
    dataset = Digits("test", recipe.size)
    with pytest.raises(UsageError, match=text):
        check_fit(recipe, recipe.build_model(dataset), dataset)


def test_only_classifiers_are_trained(monkeypatch):
    dataset = Digits("test")

    def blind(width: int = 3):
        return minicnn.nn.Flatten()

    def map_of_classes(num_classes: int = 3):
        return minicnn.nn.Conv2d(1, num_classes, 3)

    def of_words(num_classes: int = 3):
        return minicnn.nn.Linear(20, num_classes)

    for builder, text in (
        (of_words, "of_words is no classifier of pictures: it reads sequences"),
        (blind, "blind is no classifier: it has no num_classes"),
        (map_of_classes, r"for 2 pictures of 1x32x32 it returns \(2, 10, 30, 30\)"),
    ):
        shape = (20,) if builder is of_words else (1, 32, 32)
        entry = models.catalogue.Entry(builder, 2000, "Nobody: Nothing", shape, 0, 0)
        monkeypatch.setitem(models.CATALOGUE, builder.__name__, entry)
        recipe = Recipe(model=builder.__name__)
        with pytest.raises(UsageError, match=text):
            check_fit(recipe, recipe.build_model(dataset), dataset)


def test_most_models_of_the_catalogue_are_classifiers():
    classifiers = [name for name in models.list() if "num_classes" in models.find(name).settings]
    assert {"lenet5", "resnet20", "vgg11", "googlenet", "mobilenet_v2"} <= {*classifiers}
