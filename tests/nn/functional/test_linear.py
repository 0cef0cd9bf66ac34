from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

from minicnn.errors import ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


@pytest.mark.parametrize(("x", "w", "b", "part"), [
    ((2, 3), (4, 2), None, "weight (4, 2)"), ((), (4, 2), None, "input ()"),
    ((2, 3), (2,), None, "weight (2,)"),
    ((2, 3), (4, 3), (3,), "bias must have shape (4,), or broadcast to the result (2, 4), got"),
])  # fmt: skip
def test_linear_names_what_does_not_fit(x, w, b, part):
    with pytest.raises(ShapeError) as error:
        F.linear(ones(*x), ones(*w), b and ones(*b))
    assert str(error.value).startswith("linear: ")
    assert part in str(error.value)


@pytest.mark.parametrize("x", [(3,), (4, 3), (5, 4, 3), (2, 5, 4, 3)], ids=str)
@pytest.mark.parametrize("w", [(3,), (2, 3), (1, 3), (4, 3), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("b", [
    (), (1,), (2,), (4,), (1, 2), (4, 2), (1, 4, 2), (5, 4, 2), (5, 4), (3, 2),
], ids=str)  # fmt: skip
def test_shapes_are_taken_or_refused_as_by_torch(x, w, b, torch):
    try:
        expected = torch.nn.functional.linear(torch.ones(x), torch.ones(w), torch.ones(b))
    except RuntimeError:
        with pytest.raises(ShapeError):
            F.linear(ones(*x), ones(*w), ones(*b))
    else:
        y = F.linear(ones(*x), ones(*w), ones(*b))
        np.testing.assert_array_equal(y.array, expected)


def test_bilinear_by_definition(rng):
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(2, 4))
    w, b = rng.normal(size=(5, 3, 4)), rng.normal(size=5)
    expected = [[xs @ w[o] @ ys + b[o] for o in range(5)] for xs, ys in zip(x, y, strict=True)]
    np.testing.assert_allclose(F.bilinear(*map(Tensor, (x, y, w, b))).array, expected)


# --- embedding ------------------------------------------------------------------------------------


def test_long_rows_are_shortened_in_the_weight(torch):
    for p, limit in ((2.0, 1.0), (1.0, 0.5), (np.inf, 2.0)):
        values = np.array([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]])
        weight, theirs = Tensor(values.copy(), requires_grad=True), torch.tensor(values)
        words = np.array([0, 1, 0])
        expected = torch.nn.functional.embedding(
            torch.tensor(words), theirs, max_norm=limit, norm_type=p
        )
        y = F.embedding(Tensor(words), weight, max_norm=limit, norm_type=p)
        np.testing.assert_allclose(y.array, expected, rtol=1e-12)
        np.testing.assert_allclose(weight.array, theirs, rtol=1e-12)
        y.sum().backward()
        assert weight.grad.tolist() == [[2, 2], [1, 1], [0, 0]]


def test_a_vector_of_length_0_stays_0_and_has_a_gradient():
    x = Tensor(np.zeros((1, 2)), requires_grad=True)
    y = F.normalize(x, eps=0.5)
    y.sum().backward()
    assert y.tolist() == [[0, 0]]
    assert x.grad.tolist() == [[2, 2]]


def words(m, *numbers):
    return m.tensor(np.array(numbers, dtype=np.int64))


REFUSED = [
    refused("a row too many", lambda m: m.nn.functional.embedding(words(m, 0, 3), m.ones(3, 2)),
            "embedding", "row 3", "3"),
    refused("a negative row", lambda m: m.nn.functional.embedding(words(m, -1), m.ones(3, 2)),
            "row -1"),
    refused("broken numbers", lambda m: m.nn.functional.embedding(m.ones(2), m.ones(3, 2)),
            "float32"),
    refused("a vector as table", lambda m: m.nn.functional.embedding(words(m, 0), m.ones(3)),
            "(3,)"),
    refused("padding out of range",
            lambda m: m.nn.functional.embedding(words(m, 0), m.ones(3, 2), -4), "padding_idx -4"),
    refused("bilinear sizes",
            lambda m: m.nn.functional.bilinear(m.ones(4, 3), m.ones(4, 2), m.ones(5, 2, 3)),
            "bilinear", "(5, 2, 3)"),
    refused("bilinear batches",
            lambda m: m.nn.functional.bilinear(m.ones(4, 3), m.ones(1, 2), m.ones(5, 3, 2)),
            "(4, 3)", "(1, 2)"),
    refused("bilinear weight",
            lambda m: m.nn.functional.bilinear(m.ones(4, 3), m.ones(4, 2), m.ones(3, 2)), "(3, 2)"),
    refused("bilinear bias",
            lambda m: m.nn.functional.bilinear(
                m.ones(4, 3), m.ones(4, 2), m.ones(5, 3, 2), m.ones(4)), "(4,)"),
    refused("normalize whole numbers", lambda m: m.nn.functional.normalize(m.tensor([[1, 2]])),
            "int64"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_what_torch_refuses(refusal, torch):
    refusal.check(torch)
