from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
from geometries import integers
from refusals import refused

import minicnn
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


def same(ours, theirs, tolerance=1e-12):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.array, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", [
    "affine_grid", "grid_sample", "interpolate", "pad",
])  # fmt: skip
def test_arguments_have_the_names_order_and_defaults_of_torch(torch, name):
    theirs = inspect.signature(getattr(torch.nn.functional, name)).parameters.values()
    ours = inspect.signature(getattr(F, name)).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


def test_plain_arrays_give_plain_arrays():
    x, grid = integers((1, 4, 2, 2)), np.zeros((1, 3, 3, 2))
    results = [
        F.pad(x, (1, 1, 1, 1), "reflect"), F.interpolate(x, 3, mode="bicubic"),
        F.grid_sample(x, grid, align_corners=False), F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2),
        F.channel_shuffle(x, 2), F.affine_grid(np.zeros((1, 2, 3)), (1, 1, 2, 2), False),
        F.interpolate(x.astype(np.uint8), 3, mode="bicubic"),
    ]  # fmt: skip
    assert {type(result) for result in results} == {np.ndarray}


# --- pad ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "widths", [(1, 2), (1, 0, 0, 2), (0, 0, 1, 1, 2, 0), (-1, 2), (-1, -2, 1, -1), ()]
)
def test_pad_is_that_of_torch(torch, widths):
    x = integers((2, 3, 4))
    expected = torch.nn.functional.pad(torch.tensor(x), widths, value=7)
    same(F.pad(Tensor(x), widths, value=7), expected)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((2, 5), (4, 3)), ((2, 5), (-1, 2)), ((2, 5), (-3, 1)), ((2, 5), (2, -3)),
        ((2, 5), (-2, -2)), ((2, 3, 5), (1, 2, -1, 1)), ((1, 2, 3, 5), (-1, -1, 1, -2)),
        ((2, 4, 3, 5), (1, 0, 2, -1, -2, 1)), ((0, 2, 3, 5), (1, 1, 1, 1)),
        ((2, 3, 4), (-2, -2, 1, 1)),
    ],
)  # fmt: skip
def test_borders_of_the_image_itself_are_those_of_torch(torch, mode, shape, widths):
    x = integers(shape)
    same(F.pad(Tensor(x), widths, mode), torch.nn.functional.pad(torch.tensor(x), widths, mode))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_pad_takes_any_element_type(torch, dtype):
    x = (np.arange(4).reshape(1, 4) > 1).astype(dtype)
    for settings in ({}, {"value": 1}, {"mode": "circular"}):
        y = F.pad(Tensor(x), (1, 2), **settings)
        expected = torch.nn.functional.pad(torch.tensor(x), (1, 2), **settings).numpy()
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y.array, expected)


def test_a_value_for_integers_is_cut_off():
    assert F.pad(Tensor(np.arange(2)), (1, 0), value=1.7).tolist() == [1, 0, 1]


@pytest.mark.parametrize(("widths", "kind", "part"), [
    ((1,), ArgumentError, "(1,)"), ((1,) * 6, ArgumentError, "at most 2 dimensions"),
    ((-5, 4), ShapeError, "(-5, 4) cuts more than there is from shape (2, 3)"),
    ((0, 0, -2, -1), ShapeError, "cuts more than there is"),
])  # fmt: skip
def test_pad_names_what_does_not_fit(widths, kind, part):
    with pytest.raises(kind) as error:
        F.pad(ones(2, 3), widths)
    assert str(error.value).startswith("pad: ")
    assert part in str(error.value)


def test_what_is_cut_off_completely_cannot_be_wrapped_around():  # torch takes what is in memory
    with pytest.raises(ShapeError, match="at most 0"):
        F.pad(ones(2, 3), (-3, 2), "circular")


def f(m):
    return m.nn.functional


