"""Operands of convolutions for kernels on cards, and how results are compared."""

from __future__ import annotations

import numpy as np

from minicnn_kernels.geometry import Windows
from minicnn_kernels.reference.convolution import conv_im2col, conv_weight_im2col


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


def check_with_what_follows(card, rng, conv, case):
    """Check the bias, the sum and the rectifier that `conv` takes along."""
    x, w, dy, settings = operands(case, rng)
    b = rng.standard_normal(len(w)).astype(np.float32)
    expected = conv_im2col(*double(x, w), **settings) + b[:, None, None]
    for add, relu in [(None, False), (dy, False), (dy, True)]:
        arrays = {"bias": card.array(b), "add": None if add is None else card.array(add)}
        y = conv(card.array(x), card.array(w), relu=relu, **arrays, **settings)
        summed = expected + (0 if add is None else add)
        assert_close(y, np.maximum(summed, 0) if relu else summed)


def check_in_order(card, rng, kernels, case, seed):
    """Check forward and the gradient by w with threads that take turns in an order of this seed."""
    card.machine.turns = {"seed": seed}
    x, w, dy, settings = operands(case, rng)
    y = kernels.conv(card.array(x), card.array(w), **settings)
    assert_close(y, conv_im2col(*double(x, w), **settings))
    dw = kernels.conv_weight(card.array(x), card.array(dy), size=w.shape[2:], **settings)
    assert_close(dw, conv_weight_im2col(*double(x, dy), size=w.shape[2:], **settings))
