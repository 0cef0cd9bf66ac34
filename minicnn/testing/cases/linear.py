"""Rows for `minicnn.ops.linear`."""

from __future__ import annotations

from minicnn.testing.cases.case import both, functional, layer

ROWS = [
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
    functional("affine", "batch", "linear", (4, 3), (2, 3), (2,)),
    functional("affine", "without bias", "linear", (4, 3), (2, 3)),
    functional("affine", "one sample", "linear", (3,), (2, 3), (2,)),
    functional("affine", "one sample, no bias", "linear", (3,), (2, 3)),
    functional("affine", "sequences", "linear", (2, 3, 2), (4, 2), (4,)),
    functional("affine", "batch 0", "linear", (0, 3), (2, 3), (2,)),
    functional("affine", "one by one", "linear", (1, 1), (1, 1), (1,)),
]

LAYERS = [
    layer("with bias", lambda nn: nn.Linear(3, 2), (4, 3)),
    layer("without bias", lambda nn: nn.Linear(3, 2, bias=False), (4, 3)),
    layer("all but the batch", lambda nn: nn.Flatten(), (2, 3, 2)),
    layer("signed", lambda nn: nn.Identity(), (2, 3)),
    layer("two layers", lambda nn: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)),
          (2, 3)),
    layer("default", lambda nn: nn.Linear(5, 3), (2, 5)),
    layer("no bias", lambda nn: nn.Linear(5, 3, bias=False), (2, 5)),
    layer("middle", lambda nn: nn.Flatten(1, 2), (1, 4, 5, 4)),
]  # fmt: skip
