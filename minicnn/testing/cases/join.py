"""Rows for `minicnn.ops.join`."""

from __future__ import annotations

from minicnn.testing.cases.case import both

ROWS = [
    both("joined", "hstack", lambda m, a, b: m.hstack((a, b)), (2, 1), (2, 3)),
    both("joined", "hstack of vectors", lambda m, a, b: m.hstack([a, b]), (2,), (3,)),
    both("joined", "hstack of single values", lambda m, a, b: m.hstack([a, b]), (), ()),
    both("joined", "vstack", lambda m, a, b: m.vstack((a, b)), (3,), (2, 3)),
    both("joined", "vstack of single values", lambda m, a, b: m.vstack((a, b)), (), ()),
    both("joined", "dstack", lambda m, a, b: m.dstack((a, b)), (2, 3), (2, 3)),
    both("joined", "dstack of vectors", lambda m, a, b: m.dstack((a, b)), (3,), (1, 3, 2)),
    both("joined", "block_diag", lambda m, a, b, c: m.block_diag(a, b, c), (), (2, 1), (3,)),
    both("joined", "block_diag with nothing", lambda m, a, b: m.block_diag(a, b), (0, 2), (1, 2)),
    both("joined", "cartesian_prod", lambda m, a, b: m.cartesian_prod(a, b), (2,), (3,)),
    both("view_as", "cartesian_prod of one", lambda m, x: m.cartesian_prod(x.view(2)), (2,)),
    both("broadcast_to", "meshgrid",
         lambda m, a, b: m.meshgrid(a, b, indexing="ij")[0] * m.meshgrid(a, b, indexing="ij")[1],
         (2,), (3,)),
    both("broadcast_to", "meshgrid xy", lambda m, a, b, c: m.meshgrid([a, b, c], indexing="xy")[0],
         (2,), (3,), ()),
    both("view_as", "atleast_1d", lambda m, x: m.atleast_1d(x), ()),
    both("view_as", "atleast_2d", lambda m, a, b: m.atleast_2d(a, b)[1] * a, (), (3,)),
    both("view_as", "atleast_3d", lambda m, x: m.atleast_3d(x), (2,)),
    both("view_as", "atleast_3d of a matrix", lambda m, x: m.atleast_3d([x, x])[0], (2, 3)),
]  # fmt: skip
