from __future__ import annotations

import numpy as np
import pytest
from geometries import integers
from refusals import refused

import minicnn
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


def same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.array, theirs, rtol=1e-12, atol=1e-12)


POOLS = [F.max_pool2d, F.avg_pool2d]


each_pool = pytest.mark.parametrize("pool", POOLS, ids=lambda f: f.__name__)


@each_pool
def test_the_stride_is_the_kernel_unless_given(pool):
    x = Tensor(integers((1, 1, 5, 7)))
    for stride in (None, (), (2, 3)):
        same(pool(x, (2, 3), stride), pool(x, (2, 3), (2, 3)).array)


@each_pool
def test_one_image(pool):
    x = integers((2, 3, 5, 7))
    same(pool(Tensor(x[1]), 2, 1), pool(Tensor(x), 2, 1).array[1])


@each_pool
@pytest.mark.parametrize(("shape", "settings", "kind", "parts"), [
    ((5, 5), {"kernel_size": 2}, ShapeError, ["input", "(5, 5)"]),
    ((1, 1, 5, 5), {"kernel_size": 0}, ShapeError, ["kernel_size", "at least 1"]),
    ((1, 1, 5, 5), {"kernel_size": 2, "stride": 0}, ShapeError, ["stride", "0"]),
    ((1, 1, 5, 5), {"kernel_size": 6}, ShapeError, ["(6, 6)", "(5, 5)"]),
    ((1, 1, 5, 5), {"kernel_size": 2, "padding": 2}, ArgumentError, ["padding (2, 2)", "(2, 2)"]),
    ((1, 1, 5, 5), {"kernel_size": (3, 1), "padding": 1}, ArgumentError, ["(1, 1)", "(3, 1)"]),
    ((1, 1, 0, 5), {"kernel_size": 1}, ShapeError, ["empty", "(1, 1, 0, 5)"]),
])  # fmt: skip
def test_pooling_names_what_does_not_fit(pool, shape, settings, kind, parts):
    with pytest.raises(kind) as error:
        pool(ones(*shape), **settings)
    for part in (pool.__name__, *parts):
        assert part in str(error.value)


def test_a_divisor_is_not_zero():
    with pytest.raises(ArgumentError, match="avg_pool2d: divisor_override must not be zero"):
        F.avg_pool2d(ones(1, 1, 4, 4), 2, divisor_override=0)


def test_means_of_integers_are_rounded_towards_zero():
    x = Tensor(np.array([[[-3, -2, 2, 5]]]))
    assert F.avg_pool1d(x, 2).tolist() == [[[-2, 3]]]
    assert F.avg_pool1d(x, 2).dtype == np.int64
    with pytest.raises(DTypeError, match="adaptive_avg_pool1d: input must be floating-point"):
        F.adaptive_avg_pool1d(x, 3)


def test_maxima_of_integers_are_not():
    assert F.max_pool2d(Tensor(np.arange(4).reshape(1, 1, 2, 2)), 2).tolist() == [[[[3]]]]


# --- minimum and median ---------------------------------------------------------------------------


