from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.tensor import Tensor


@pytest.fixture
def x():
    return minicnn.ones(2, 3)


def test_what_it_is(x):
    assert x.size() == (2, 3)
    assert x.size(-1) == 3
    assert x.dim() == x.ndimension() == 2
    assert x.numel() == x.nelement() == minicnn.numel(x) == 6
    assert x.element_size() == 4
    assert x.double().element_size() == 8


def test_contiguous_copies_only_what_is_not(x):
    assert x.contiguous() is x
    turned = x.t()
    assert not turned.is_contiguous()
    assert turned.contiguous().is_contiguous()
    assert turned.clone().is_contiguous()


def test_a_clone_has_memory_of_its_own(x):
    y = x.clone()
    assert not np.shares_memory(x.array, y.array)
    y.zero_()
    assert x.sum().item() == 6


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_new_tensors_have_the_type_of_the_old(dtype):
    x = Tensor(np.ones(2, dtype))
    made = [
        x.new_zeros(2, 3),
        x.new_ones((2, 3)),
        x.new_full((2, 3), 1),
        x.new_tensor([[1, 2, 3]] * 2),
    ]
    assert {y.dtype for y in made} == {np.dtype(dtype)}
    assert {y.shape for y in made} == {(2, 3)}
    assert x.new_zeros(1, dtype=minicnn.int64).dtype == np.int64
    assert x.double().new_ones(1, requires_grad=True).requires_grad


def test_type_as(x):
    assert x.type_as(x) is x
    assert x.type_as(minicnn.tensor([1])).dtype == np.int64


def test_where_as_a_method(x):
    assert x.where(minicnn.tensor([True, False, True]), 5.0).tolist() == [[1, 5, 1]] * 2


REFUSALS = [
    refused("size of a single value", lambda m: m.tensor(1.0).size(0)),
    refused("size beyond", lambda m: m.ones(2).size(1), "dimension 1"),
    refused("H of a vector", lambda m: m.ones(2).H, "(2,)"),
    refused("H of a batch", lambda m: m.ones(2, 2, 2).H, "mH"),
    refused("mT of a vector", lambda m: m.ones(2).mT, "(2,)"),
    refused("expand as less", lambda m: m.ones(2, 2).expand_as(m.ones(2))),
    refused("reshape as more", lambda m: m.ones(2).reshape_as(m.ones(3))),
    refused("view as more", lambda m: m.ones(2).view_as(m.ones(3))),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_by_torch(refusal, torch):
    refusal.check(torch)


def test_types_and_sizes_are_asked_as_in_torch(torch):
    for m in (torch, minicnn):
        x = m.tensor([[1.5, -2.0, 0.0], [3.0, 4.0, 5.0]])
        for name in ("half", "int", "short", "bool"):
            assert getattr(x, name)().dtype == getattr(m, name)
        assert x.abs().byte().dtype == m.uint8
        assert x.bool().tolist() == [[True, True, False], [True] * 3]
        assert (x.nbytes, x.itemsize, x.half().nbytes) == (24, 4, 12)
        assert (x.stride(), x.T.stride(), x.stride(-1), x.stride(0)) == ((3, 1), (1, 3), 1, 3)
        assert x.is_floating_point()
        assert m.is_floating_point(x)
        assert not x.int().is_floating_point()
        assert x.grad_fn is None
        assert x.requires_grad_().exp().grad_fn is not None


def test_random_numbers_overwrite_the_values():
    x = minicnn.zeros(4000)
    assert x.normal_(3, 2) is x
    assert (x.mean().item(), x.std().item()) == pytest.approx((3, 2), abs=0.2)
    assert x.uniform_(-1, 3) is x
    assert -1 <= x.min().item() < -0.9 < 2.9 < x.max().item() < 3
