from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

import minicnn
from minicnn.tensor import Tensor

SIZES = dict(zip("abcde", (2, 3, 1, 2, 4), strict=True))


@st.composite
def equations(draw):
    """Draw terms of one to three letters, repeated ones too, and a result of some of them."""
    term = st.text("abcde", min_size=0, max_size=3)
    terms = draw(st.lists(term, min_size=1, max_size=4))
    letters = sorted({*"".join(terms)})
    result = "".join(draw(st.permutations(letters)))[: draw(st.integers(0, len(letters)))]
    return f"{','.join(terms)}->{result}" if draw(st.booleans()) else ",".join(terms)


@given(equations(), st.integers(0, 9))
def test_einsum_is_that_of_numpy(equation, seed):
    rng = np.random.default_rng(seed)
    terms = equation.partition("->")[0].split(",")
    arrays = [rng.integers(-3, 4, [SIZES[n] for n in term]).astype(float) for term in terms]
    ours = minicnn.einsum(equation, *map(Tensor, arrays))
    np.testing.assert_allclose(ours.array, np.einsum(equation, *arrays), rtol=1e-12)


@pytest.mark.parametrize(("equation", "shapes"), [
    ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]), ("...ij,...jk", [(5, 2, 3), (6, 1, 3, 4)]),
    ("i...->...", [(3, 4)]), ("...", [(2, 3)]), ("...,...", [(2, 3), (3,)]),
    ("i...i->...", [(2, 3, 2)]), (" i j , j k -> k i ", [(2, 3), (3, 4)]),
    ("bA", [(2, 3)]), ("ij,jk,kl,lm->im", [(2, 9), (9, 1), (1, 9), (9, 2)]),
])  # fmt: skip
def test_dots_blanks_and_capitals(equation, shapes, rng):
    arrays = [rng.normal(size=shape) for shape in shapes]
    ours = minicnn.einsum(equation, [Tensor(a) for a in arrays])
    np.testing.assert_allclose(ours.array, np.einsum(equation, *arrays), rtol=1e-12)


def test_lists_of_dimensions_instead_of_letters(rng):
    a, b = rng.normal(size=(5, 2, 3)), rng.normal(size=(3, 4))
    expected = np.einsum(a, [..., 0, 1], b, [1, 2], [2, ..., 0])
    ours = minicnn.einsum(Tensor(a), [..., 0, 1], Tensor(b), [1, 2], [2, ..., 0])
    np.testing.assert_allclose(ours.array, expected, rtol=1e-12)
    assert minicnn.einsum(Tensor(a), [..., 0, 51]).shape == (5, 2, 3)


def test_dots_that_the_result_lacks_are_summed():
    assert minicnn.einsum("i...->", minicnn.ones(3, 4)).item() == 12


def test_a_size_of_1_is_broadcast(torch, rng):
    a, b = rng.normal(size=(2, 1)), rng.normal(size=(3, 4))
    expected = torch.einsum("ij,jk", torch.tensor(a), torch.tensor(b))
    ours = minicnn.einsum("ij,jk", Tensor(a), Tensor(b))
    np.testing.assert_allclose(ours.array, expected, rtol=1e-12)


def test_a_chain_is_multiplied_in_the_cheap_order(monkeypatch, rng):
    shapes = []
    contract = minicnn.ops.einsum.contract
    monkeypatch.setattr(
        "minicnn.ops.einsum.contract",
        lambda a, of_a, b, of_b, needed: (
            shapes.append((a.shape, b.shape)) or contract(a, of_a, b, of_b, needed)
        ),
    )
    arrays = [Tensor(rng.normal(size=shape)) for shape in [(50, 50), (50, 50), (50, 1)]]
    minicnn.einsum("ij,jk,kl->il", *arrays)
    assert shapes[0] == ((50, 50), (50, 1))


@pytest.mark.parametrize(("left", "right", "dims"), [
    ((2, 3), (2, 3), 2), ((2, 3), (3, 4), 1), ((2, 3), (3, 4), 0), ((2, 3), (4, 3), ([1], [1])),
    ((2, 3, 4), (4, 2, 5), ([0, -1], [1, 0])), ((2, 3), (4, 5), ([], [])),
])  # fmt: skip
def test_tensordot_is_that_of_numpy(left, right, dims, rng):
    a, b = rng.normal(size=left), rng.normal(size=right)
    expected = np.tensordot(a, b, dims)
    np.testing.assert_allclose(minicnn.tensordot(Tensor(a), Tensor(b), dims).array, expected)


def test_the_dimensions_of_tensordot_may_be_a_tensor():
    a = minicnn.ones(2, 3)
    assert minicnn.tensordot(a, a, minicnn.tensor([[1], [1]])).tolist() == [[3, 3], [3, 3]]


REFUSED = [
    refused("a new letter", lambda m: m.einsum("ij->il", m.ones(2, 3)), "'il'"),
    refused("a letter twice", lambda m: m.einsum("ij->ii", m.ones(2, 3)), "'ii'"),
    refused("too few letters", lambda m: m.einsum("i", m.ones(2, 3)), "(2, 3)"),
    refused("too many letters", lambda m: m.einsum("ijk", m.ones(2, 3)), "3 letters"),
    refused("too many tensors", lambda m: m.einsum("ij", m.ones(2, 3), m.ones(2)), "1 terms"),
    refused("too few tensors", lambda m: m.einsum("ij,jk", m.ones(2, 3)), "2 terms"),
    refused("a number", lambda m: m.einsum("i1", m.ones(2, 3)), "'i1'"),
    refused("a single dot", lambda m: m.einsum("i.j", m.ones(2, 3)), "'i.j'"),
    refused("dots twice", lambda m: m.einsum("i......", m.ones(2, 3)), "..."),
    refused("two arrows", lambda m: m.einsum("i->i->i", m.ones(3))),
    refused("two sizes", lambda m: m.einsum("ij,jk", m.ones(2, 3), m.ones(2, 4)), "letter j", "3"),
    refused("a diagonal of two sizes", lambda m: m.einsum("ii", m.ones(3, 1)), "letter i"),
    refused("a number beyond 51", lambda m: m.einsum(m.ones(2), [52]), "52"),
    refused("sizes of tensordot",
            lambda m: m.tensordot(m.ones(2, 3), m.ones(4, 3), ([1], [0])), "dimension 1"),
    refused("tensordot of more dimensions",
            lambda m: m.tensordot(m.ones(2), m.ones(2), 2), "tensordot", "2"),
    refused("a negative number of dimensions",
            lambda m: m.tensordot(m.ones(2), m.ones(2), -1), "-1"),
    refused("lists of other lengths",
            lambda m: m.tensordot(m.ones(2, 3), m.ones(3, 3), ([1], [1, 0]))),
    refused("a dimension twice",
            lambda m: m.tensordot(m.ones(2, 2), m.ones(2, 2), ([1, 1], [0, 1]))),
    refused("one list", lambda m: m.tensordot(m.ones(2, 2), m.ones(2, 2), [1])),
    refused("a dimension that is not there",
            lambda m: m.tensordot(m.ones(2), m.ones(2), ([5], [0])), "5"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_what_torch_refuses(refusal, torch):
    refusal.check(torch)


def test_an_equation_is_needed():
    with pytest.raises(ValueError, match="einsum: needs an equation"):
        minicnn.einsum()