PADS = [
    refused("an unknown mode", lambda m: f(m).pad(m.ones(2, 3), (1, 1), "mirror"), "'mirror'"),
    refused("a number of widths", lambda m: f(m).pad(m.ones(2, 3), 1), "tuple of integers"),
    refused("a fraction", lambda m: f(m).pad(m.ones(2, 3), (1.5, 1)), "tuple of integers"),
    refused("a value too large", lambda m: f(m).pad(m.ones(3).to(m.uint8), (1, 1), value=300),
            "300"),
    refused("a negative byte", lambda m: f(m).pad(m.ones(3).to(m.uint8), (1, 1), value=-1), "-1"),
    refused("no number", lambda m: f(m).pad(m.arange(3), (1, 1), value=float("nan")), "nan"),
    refused("a value", lambda m: f(m).pad(m.ones(2, 3), (1, 1), "reflect", 1.0), "takes no value"),
    refused("one dimension", lambda m: f(m).pad(m.ones(3), (1, 1), "reflect"), "(3,)"),
    refused("too few pairs", lambda m: f(m).pad(m.ones(1, 2, 3, 3), (1, 1), "circular"), "sides"),
    refused("four pairs", lambda m: f(m).pad(m.ones(1, 1, 1, 2, 2, 2), (0,) * 8, "reflect"), "4"),
    refused("no pairs", lambda m: f(m).pad(m.ones(1, 2, 3), (), "replicate"), "0 were given"),
    refused("reflecting all", lambda m: f(m).pad(m.ones(2, 3), (3, 0), "reflect"), "at most 2"),
    refused("wrapping twice", lambda m: f(m).pad(m.ones(2, 3), (0, 4), "circular"), "at most 3"),
    refused("nothing to repeat", lambda m: f(m).pad(m.ones(2, 0), (1, 1), "replicate"), "(2, 0)"),
    refused("no channels", lambda m: f(m).pad(m.ones(1, 0, 3), (1, 1), "reflect"), "(1, 0, 3)"),
    refused("nothing left", lambda m: f(m).pad(m.ones(2, 3), (-1, -2), "reflect"), "cuts more"),
    refused("less than nothing", lambda m: f(m).pad(m.ones(2, 3), (-2, -2), "circular"),
            "cuts more"),
]  # fmt: skip


@pytest.mark.parametrize("case", PADS, ids=str)
def test_what_pad_refuses(case, torch):
    case.check(torch)


# --- interpolate ----------------------------------------------------------------------------------

MODES = [
    ("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 1), ("nearest-exact", 2),
    ("nearest-exact", 3), ("linear", 1), ("bilinear", 2), ("trilinear", 3), ("bicubic", 2),
    ("area", 1), ("area", 2), ("area", 3),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "sides"), MODES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_resizing_is_that_of_torch(torch, mode, sides, dtype):
    rng = np.random.default_rng(sides)
    for _ in range(8):
        image, size = (tuple(rng.integers(1, 9, sides).tolist()) for _ in range(2))
        scale = tuple(rng.uniform(0.4, 2.7, sides).tolist())
        if min(int(n * s) for n, s in zip(image, scale, strict=True)) < 1:
            scale = (2.5,) * sides
        x = rng.normal(size=(2, 3, *image)).astype(dtype)
        for settings in ({"size": size}, {"scale_factor": scale},
                         {"scale_factor": scale, "recompute_scale_factor": True}):  # fmt: skip
            for align in (None,) if "near" in mode or mode == "area" else (None, True):
                given = {**settings, "mode": mode, "align_corners": align}
                expected = torch.nn.functional.interpolate(torch.tensor(x), **given)
                y = F.interpolate(Tensor(x), **given)
                assert y.dtype == x.dtype
                same(y, expected, 1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(3, 2), (20, 17), (9, 13), (6, 7)])
@pytest.mark.parametrize("align_corners", [None, True])
def test_smoothed_resizing_is_that_of_torch(torch, mode, size, align_corners):
    if mode == "lanczos":
        align_corners = None
    x = integers((2, 3, 9, 7))
    given = {"mode": mode, "antialias": True, "align_corners": align_corners}
    expected = torch.nn.functional.interpolate(torch.tensor(x), size, **given)
    same(F.interpolate(Tensor(x), size, **given), expected)
    expected = torch.nn.functional.interpolate(torch.tensor(x), scale_factor=(0.4, 1.2), **given)
    same(F.interpolate(Tensor(x), scale_factor=(0.4, 1.2), **given), expected)


