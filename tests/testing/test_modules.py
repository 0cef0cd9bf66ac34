from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import models, nn
from minicnn.errors import ArgumentError
from minicnn.gradcheck import GradcheckError
from minicnn.nn import layers as nn_layers
from minicnn.testing.modules import (
    ModuleCase,
    check_module,
    layer_cases,
    layers,
    layers_without_case,
    model_cases,
    models_without_case,
    module_cases_of,
)


@pytest.mark.parametrize("case", layer_cases(), ids=str)
@pytest.mark.parametrize("order", [1, 2])
def test_every_layer_passes(case, order):
    if order <= case.order:
        assert check_module(case, order).verdict == "pass"


@pytest.mark.parametrize("case", model_cases(), ids=str)
def test_every_model_passes(case):
    report = check_module(case)
    assert report.verdict == "pass"
    learned = [parameter for parameter in case.module().parameters() if parameter.requires_grad]
    floating = [given for given in case.inputs if isinstance(given, tuple)]  # words have no slope
    assert len(report.rows) == len(floating) + len(learned)


# --- nobody is forgotten --------------------------------------------------------------------------


def test_every_layer_and_every_model_has_a_row():
    assert layers_without_case() == []
    assert models_without_case() == []


def test_layers_are_the_public_modules_that_compute():
    found = layers()
    assert {"Conv2d", "BatchNorm2d", "CrossEntropyLoss", "Sequential"} <= found.keys()
    assert not {"Module", "ModuleList", "Parameter"} & found.keys()
    public = {name for name, value in vars(nn).items() if isinstance(value, type)}
    lists = {"ModuleDict", "ModuleList", "ParameterDict", "ParameterList"}
    assert found.keys() == public - {"Module", "Parameter"} - lists


def test_a_later_layer_and_a_later_model_are_missed(monkeypatch):
    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

    monkeypatch.setattr(nn_layers.activation, "Doubled", Doubled, raising=False)
    monkeypatch.setitem(models.CATALOGUE, "perceptron", None)
    monkeypatch.setattr(models, "perceptron", Doubled, raising=False)
    assert layers_without_case() == ["Doubled"]
    assert models_without_case() == ["perceptron"]


# --- a row ----------------------------------------------------------------------------------------


def test_the_same_module_is_built_each_time_and_no_random_number_is_used_up(seeded):
    case = module_cases_of("Conv2d: padded")[0]
    before = minicnn.random.default.get_state()
    first = case.module()
    assert minicnn.random.default.get_state() == before
    minicnn.manual_seed(99)
    again = case.module()
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(a.array, b.array)
        assert a.array is not b.array


def test_no_parameter_is_0_or_1_or_like_another():
    for case in layer_cases():
        for name, parameter in case.module().named_parameters():
            values = parameter.array.ravel()
            assert not np.isin(values, [0, 1]).any(), (case, name)
            assert len(np.unique(values)) == len(values), (case, name)
            assert parameter.dtype == np.float32


def test_inputs_are_floating_or_given():
    x, labels = module_cases_of("NLLLoss")[0].arrays()
    assert x.dtype == np.float64
    assert labels.dtype == np.int64
    (images,) = module_cases_of("lenet5")[0].arrays()
    assert images.shape == (2, 1, 32, 32)


def test_rows_by_kind_and_by_name():
    assert [case.name for case in module_cases_of("Dropout")][:2] == [
        "in training",
        "in evaluation",
    ]
    assert [case.name for case in module_cases_of("lenet5: modern")] == ["modern"]
    assert not module_cases_of("BatchNorm2d: in evaluation")[0].module().training
    with pytest.raises(ArgumentError, match=r"no sample of 'Linea'; did you mean 'Linear"):
        check_module("Linea")
    with pytest.raises(ArgumentError, match=r"'zzz'; see layer_cases\(\)"):
        check_module("zzz")


class WrongScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(minicnn.ones(3))

    def forward(self, x):
        return x * self.scale.detach() + self.scale * 0


def test_a_layer_that_forgets_a_parameter_fails_by_its_name():
    case = ModuleCase("WrongScale", "detached", lambda nn: WrongScale(), ((2, 3),))
    with pytest.raises(GradcheckError) as error:
        check_module(case)
    report = error.value.report
    assert report.name == "WrongScale: detached"
    assert report.repeat == "minicnn gradcheck 'WrongScale: detached'"
    (row,) = [line for line in str(report).splitlines() if "  fail" in line]
    assert row.split()[0] == "scale"


def test_the_loss_of_a_row_is_applied():
    def two_numbers(y):
        return y.sum(), (y * y).sum()

    case = ModuleCase("Tanh", "with loss", lambda nn: nn.Tanh(), ((2, 3),), two_numbers)
    report = check_module(case)
    assert report.verdict == "pass"
    with pytest.raises(ArgumentError, match="must return a floating-point Tensor"):
        check_module(ModuleCase("Tanh", "without", lambda nn: nn.Tanh(), ((2, 3),), lambda y: None))


def test_the_loss_of_a_model_is_cross_entropy():
    case = module_cases_of("lenet5")[0]
    logits = minicnn.tensor(np.arange(20.0).reshape(2, 10))
    expected = np.log(np.exp(np.arange(10.0) - 9).sum()) + np.array([9, 2])
    assert case.loss(logits).item() == pytest.approx(expected.mean())
