from __future__ import annotations

import numpy as np
import pytest
from geometries import integers
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from scipy import signal

from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor
from minicnn.testing.strategies import conv_geometries
from minicnn_kernels.geometry import Windows


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


def same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.array, theirs, rtol=1e-12, atol=1e-12)


def test_conv2d_is_scipys_correlation_plus_bias():
    x, w, b = integers((2, 3, 5, 6)), integers((2, 3, 3, 2), 1), np.array([10.0, -10.0])
    expected = [
        [
            sum(signal.correlate2d(i[c], k[c], "valid") for c in range(3)) + b[o]
            for o, k in enumerate(w)
        ]
        for i in x
    ]
    same(F.conv2d(Tensor(x), Tensor(w), Tensor(b)), np.array(expected))


def test_conv2d_of_one_image():
    x, w = integers((2, 4, 5)), integers((3, 2, 2, 2), 1)
    same(F.conv2d(Tensor(x), Tensor(w)), F.conv2d(Tensor(x[None]), Tensor(w)).array[0])


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (5, 2)])
@pytest.mark.parametrize("dilation", [1, (2, 1), 3])
def test_same_keeps_the_size_and_pads_the_end_more(torch, kernel, dilation):
    x, w = integers((1, 1, 6, 7)), integers((1, 1, *kernel), 1)
    y = F.conv2d(Tensor(x), Tensor(w), padding="same", dilation=dilation)
    (top, bottom), (left, right) = (
        (d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2)
        for k, d in zip(kernel, np.broadcast_to(dilation, 2).tolist(), strict=True)
    )
    padded = torch.nn.functional.pad(torch.tensor(x), (left, right, top, bottom))
    assert y.shape == (1, 1, 6, 7)
    same(y, torch.nn.functional.conv2d(padded, torch.tensor(w), dilation=dilation))


def test_valid_is_no_padding():
    x, w = ones(1, 1, 4, 4), ones(1, 1, 3, 3)
    same(F.conv2d(x, w, padding="valid"), F.conv2d(x, w).array)


def test_an_integer_is_a_pair():
    x, w = Tensor(integers((1, 1, 9, 9))), Tensor(integers((1, 1, 2, 2), 1))
    same(F.conv2d(x, w, None, 2, 1, 3), F.conv2d(x, w, None, (2, 2), [1, 1], (3,)).array)


X, W = (2, 4, 5, 5), (6, 4, 3, 3)


