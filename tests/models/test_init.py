from __future__ import annotations

import pytest

import minicnn
from minicnn import models
from minicnn.errors import UsageError


def test_the_list_of_models_is_sorted_and_each_can_be_built():
    names = models.list()
    assert list(names) == sorted(names)
    assert "lenet5" in names
    for name in names:
        assert isinstance(models.create(name), minicnn.nn.Module)


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
        assert name in models.__all__
        assert callable(getattr(models, name))
