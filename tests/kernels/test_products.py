from __future__ import annotations

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from minicnn_kernels import products, threads

SIZES = {
    "tall": (900, 70, 60),
    "wide": (8, 300, 4000),
    "rows that do not share out": (701, 33, 100),
    "deep": (3, 40_000, 5),
    "few rows": (7, 531, 523),
    "few rows, all whole": (4, 512, 1024),
    "few rows, one column too many": (16, 513, 513),
    "empty": (0, 5, 4),
    "no terms": (3, 0, 4),
}
ORDERS = {"plain": lambda x: x, "turned": lambda x: np.ascontiguousarray(x.T).T,
          "stepped": lambda x: np.repeat(x, 2, axis=1)[:, ::2]}  # fmt: skip


@pytest.fixture
def three_threads(monkeypatch):
    pool = threads._Pool(3)
    monkeypatch.setattr(threads, "_pool", pool)
    monkeypatch.setattr(products, "PART", 2**10)
    yield
    pool.stop()


def blas_threads():
    return [
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    ]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.usefixtures("three_threads")
def test_the_product_is_numpys(size, dtype, order, rng):
    m, k, n = size
    a, b = (order(rng.normal(size=s).astype(dtype)) for s in ((m, k), (k, n)))
    expected = np.einsum("ik,kj->ij", a.astype(np.float64), b.astype(np.float64))
    c = products.matmul(a, b)
    assert c.dtype == dtype
    tolerance = (1e-5 if dtype == np.float32 else 1e-12) * max(1, k) ** 0.5
    np.testing.assert_allclose(c, expected, rtol=tolerance, atol=10 * tolerance)


def test_batches_and_types_of_all_kinds_are_left_to_numpy(rng):
    a, b = rng.normal(size=(2, 90, 80)), rng.normal(size=(80, 90))
    np.testing.assert_array_equal(products.matmul(a, b), np.matmul(a, b))
    whole = rng.integers(-5, 5, (90, 80))
    np.testing.assert_array_equal(products.matmul(whole, whole.T), whole @ whole.T)
    with pytest.raises(ValueError, match="mismatch"):
        products.matmul(rng.normal(size=(900, 80)), rng.normal(size=(81, 90)))


def test_blas_has_one_thread_within_and_its_own_again_after():
    products._blas.cache_clear()  # Numba may have loaded SciPy's since
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with products.one_blas_thread():
            assert set(blas_threads()) == {1}
            with products.one_blas_thread():
                assert set(blas_threads()) == {1}
            assert set(blas_threads()) == {1}
        assert blas_threads() == before
        with pytest.raises(ZeroDivisionError), products.one_blas_thread():
            raise ZeroDivisionError
        assert blas_threads() == before


def test_two_python_threads_at_once(rng):
    a, b = (rng.normal(size=(400, 400)) for _ in range(2))
    expected, wrong = a @ b, []
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()

        def work():
            for _ in range(20):
                if not np.allclose(products.matmul(a, b), expected, rtol=1e-12, atol=1e-9):
                    wrong.append(1)

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert blas_threads() == before
    assert not wrong


def test_without_a_compiler_blas_keeps_its_threads(monkeypatch, rng):
    monkeypatch.setattr(products, "can_compile", lambda: False)
    monkeypatch.setattr(products, "one_blas_thread", None)
    a, b = rng.normal(size=(200, 100)), rng.normal(size=(100, 200))
    np.testing.assert_array_equal(products.matmul(a, b), a @ b)