@pytest.mark.parametrize(("x", "w", "b", "settings", "kind", "parts"), [
    ((2, 4, 5, 5, 1), W, None, {}, ShapeError, ["input", "(2, 4, 5, 5, 1)"]),
    ((4, 5), W, None, {}, ShapeError, ["input", "(4, 5)"]),
    (X, (6, 4, 3), None, {}, ShapeError, ["weight", "(6, 4, 3)"]),
    (X, (6, 3, 3, 3), None, {}, ShapeError, ["groups=1", "(6, 3, 3, 3)", "(2, 4, 5, 5)"]),
    (X, W, None, {"groups": 2}, ShapeError, ["groups=2", "8 input channels"]),
    (X, (5, 2, 3, 3), None, {"groups": 2}, ShapeError, ["a multiple of 2"]),
    (X, W, None, {"groups": 0}, ShapeError, ["groups", "at least 1", "got 0"]),
    (X, W, None, {"groups": 1.0}, DTypeError, ["groups", "1.0"]),
    (X, (6, 4, 0, 3), None, {}, ShapeError, ["weight is empty", "(6, 4, 0, 3)"]),
    (X, (0, 4, 3, 3), None, {}, ShapeError, ["weight is empty", "(0, 4, 3, 3)"]),
    ((2, 4, 0, 5), (6, 4, 1, 1), None, {"padding": 1}, ShapeError, ["image is empty"]),
    (X, W, (5,), {}, ShapeError, ["bias", "(6,)", "(5,)"]),
    (X, W, (6, 1), {}, ShapeError, ["bias", "(6, 1)"]),
    (X, (6, 4, 6, 3), None, {}, ShapeError, ["(6, 3)", "(5, 5)", "larger image or padding"]),
    (X, W, None, {"dilation": 3}, ShapeError, ["(7, 7)", "dilation (3, 3)"]),
    (X, W, None, {"stride": 0}, ShapeError, ["stride", "at least 1", "0"]),
    (X, W, None, {"stride": 1.5}, DTypeError, ["stride", "1.5"]),
    (X, W, None, {"padding": None}, DTypeError, ["padding", "None"]),
    (X, W, None, {"dilation": (1, 0)}, ShapeError, ["dilation", "(1, 0)"]),
    (X, W, None, {"padding": -1}, ShapeError, ["padding", "-1"]),
    (X, W, None, {"padding": (1, 2, 3)}, ShapeError, ["padding", "(1, 2, 3)"]),
    (X, W, None, {"padding": "full"}, ArgumentError, ["padding", "'full'"]),
    (X, W, None, {"padding": "same", "stride": 2}, ArgumentError, ['padding="same"', "stride 1"]),
])  # fmt: skip
def test_conv2d_names_what_does_not_fit(x, w, b, settings, kind, parts):
    with pytest.raises(kind) as error:
        F.conv2d(ones(*x), ones(*w), b and ones(*b), **settings)
    for part in ("conv2d", *parts):
        assert part in str(error.value)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_names_in_a_message_are_those_of_the_function(ndim):
    names = {1: "(O, C/groups, KW)", 2: "(O, C/groups, KH, KW)", 3: "(O, C/groups, KD, KH, KW)"}
    wrong = ones(*(1,) * (ndim + 1))
    with pytest.raises(ShapeError) as error:
        getattr(F, f"conv{ndim}d")(ones(*(1,) * (ndim + 2)), wrong)
    assert f"conv{ndim}d: weight must be {names[ndim]}" in str(error.value)
    with pytest.raises(ShapeError, match=rf"conv_transpose{ndim}d: weight must be \(C, O/groups, "):
        getattr(F, f"conv_transpose{ndim}d")(ones(*(1,) * (ndim + 2)), wrong)


@pytest.mark.parametrize("types", [("f8", "f4"), ("i8", "f8"), ("f8", "i8"), ("u1", "f4")])
def test_one_element_type_for_all(types):
    x, w = (ones(1, 1, 3, 3, dtype=np.dtype(name)) for name in types)
    for function in (F.conv2d, F.conv_transpose2d):
        with pytest.raises(DTypeError, match=f"input {x.dtype}, weight {w.dtype}; use .to"):
            function(x, w)
    with pytest.raises(DTypeError, match=f"bias {w.dtype}"):
        F.conv2d(x, x, ones(1, dtype=w.dtype))


# --- other element types, and nothing at all ------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8"])
def test_whole_numbers_stay_whole(dtype):
    x, w = (
        np.abs(integers(shape, seed)) for seed, shape in enumerate([(2, 2, 4, 3), (3, 2, 2, 2)])
    )
    narrow = F.conv2d(*(Tensor(a.astype(dtype)) for a in (x, w, np.ones(3))), padding=1)
    assert narrow.dtype == np.dtype(dtype)
    exact = F.conv2d(*map(Tensor, (x, w, np.ones(3))), padding=1).array
    np.testing.assert_array_equal(narrow.array, exact.astype(np.int64).astype(dtype))


def test_truth_values_give_whether_any_pixel_is_hit():
    x, w = Tensor(np.eye(3, dtype=bool)[None, None]), Tensor(np.array([[[[True, False]]]]))
    assert F.conv2d(x, w).array[0, 0].tolist() == [[True, False], [False, True], [False, False]]


def test_no_channels_leave_the_bias():
    y = F.conv2d(ones(2, 0, 3, 3), ones(2, 0, 2, 2), Tensor(np.array([1.0, 2.0])))
    assert y.array[:, :, 0, 0].tolist() == [[1, 2], [1, 2]]
    assert y.shape == (2, 2, 2, 2)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_no_images(ndim):
    x, w = ones(0, 2, *(4,) * ndim), ones(3, 2, *(2,) * ndim)
    assert getattr(F, f"conv{ndim}d")(x, w, ones(3)).shape == (0, 3, *(3,) * ndim)
    spread = getattr(F, f"conv_transpose{ndim}d")(ones(0, 3, *(4,) * ndim), w, ones(2), stride=2)
    assert spread.shape == (0, 2, *(8,) * ndim)


