"""Functions of the user's own are found, called and, where they fail, explained."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

import minicnn
from minicnn import random as minicnn_random
from minicnn.cli.user_code import _place, find, user_check, visitors_welcome
from minicnn.errors import UsageError

LAYERS = """
    import numpy as np

    def relu(x):
        return np.maximum(0, x)

    def relu_backward(dy, x):
        return dy * (x > 0)

    def affine_forward(x, w, b):
        return x @ w + b, (x, w)

    def affine_backward(dout, cache):
        x, w = cache
        return dout @ w.T, x.T @ dout, dout.sum(axis=0)

    def affine_forward_inputs():
        return np.ones((2, 3)), np.ones((3, 4)), np.ones(4)

    def power_forward_naive(x, exponent):
        return x**exponent

    def power_backward_naive(dy, x, exponent):
        return dy * exponent * x ** (exponent - 1)

    def power_inputs():
        return np.arange(1.0, 4.0), 3

    def scaled_forward(x, settings):
        return settings["by"] * x, (settings,)

    def scaled_backward(dout, cache):
        (settings,) = cache
        return settings["by"] * dout

    def scaled_inputs():
        return [1.0, 2.0], {"by": 3}

    def backward_twice(dy, x):
        return 2 * dy

    def twice(x):
        return 2 * x

    def alone(x):
        return np.maximum(0, x)

    def settings_first_inputs():
        return 3, np.ones(3)

    def settings_first(exponent, x):
        return x**exponent

    def settings_first_backward(dy, exponent, x):
        return dy * exponent * x ** (exponent - 1)
"""

NETS = """
    from __future__ import annotations

    from dataclasses import dataclass

    import numpy as np
    import minicnn
    from minicnn import nn

    @dataclass
    class Settings:
        width: int = 3

    @minicnn.differentiable
    def cube(x, /):
        return x**3

    @cube.gradient(saves="x")
    def _(dy, y, x):
        return lambda: dy * 3 * x**2

    def weighted(x, w):
        return (x * w).sum(0)

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, Settings().width)

        def forward(self, x):
            return minicnn.tanh(self.linear(x))

    class Sized(nn.Module):
        def __init__(self, size):
            super().__init__()

    class Plain:
        def forward(self, x):
            return x

    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())

    def sample_inputs():
        return minicnn.randn(2, 3)

    def fails(x):
        return x @ minicnn.ones(7)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layers.py").write_text(dedent(LAYERS))
    (tmp_path / "nets.py").write_text(dedent(NETS))
    with visitors_welcome(0):
        yield tmp_path


def check(target, *shapes, order=1, seed=0, **settings):
    return user_check(target, shapes, order, seed).run(**settings)


# --- what is found --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "forward", "backward"),
    [
        ("relu", "relu", "relu_backward"),
        ("relu_backward", "relu", "relu_backward"),
        ("affine_forward", "affine_forward", "affine_backward"),
        ("affine_backward", "affine_forward", "affine_backward"),
        ("power_forward_naive", "power_forward_naive", "power_backward_naive"),
        ("power_backward_naive", "power_forward_naive", "power_backward_naive"),
        ("twice", "twice", "backward_twice"),
        ("backward_twice", "twice", "backward_twice"),
        ("alone", "alone", None),
    ],
)
def test_forward_and_backward_find_each_other(folder, asked, forward, backward):
    found = find(f"layers.py::{asked}")
    assert found.name == forward
    assert getattr(found.backward, "__name__", None) == backward


@pytest.mark.parametrize(
    ("target", "shapes"),
    [
        ("layers.py::relu", [(2, 3)]),
        ("layers.py::affine_forward", [(4, 3), (3, 2), (2,)]),
        ("layers.py::affine_backward", []),
        ("layers.py::power_forward_naive", []),
        ("layers.py::scaled_forward", []),
        ("layers::twice", [(3,)]),
        ("nets.py::cube", [(2, 2)]),
        ("nets.py::weighted", [(2, 3), (3,)]),
        ("nets.py::Small", []),
        ("nets.py::model", [(4, 3)]),
        ("nets::model", []),
    ],
)
def test_right_functions_of_every_kind_pass(folder, target, shapes):
    report = check(target, *shapes)
    assert report.verdict == "pass"
    assert report.signature().startswith(f"{target}(")


def test_the_report_names_the_file_without_its_folder(folder):
    report = check(str(folder / "nets.py::weighted"), (2, 3), (3,), order=2)
    assert report.signature().startswith("the gradient of nets.py::weighted(")


def test_settings_behind_the_arrays_are_bound(folder):
    assert "exponent=3" in check("layers.py::power_forward_naive").signature()
    report = check("layers.py::scaled_forward")
    assert report.inputs[0].tolist() == [1.0, 2.0]


def test_a_file_may_be_called_like_a_module_of_the_standard_library(folder):
    (folder / "random.py").write_text("def double(x):\n    return 2 * x\n")
    assert check("random.py::double", (3,))
    assert random.random.__module__ != "checked_random"


def test_a_file_of_a_package_may_import_its_siblings(folder):
    package = folder / "course"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "basics.py").write_text("def double(x):\n    return 2 * x\n")
    (package / "more.py").write_text(
        "from .basics import double\n\ndef four(x):\n    return double(double(x))\n"
    )
    assert check("course/more.py::four", (3,))
    assert check("course.more::four", (3,))


