from __future__ import annotations

import ast
import inspect

import pytest

import minicnn_kernels.errors
from minicnn import errors

CLASSES = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}

# what PyTorch raises in the same place, so that an `except` clause written for it works
AS_IN_PYTORCH = {
    "ShapeError": (RuntimeError, ValueError),
    "DTypeError": (RuntimeError, TypeError),
    "DeviceError": (RuntimeError,),
    "AlgorithmError": (ValueError,),
    "ArgumentError": (RuntimeError, ValueError),
    "IndexOutOfRange": (IndexError,),
    "GradientError": (RuntimeError,),
    "AnomalyError": (RuntimeError,),
    "DataError": (RuntimeError,),
    "FileFormatError": (RuntimeError,),
}


def drawn_tree():
    """Return name -> (indentation, what stands in brackets) for each line of the drawn tree."""
    tree = {}
    for line in errors.__doc__.splitlines():
        place = line.find("── ")
        if place < 0:
            continue
        name, _, rest = line[place + 3 :].partition(" ")
        inside = rest.partition("(")[2].partition(")")[0]
        tree[name] = (place, [part.strip() for part in inside.split(",") if part.strip()])
    return tree


def test_every_class_is_drawn_and_nothing_else():
    assert set(drawn_tree()) == set(CLASSES) - {"MinicnnError"}
    assert sorted(CLASSES) == errors.__all__


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"MinicnnError"}))
def test_a_class_is_what_the_tree_says(name):
    indentation, brackets = drawn_tree()[name]
    cls = CLASSES[name]
    assert issubclass(cls, errors.MinicnnError)
    builtin = [base.__name__ for base in cls.__bases__ if not issubclass(base, errors.MinicnnError)]
    assert builtin == brackets
    top = min(place for place, _ in drawn_tree().values())
    assert (indentation == top) == (errors.MinicnnError in cls.__bases__)


@pytest.mark.parametrize("name", AS_IN_PYTORCH)
def test_a_clause_written_for_pytorch_catches(name):
    for builtin in AS_IN_PYTORCH[name]:
        with pytest.raises(builtin, match="told"):
            raise CLASSES[name]("told")


def test_anomalies_are_gradient_errors():
    assert issubclass(errors.AnomalyError, errors.GradientError)


def test_the_kernels_raise_the_same_classes():
    for name, cls in vars(minicnn_kernels.errors).items():
        if inspect.isclass(cls):
            assert CLASSES[name] is cls


def test_every_class_has_a_docstring():
    for cls in CLASSES.values():
        assert cls.__doc__


def test_every_error_that_is_raised_by_name_comes_from_the_tree():
    """A misspelled class in a rarely used `raise` would only show when it is needed."""
    source = ast.parse(inspect.getsource(errors))
    defined = {node.name for node in ast.walk(source) if isinstance(node, ast.ClassDef)}
    imported = {
        alias.name
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and node.module == "minicnn_kernels.errors"
        for alias in node.names
    }
    assert defined | imported == set(errors.__all__)
