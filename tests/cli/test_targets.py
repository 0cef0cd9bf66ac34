"""Operations, layers and models are found by name, with rows and with suggestions."""

from __future__ import annotations

import pytest

from minicnn.cli import targets
from minicnn.errors import UsageError
from minicnn.testing.operations import operations


def words(checks):
    return [check.words for check in checks]


def test_an_operation_has_a_check_for_each_row():
    checks = targets.own_checks("cosh", 1)
    assert words(checks) == [("cosh: signed",)]
    assert checks[0].run(raise_exception=False)


def test_a_function_layer_and_model_go_by_their_names():
    assert all(check.name.startswith("col2im: ") for check in targets.own_checks("fold", 1))
    assert words(targets.own_checks("Linear", 1))[0] == ("Linear: with bias",)
    assert words(targets.model_checks("lenet5", 1)) == words(targets.own_checks("lenet5", 1))


@pytest.mark.parametrize("target", ["conv:groups", "conv: groups", "conv:  groups"])
def test_one_row(target):
    (check,) = targets.own_checks(target, 1)
    assert check.name == "conv: groups"


def test_the_words_of_a_check_name_it_again():
    for check in (*targets.own_checks("max_pool2d", 1), *targets.own_checks("Linear", 1)):
        assert words(targets.own_checks(*check.words, 1)) == [check.words]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("conv2", "did you mean conv2d"),
        ("relux: signed", "did you mean relu"),
        ("conv: grops", "did you mean conv: groups"),
        ("", "nothing is called ''"),
    ],
)
def test_names_that_are_not_there(target, message):
    with pytest.raises(UsageError, match=message):
        targets.own_checks(target, 1)


def test_a_layer_is_no_model():
    with pytest.raises(UsageError, match="no model is called 'Linear'"):
        targets.model_checks("Linear", 1)


def test_an_operation_without_inputs(monkeypatch):
    monkeypatch.setattr("minicnn.testing.operations.cases_of", lambda name: [])
    with pytest.raises(UsageError, match="cosh has no sample inputs"):
        targets.own_checks("cosh", 1)
    assert set(operations()) <= set(targets.unchecked())


def test_everything_covers_every_name():
    names = {check.name.partition(":")[0] for check in targets.everything(1)}
    of_kind = targets.names()
    assert names >= {*of_kind["operations"], *of_kind["layers"], *of_kind["models"]}
    assert targets.unchecked() == []


def test_the_second_order():
    (check,) = targets.own_checks("cosh", 2)
    assert check.run(raise_exception=False).signature().startswith("the gradient of cosh")
