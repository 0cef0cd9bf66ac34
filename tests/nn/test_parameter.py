from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minicnn
from minicnn.errors import DTypeError
from minicnn.nn import Parameter
from minicnn.tensor import Tensor


def test_a_parameter_is_a_leaf_tensor_that_requires_grad():
    p = Parameter(minicnn.ones(2, 3))
    assert isinstance(p, Tensor)
    assert p.is_leaf
    assert p.requires_grad
    assert p.shape == (2, 3)


def test_a_parameter_can_be_made_frozen():
    assert not Parameter(minicnn.ones(2), requires_grad=False).requires_grad


def test_tensors_and_arrays_are_wrapped_without_a_copy():
    array = np.zeros(3)
    assert Parameter(array).array is array
    assert Parameter(Tensor(array)).array is array


def test_a_parameter_made_of_a_result_is_cut_off_from_it():
    x = minicnn.ones(2, requires_grad=True)
    p = Parameter(x * 2)
    (p * 3).sum().backward()
    assert p.grad.tolist() == [3.0, 3.0]
    assert x.grad is None


def test_integers_are_no_parameters():
    with pytest.raises(DTypeError, match="int64"):
        Parameter(minicnn.zeros(2, dtype=np.int64))


def test_what_is_computed_from_a_parameter_is_a_tensor():
    p = Parameter(minicnn.ones(2))
    for result in (p * 2, p.detach(), p[0], p.to(np.float64)):
        assert type(result) is Tensor


def test_repr():
    p = Parameter(minicnn.ones(2))
    assert repr(p) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"


@pytest.mark.parametrize(
    "through", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_copies_are_parameters(through, requires_grad):
    p = Parameter(minicnn.ones(2), requires_grad=requires_grad)
    twin = through(p)
    assert type(twin) is Parameter
    assert twin.requires_grad == requires_grad
    assert twin.tolist() == p.tolist()
    assert not np.shares_memory(twin.array, p.array)


def test_updates_in_place_keep_the_object():
    p = Parameter(minicnn.ones(2))
    before, array = p, p.array
    with minicnn.no_grad():
        p -= 0.25
    assert p is before
    assert p.array is array
    assert p.tolist() == [0.75, 0.75]
