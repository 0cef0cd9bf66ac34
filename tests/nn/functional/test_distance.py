from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

from minicnn.nn import functional as F
from minicnn.tensor import Tensor

RNG = np.random.default_rng(4)
A, B, C = (RNG.normal(size=(4, 3)) for _ in range(3))
SIGNS = np.array([1, -1, -1, 1])


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


def cosine(a, b):
    return (a * b).sum(axis=-1) / np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))


def distance(a, b):
    return np.sqrt(((a - b) ** 2).sum(axis=-1))


@pytest.mark.parametrize("p", [0.5, 1, 2, 3, float("inf"), -1.0, 0])
def test_distances_are_norms_of_differences(p):
    ours = F.pairwise_distance(Tensor(A), Tensor(B), p, eps=0.0)
    expected = [np.linalg.norm(row, p) for row in A - B]
    np.testing.assert_allclose(ours.array, expected, rtol=1e-12)


def test_equal_vectors_are_eps_apart_and_have_a_gradient():
    x = leaf(A)
    y = F.pairwise_distance(x, Tensor(A), eps=1e-3)
    np.testing.assert_allclose(y.array, 1e-3 * np.sqrt(3))
    y.sum().backward()
    np.testing.assert_allclose(x.grad.array, 1 / np.sqrt(3))


def test_distances_keep_their_dimension_and_broadcast():
    assert F.pairwise_distance(Tensor(A), Tensor(B[0]), keepdim=True).shape == (4, 1)
    assert F.pairwise_distance(Tensor(A[0]), Tensor(B[0])).shape == ()


def test_the_cosine_does_not_depend_on_the_lengths():
    ours = F.cosine_similarity(Tensor(A * 1e-3), Tensor(B * 1e3))
    np.testing.assert_allclose(ours.array, cosine(A, B), rtol=1e-12)


def test_vectors_of_any_dimension_are_paired_with_all():
    ours = F.cosine_similarity(Tensor(A[:, None]), Tensor(B), dim=-1)
    np.testing.assert_allclose(ours.array, cosine(A[:, None], B), rtol=1e-12)


def test_nothing_has_the_direction_of_all():
    x = leaf([[0.0, 0.0], [1e-9, 0.0]])
    y = F.cosine_similarity(x, Tensor(np.ones((2, 2))))
    np.testing.assert_allclose(y.array, [0, 0.1 / np.sqrt(2)])
    y.sum().backward()
    assert np.isfinite(x.grad.array).all()


def test_whole_numbers_meet_the_type_of_the_others():
    y = F.cosine_similarity(Tensor(np.array([[1, 1]])), Tensor(np.float32([[1.0, 0.0]])))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.array, [np.sqrt(0.5)], rtol=1e-6)


def test_angles_by_definition():
    ours = F.cosine_embedding_loss(Tensor(A), Tensor(B), Tensor(SIGNS), -0.2, reduction="none")
    near = cosine(A, B)
    np.testing.assert_allclose(
        ours.array, np.where(SIGNS == 1, 1 - near, np.maximum(0, near + 0.2)), rtol=1e-10
    )


def test_angles_of_neither_kind_have_no_loss():
    ours = F.cosine_embedding_loss(Tensor(A), Tensor(B), Tensor(SIGNS * 0), reduction="none")
    assert ours.tolist() == [0, 0, 0, 0]


def test_the_angle_of_a_vector_of_zeros_is_finite():
    x = leaf([0.0, 0.0])
    loss = F.cosine_embedding_loss(x, Tensor(np.ones(2)), Tensor(np.array(1)))
    loss.backward()
    assert loss.item() == 1
    assert np.isfinite(x.grad.array).all()


@pytest.mark.parametrize("swap", [False, True])
def test_triplets_by_definition(swap):
    away = distance(A, C)
    if swap:
        away = np.minimum(away, distance(B, C))
    expected = np.maximum(0, distance(A, B) - away + 0.5)
    settings = {"margin": 0.5, "swap": swap, "reduction": "none"}
    triplet = Tensor(A), Tensor(B), Tensor(C)
    for ours in (
        F.triplet_margin_loss(*triplet, eps=0.0, **settings),
        F.triplet_margin_with_distance_loss(
            *triplet, distance_function=lambda a, b: F.pairwise_distance(a, b, eps=0.0), **settings
        ),
    ):
        np.testing.assert_allclose(ours.array, expected, rtol=1e-10, atol=1e-14)


def f(m):
    return m.nn.functional


REFUSALS = [
    refused("distances of sizes that do not fit",
            lambda m: f(m).pairwise_distance(m.ones(2, 3), m.ones(2)), "x2 (2,)"),
    refused("cosines of sizes that do not fit",
            lambda m: f(m).cosine_similarity(m.ones(2, 3), m.ones(2)), "x2 (2,)"),
    refused("cosines along a dimension that is not there",
            lambda m: f(m).cosine_similarity(m.ones(3), m.ones(3)), "dimension 1"),
    refused("cosines of whole numbers",
            lambda m: f(m).cosine_similarity(m.tensor([[1]]), m.tensor([[1]])), "int64"),
    refused("angles with many targets",
            lambda m: f(m).cosine_embedding_loss(m.ones(2, 3), m.ones(2, 3), m.ones(2, 1)),
            "(2, 1)"),
    refused("angles of a batch with one target",
            lambda m: f(m).cosine_embedding_loss(m.ones(2, 3), m.ones(2, 3), m.tensor(1)), "()"),
    refused("angles with targets that do not fit",
            lambda m: f(m).cosine_embedding_loss(m.ones(2, 3), m.ones(2, 3), m.ones(3)), "(3,)"),
    refused("a margin of 0",
            lambda m: f(m).triplet_margin_loss(*[m.ones(2, 3)] * 3, margin=0), "margin", "0"),
    refused("a margin below 0",
            lambda m: f(m).triplet_margin_with_distance_loss(*[m.ones(2, 3)] * 3, margin=-1.0),
            "margin", "-1"),
    refused("triplets of other dimensions",
            lambda m: f(m).triplet_margin_loss(m.ones(2, 3), m.ones(3), m.ones(2, 3)),
            "positive (3,)"),
    refused("triplets of sizes that do not fit",
            lambda m: f(m).triplet_margin_loss(m.ones(2, 3), m.ones(2, 2), m.ones(2, 3)),
            "positive (2, 2)"),
    refused("an unknown reduction",
            lambda m: f(m).triplet_margin_with_distance_loss(*[m.ones(2, 3)] * 3, reduction="x"),
            "'x'"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_what_torch_refuses_is_refused(refusal, torch):
    refusal.check(torch)
