"""Rows for `minicnn.ops.diagonal`."""

from __future__ import annotations

from minicnn.testing.cases.case import both, plain

ROWS = [
    both("diagonal_of", "matrix", lambda m, x: m.diagonal(x), (3, 4)),
    both("diagonal_of", "above", lambda m, x: x.diagonal(1), (3, 3)),
    both("diagonal_of", "below, two dimensions", lambda m, x: m.diagonal(x, -1, 2, 0), (3, 2, 4)),
    both("diagonal_of", "outside", lambda m, x: m.diagonal(x, 9), (2, 3)),
    both("diagonal_of", "diag", lambda m, x: m.diag(x, -1), (3, 4)),
    both("diagonal_of", "trace", lambda m, x: m.trace(x), (3, 2)),
    both("on_diagonal", "diag", lambda m, x: x.diag(1), (3,)),
    both("on_diagonal", "vectors", lambda m, x: m.diag_embed(x), (2, 3)),
    both("on_diagonal", "first dimensions", lambda m, x: m.diag_embed(x, -1, 0, 2), (2, 3)),
    both("on_diagonal", "dimensions exchanged", lambda m, x: x.diag_embed(1, dim1=1, dim2=0), (2,)),
    both("tril", "matrix", lambda m, x: m.tril(x), (3, 4)),
    both("tril", "a batch, above", lambda m, x: x.tril(diagonal=1), (2, 3, 3)),
    both("triu", "matrix", lambda m, x: m.triu(x), (4, 3)),
    both("triu", "a batch, below", lambda m, x: x.triu(-1), (2, 3, 3)),
]  # fmt: skip

PLAIN = [
    plain("tril_indices", "wide", lambda m: m.tril_indices(3, 5, 1)),
    plain("tril_indices", "none", lambda m: m.tril_indices(2, 3, -4, dtype=m.int32)),
    plain("triu_indices", "tall", lambda m: m.triu_indices(5, 3, -1)),
]
