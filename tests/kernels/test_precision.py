from __future__ import annotations

from minicnn_kernels.precision import MODES, math_mode


def test_products_are_exact_unless_asked_otherwise():
    assert math_mode.get() == "fp32"
    assert math_mode.get() in MODES
