"""The rows of the tables of sample inputs, with their constants on the card."""

from __future__ import annotations

from functools import partial
from types import FunctionType, ModuleType

import numpy as np

import minicnn
from minicnn import Tensor
from minicnn_kernels.cards import cupy

MAKERS = {
    "arange", "empty", "eye", "full", "linspace", "ones", "rand", "randint", "randn", "tensor",
    "tril_indices", "triu_indices", "zeros",
}  # fmt: skip
ARRAYS = {"arange", "array", "asarray", "empty", "eye", "full", "linspace", "ones", "zeros"}


class OnCard:
    """A module whose functions that make arrays make them on the card."""

    def __init__(self, card, module):
        self.card, self.module = card, module

    def __getattr__(self, name):
        value = getattr(self.module, name)
        if value is np.ndarray:
            return np.ndarray, cupy().ndarray
        if name not in (ARRAYS if self.module is np else MAKERS):
            return OnCard(self.card, value) if isinstance(value, ModuleType) else value

        def make(*args, **settings):
            with self.card.copies():
                return moved(self.card, value(*args, **settings))

        return make


def moved(card, value):
    """Return a value with the arrays in it on the card, functions of the tables included."""
    if isinstance(value, np.ndarray):
        return card.array(value) if value.dtype.kind in "fiub" else value
    if isinstance(value, Tensor):
        return value.to("cuda")
    if value is minicnn or value is np:
        return OnCard(card, value)
    if isinstance(value, partial):
        settings = {name: moved(card, v) for name, v in value.keywords.items()}
        return partial(moved(card, value.func), *(moved(card, v) for v in value.args), **settings)
    if hasattr(value, "_fields"):  # a named tuple, as the moments of a batch
        return type(value)(*(moved(card, part) for part in value))
    if type(value) in (list, tuple):
        return type(value)(moved(card, part) for part in value)
    if isinstance(value, FunctionType) and value.__module__.startswith("minicnn.testing"):
        return function_on_card(card, value)
    return value


def function_on_card(card, function):
    """Return a function of the tables whose constants, written outside of it, lie on the card."""
    names = function.__code__.co_names
    seen = {n: v for n, v in function.__globals__.items() if n in names and v is not function}
    inner = {n for c in function.__code__.co_consts if hasattr(c, "co_names") for n in c.co_names}
    seen |= {n: v for n, v in function.__globals__.items() if n in inner and v is not function}
    cells = [type(cell)(moved(card, cell.cell_contents)) for cell in function.__closure__ or ()]
    copy = FunctionType(
        function.__code__,
        function.__globals__ | {name: moved(card, value) for name, value in seen.items()},
        function.__name__,
        moved(card, function.__defaults__),
        tuple(cells),
    )
    copy.__kwdefaults__ = {n: moved(card, v) for n, v in (function.__kwdefaults__ or {}).items()}
    return copy


def results(value):
    """Return the tensors among results."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    return [part for part in parts if isinstance(part, Tensor)]
