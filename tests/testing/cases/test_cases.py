from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np

from minicnn import ops
from minicnn.testing import cases
from minicnn.testing.cases import CASES


def test_no_two_rows_have_one_name():
    assert [name for name, count in Counter(map(str, CASES)).items() if count > 1] == []


def test_every_family_is_part_of_the_table():
    families = [value for name, value in vars(cases).items() if name.isupper()]
    collected = {id(case) for case in CASES}
    assert len(CASES) > 300
    for family in families:
        assert {id(case) for case in family} <= collected
    assert sum(map(len, families)) == 2 * len(CASES)  # the families and CASES itself


def test_rows_stand_in_a_file_named_as_that_of_operations():
    for name in vars(cases):
        if name.islower() and name not in ("annotations", "case") and not name.startswith("_"):
            assert hasattr(ops, name), name


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