def medians_by_definition(x, kernel, stride, padding):
    """Return the lower median of the pixels of each window of one image."""
    counts = [
        (n + 2 * p - k) // s + 1
        for n, k, s, p in zip(x.shape, kernel, stride, padding, strict=True)
    ]
    y = np.empty(counts)
    for place in np.ndindex(*counts):
        first = [i * s - p for i, s, p in zip(place, stride, padding, strict=True)]
        part = x[tuple(slice(max(i, 0), i + k) for i, k in zip(first, kernel, strict=True))]
        y[place] = np.sort(part.ravel())[(part.size - 1) // 2]
    return y


@pytest.mark.parametrize(("image", "kernel", "stride", "padding"), [
    ((7,), (3,), (2,), (1,)),
    ((5, 6), (3, 2), (1, 2), (1, 1)),
    ((4, 5), (4, 4), (3, 1), (2, 0)),
    ((3, 4, 3), (2, 3, 2), (1, 1, 2), (1, 0, 1)),
])  # fmt: skip
def test_the_median_by_definition(rng, image, kernel, stride, padding):
    x = rng.normal(size=(2, *image))
    median_pool = getattr(F, f"median_pool{len(image)}d")
    y = median_pool(Tensor(x), kernel, stride, padding).array
    expected = [medians_by_definition(channel, kernel, stride, padding) for channel in x]
    np.testing.assert_array_equal(y, expected)


def test_the_median_of_a_window_with_nan_is_nan():
    x = Tensor(np.array([[[1.0, np.nan, 2.0, 3.0, 4.0, 6.0]]]))
    np.testing.assert_array_equal(F.median_pool1d(x, 3).array, [[[np.nan, 4.0]]])


def test_a_single_wrong_pixel_does_not_survive_the_median():
    x = np.zeros((1, 5, 5))
    x[0, 2, 2] = 100.0
    assert F.median_pool2d(Tensor(x), 3, 1, 1).sum().item() == 0
    assert F.max_pool2d(Tensor(x), 3, 1, 1).sum().item() == 900


def test_the_minimum_is_the_maximum_turned_over(rng):
    x = Tensor(rng.normal(size=(1, 2, 5, 6)))
    np.testing.assert_array_equal(
        F.min_pool2d(x, 3, 2, 1, ceil_mode=True).array,
        -F.max_pool2d(-x, 3, 2, 1, ceil_mode=True).array,
    )


# --- positions ------------------------------------------------------------------------------------


def test_the_padding_never_wins_not_even_against_the_smallest_value(torch):
    x = np.full((1, 1, 3, 4), -np.inf)
    y, indices = F.max_pool2d(Tensor(x), 2, 1, 1, (2, 3), return_indices=True)
    _, expected = torch.nn.functional.max_pool2d(
        torch.tensor(x), 2, 1, 1, (2, 3), return_indices=True
    )
    assert indices.tolist() == expected.tolist()
    assert (y.array == -np.inf).all()


def test_positions_lead_back_to_an_image_of_a_given_size(torch, rng):
    x = rng.normal(size=(2, 5, 6))
    results = []
    for m, image in ((minicnn, Tensor(x)), (torch, torch.tensor(x))):
        F_ = m.nn.functional
        y, indices = F_.max_pool2d(image, (2, 3), return_indices=True)
        results.append(F_.max_unpool2d(y, indices, (2, 3), output_size=(5, 6)))
    assert results[0].shape == (2, 5, 6)
    np.testing.assert_array_equal(results[0].array, results[1].numpy())


def images(m, *shape, dtype="float64"):
    return m.zeros(shape, dtype=getattr(m, dtype))


REFUSED = [
    refused("a number too many", lambda m: m.nn.functional.max_pool2d(images(m, 1, 1, 5, 5),
            (1, 2, 3)), "kernel_size", "(1, 2, 3)"),
    refused("padding over half", lambda m: m.nn.functional.max_pool1d(images(m, 1, 5), 3,
            padding=2), "padding"),
    refused("no such sides", lambda m: m.nn.functional.max_pool3d(images(m, 1, 2, 2), 1), "D, H"),
    refused("no dilation", lambda m: m.nn.functional.max_pool2d(images(m, 1, 5, 5), 2, dilation=0),
            "dilation"),
    refused("kernel too large", lambda m: m.nn.functional.avg_pool3d(images(m, 1, 2, 3, 3), 3)),
    refused("no divisor", lambda m: m.nn.functional.avg_pool3d(images(m, 1, 3, 3, 3), 2,
            divisor_override=0), "divisor_override"),
    refused("no channel", lambda m: m.nn.functional.avg_pool2d(images(m, 2, 0, 3, 3), 2), "empty"),
    refused("three sizes", lambda m: m.nn.functional.adaptive_max_pool2d(images(m, 1, 3, 3),
            (1, 2, 3)), "output_size"),
    refused("negative size", lambda m: m.nn.functional.adaptive_avg_pool3d(
            images(m, 1, 3, 3, 3), -1), "output_size"),
    refused("positions that are no integers", lambda m: m.nn.functional.max_unpool2d(
            images(m, 1, 2, 2), images(m, 1, 2, 2), 2), "int64"),
    refused("a position beyond the image", lambda m: m.nn.functional.max_unpool2d(
            images(m, 1, 1, 1), m.tensor([[[9]]]), 2), "[0, 4)", "9"),
    refused("positions of another shape", lambda m: m.nn.functional.max_unpool1d(
            images(m, 1, 2), m.tensor([[1]]), 2), "(1, 1)", "(1, 2)"),
    refused("a size that cannot have been", lambda m: m.nn.functional.max_unpool1d(
            images(m, 1, 1, 1), m.tensor([[[1]]]), 2, output_size=(9,)), "output_size", "(9,)"),
    refused("power of booleans to infinity", lambda m: m.nn.functional.lp_pool1d(
            images(m, 1, 4, dtype="bool"), float("inf"), 2)),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_bad_input_is_refused_as_by_torch(refusal, torch):
    refusal.check(torch)


@pytest.mark.parametrize("p", [1, 2, 3, 2.5, -2])
def test_the_power_mean_of_zeros_as_in_torch(torch, p):
    def derivatives(m, grad):
        x = m.tensor([[[0.0, 0.0, 1.0, 0.0, 3.0, 2.0]]], requires_grad=True)
        y = m.nn.functional.lp_pool1d(x, p, 2)
        (first,) = grad((y * y).sum(), x, create_graph=True)
        (second,) = grad(first.sum(), x)
        return [tensor.detach().numpy() for tensor in (y, first, second)]

    ours, theirs = derivatives(minicnn, minicnn.grad), derivatives(torch, torch.autograd.grad)
    for mine, right in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-5)
        assert p < 0 or np.isfinite(mine).all()


def test_there_is_no_power_mean_of_order_0():
    with pytest.raises(ArgumentError, match="norm_type=0"):
        F.lp_pool2d(ones(1, 1, 4, 4), 0, 2)
