from __future__ import annotations

import inspect

import numpy as np
import pytest

import minicnn
from minicnn.differentiable import Op
from minicnn.errors import ArgumentError
from minicnn.gradcheck import GradcheckError
from minicnn.ops.broadcast import unbroadcast
from minicnn.tensor import values_of
from minicnn.testing import operations as module
from minicnn.testing.cases import CASES, Case
from minicnn.testing.operations import (
    _cases_of_all,
    all_operations,
    cases_of,
    check_operation,
    guessed_case,
    operations,
    ops,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*Using padding='same' with even kernel")

# --- all of them ----------------------------------------------------------------------------------


@ops()
def test_every_row_passes(case):
    assert check_operation(case).verdict == "pass"


@pytest.mark.parametrize("case", [case for case in CASES if case.order > 1], ids=str)
def test_every_row_passes_at_the_second_order(case):
    assert check_operation(case, order=2).verdict == "pass"


# --- which there are ------------------------------------------------------------------------------


def test_operations_are_those_with_a_gradient():
    found = operations()
    assert {"add", "conv", "relu", "normalize_groups"} <= found.keys()
    assert "eq" not in found
    assert "eq" in {op.name for op in all_operations()}
    assert all(isinstance(op, Op) and op.name == name for name, op in found.items())


def test_no_two_operations_have_one_name():
    names = [op.name for op in all_operations()]
    assert len(names) == len(set(names))


def test_every_operation_has_a_row():
    assert {name for name in operations() if not any(c.op == name for c in CASES)} == set()


def test_a_later_operation_is_picked_up_by_itself(monkeypatch):
    from minicnn.ops import activation

    monkeypatch.setattr(activation, "cube", cube, raising=False)
    assert operations()["cube"] is cube
    (guess,) = cases_of("cube")
    assert str(guess) == "cube: guessed inputs"
    assert check_operation("cube").verdict == "pass"
    assert guess in _cases_of_all(operations())


def test_rows_by_operation_by_public_function_and_by_name():
    assert {case.op for case in cases_of("relu")} == {"relu"}
    assert {case.op for case in cases_of("max_pool2d")} == {"take_winners"}
    of_batch_norm = {"normalize_groups", "normalize_relu", "rescale_groups", "rescale_relu"}
    assert {case.op for case in cases_of("batch_norm")} == of_batch_norm
    assert [str(case) for case in cases_of("add: one shape")] == ["add: one shape"]
    assert len(cases_of("conv2d")) > len([c for c in CASES if c.op == "conv" and c.through is None])


def test_an_unknown_name_is_refused_with_what_is_meant():
    with pytest.raises(ArgumentError, match=r"no operation 'conv2'; did you mean 'conv2d'"):
        cases_of("conv2")
    with pytest.raises(ArgumentError, match=r"'qqqqqq'; see operations\(\)"):
        check_operation("qqqqqq")


# --- guessed inputs -------------------------------------------------------------------------------


@minicnn.differentiable
def cube(x, /):
    return x**3


@cube.gradient()
def _(dy, y, x):
    return lambda: dy * 3 * x**2


@minicnn.differentiable
def root_of_product(a, b, /, scale=2.0):
    return np.sqrt(a) * b * scale


@root_of_product.gradient()
def _(dy, y, a, b, scale):
    return (
        lambda: unbroadcast(dy * b * scale / 2 / a**0.5, a),
        lambda: unbroadcast(dy * a**0.5 * scale, b),
    )


@minicnn.differentiable
def of_images(x, /):
    (_, _, _, _) = x.shape
    return x * 2


@of_images.gradient()
def _(dy, y, x):
    return lambda: dy * 2


@minicnn.differentiable
def with_setting(x, /, size):
    return x * size


@minicnn.differentiable
def of_whole_numbers(x, /):
    return np.take(np.arange(5.0), x)


@minicnn.differentiable
def of_many(*tensors):
    return tensors[0] + tensors[1]


@minicnn.differentiable
def of_four(a, b, c, d, /):
    return a + b + c + d


@pytest.mark.parametrize(("op", "shapes", "lowest"), [
    (cube, ((2, 3),), -2.0),
    (root_of_product, ((2, 3), (2, 3)), 0.3),
    (of_images, ((2, 3, 5, 5),), -2.0),
    (of_many, ((2, 3), (2, 3)), -2.0),
    (operations()["affine"], ((2, 3), (4, 3), (4,)), -2.0),
    (operations()["log"], ((2, 3),), 0.3),
])  # fmt: skip
def test_inputs_are_guessed(op, shapes, lowest):
    case = guessed_case(op)
    assert case.inputs == shapes
    values = np.concatenate([array.ravel() for array in case.arrays()])
    assert values.min() >= lowest
    assert (values.min() < 0) == (lowest < 0)


@pytest.mark.parametrize("op", [with_setting, of_whole_numbers, of_four], ids=lambda op: op.name)
def test_nothing_is_guessed_where_nothing_fits(op):
    assert guessed_case(op) is None


def test_an_operation_that_takes_no_guess_says_so(monkeypatch):
    monkeypatch.setattr(module, "operations", lambda: {"with_setting": with_setting})
    assert cases_of("with_setting") == []
    with pytest.raises(ArgumentError, match="with_setting accepts no inputs that can be guessed"):
        check_operation("with_setting")


# --- checking one ---------------------------------------------------------------------------------


@minicnn.differentiable
def wrong_cube(x, /):
    return x**3


@wrong_cube.gradient()
def _(dy, y, x):
    return lambda: dy * 2 * x**2


WRONG = Case("cube", "wrong", wrong_cube, ((2, 3),))


def test_a_wrong_gradient_fails():
    with pytest.raises(GradcheckError) as error:
        check_operation(WRONG)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("gradcheck FAIL  cube: wrong(x [2, 3])")
    assert "  repeat: minicnn gradcheck 'cube: wrong'" in lines


def test_the_report_is_returned_if_nothing_shall_be_raised():
    report = check_operation(WRONG, raise_exception=False, seed=3, mode="fast")
    assert report.verdict == "fail"
    assert report.seed == 3
    assert report.mode == "fast"
    assert report.repeat.split("'")[-1].split() == ["--mode", "fast", "--seed", "3"]


def test_a_gradient_that_is_right_only_once_fails_at_the_second_order():
    @minicnn.differentiable
    def frozen(x, /):
        return x**3

    @frozen.gradient()
    def _(dy, y, x):
        return lambda: dy * (3 * values_of(x) ** 2)

    case = Case("cube", "frozen", frozen, ((3,),))
    assert check_operation(case)
    with pytest.raises(GradcheckError, match=r"the gradient of cube: frozen"):
        check_operation(case, order=2)


def test_an_inconclusive_report_is_raised_unless_allowed():
    case = Case("cube", "all excused", wrong_cube, ((2, 3),))
    with pytest.raises(GradcheckError, match="INCONCLUSIVE"):
        check_operation(case, atol=1e9)
    report = check_operation(case, atol=1e9, allow_inconclusive=True)
    assert report.verdict == "inconclusive"


def test_settings_of_the_row_are_part_of_the_report():
    report = check_operation("conv: per axis")
    assert report.settings["stride"] == (2, 1)
    assert report.names == ["input", "weight"]


@pytest.mark.parametrize("order", [0, 3, "2"])
def test_there_are_two_orders(order):
    with pytest.raises(ArgumentError, match="order must be 1 or 2"):
        check_operation("relu", order=order)


# --- the parametriser -----------------------------------------------------------------------------


def test_ops_without_names_takes_every_row():
    mark = ops().mark
    assert mark.args[0] == "case"
    assert {id(case) for case in mark.args[1]} == {id(case) for case in CASES}
    assert mark.kwargs["ids"] is str


def test_ops_takes_the_rows_of_the_names_each_once():
    rows = ops("relu", "conv2d", "conv: groups").mark.args[1]
    assert {case.op for case in rows} == {"relu", "conv", "conv_bias"}
    assert len(rows) == len(set(rows))
    with pytest.raises(ArgumentError, match="'rleu'"):
        ops("rleu")


@ops("relu", "tanh")
def test_ops_decorates_a_test(case):
    assert case.op in ("relu", "tanh")


def test_the_settings_that_decide_what_is_raised_are_those_of_gradcheck():
    from minicnn.gradcheck.check import Settings

    names = inspect.signature(Settings).parameters
    assert {"raise_exception", "allow_inconclusive", "repeat"} <= names.keys()
