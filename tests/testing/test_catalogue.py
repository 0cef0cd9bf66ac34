from __future__ import annotations

from pathlib import Path

import pytest
from signatures import difference

from minicnn import nn
from minicnn.testing import catalogue
from minicnn.testing.cases import LAYERS, PLAIN, Case
from minicnn.testing.catalogue import OURS, Operator, formula_of, operators

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"


@pytest.fixture(scope="module")
def listed():
    return {operator.name: operator for operator in operators()}


# --- the page -------------------------------------------------------------------------------------


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == catalogue.as_markdown(), (
        "docs/operators.md is out of date; write it anew with "
        "`python -m minicnn.testing.catalogue > docs/operators.md`"
    )


def test_what_is_known_of_an_operator(listed):
    conv = listed["conv2d"]
    assert conv.formula.startswith("y[n,o,i,j] = ")
    assert conv.order == "2"
    assert conv.devices == ["cpu", "cuda"]
    assert "conv: " in conv.algorithms[0]
    assert "loops" in conv.algorithms[0]
    assert conv.torch == ["torch.nn.functional.conv2d"]
    assert list(listed["relu"].functions) == ["relu", "nn.functional.relu"]
    assert listed["argmax"].order == ""
    assert "int64" in listed["argmax"].types
    assert listed["maxout"].torch == []


# --- nothing is forgotten -------------------------------------------------------------------------


def test_every_operator_has_a_row(listed):
    assert [name for name, operator in listed.items() if not operator.rows] == []


def test_every_operator_accepts_float32(listed):
    refusing = [name for name, operator in listed.items() if "float32" not in operator.types]
    assert set(refusing) <= INTEGERS_ONLY


INTEGERS_ONLY = {
    "bincount", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "one_hot",
}  # fmt: skip


def test_every_operator_and_layer_has_a_formula_or_a_sentence(listed):
    assert [name for name, operator in listed.items() if not operator.formula] == []
    assert [name for name, layer in catalogue.layers().items() if not formula_of(layer)] == []


def test_a_formula_is_the_first_line_that_holds_one():
    def function():
        """Do something.

        >>> y = function()

        y = x + 1
        """

    assert formula_of(function) == "y = x + 1"
    assert formula_of(test_the_page_is_current) == ""


def test_the_order_is_that_of_the_rows():
    once = Case("f", "once", abs, (), order=1)
    twice = Case("f", "twice", abs, ())
    assert Operator("f", "x", {"f": abs}, (once,)).order == "1"
    assert Operator("f", "x", {"f": abs}, (once, twice)).order == "2"
    assert Operator("f", "x", {"f": abs}, (PLAIN[0],)).order == ""


# --- the names and arguments are those of torch ---------------------------------------------------


def found_in(torch, name):
    value = torch
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def test_every_name_is_in_torch_unless_it_is_ours(torch, listed):
    missing = [
        name
        for operator in listed.values()
        for name in operator.functions
        if found_in(torch, name) is None
    ]
    assert {name.rpartition(".")[2] for name in missing} == OURS & set(listed)


LOOSE_HELP = {
    "broadcast_to", "concatenate", "gumbel_softmax", "one_hot", "searchsorted", "tril_indices",
    "triu_indices", "true_divide",
}  # fmt: skip
"""torch's help names arguments that torch does not take, or that are without effect there."""


def test_arguments_of_functions_are_those_of_torch(torch, listed):
    found = [
        difference(function, found_in(torch, name), operator.name)
        for operator in listed.values()
        for name, function in operator.functions.items()
        if operator.name not in OURS | LOOSE_HELP
    ]
    assert [words for words in found if words is not None] == []


def test_arguments_of_layers_are_those_of_torch(torch):
    kinds = {case.kind for case in LAYERS if case.torch}
    found = [
        difference(getattr(nn, kind).__init__, getattr(torch.nn, kind).__init__, kind)
        for kind in sorted(kinds)
    ]
    assert [words for words in found if words is not None] == []


def test_a_difference_of_arguments_is_found():
    def theirs(input, dim=None, size_average=None, *, keepdim=False):
        pass

    def order(input, keepdim=False, dim=None):
        pass

    def default(input, dim=0, *, keepdim=False):
        pass

    def missing(input, dim=None):
        pass

    def same(input, dim=None, *, keepdim=False):
        pass

    assert difference(same, theirs, "same") is None
    for function in (order, default, missing):
        assert difference(function, theirs, function.__name__) is not None
