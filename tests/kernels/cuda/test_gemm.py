from __future__ import annotations

import numpy as np
import pytest

from minicnn_kernels import kernels, products
from minicnn_kernels.cuda import gemm
from minicnn_kernels.products import ON_CARDS

EXACT = {"simt": 2e-6, "tf32": 1e-3, "tf32x3": 2e-6, "bf16": 1e-2}


def check(y, expected, tolerance):
    assert y.shape == expected.shape
    error = np.linalg.norm(y.get().astype(float) - expected)
    assert error <= tolerance * np.linalg.norm(expected)


def normal(*shape):
    rng = np.random.default_rng(sum(shape))
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("algorithm", ON_CARDS)
@pytest.mark.parametrize("a_turned", [False, True])
@pytest.mark.parametrize("b_turned", [False, True])
@pytest.mark.parametrize("sizes", [(8, 12, 16), (7, 33, 5), (70, 9, 67), (1, 50, 3), (3, 1, 1)])
def test_factors_turned_or_not(card, sizes, a_turned, b_turned, algorithm):
    rows, inner, columns = sizes
    a, b = normal(rows, inner), normal(inner, columns)
    on_card = [
        card.array(np.ascontiguousarray(x.T)).T if turned else card.array(x)
        for x, turned in [(a, a_turned), (b, b_turned)]
    ]
    with card.no_copies():
        y = kernels["matmul"](*on_card, algorithm=algorithm)
    check(y, a.astype(float) @ b, EXACT[algorithm])
    assert not card.seen("cublas")


VIEWS = {
    "every other row": lambda a, b: (a[::2], b),
    "every other column": lambda a, b: (a[:, ::2], b[::2]),
    "backwards": lambda a, b: (a[::-1], b[:, ::-1]),
    "the inner part": lambda a, b: (a[3:7, 1:9], b[1:9, 2:7]),
    "one row for all": lambda a, b: (np.broadcast_to(a[:1], (5, 12)), b),
    "not at a multiple of 16 bytes": lambda a, b: (a[:, 1:9], b[:8, 4:12]),
    "empty": lambda a, b: (a[:0], b),
    "empty sums": lambda a, b: (a[:, :0], b[:0]),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("algorithm", ["simt", "tf32x3"])
def test_views_of_other_matrices(card, view, algorithm):
    a, b = normal(10, 12), normal(12, 20)
    y = kernels["matmul"](*VIEWS[view](card.array(a), card.array(b)), algorithm=algorithm)
    a, b = VIEWS[view](a.astype(float), b)
    check(y, a @ b, EXACT[algorithm])


@pytest.mark.parametrize(("left", "right"), [
    ((3, 5, 4), (3, 4, 6)),
    ((2, 3, 5, 4), (2, 3, 4, 6)),
    ((5, 4), (3, 4, 6)),
    ((1, 5, 4), (3, 4, 6)),
    ((3, 5, 4), (1, 4, 6)),
    ((2, 1, 5, 4), (3, 4, 6)),
    ((0, 5, 4), (0, 4, 6)),
])  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_batches_broadcast(card, left, right, turned):
    a, b = normal(*left), normal(*right)
    y = a.astype(float) @ b
    a, b = card.array(a), card.array(b)
    if turned:
        a = card.array(np.ascontiguousarray(a.get().swapaxes(-1, -2))).swapaxes(-1, -2)
    with card.no_copies():
        found = products.matmul(a, b)
    check(found, y, EXACT["tf32x3"])
    assert not card.seen("cublas")


def test_matrices_of_a_batch_may_lie_between_others(card):
    """As heads of attention do, which come as (batch, place, head, channel)."""
    x = normal(2, 5, 3, 4)
    heads = x.transpose(0, 2, 1, 3)
    on_card = card.array(x).transpose(0, 2, 1, 3)
    check(products.matmul(on_card, on_card.swapaxes(-1, -2)),
          heads.astype(float) @ heads.swapaxes(-1, -2), EXACT["tf32x3"])  # fmt: skip


@pytest.mark.parametrize("shape", [(7,), (1,), (6, 1), (6, 7)], ids=str)
def test_a_bias_of_any_shape_is_added(card, shape):
    a, b, bias = normal(6, 5), normal(5, 7), normal(*shape)
    y = products.matmul(*map(card.array, (a, b, bias)))
    np.testing.assert_allclose(y.get(), a @ b + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(4, 0, 3), (0, 4, 3), (4, 3, 0)], ids=str)
def test_products_of_nothing(card, sizes):
    rows, inner, columns = sizes
    a, b, bias = normal(rows, inner), normal(inner, columns), normal(columns)
    y = products.matmul(*map(card.array, (a, b, bias)))
    np.testing.assert_array_equal(y.get(), a @ b + bias)


@pytest.mark.parametrize("b_turned", [False, True])
@pytest.mark.parametrize("a_turned", [False, True])
def test_a_bias_is_part_of_it(card, a_turned, b_turned):
    a, b, bias = normal(6, 5), normal(5, 7), normal(7)
    expected = a.astype(float) @ b + bias
    a, b = (np.asfortranarray(x) if t else x for x, t in [(a, a_turned), (b, b_turned)])
    on_card = [card.array(x.T).T if t else card.array(x) for x, t in [(a, a_turned), (b, b_turned)]]
    check(products.matmul(*on_card, card.array(bias)), expected, EXACT["tf32x3"])


def test_float64_goes_to_cublas(card):
    a, b = normal(3, 4).astype(float), normal(4, 5).astype(float)
    y = products.matmul(card.array(a), card.array(b))
    np.testing.assert_allclose(y.get(), a @ b, rtol=1e-14)
    assert card.seen("cublas")


def test_bfloat16_stays_bfloat16(card):
    dtype = pytest.importorskip("ml_dtypes").bfloat16
    a, b = normal(9, 40).astype(dtype), normal(40, 24).astype(dtype)
    y = products.matmul(card.array(a), card.array(b))
    assert y.dtype == dtype
    check(y, a.astype(float) @ b.astype(float), 2**-8)
    assert not card.seen("cublas")


def test_long_sums_of_few_values_are_split(card):
    plan = gemm.plan(
        8, 100_000, 8, 1, gemm.Layout(False, 100_000, 0), gemm.Layout(False, 8, 0),
        "tf32x3", 4, 132,
    )  # fmt: skip
    assert plan.parts > 16
    a, b = normal(4, 1500), normal(1500, 5)
    check(products.matmul(card.array(a), card.array(b)), a.astype(float) @ b, EXACT["tf32x3"])
