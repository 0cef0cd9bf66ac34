from __future__ import annotations

import numpy as np
import pytest
from geometries import integers
from scipy import signal

from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


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
    (X, (5, 2, 3, 3), None, {"groups": 2}, ShapeError, ["multiple of 2 filters"]),
    (X, W, None, {"groups": 0}, ShapeError, ["groups=0"]),
    (X, (6, 4, 0, 3), None, {}, ShapeError, ["weight is empty", "(6, 4, 0, 3)"]),
    (X, (0, 4, 3, 3), None, {}, ShapeError, ["weight is empty", "(0, 4, 3, 3)"]),
    ((2, 0, 5, 5), (6, 0, 3, 3), None, {}, ShapeError, ["weight is empty"]),
    (X, W, (5,), {}, ShapeError, ["bias", "(6,)", "(5,)"]),
    (X, W, (6, 1), {}, ShapeError, ["bias", "(6, 1)"]),
    (X, (6, 4, 6, 3), None, {}, ShapeError, ["(6, 3)", "(5, 5)", "larger image or padding"]),
    (X, W, None, {"dilation": 3}, ShapeError, ["(7, 7)", "dilation (3, 3)"]),
    (X, W, None, {"stride": 0}, ShapeError, ["stride", "at least 1", "0"]),
    (X, W, None, {"stride": 1.5}, ShapeError, ["stride", "1.5"]),
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


@pytest.mark.parametrize("name", ["input", "weight"])
def test_conv2d_needs_floating_point_numbers(name):
    x = ones(1, 1, 3, 3, dtype=int if name == "input" else float)
    w = ones(1, 1, 3, 3, dtype=int if name == "weight" else float)
    with pytest.raises(DTypeError, match=f"conv2d: {name} must be floating-point, got int64"):
        F.conv2d(x, w)


def test_conv2d_does_not_mix_types():
    with pytest.raises(DTypeError, match="conv2d got float32 and float64"):
        F.conv2d(ones(1, 1, 3, 3, dtype=np.float32), ones(1, 1, 3, 3))


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
