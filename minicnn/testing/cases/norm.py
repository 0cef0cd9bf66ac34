"""Rows for `minicnn.ops.norm`."""

from __future__ import annotations

import math

from minicnn.testing.cases.case import both, functional, plain, positive

ROWS = [
    both("finite_norm", "all", lambda m, x: x.norm(), (2, 3)),
    both("finite_norm", "one dimension", lambda m, x: m.norm(x, 2, 1), (2, 3)),
    both("finite_norm", "Frobenius", lambda m, x: m.norm(x, "fro", (0, 2)), (2, 3, 2)),
    both("finite_norm", "p = 1", lambda m, x: m.norm(x, 1, -1, True), (2, 3)),
    both("finite_norm", "p = 3", lambda m, x: x.norm(3, dim=(0,)), (2, 3)),
    both("finite_norm", "p = 1.5", lambda m, x: x.norm(p=1.5), (2, 3)),
    both("finite_norm", "p = 0.5", lambda m, x: x.norm(0.5, 0), positive(2, 3)),
    both("finite_norm", "p = -1", lambda m, x: x.norm(-1, 0), (2, 3)),
    both("finite_norm", "a single value", lambda m, x: x.norm(), ()),
    both("finite_norm", "nothing", lambda m, x: x.norm(2, 0), (0, 3)),
    both("finite_norm", "distance", lambda m, a, b: m.dist(a, b), (2, 3), (3,)),
    both("finite_norm", "distance, p = 1", lambda m, a, b: a.dist(b, 1), (2, 3), (2, 3)),
    both("pick", "p = inf", lambda m, x: x.norm(math.inf, 1), (2, 3)),
    both("pick", "p = -inf", lambda m, x: m.norm(x, -math.inf), (2, 3)),
    functional("finite_norm", "rows", "normalize", (2, 3)),
    functional("finite_norm", "columns", "normalize", (2, 3), p=3.0, dim=0, eps=1e-3),
    functional("finite_norm", "shorter than eps", "normalize", (2, 3), eps=9.0),
    functional("finite_norm", "images", "normalize", (2, 3, 2, 2), dim=(2, 3)),
    functional("pick", "by the largest", "normalize", (2, 3), p=math.inf),
]

PLAIN = [
    plain("norm", "p = 0", lambda m, x: m.norm(x * m.tensor([0, 1, 1]), 0, 1).detach(), (2, 3)),
    plain("norm", "in another type", lambda m, x: x.norm(dtype=m.float64), (2, 3)),
    plain("norm", "none named", lambda m, x: m.norm(x, None), (2, 3)),
]
