"""Every step of an expression computes what NumPy's function of that name does."""

import numpy as np
import pytest

from minicnn_kernels.expression import FUNCTIONS, KINDS, STEPS, Node

OF_TWO = {"arctan2", "hypot", "logaddexp"}  # of cpu/mathematics.py, tested there

X = Node("array", np.dtype("float32"))
ONE = Node("number", np.dtype("float32"), value=1.0)


def test_an_expression_reads_like_its_formula():
    square = Node("multiply", X.dtype, (X, X))
    assert str(Node("subtract", X.dtype, (ONE, square))) == "(1.0 - (x * x))"
    assert str(Node("exp", X.dtype, (X,))) == "(exp(x))"
    assert str(Node("cast", np.dtype("float64"), (X,))) == "float64(x)"


@pytest.mark.parametrize("name", sorted(STEPS.keys() - FUNCTIONS.keys() - OF_TWO - {"where"}))
def test_a_step_is_the_function_of_its_name(name):
    kinds, formula, _ = STEPS[name]
    function = getattr(np, name)
    names = {
        n: getattr(np, n) for n in ("ceil", "copysign", "floor", "inf", "rint", "sqrt", "trunc")
    }
    for kind in kinds:
        odd = [0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 3.0]
        values = {"f": odd, "b": [True, False], "i": [0, 1]}[kind]
        dtype = np.dtype(KINDS[kind][0])
        for a in dtype.type(values):
            for b in dtype.type(values) if function.nin == 2 else [None]:
                with np.errstate(all="ignore"):
                    expected = function(a) if b is None else function(a, b)
                    text = formula.format("a", "b", type=dtype.name)
                    found = eval(text, {**names, "a": a, "b": b, dtype.name: dtype.type})
                np.testing.assert_array_equal(found, expected, err_msg=f"{name}({a}, {b})")
