from __future__ import annotations

import importlib
import importlib.metadata

import numpy as np
import pytest

import minicnn
from minicnn.differentiable import Op

SUBPACKAGES = ["data", "io", "models", "nn", "optim", "train"]


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_subpackages_are_there_without_an_import_of_their_own(name):
    assert getattr(minicnn, name) is importlib.import_module(f"minicnn.{name}")


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="'minicnn' has no attribute 'conv4d'"):
        _ = minicnn.conv4d
    assert not hasattr(minicnn, "tests")


def test_the_types_are_those_of_numpy():
    for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"):
        assert getattr(minicnn, name) is getattr(np, name)
    assert minicnn.bool is np.bool_


def test_the_short_names_of_types_and_numbers_are_those_of_torch(torch):
    for name in ("float", "double", "half", "long", "int", "short"):
        assert str(getattr(torch, name)) == f"torch.{getattr(minicnn, name).__name__}"
    assert (minicnn.pi, minicnn.e, minicnn.inf) == (torch.pi, torch.e, torch.inf)
    assert np.isnan(minicnn.nan)
    assert minicnn.finfo(minicnn.float).eps == torch.finfo(torch.float).eps
    assert minicnn.iinfo(minicnn.short).max == torch.iinfo(torch.short).max


def test_the_version_is_that_of_the_installed_package():
    try:
        installed = importlib.metadata.version("minicnn")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("minicnn is not installed")
    assert minicnn.__version__ == installed


def public():
    return {
        name: value
        for name, value in vars(minicnn).items()
        if not name.startswith("_") and (callable(value) or isinstance(value, Op))
    }


def test_every_function_has_a_docstring():
    assert [name for name, value in public().items() if not value.__doc__] == []


def test_functions_carry_the_names_of_torch(torch):
    ours_only = {
        "Any",
        "autotune",
        "differentiable",
        "math_mode",
        "set_math_mode",
        "use_algorithms",
    }
    elsewhere = {"grad": "autograd", "detect_anomaly": "autograd"}
    for name in public().keys() - ours_only:
        home = getattr(torch, elsewhere[name]) if name in elsewhere else torch
        assert hasattr(home, name), name
