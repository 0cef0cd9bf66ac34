from __future__ import annotations

import functools
import inspect

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import ArgumentError
from minicnn.gradcheck import GradcheckError
from minicnn.nn import functional as F
from minicnn.tensor import values_of
from minicnn.testing import FunctionTestCase, function_test_case

TESTS = {name for name in vars(FunctionTestCase) if name.startswith("test_")}


def inherited_tests(case):
    return {name for name in TESTS if getattr(case, name) is not None}


# --- these run: every way to name a function ------------------------------------------------------


def linear_forward(x, w):
    return x @ w


def linear_backward(dy, x, w):
    return dy @ w.T, x.T @ dy


def scaled_forward(x):
    return 3 * x, (3,)


def scaled_backward(dout, cache):
    return dout * cache[0]


class TestMethod(FunctionTestCase):
    batch_inputs = (0,)

    def function(self, x):
        return minicnn.log(1 + minicnn.exp(x))

    def sample_inputs(self, rng):
        return (rng.normal(size=(3, 4)),)

    def expected(self, x):
        return np.logaddexp(0, x)


class TestOperation(FunctionTestCase):
    function = minicnn.tanh
    expected = np.tanh

    def sample_inputs(self, rng):
        return (rng.normal(size=(2, 3)),)


class TestPlainFunction(FunctionTestCase):
    function = F.conv2d
    batch_inputs = (0,)

    def sample_inputs(self, rng):
        return rng.normal(size=(2, 2, 4, 3)), rng.normal(size=(2, 2, 2, 2))


class TestPartial(FunctionTestCase):
    function = functools.partial(F.softmax, dim=0)

    def sample_inputs(self, rng):
        return (rng.normal(size=(3, 2)),)


class TestModule(FunctionTestCase):
    function = nn.Linear(3, 2)
    batch_inputs = (0,)

    def sample_inputs(self, rng):
        return (rng.normal(size=(4, 3)),)


class TestWholeNumbers(FunctionTestCase):
    batch_inputs = (0, 1)
    batch_sizes = (1,)

    def function(self, x, labels):
        return F.cross_entropy(x, labels)

    def sample_inputs(self, rng):
        return rng.normal(size=(3, 4)), np.array([1, 0, 3])

    def expected(self, x, labels):
        likelihood = np.exp(x)[np.arange(len(x)), labels] / np.exp(x).sum(axis=1)
        return -np.log(likelihood).mean()


class TestDropout(FunctionTestCase):
    def function(self, x):
        return F.dropout(x, 0.4)

    def sample_inputs(self, rng):
        return (rng.normal(size=(4, 5)),)


class TestPair(FunctionTestCase):
    forward, backward = linear_forward, linear_backward
    batch_inputs = (0,)

    def sample_inputs(self, rng):
        return rng.normal(size=(2, 3)), rng.normal(size=(3, 4))

    def expected(self, x, w):
        return np.einsum("ni,io->no", x, w)


class TestPairWithCache(FunctionTestCase):
    forward, backward = scaled_forward, scaled_backward

    def sample_inputs(self, rng):
        return (rng.normal(size=(2, 3)),)

    def expected(self, x):
        return x + x + x


class TestSeveralOutputs(FunctionTestCase):
    def function(self, x):
        return minicnn.exp(x), x.sum(0)

    def sample_inputs(self, rng):
        return (rng.normal(size=(2, 3)),)

    def expected(self, x):
        return np.exp(x), x.sum(axis=0)


# --- which tests a class has ----------------------------------------------------------------------


def test_the_base_class_itself_is_not_collected():
    assert not FunctionTestCase.__test__
    assert TestMethod.__test__


def test_tests_that_do_not_apply_are_left_out():
    assert inherited_tests(TestMethod) == TESTS
    assert inherited_tests(TestOperation) == TESTS - {"test_batch_sizes"}
    assert inherited_tests(TestPlainFunction) == TESTS - {"test_forward"}
    assert inherited_tests(TestPair) == TESTS - {"test_second_derivative"}


def test_tests_are_switched_off_and_on_again():
    class Off(TestMethod):
        __test__ = False
        second_order = False
        float32 = False
        batch_inputs = ()

    class OnAgain(Off):
        __test__ = False
        second_order = True

    off = {"test_second_derivative", "test_float32", "test_batch_sizes"}
    assert inherited_tests(Off) == TESTS - off
    assert inherited_tests(OnAgain) == TESTS - off | {"test_second_derivative"}
    assert inherited_tests(TestMethod) == TESTS


def test_pytest_collects_the_example_of_the_documentation(pytester):
    text = inspect.cleandoc(function_test_case.__doc__).partition("::\n")[2]
    example = inspect.cleandoc(text.partition("pytest then finds")[0])
    pytester.makepyfile(
        "import minicnn\n"
        "from numpy.lib.stride_tricks import sliding_window_view\n"
        "def softplus(x):\n"
        "    return minicnn.log(1 + minicnn.exp(x))\n"
        "def my_conv(x, w):\n"
        "    windows = sliding_window_view(x, w.shape[2:], (2, 3))\n"
        "    return np.einsum('ncijab,ocab->noij', windows, w)\n"
        "def my_conv_backward(dy, x, w):\n"
        "    dx, dw = np.zeros_like(x), np.zeros_like(w)\n"
        "    for i, j in np.ndindex(*dy.shape[2:]):\n"
        "        place = (..., slice(i, i + w.shape[2]), slice(j, j + w.shape[3]))\n"
        "        dx[place] += np.einsum('no,ocab->ncab', dy[..., i, j], w)\n"
        "        dw += np.einsum('no,ncab->ocab', dy[..., i, j], x[place])\n"
        "    return dx, dw\n" + example
    )
    result = pytester.runpytest_inprocess("-p", "no:minicnn", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=6 + 3)