@pytest.mark.parametrize("settings", [
    {"mode": "nearest"}, {"mode": "nearest-exact"}, {"mode": "bilinear"}, {"mode": "bicubic"},
    {"mode": "bicubic", "align_corners": True}, {"mode": "bilinear", "antialias": True},
    {"mode": "bicubic", "antialias": True}, {"mode": "lanczos", "antialias": True},
], ids=str)  # fmt: skip
def test_bytes_are_resized_as_by_torch(torch, settings):
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 8)).astype(np.uint8)
    for size in ((5, 3), (20, 11), (9, 4), (9, 8)):
        y = F.interpolate(Tensor(x), size, **settings)
        assert y.dtype == np.uint8
        expected = torch.nn.functional.interpolate(torch.tensor(x), size, **settings)
        np.testing.assert_array_equal(y.array, expected.numpy())
    y = F.interpolate(Tensor(x), scale_factor=(1.05, 1.4), **settings)
    expected = torch.nn.functional.interpolate(
        torch.tensor(x), scale_factor=(1.05, 1.4), **settings
    )
    np.testing.assert_array_equal(y.array, expected.numpy())


def test_a_single_column_is_smoothed_in_both_directions():
    x = Tensor(np.arange(16.0).reshape(1, 1, 4, 4))  # torch forgets the rows here
    tall = F.interpolate(x, (2, 1), mode="bilinear", antialias=True)
    np.testing.assert_allclose(tall.array, F.interpolate(x, (2, 4), mode="bilinear", antialias=True)
                               .array.mean(axis=3, keepdims=True))  # fmt: skip


@pytest.mark.parametrize("scale", [2.1, 1.2])
def test_nearest_ignores_a_scale_as_torch_does_for_small_images(torch, scale):
    for shape in ((1, 4, 4, 4), (1, 4, 4), (1, 1, 4, 100)):
        x = integers(shape)
        expected = torch.nn.functional.interpolate(torch.tensor(x), scale_factor=scale)
        same(F.interpolate(Tensor(x), scale_factor=scale), expected)


def sized(mode, shape, **settings):
    settings = settings or {"size": 3}
    return lambda m: f(m).interpolate(m.ones(*shape), mode=mode, **settings)


RESIZINGS = [
    refused("an unknown mode", sized("cubic", (1, 1, 3)), "'cubic'"),
    refused("a sequence, bilinear", sized("bilinear", (1, 1, 3)), "3 dimensions"),
    refused("an image, linear", sized("linear", (1, 1, 3, 3)), "4 dimensions"),
    refused("a volume, bicubic", sized("bicubic", (1, 1, 3, 3, 3)), "5 dimensions"),
    refused("no batch", sized("nearest", (3, 3)), "2 dimensions"),
    refused("corners of the nearest", sized("nearest", (1, 1, 3), size=2, align_corners=True),
            "align_corners"),
    refused("size and scale", sized("nearest", (1, 1, 3), size=2, scale_factor=2),
            "scale_factor=2"),
    refused("neither", sized("nearest", (1, 1, 3), size=None), "size=None"),
    refused("two sizes for one side", sized("nearest", (1, 1, 3), size=(2, 2)), "(2, 2)"),
    refused("two scales for one side", sized("linear", (1, 1, 3), scale_factor=(2, 2)), "(2, 2)"),
    refused("a fraction of a size", sized("nearest", (1, 1, 3), size=2.5), "2.5"),
    refused("a fraction among sizes", sized("area", (1, 1, 3), size=(2.5,)), "2.5"),
    refused("a word", sized("nearest", (1, 1, 3), scale_factor="2"), "'2'"),
    refused("nothing", sized("nearest", (1, 1, 3), size=0), "no pixels"),
    refused("less than nothing", sized("linear", (1, 1, 3), scale_factor=-1.0), "no pixels"),
    refused("from nothing", sized("nearest", (1, 1, 0)), "no pixels"),
    refused("no channels", sized("bilinear", (1, 0, 2, 2)), "no pixels"),
    refused("a scale that is no number", sized("nearest", (1, 1, 3), scale_factor=float("nan")),
            "finite"),
    refused("recomputing from a size", sized("nearest", (1, 1, 3), size=2,
            recompute_scale_factor=True), "recompute_scale_factor"),
    refused("smoothing the nearest", sized("nearest", (1, 1, 3, 3), size=2, antialias=True),
            "antialias"),
    refused("smoothing a sequence", sized("linear", (1, 1, 3), size=2, antialias=True),
            "antialias"),
    refused("Lanczos, not smoothed", sized("lanczos", (1, 1, 3, 3)), "antialias=True"),
    refused("Lanczos with corners", sized("lanczos", (1, 1, 3, 3), size=2, antialias=True,
            align_corners=True), "no align_corners"),
    refused("integers", lambda m: f(m).interpolate(m.arange(3).reshape(1, 1, 3), 2), "int64"),
    refused("bytes, linear", lambda m: f(m).interpolate(
        m.ones(1, 1, 3).to(m.uint8), 2, mode="linear"), "uint8"),
]  # fmt: skip