# --- one and three sides --------------------------------------------------------------------------


def by_loops(x, w, stride, padding, dilation):
    """Correlate one image with filters as the formula says; any number of sides."""
    padded = np.pad(x, [(0, 0), *((p, p) for p in padding)])
    windows = Windows(x.shape[1:], w.shape[2:], stride, padding, dilation)
    y = np.zeros((len(w), *windows.output))
    for o, *place in np.ndindex(y.shape):
        first = [i * s for i, s in zip(place, stride, strict=True)]
        for c, *cell in np.ndindex(w.shape[1:]):
            pixel = [i + a * d for i, a, d in zip(first, cell, dilation, strict=True)]
            y[o, *place] += padded[c, *pixel] * w[o, c, *cell]
    return y


SEVERAL_SIDES = [
    ((2, 7), (3, 2, 3), (2,), (1,), (2,)),
    ((2, 5, 6), (1, 2, 3, 2), (1, 3), (2, 0), (2, 1)),
    ((1, 4, 3, 5), (2, 1, 2, 1, 3), (2, 1, 1), (1, 0, 2), (1, 3, 2)),
]


@pytest.mark.parametrize(("image", "filters", "stride", "padding", "dilation"), SEVERAL_SIDES)
def test_any_number_of_sides_by_definition(image, filters, stride, padding, dilation):
    x, w = integers(image), integers(filters, 1)
    convolve = getattr(F, f"conv{len(stride)}d")
    y = convolve(Tensor(x), Tensor(w), None, stride, padding, dilation)
    np.testing.assert_array_equal(y.array, by_loops(x, w, stride, padding, dilation))


def test_a_causal_convolution_sees_nothing_of_the_future():
    x, w, dilation = integers((1, 2, 9)), Tensor(integers((3, 2, 3), 1)), 2
    later = x.copy()
    later[..., 5:] += 1
    y, z = (
        F.conv1d(F.pad(Tensor(a), (dilation * 2, 0)), w, dilation=dilation).array
        for a in (x, later)
    )
    assert y.shape == (1, 3, 9)
    np.testing.assert_array_equal(y[..., :5], z[..., :5])
    assert (y[..., 5:] != z[..., 5:]).all(-1).any()


# --- transposed convolution -----------------------------------------------------------------------


@given(st.integers(1, 3).flatmap(lambda dims: conv_geometries(dims, transposed=True, max_side=5)))
def test_transposed_is_the_adjoint(g):
    x, w = integers(g.input_shape), integers(g.weight_shape, 1)
    dy = integers(g.output_shape, 2)
    y = getattr(F, f"conv_transpose{len(g.image)}d")(Tensor(x), Tensor(w), **g.settings)
    settings = {key: value for key, value in g.settings.items() if key != "output_padding"}
    back = getattr(F, f"conv{len(g.image)}d")(Tensor(dy), Tensor(w), **settings)
    assert y.shape == g.output_shape
    assert (y.array * dy).sum() == (x * back.array).sum()


def test_transposed_spreads_each_pixel_with_the_filter():
    y = F.conv_transpose1d(Tensor(np.array([[1.0, 10.0]])), Tensor(np.array([[[1.0, 2, 3]]])))
    assert y.array.tolist() == [[1, 12, 23, 30]]
    y = F.conv_transpose1d(
        Tensor(np.array([[1.0, 10.0]])), Tensor(np.array([[[1.0, 2]]])), stride=3, output_padding=2
    )
    assert y.array.tolist() == [[1, 2, 0, 10, 20, 0, 0]]


def test_output_padding_beyond_the_stride_leaves_the_bias_at_the_end():
    x, w, b = (Tensor(np.array(a)) for a in ([[1.0, 10.0]], [[[1.0, 2.0]]], [0.5]))
    y = F.conv_transpose1d(x, w, b, output_padding=2, dilation=3)
    assert y.array.tolist() == [[1.5, 10.5, 0.5, 2.5, 20.5, 0.5, 0.5]]


