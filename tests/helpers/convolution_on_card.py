"""Operands of convolutions for kernels on cards, and how results are compared."""

from __future__ import annotations

from functools import partialmethod

import emulation
import numpy as np

from minicnn_kernels.geometry import Windows


def operands(case, rng):
    """Draw x, w and dy in float32, and return the settings."""
    images, channels, filters, groups, image, kernel, stride, padding, dilation = case
    windows = Windows(image, kernel, stride, padding, dilation)
    shapes = (images, channels, *image), (filters, channels // groups, *kernel)
    arrays = [
        rng.standard_normal(shape).astype(np.float32)
        for shape in (*shapes, (images, filters, *windows.output))
    ]
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return *arrays, settings


def double(*arrays):
    return [a.astype(np.float64) for a in arrays]


def assert_close(found, expected, bound=2e-6):
    found = found.get().astype(np.float64)
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= bound * np.linalg.norm(expected)


def take_turns(monkeypatch, seed):
    """Let threads, warps and blocks of emulated kernels take turns in an order of this seed."""
    turned = partialmethod(emulation.Module.launch, seed=seed)
    monkeypatch.setattr(emulation.Module, "launch", turned)