@pytest.mark.parametrize("case", RESIZINGS, ids=str)
def test_what_interpolate_refuses(case, torch):
    case.check(torch)


# --- grids ----------------------------------------------------------------------------------------


def test_what_changed_in_torch_is_said_when_it_matters(torch):
    theta = ones(1, 2, 3)
    with pytest.warns(UserWarning, match="align_corners"):
        default = F.affine_grid(theta, (1, 1, 2, 2))
    same(default, F.affine_grid(theta, (1, 1, 2, 2), False).array)
    with pytest.warns(UserWarning, match="align_corners"):
        F.grid_sample(ones(1, 1, 2, 2), default)
    with pytest.warns(UserWarning, match="a side of 1"):
        F.affine_grid(theta, (1, 1, 1, 2), align_corners=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.affine_grid(theta, (1, 1, 1, 2), align_corners=False)


def sampled(image, grid, **settings):
    settings = {"align_corners": False, **settings}
    return lambda m: f(m).grid_sample(m.ones(*image), m.zeros(*grid), **settings)


def mapped(theta, size):
    return lambda m: f(m).affine_grid(m.ones(*theta), size, False)


GRIDS = [
    refused("an unknown mode", sampled((1, 1, 2, 2), (1, 1, 1, 2), mode="linear"), "'linear'"),
    refused("an unknown padding", sampled((1, 1, 2, 2), (1, 1, 1, 2), padding_mode="reflect"),
            "'reflect'"),
    refused("two batches", sampled((1, 1, 2, 2), (2, 1, 1, 2)), "(2, 1, 1, 2)"),
    refused("three numbers", sampled((1, 1, 2, 2), (1, 1, 1, 3)), "(1, 1, 1, 3)"),
    refused("no batch", sampled((1, 2, 2), (1, 1, 2)), "(1, 2, 2)"),
    refused("a flat grid", sampled((1, 1, 2, 2, 2), (1, 1, 1, 3)), "(1, 1, 1, 3)"),
    refused("nothing to sample", sampled((1, 1, 0, 2), (1, 1, 1, 2)), "(1, 1, 0, 2)"),
    refused("a volume, bicubic", sampled((1, 1, 2, 2, 2), (1, 1, 1, 1, 3), mode="bicubic"),
            "bicubic"),
    refused("integers", lambda m: f(m).grid_sample(
        m.zeros(1, 1, 2, 2).long(), m.zeros(1, 1, 1, 2), align_corners=False), "int64"),
    refused("two types", lambda m: f(m).grid_sample(
        m.zeros(1, 1, 2, 2).double(), m.zeros(1, 1, 1, 2), align_corners=False), "float32"),
    refused("one map", mapped((2, 3), (1, 1, 2, 2)), "(1, 2, 3)"),
    refused("a map of space for a square", mapped((1, 3, 4), (1, 1, 2, 2)), "(1, 3, 4)"),
    refused("two maps for one image", mapped((2, 2, 3), (1, 1, 2, 2)), "(2, 2, 3)"),
    refused("one side", mapped((1, 2, 3), (1, 1, 2)), "(1, 1, 2)"),
    refused("no rows", mapped((1, 2, 3), (1, 1, 0, 2)), "positive"),
    refused("a fraction of a row", mapped((1, 2, 3), (1, 1, 2.5, 2)), "integers"),
    refused("integers in a map", lambda m: f(m).affine_grid(
        m.ones(1, 2, 3).long(), (1, 1, 2, 2), False), "int64"),
]  # fmt: skip


@pytest.mark.parametrize("case", GRIDS, ids=str)
def test_what_sampling_refuses(case, torch):
    case.check(torch)


# --- pixels and channels --------------------------------------------------------------------------


def test_pixels_and_channels_by_definition():
    x = integers((2, 12, 2, 3))
    y = F.pixel_shuffle(x, 2)
    for n, c, h, w, i, j in np.ndindex(2, 3, 2, 3, 2, 2):
        assert y[n, c, 2 * h + i, 2 * w + j] == x[n, c * 4 + i * 2 + j, h, w]
    np.testing.assert_array_equal(F.pixel_unshuffle(y, 2), x)
    y = F.channel_shuffle(x, 3)
    for c, i in np.ndindex(4, 3):
        np.testing.assert_array_equal(y[:, c * 3 + i], x[:, i * 4 + c])


def test_shuffles_of_other_types_and_of_nothing(torch):
    for x in (np.arange(16).reshape(1, 4, 2, 2), np.ones((4, 2, 2), bool),
              np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 2, 2)):  # fmt: skip
        for name in ("pixel_shuffle", "pixel_unshuffle"):
            expected = getattr(torch.nn.functional, name)(torch.tensor(x), 2).numpy()
            np.testing.assert_array_equal(getattr(F, name)(Tensor(x), 2).array, expected)
    x = minicnn.zeros(0, 4, 2, 2, requires_grad=True)  # here torch forgets the shape
    y = F.pixel_shuffle(x, 2)
    y.sum().backward()
    assert x.grad.shape == F.pixel_unshuffle(y, 2).shape == x.shape


