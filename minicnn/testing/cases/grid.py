"""Rows for `minicnn.ops.grid`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.ops.grid import match_samples, sample, spread_samples
from minicnn.testing.cases.case import Case, both

PIXELS = np.random.default_rng(2).integers(-1, 5, (3, 4))


def sampled(name: str, image: tuple[int, ...], points: tuple[int, ...], **settings: Any) -> Case:
    """Make a row for `grid_sample`; the points lie in and around the image."""
    return both(
        "sample",
        name,
        lambda m, x, grid: m.nn.functional.grid_sample(x, grid, **settings),
        image,
        points,
        through="grid_sample",
    )


ROWS = [
    sampled("bilinear", (2, 2, 3, 4), (2, 2, 3, 2), align_corners=False),
    sampled("bilinear, corners aligned", (1, 2, 3, 4), (1, 3, 2, 2), align_corners=True),
    sampled("bilinear, border", (1, 2, 3, 4), (1, 3, 2, 2),
            padding_mode="border", align_corners=False),
    sampled("bilinear, border, corners aligned", (1, 1, 4, 2), (1, 3, 2, 2),
            padding_mode="border", align_corners=True),
    sampled("bilinear, reflected", (1, 2, 3, 4), (1, 3, 2, 2),
            padding_mode="reflection", align_corners=False),
    sampled("bilinear, reflected, corners aligned", (1, 2, 3, 4), (1, 3, 2, 2),
            padding_mode="reflection", align_corners=True),
    sampled("bilinear, batch 0", (0, 2, 3, 4), (0, 3, 2, 2), align_corners=False),
    sampled("bilinear, no points", (1, 2, 3, 4), (1, 0, 2, 2), align_corners=False),
    sampled("bilinear, three sides", (1, 2, 2, 3, 2), (1, 2, 1, 2, 3), align_corners=False),
    sampled("bilinear, three sides, reflected", (1, 1, 2, 3, 2), (1, 2, 1, 2, 3),
            padding_mode="reflection", align_corners=True),
    sampled("nearest", (2, 2, 3, 4), (2, 2, 3, 2), mode="nearest", align_corners=False),
    sampled("nearest, border, three sides", (1, 2, 2, 3, 2), (1, 2, 1, 2, 3),
            mode="nearest", padding_mode="border", align_corners=True),
    sampled("bicubic", (1, 2, 4, 3), (1, 2, 3, 2), mode="bicubic", align_corners=False),
    sampled("bicubic, border", (1, 2, 4, 3), (1, 2, 3, 2),
            mode="bicubic", padding_mode="border", align_corners=True),
    sampled("bicubic, reflected", (1, 2, 4, 3), (1, 2, 3, 2),
            mode="bicubic", padding_mode="reflection", align_corners=False),
    Case("sample", "given pixels", lambda x, w: sample(x, w, PIXELS), ((5, 2), (3, 4))),
    Case("spread_samples", "given pixels", lambda dy, w: spread_samples(dy, w, PIXELS, 5),
         ((4, 2), (3, 4))),
    Case("match_samples", "given pixels", lambda x, dy: match_samples(x, dy, PIXELS),
         ((5, 2), (4, 2))),
    both("piecewise_linear", "affine maps of a square",
         lambda m, x, t: m.nn.functional.grid_sample(
             x, m.nn.functional.affine_grid(t, (2, 1, 2, 3), align_corners=False),
             align_corners=False),
         (2, 1, 3, 4), (2, 2, 3), through="affine_grid"),
    both("matrix_product", "affine map of a square",
         lambda m, t: m.nn.functional.affine_grid(t, (2, 1, 2, 3), align_corners=True),
         (2, 2, 3), through="affine_grid"),
    both("matrix_product", "affine map of a cube",
         lambda m, t: m.nn.functional.affine_grid(t, (1, 1, 2, 3, 2), align_corners=False),
         (1, 3, 4), through="affine_grid"),
]  # fmt: skip