# --- what they catch ------------------------------------------------------------------------------


def square(x):
    return x * x


class Square(FunctionTestCase):
    """A pair that is right; the classes below spoil one thing each."""

    __test__ = False
    forward = square

    def backward(self, dy, x):
        return 2 * dy * x

    def sample_inputs(self, rng):
        return (rng.normal(size=(2, 3)),)

    def expected(self, x):
        return x**2


def failing(case):
    """Run the tests of a class as pytest does; return which of them fail."""
    found = set()
    for name in inherited_tests(case):
        try:
            getattr(case(), name)()
        except AssertionError:
            found.add(name)
    return found


def test_a_right_pair_passes():
    assert failing(Square) == set()


def test_a_wrong_backward():
    class Case(Square):
        def backward(self, dy, x):
            return dy * x

    assert failing(Case) == {"test_gradient", "test_float32"}
    with pytest.raises(GradcheckError) as error:
        Case().test_gradient()
    assert "repeat: pytest -k Case" in str(error.value)


def test_a_wrong_forward_with_its_own_right_backward():
    class Case(Square):
        def forward(self, x):
            return 2 * x * x

        def backward(self, dy, x):
            return 4 * dy * x

    assert failing(Case) == {"test_forward"}


def test_another_shape_than_expected():
    class Case(Square):
        def expected(self, x):
            return (x**2)[None]

    assert failing(Case) == {"test_forward"}


def test_a_single_value_where_an_array_is_expected():
    class Case(Square):
        def expected(self, x):
            return x[0, 0] ** 2

        def sample_inputs(self, rng):
            return (np.full((2, 3), 1.5),)

    assert failing(Case) == {"test_forward"}


def test_another_number_of_outputs_than_expected():
    class Case(Square):
        def expected(self, x):
            return x**2, x

    assert failing(Case) == {"test_forward"}


def test_a_forward_that_depends_on_the_memory_order():
    class Case(Square):
        def forward(self, x):
            return x * x if x.flags.c_contiguous else x * x + 1

    assert failing(Case) == {"test_layouts"}


def test_a_forward_that_writes_to_its_input():
    class Case(Square):
        def forward(self, x):
            x *= x
            return x

    with pytest.raises(ValueError, match="read-only"):
        Case().test_layouts()


def test_float32_that_becomes_float64():
    class Case(Square):
        def forward(self, x):
            return x * x * np.float64(1)

    assert failing(Case) == {"test_float32"}


def test_float32_that_loses_digits():
    class Case(Square):
        def forward(self, x):
            return x * x * (1 if x.dtype == np.float64 else np.float32(1.01))

    assert failing(Case) == {"test_float32"}

    class Coarse(Case):
        float32_rtol = 0.02

    assert failing(Coarse) == set()


def test_a_gradient_that_is_right_only_for_larger_batches():
    class Case(Square):
        batch_inputs = (0,)

        def backward(self, dy, x):
            return 2 * dy * x * (1 if len(x) > 1 else 2)

    assert failing(Case) == {"test_batch_sizes"}


def test_an_empty_batch_that_comes_out_with_another_shape():
    class Case(Square):
        batch_inputs = (0,)

        def forward(self, x):
            return x * x if len(x) else np.zeros((1, 3))

    assert failing(Case) == {"test_batch_sizes"}


def test_a_second_derivative_that_is_missing():
    @minicnn.differentiable
    def frozen(x, /):
        return x * x

    @frozen.gradient()
    def _(dy, y, x):
        return lambda: dy * (2 * values_of(x))  # a constant to the second derivative

    class Case(Square):
        function = frozen

    assert failing(Case) == {"test_second_derivative"}


def test_settings_reach_the_check():
    class Case(Square):
        settings = {"rtol": 1.0}  # noqa: RUF012

        def backward(self, dy, x):
            return dy * x * 1.5

    assert failing(Case) == set()


def test_a_report_that_is_allowed_to_be_inconclusive():
    class Case(Square):
        settings = {"atol": 1e9, "allow_inconclusive": True}  # noqa: RUF012

        def backward(self, dy, x):
            return dy * x

    assert failing(Case) == set()


# --- mistakes in the class ------------------------------------------------------------------------


def test_a_class_without_a_function_is_told():
    class Case(FunctionTestCase):
        forward = square

        def sample_inputs(self, rng):
            return (rng.normal(size=3),)

    with pytest.raises(ArgumentError, match="Case: give it `function`, or `forward` and"):
        Case().test_gradient()


def test_sample_inputs_that_are_no_tuple_are_told():
    class Case(Square):
        def sample_inputs(self, rng):
            return rng.normal(size=3)

    with pytest.raises(ArgumentError, match="Case: sample_inputs must return a tuple, got ndarray"):
        Case().test_gradient()


def test_samples_are_the_same_each_time_and_differ_between_classes():
    first, again = TestMethod()._samples(), TestMethod()._samples()
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(TestOperation()._samples()[0], TestSeveralOutputs()._samples()[0])


def test_of_a_failure_pytest_shows_the_report_only(pytester):
    pytester.makepyfile("""
    import numpy as np
    from minicnn.testing import FunctionTestCase

    class TestWrong(FunctionTestCase):
        forward = np.square

        def backward(self, dy, x):
            return dy

        def sample_inputs(self, rng):
            return (rng.normal(size=3),)
    """)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "test_gradient")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*gradcheck FAIL*", "*GradcheckError"])
    text = result.stdout.str()
    assert "check.py" not in text
    assert "_accept" not in text
