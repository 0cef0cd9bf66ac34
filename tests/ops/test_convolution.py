"""The kernels have tests of their own; here is what the operations add: who calls whom."""

from __future__ import annotations

import numpy as np
import pytest
from geometries import integers
from hypothesis import given
from hypothesis import strategies as st

import minicnn
import minicnn_kernels as kernels
from minicnn.ops.convolution import col2im, conv, conv_input, conv_weight, im2col
from minicnn.tensor import Tensor
from minicnn.testing.strategies import conv_geometries
from minicnn_kernels.geometry import Windows

SETTINGS = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
SIZE, KERNEL = (5, 6), (3, 2)


@pytest.fixture
def x():
    return integers((2, 4, *SIZE))


@pytest.fixture
def w():
    return integers((6, 2, *KERNEL), seed=1)


@pytest.fixture
def dy(x, w):
    return integers(kernels.conv(x, w, **SETTINGS).shape, seed=2)


def test_values_by_definition(x, w, dy):
    with minicnn.use_algorithms(conv="loops", conv_input="loops", conv_weight="loops"):
        expected = [
            kernels.conv(x, w, **SETTINGS),
            kernels.conv_input(dy, w, size=SIZE, **SETTINGS),
            kernels.conv_weight(x, dy, size=KERNEL, **SETTINGS),
        ]
    x, w, dy = map(Tensor, (x, w, dy))
    results = [
        conv(x, w, **SETTINGS),
        conv_input(dy, w, size=SIZE, **SETTINGS),
        conv_weight(x, dy, size=KERNEL, **SETTINGS),
    ]
    for result, correct in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result.array, correct)


def test_each_gradient_is_one_of_the_other_two(x, w, dy):
    image, filters, upstream = (Tensor(a, requires_grad=True) for a in (x, w, dy))
    dx, dw = minicnn.grad(conv(image, filters, **SETTINGS), [image, filters], upstream)
    np.testing.assert_array_equal(dx.array, kernels.conv_input(dy, w, size=SIZE, **SETTINGS))
    np.testing.assert_array_equal(dw.array, kernels.conv_weight(x, dy, size=KERNEL, **SETTINGS))


@pytest.mark.parametrize("needed", ["input", "weight"])
def test_only_the_gradient_that_is_needed_is_computed(monkeypatch, x, w, needed):
    image = Tensor(x, requires_grad=needed == "input")
    filters = Tensor(w, requires_grad=needed == "weight")
    other = "conv_weight" if needed == "input" else "conv_input"
    monkeypatch.setattr(kernels, other, lambda *_, **__: pytest.fail(f"{other} was computed"))
    conv(image, filters, **SETTINGS).sum().backward()
    assert (image if needed == "input" else filters).grad is not None


@pytest.mark.parametrize(
    "algorithm",
    sorted(
        n
        for n, algorithm in kernels.conv_input.algorithms.items()
        if "cpu" in algorithm.devices
        and not n.startswith(("fft", "winograd", "padded_lines", "one_window"))
    ),
)
def test_the_algorithm_of_a_gradient_can_be_chosen(algorithm):
    image, filters = integers((2, 3, *SIZE)), integers((3, 1, *KERNEL), seed=1)

    def gradient():
        x = Tensor(image, requires_grad=True)
        conv(x, Tensor(filters), **{**SETTINGS, "groups": 3}).sum().backward()
        return x.grad.array

    expected = gradient()
    with minicnn.use_algorithms(conv_input=algorithm):
        np.testing.assert_array_equal(gradient(), expected)


@given(st.integers(1, 3).flatmap(lambda dims: conv_geometries(dims, max_side=5)))
def test_the_three_are_adjoint_for_any_number_of_sides(g):
    x, w, dy = (
        integers(shape, seed)
        for seed, shape in enumerate([g.input_shape, g.weight_shape, g.output_shape])
    )
    from_output = (conv(x, w, **g.settings) * dy).sum()
    assert (conv_input(dy, w, g.image, **g.settings) * x).sum() == from_output
    assert (conv_weight(x, dy, g.kernel, **g.settings) * w).sum() == from_output


def test_windows_as_columns_are_the_matrix_of_a_convolution(x, w):
    windows = Windows(SIZE, KERNEL, (2, 1), (1, 0), (1, 2))
    cols = im2col(x, windows)[:, :2].reshape(2, 2 * 6, -1)
    product = w[:3].reshape(3, -1) @ cols
    expected = kernels.conv(x, w, **SETTINGS)[:, :3]
    np.testing.assert_array_equal(product.reshape(expected.shape), expected)


def test_im2col_and_col2im_are_each_others_gradient():
    windows = Windows((3, 4), (2, 2))
    cols = integers((1, 1, 2, 2, 2, 3))
    x = Tensor(integers((1, 1, 3, 4)), requires_grad=True)
    (dx,) = minicnn.grad(im2col(x, windows), x, Tensor(cols))
    np.testing.assert_array_equal(dx.array, col2im(cols, windows))


def test_a_change_after_im2col_of_single_pixels_cannot_pass_unseen():
    x = Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    cols = im2col(x, Windows((2, 2), (1, 1)))
    y = (cols * cols).sum()
    with minicnn.no_grad():
        x.zero_()
    y.backward()
    assert (x.grad.array == 2).all()