REFUSALS = [
    refused("groups", lambda m: m.nn.functional.conv_transpose2d(
        m.ones(1, 4, 3, 3), m.ones(4, 1, 2, 2), groups=3), "multiple of 3"),
    refused("channels", lambda m: m.nn.functional.conv_transpose2d(
        m.ones(1, 3, 3, 3), m.ones(4, 1, 2, 2)), "4 input channels", "(1, 3, 3, 3)"),
    refused("bias", lambda m: m.nn.functional.conv_transpose2d(
        m.ones(1, 4, 3, 3), m.ones(4, 2, 2, 2), m.ones(2), groups=2), "bias", "(2,)"),
    refused("no filters", lambda m: m.nn.functional.conv_transpose2d(
        m.ones(1, 1, 3, 3), m.ones(1, 0, 2, 2)), "weight is empty"),
    refused("no pixels left", lambda m: m.nn.functional.conv_transpose2d(
        m.ones(1, 1, 2, 3), m.ones(1, 1, 2, 2), padding=2), "(-1, 0) pixels", "less padding"),
    refused("no image", lambda m: m.nn.functional.conv_transpose1d(
        m.ones(1, 1, 0), m.ones(1, 1, 3)), "image is empty"),
    refused("output padding", lambda m: m.nn.functional.conv_transpose2d(
        m.ones(1, 1, 3, 3), m.ones(1, 1, 2, 2), stride=(3, 1), output_padding=1),
        "output_padding (1, 1)"),
    refused("named padding", lambda m: m.nn.functional.conv_transpose2d(
        m.ones(1, 1, 3, 3), m.ones(1, 1, 2, 2), padding="same"), "'same'"),
    refused("dimensions", lambda m: m.nn.functional.conv_transpose3d(
        m.ones(1, 1, 3), m.ones(1, 1, 2, 2, 2)), "(C, D, H, W)"),
    refused("3d input for 1d", lambda m: m.nn.functional.conv1d(
        m.ones(1, 1, 3, 3), m.ones(1, 1, 2)), "conv1d: input must be (N, C, L)"),
    refused("fold of a tuple of one", lambda m: m.nn.functional.fold(
        m.ones(1, 4, 4), (3,), 2), "output_size", "(3,)"),
    refused("unfold of a tuple of one", lambda m: m.nn.functional.unfold(
        m.ones(1, 1, 3, 3), (2,)), "kernel_size", "(2,)"),
    refused("unfold without channels", lambda m: m.nn.functional.unfold(
        m.ones(1, 0, 3, 3), 2), "empty"),
    refused("unfold by fractions", lambda m: m.nn.functional.unfold(
        m.ones(1, 1, 3, 3), 1.5), "kernel_size", "1.5"),
    refused("fold without channels", lambda m: m.nn.functional.fold(
        m.ones(1, 0, 4), (3, 3), 2), "(1, 0, 4)"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused_as_in_torch(refusal, torch):
    refusal.check(torch)


# --- windows as columns ---------------------------------------------------------------------------


def test_unfold_of_one_image_and_of_many():
    x = integers((2, 3, 4, 5))
    cols = F.unfold(Tensor(x), (2, 3), stride=(2, 1))
    assert cols.shape == (2, 3 * 6, 2 * 3)
    same(F.unfold(Tensor(x[0]), (2, 3), stride=(2, 1)), cols.array[0])
    assert cols.array[1, :6, 4].tolist() == x[1, 0, 2:4, 1:4].ravel().tolist()


def test_fold_counts_the_windows_of_each_pixel():
    x = ones(1, 1, 4, 4)
    back = F.fold(F.unfold(x, 3, padding=1), (4, 4), 3, padding=1)
    assert back.array[0, 0].tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]


@pytest.mark.parametrize(("shape", "parts"), [
    ((1, 5, 4), ["C*4", "(1, 5, 4)"]), ((1, 4, 5), ["4 windows", "(1, 4, 5)"]),
    ((1, 1, 4, 4), ["(N, C*KH*KW, L)", "(1, 1, 4, 4)"]), ((4,), ["(4,)"]),
])  # fmt: skip
def test_fold_names_what_does_not_fit(shape, parts):
    with pytest.raises(ShapeError) as error:
        F.fold(ones(*shape), (3, 3), 2)
    for part in ("fold", *parts):
        assert part in str(error.value)


def test_unfold_needs_an_image_that_is_large_enough():
    with pytest.raises(ShapeError, match=r"unfold: a kernel of \(4, 4\)"):
        F.unfold(ones(1, 1, 3, 3), 4)
