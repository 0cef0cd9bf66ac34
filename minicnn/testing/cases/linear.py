"""Rows for `minicnn.ops.linear`."""

from __future__ import annotations

from minicnn.testing.cases.case import both, layer

PRODUCTS = [
    both("matrix_product", "matrices", lambda m, a, b: a @ b, (2, 3), (3, 4)),
    both("matrix_product", "vectors", lambda m, a, b: a @ b, (3,), (3,)),
    both("matrix_product", "matrix and vector", lambda m, a, b: a @ b, (2, 3), (3,)),
    both("matrix_product", "vector and matrix", lambda m, a, b: a @ b, (3,), (3, 4)),
    both("matrix_product", "batches", lambda m, a, b: m.matmul(a, b), (2, 3, 2), (2, 2, 1)),
    both("matrix_product", "stretched", lambda m, a, b: a @ b, (2, 1, 2, 3), (3, 3, 1)),
    both("matrix_product", "batch and matrix", lambda m, a, b: a @ b, (2, 3, 2), (2, 2)),
    both("matrix_product", "vector and batch", lambda m, a, b: a @ b, (3,), (2, 3, 2)),
    both("matrix_product", "batch and vector", lambda m, a, b: a @ b, (2, 3, 2), (2,)),
    both("matrix_product", "nothing inside", lambda m, a, b: a @ b, (2, 0), (0, 3)),
    both("matrix_product", "no rows", lambda m, a, b: a @ b, (0, 2), (2, 3)),
    both("matrix_product", "with itself", lambda m, x: x @ x.T, (2, 3)),
    layer("affine", "batch", "linear", (4, 3), (2, 3), (2,)),
    layer("affine", "without bias", "linear", (4, 3), (2, 3)),
    layer("affine", "one sample", "linear", (3,), (2, 3), (2,)),
    layer("affine", "one sample, no bias", "linear", (3,), (2, 3)),
    layer("affine", "sequences", "linear", (2, 3, 2), (4, 2), (4,)),
    layer("affine", "batch 0", "linear", (0, 3), (2, 3), (2,)),
    layer("affine", "one by one", "linear", (1, 1), (1, 1), (1,)),
]