def test_a_file_is_read_anew_each_time(folder):
    (folder / "changing.py").write_text("def f(x):\n    return 2 * x\n")
    assert check("changing.py::f", (3,))
    (folder / "changing.py").write_text("def g(x):\n    return 3 * x * x.sum()\n")
    assert check("changing.py::g", (3,))
    with pytest.raises(UsageError, match="has no 'f'"):
        check("changing.py::f", (3,))


# --- nothing is left behind -----------------------------------------------------------------------


def test_paths_and_random_numbers_are_as_they_were(tmp_path):
    (tmp_path / "noise.py").write_text(
        "import random\nimport numpy as np\nimport minicnn\n"
        "drawn = random.random(), np.random.random(), minicnn.rand(1).item()\n"
        "def f(x):\n    return 2 * x\n"
    )

    def state():
        numbers = np.random.get_state()[1].tolist(), random.getstate()
        return list(sys.path), numbers, minicnn_random.default.get_state()

    before = state()
    drawn = []
    for seed in (1, 1, 2):
        with visitors_welcome(seed):
            found = find(f"{tmp_path}/noise.py::f")
            drawn.append(found.module.drawn)
    assert state() == before
    assert drawn[0] == drawn[1] != drawn[2]


def test_they_are_after_an_error_too(tmp_path):
    before = list(sys.path)
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(UsageError), visitors_welcome(0):
        find(f"{tmp_path}/bad.py::f")
    assert sys.path == before


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "shapes", "message"),
    [
        ("layers.py::", [], "write file.py::function"),
        ("::relu", [], "write file.py::function"),
        ("nowhere.py::relu", [], "no such file: nowhere.py"),
        (".::relu", [], "ImportError: no package specified"),
        ("nowhere::relu", [], "no module named 'nowhere'"),
        ("nowhere.at_all::relu", [], "No module named 'nowhere'"),
        ("layers.py::rel", [], "has no 'rel'; did you mean relu"),
        ("layers.py::zzzz", [], "has no 'zzzz'; there are: relu, relu_backward"),
        ("layers.py::relu", [], r"def relu_inputs\(\):\n.*\n +return draw\(\(2, 3\)\)\n"),
        ("layers.py::relu", [], r"minicnn gradcheck layers.py::relu --shape 2,3$"),
        ("layers.py::affine_forward", [(2, 3)], r"\(x, w, b\) cannot be called with 1 input"),
        ("layers.py::relu", [(2,), (3,)], r"cannot be called with 2 inputs: too many"),
        ("layers.py::alone", [(3,)], r"layers.py, line \d+: TypeError.*\n.*no alone_backward or"),
        ("layers.py::settings_first", [], "arrays first, then settings"),
        ("layers.py::affine_forward", [(2, 3), (4, 2), (2,)], r"layers.py, line 11: ValueError"),
        ("nets.py::Sized", [], r"Sized\(\) takes arguments"),
        ("nets.py::Plain", [(3,)], "no minicnn Module; .* plain_forward and plain_backward"),
        ("nets.py::fails", [(2, 3)], r"nets.py, line \d+: ShapeError"),
    ],
)
def test_mistakes_are_explained(folder, target, shapes, message):
    with pytest.raises(UsageError, match=message):
        check(target, *shapes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import numpy\ndef f(x:\n", "bad.py, line 2: SyntaxError"),
        ("import numpy\n\nnumpy.zeros(3)[7]\n", "bad.py, line 3: IndexError: index 7"),
        ("import numpy\n\nnumpy.zeros((3, 2)).reshape(4)\n", "bad.py, line 3: ValueError"),
        ("import sys\nsys.exit(0)\n", "bad.py, line 2: SystemExit"),
        ("import nowhere_at_all\n", "bad.py, line 1: ModuleNotFoundError"),
        ("def f(x):\n    return x\ndef f_inputs():\n    return 1 / 0\n", "line 4: ZeroDivision"),
        ("def f(x):\n    return x\ndef f_inputs():\n    return ()\n", "with 0 inputs: missing"),
        ("def f(x):\n    return 'text'\n", "it must return a floating-point Tensor"),
    ],
)
def test_errors_in_the_file_are_shown_with_file_and_line(folder, text, message):
    (folder / "bad.py").write_text(text)
    shapes = () if "f_inputs" in text else ((3,),)
    with pytest.raises(UsageError, match=message):
        check("bad.py::f", *shapes)


def test_an_error_in_a_sibling_names_the_sibling(folder):
    (folder / "helper.py").write_text("def double(x):\n    return x.no_such_thing\n")
    (folder / "main.py").write_text("from helper import double\ndef f(x):\n    return double(x)\n")
    with pytest.raises(UsageError, match=r"helper.py, line 2: AttributeError"):
        check("main.py::f", (3,))


@pytest.mark.parametrize(
    ("package", "fails"),
    [
        (Path(minicnn.__file__).parent, lambda: minicnn.ones(2).reshape(3)),
        (Path(np.__file__).parents[1], lambda: np.histogram([1], bins=-1)),
    ],
    ids=["minicnn", "site-packages"],
)
def test_lines_of_libraries_below_the_same_folder_are_not_the_users(package, fails):
    with pytest.raises(ValueError, match=r"shape|bins") as raised:
        fails()
    of_library = raised.tb.tb_next.tb_next  # without the two lines of this test
    file = str(package.parent / "mine.py")
    assert _place(raised.value.with_traceback(of_library), file) == f"{file}: "


def test_second_order_needs_tensors(folder):
    with pytest.raises(UsageError, match=r"--order 2 .* relu is plain NumPy"):
        check("layers.py::relu", (3,), order=2)


def test_an_interrupt_is_no_mistake_of_the_file(folder):
    (folder / "slow.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        find("slow.py::f")