SHUFFLES = [
    refused("two dimensions", lambda m: f(m).pixel_shuffle(m.ones(4, 2), 2), "(4, 2)"),
    refused("three channels", lambda m: f(m).pixel_shuffle(m.ones(3, 2, 2), 2), "2^2 channels"),
    refused("no factor", lambda m: f(m).pixel_shuffle(m.ones(4, 2, 2), 0), "upscale_factor"),
    refused("a fraction", lambda m: f(m).pixel_shuffle(m.ones(4, 2, 2), 2.0), "integer"),
    refused("an odd width", lambda m: f(m).pixel_unshuffle(m.ones(1, 2, 3), 2), "multiples of 2"),
    refused("a negative factor", lambda m: f(m).pixel_unshuffle(m.ones(1, 2, 2), -1), "-1"),
    refused("one dimension", lambda m: f(m).pixel_unshuffle(m.ones(4), 2), "(4,)"),
    refused("a remainder", lambda m: f(m).channel_shuffle(m.ones(1, 4, 2), 3), "3 channels"),
    refused("no image", lambda m: f(m).channel_shuffle(m.ones(1, 4), 2), "(1, 4)"),
    refused("no groups", lambda m: f(m).channel_shuffle(m.ones(1, 4, 2), 0), "groups"),
]  # fmt: skip


@pytest.mark.parametrize("case", SHUFFLES, ids=str)
def test_what_shuffling_refuses(case, torch):
    case.check(torch)


def test_a_border_of_no_dimension_changes_nothing(torch):
    for m in (torch, minicnn):
        assert m.nn.functional.pad(m.ones(2), ()).tolist() == [1, 1]
