from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from minicnn import ops
from minicnn.testing import cases
from minicnn.testing.cases import CASES, FAMILIES, LAYERS, PLAIN


def test_no_two_rows_have_one_name():
    assert [name for name, count in Counter(map(str, CASES)).items() if count > 1] == []


def test_every_family_is_part_of_the_table():
    files = {Path(file).stem for file in Path(cases.__file__).parent.glob("*.py")}
    assert {family.__name__.rpartition(".")[2] for family in FAMILIES} == files - {
        "__init__",
        "case",
    }
    assert len(CASES) > 1000
    assert len({id(row) for row in (*CASES, *PLAIN)}) == len(CASES) + len(PLAIN)
    assert sum(len(getattr(family, "ROWS", ())) for family in FAMILIES) == len(CASES)
    assert sum(len(getattr(family, "PLAIN", ())) for family in FAMILIES) == len(PLAIN)
    assert sum(len(getattr(family, "LAYERS", ())) for family in FAMILIES) == len(LAYERS)


def test_rows_stand_in_a_file_named_as_that_of_operations():
    for family in FAMILIES:
        name = family.__name__.rpartition(".")[2]
        assert hasattr(ops, name) or name == "vision", name  # functions made of several families


def test_inputs_are_made_anew_and_the_same_each_time():
    case = CASES[0]
    for first, again in zip(case.arrays(), case.arrays(), strict=True):
        np.testing.assert_array_equal(first, again)
        assert not np.shares_memory(first, again)


def test_the_table_and_its_checks_load_neither_torch_nor_pytest_nor_hypothesis():
    code = (
        "import sys, minicnn.testing\n"
        "print(sorted({'torch', 'pytest', 'hypothesis'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"
