from __future__ import annotations

import ast
import functools
import importlib.util
import itertools
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, find, given, seed, settings
from hypothesis import strategies as st

import minicnn
import minicnn_kernels as kernels
from minicnn.errors import ArgumentError, DTypeError
from minicnn.nn import functional as F
from minicnn.ops.convolution import conv, conv_input, conv_weight
from minicnn.ops.pooling import window_spread, window_sum
from minicnn.tensor import Tensor
from minicnn.testing import strategies
from minicnn.testing.strategies import (
    KINDS,
    LATTICE_GAP,
    LAYOUTS,
    ConvGeometry,
    PoolGeometry,
    arrays,
    away_from,
    broadcastable_shapes,
    conv_geometries,
    indices,
    layouts,
    make_array,
    pool_geometries,
    reduction_arguments,
    separated_arrays,
    shapes,
    upstream,
)
from minicnn_kernels.geometry import Windows


def examples(strategy, count=300, number=1):
    """Collect what one run of hypothesis draws; every health check counts."""
    found = []

    @seed(number)
    @settings(max_examples=count, database=None, suppress_health_check=())
    @given(strategy)
    def collect(value):
        found.append(value)

    collect()
    return found


def simplest(strategy, condition=lambda _: True):
    return find(
        strategy, condition, settings=settings(database=None, max_examples=200, derandomize=True)
    )


# --- values ---------------------------------------------------------------------------------------


def differences(array):
    return np.diff(np.sort(array, axis=None))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_shape_and_type_are_as_asked_and_all_is_finite(kind, shape, dtype):
    array = make_array(shape, kind, 5, dtype)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert np.isfinite(array).all()
    assert kind == "zeros" or (array.size and kind == "near_kink") or (array != 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_makes_the_same_array_again_and_another_seed_another(kind):
    first, again, other = (make_array((50,), kind, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert kind == "zeros" or (first != other).any()


@pytest.mark.parametrize("kind", KINDS)
def test_scale_multiplies(kind):
    small, large = (make_array((50,), kind, 1, scale=scale) for scale in (1, 8))
    np.testing.assert_array_equal(large, 8 * small)


def test_normal_values_have_mean_0_and_deviation_1():
    array = make_array((10_000,), "normal")
    assert abs(array.mean()) < 0.05
    assert array.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("count", [1, 2, 5, 100, 1001])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lattice_has_its_gap_between_values_and_half_of_it_around_zero(count, dtype):
    array = make_array((count,), "lattice", 3, dtype)
    assert (differences(array) == LATTICE_GAP).all()
    assert abs(array).min() == LATTICE_GAP / 2
    assert abs(array.mean()) <= LATTICE_GAP / 2
    assert count < 5 or (np.diff(array) < 0).any()


def test_tied_values_are_few_so_that_most_windows_have_several_maxima():
    array = make_array((100, 4), "tied", 1)
    assert len(np.unique(array)) == 3
    assert ((array == array.max(1, keepdims=True)).sum(1) > 1).mean() > 0.4


def test_near_kinks_are_the_kinks_and_both_their_sides():
    array = make_array((5000,), "near_kink", 1)
    kinks = np.round(array)
    assert set(kinks) == {-1.0, 0.0, 1.0}
    offsets = array - kinks
    assert 0.4 < (offsets == 0).mean() < 0.6
    magnitudes = np.log10(np.abs(offsets[offsets != 0]))
    assert set(np.round(magnitudes)) == {-9, -8, -7, -6, -5, -4}
    assert {-1.0, 1.0} <= set(np.sign(offsets[kinks == 0]))


def test_magnitudes_of_the_other_kinds():
    def middle(kind):
        return math.log10(np.median(np.abs(make_array((999,), kind, 2))))

    assert middle("tiny") == pytest.approx(-20, abs=0.5)
    assert middle("huge") == pytest.approx(8, abs=0.5)
    assert len(np.unique(make_array((9,), "constant", 1))) == 1
    assert not make_array((9,), "zeros", 1).any()
    mixed = np.log10(np.abs(make_array((999,), "mixed", 1)))
    assert -8 <= mixed.min() < -7.5
    assert 7.5 < mixed.max() <= 8


@pytest.mark.parametrize("kind", ["normal", "lattice", "tied", "near_kink", "tiny", "mixed"])
def test_values_have_both_signs(kind):
    assert set(np.sign(make_array((200,), kind, 1))) >= {-1.0, 1.0}


def test_every_kind_is_drawn_unless_one_is_named(monkeypatch):
    drawn = []
    for kind, make in KINDS.items():
        monkeypatch.setitem(
            KINDS, kind, lambda *given, kind=kind, make=make: [drawn.append(kind), make(*given)][1]
        )
    examples(arrays((3,)))
    assert min(drawn.count(kind) for kind in KINDS) >= 10
    drawn.clear()
    examples(arrays((3,), kind="tied"))
    assert set(drawn) == {"tied"}


def test_a_shape_can_be_drawn_too():
    found = examples(arrays(shapes(1, 2, 3), "float32"))
    assert {array.ndim for array in found} == {1, 2}
    assert {array.dtype for array in found} == {np.dtype("float32")}


def test_arrays_shrink_to_a_normal_one_of_seed_0():
    np.testing.assert_array_equal(simplest(arrays((2, 3))), make_array((2, 3), "normal", 0))
    smallest = simplest(arrays(shapes()), lambda array: array.ndim >= 2)
    assert smallest.shape == (1, 1)


def test_a_failing_example_notes_the_call_that_makes_its_arrays_again():
    failing = []

    @seed(1)
    @settings(database=None, phases=[Phase.generate, Phase.shrink])
    @given(arrays((2,), "float32", scale=2.0), st.data())
    def fails(array, data):
        failing[:] = [array, data.draw(layouts(array))]
        assert len(np.unique(array)) > 1

    with pytest.raises(AssertionError) as raised:
        fails()
    notes = [note for note in raised.value.__notes__ if note.startswith("make_array")]
    np.testing.assert_array_equal(failing[0], eval(notes[0], {"make_array": make_array}))
    assert "layout: contiguous" in raised.value.__notes__


@pytest.mark.parametrize(
    ("call", "error", "text"),
    {
        "kind": (lambda: arrays((2,), kind="odd"), ArgumentError, "'odd'.*normal, lattice"),
        "integers": (lambda: arrays((2,), dtype=np.int64), DTypeError, "int64.*hypothesis.extra"),
        "no scale": (lambda: arrays((2,), scale=0), ArgumentError, "scale.*positive.*0"),
        "scale is NaN": (lambda: arrays((2,), scale=math.nan), ArgumentError, "scale.*nan"),
        "made": (lambda: make_array((2,), "odd"), ArgumentError, "'odd'"),
        "gap": (lambda: separated_arrays((2,), 0), ArgumentError, "gap must be positive"),
        "margin": (lambda: away_from((2,), [0], -1), ArgumentError, "margin.*-1"),
        "points": (lambda: away_from((2,), [math.inf], 1), ArgumentError, "points.*inf"),
        "dy": (lambda: upstream((2,), np.int64), DTypeError, "int64"),
        "shapes": (lambda: shapes(3, 2), ArgumentError, "min_dims <= max_dims.*3, 2"),
        "conv": (lambda: conv_geometries(4), ArgumentError, "conv_geometries: dims.*4"),
        "pool": (lambda: pool_geometries(max_side=0), ArgumentError, "pool_.*max_side.*0"),
    }.values(),
)
def test_a_bad_argument_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


@given(shapes(), st.sampled_from([1e-3, 1.0, 7.5]), st.data())
def test_separated_values_differ_by_more_than_the_gap(shape, gap, data):
    array = data.draw(separated_arrays(shape, gap))
    assert array.shape == shape
    assert (differences(array) > gap).all()


def test_separated_values_are_unordered_uneven_and_of_both_signs():
    array = examples(separated_arrays((50,), 0.5), 5)[-1]
    assert np.diff(array).min() < 0 < np.diff(array).max()
    assert np.ptp(differences(array)) > 0.5
    assert array.min() < 0 < array.max()
    assert np.diff(np.sort(array)).max() < 10


@pytest.mark.parametrize(
    ("points", "margin"),
    [((0,), 0.5), ((1, -1), 0.25), ((-1, 0, 1), 0.75), ((0, 0, 3), 1e-3), ((), 1.0), ((5,), 4.0)],
    ids=str,
)
def test_values_keep_their_distance(points, margin):
    found = np.concatenate(examples(away_from((40,), points, margin), 40))
    for point in points:
        assert abs(found - point).min() >= margin * (1 - 1e-12)
    parts = itertools.pairwise(sorted({-math.inf, math.inf, *points}))
    for low, high in parts:  # there are values wherever room is left and normal ones would be
        assert high - low <= 2 * margin or low >= 3 or ((found > low) & (found < high)).any()


@given(
    st.lists(st.integers(-6, 6).map(lambda i: i / 2), max_size=6),
    st.floats(0.05, 1.5),
    st.data(),
)
def test_values_keep_their_distance_from_points_near_each_other(points, margin, data):
    found = data.draw(away_from((50,), points, margin))
    for point in points:
        assert abs(found - point).min() >= margin * (1 - 1e-12)


@pytest.mark.parametrize("margin", [0.5, 3])
def test_values_away_from_points_come_close_on_both_sides_and_differ(margin):
    found = simplest(away_from((1000,), [0.0], margin))
    assert margin <= abs(found).min() < margin + 0.01
    assert 400 < (found < 0).sum() < 600
    assert len(np.unique(found)) == 1000


@given(shapes(), st.sampled_from(["float32", "float64"]), st.data())
def test_upstream_gradients_are_signed_and_far_from_zero(shape, dtype, data):
    dy = data.draw(upstream(shape, dtype))
    assert (dy.shape, dy.dtype) == (shape, np.dtype(dtype))
    assert ((abs(dy) >= 0.5) & (abs(dy) <= 2)).all()


def test_upstream_gradients_differ_and_have_both_signs():
    dy = simplest(upstream((100,)))
    assert len(np.unique(dy)) == 100
    assert 20 < (dy < 0).sum() < 80


# --- memory layouts -------------------------------------------------------------------------------


def drawn_layouts(array):
    return examples(layouts(array), 100)


def flags(view):
    return view.flags.c_contiguous, view.flags.f_contiguous, view.flags.writeable


ORDER = np.arange(1.0, 121).reshape(2, 3, 4, 5)
ADVERTISED = {
    "contiguous": lambda view: flags(view) == (True, False, True),
    "fortran": lambda view: flags(view) == (False, True, True),
    "transposed": lambda view: view.strides[2] < view.strides[3] < view.strides[1],
    "channels_last": lambda view: view.transpose(0, 2, 3, 1).flags.c_contiguous,
    "reversed": lambda view: max(view.strides) < 0,
    "every_second": lambda view: view.strides == (16 * 480, 16 * 80, 160, 16),
    "misaligned": lambda view: not view.flags.aligned,
    "read_only": lambda view: not view.flags.writeable and view.flags.c_contiguous,
    "repeated": lambda view: 0 in view.strides and not view.flags.writeable,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_what_its_name_says(layout):
    array = ORDER if layout != "repeated" else np.broadcast_to(ORDER[:, :1], ORDER.shape)
    view = LAYOUTS[layout][1](array)
    np.testing.assert_array_equal(view, array)
    assert ADVERTISED[layout](view), (view.strides, view.flags)


def test_between_every_second_element_there_is_nan():
    memory = LAYOUTS["every_second"][1](ORDER).base
    assert np.isnan(memory).sum() == memory.size - ORDER.size == 15 * 120


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "repeated"])
def test_every_layout_is_drawn(layout):
    assert any(ADVERTISED[layout](view) for view in drawn_layouts(ORDER))


@given(
    st.one_of(
        arrays(shapes()),
        arrays(shapes(), "float32", "constant"),
        shapes().map(lambda shape: np.ones(shape, bool)),
        indices(9),
    ),
    st.data(),
)
@settings(max_examples=60)
def test_layouts_keep_values_shape_and_type_in_memory_of_their_own(array, data):
    before = array.copy()
    view = data.draw(layouts(array))
    assert isinstance(view, np.ndarray)
    assert (view.shape, view.dtype) == (array.shape, array.dtype)
    assert view.tobytes() == array.tobytes()
    assert not np.shares_memory(view, array)
    if view.flags.writeable:
        view[...] = 1
    np.testing.assert_array_equal(array, before)


def test_stride_0_only_where_nothing_changes():
    rows = np.broadcast_to([1.0, 2.0, 3.0], (4, 3))
    assert (0, 8) in {view.strides for view in drawn_layouts(rows)}
    assert (8, 0) in {view.strides for view in drawn_layouts(rows.T)}
    assert (0, 0) in {view.strides for view in drawn_layouts(np.full((2, 3), 7.0))}
    for array in (ORDER, np.array([0.0, -0.0]), np.zeros(()), np.zeros((1, 1))):
        assert all(0 not in view.strides for view in drawn_layouts(array))


def test_a_layout_shrinks_to_the_plain_one():
    assert flags(simplest(layouts(ORDER))) == (True, False, True)


# --- shapes, dimensions, positions ----------------------------------------------------------------


def test_shapes_keep_to_their_limits_and_reach_them():
    found = examples(shapes(1, 3, 4), 150)
    assert {len(shape) for shape in found} == {1, 2, 3}
    assert {side for shape in found for side in shape} == {0, 1, 2, 3, 4}
    assert set(examples(shapes(0, 0))) == {()}
    found = examples(shapes())
    sides = [side for shape in found for side in shape]
    assert sides.count(0) < len(sides) / 10 < sides.count(1)
    assert 5 < found.count(()) < 60


def test_shapes_shrink_to_few_dimensions_and_to_sides_of_1():
    assert simplest(shapes()) == ()
    assert simplest(shapes(), lambda shape: len(shape) > 1) == (1, 1)
    assert simplest(shapes(), lambda shape: 0 in shape) == (0,)
    assert simplest(shapes(), lambda shape: max(shape, default=0) > 2) == (3,)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shapes_broadcast_together_and_reach_the_corners(count):
    found = examples(broadcastable_shapes(count), 100)
    for group in found:
        assert len(group) == count
        np.broadcast_shapes(*group)
    assert any(() in group for group in found)
    assert any(0 in shape for group in found for shape in group)
    if count > 1:
        stretched = sum(
            any(1 in shape and np.broadcast_shapes(*group) != shape for shape in group)
            for group in found
        )
        assert stretched > 15
        assert any(
            any(0 in shape for shape in group) and any(1 in shape for shape in group)
            for group in found
        )


def test_reduction_arguments_are_valid_and_reach_the_corners():
    shape = (2, 3, 4)
    found = examples(reduction_arguments(shape))
    for dim, keepdim in found:
        np.sum(np.ones(shape), axis=dim, keepdims=keepdim)
    dims = {dim for dim, _ in found}
    assert {None, 0, 1, 2, -1, -2, -3, (0,), (-1,)} <= dims
    assert () not in dims  # NumPy reads it as no dimension, PyTorch as all
    assert any(isinstance(dim, tuple) and sorted(d % 3 for d in dim) == [0, 1, 2] for dim in dims)
    assert any(isinstance(dim, tuple) and min(dim) < 0 <= max(dim) for dim in dims)
    assert {keepdim for _, keepdim in found} == {False, True}
    assert set(examples(reduction_arguments(()))) == {(None, False), (None, True)}
    assert simplest(reduction_arguments(shape)) == (None, False)


def test_indices_are_in_range_and_reach_the_corners():
    found = examples(indices(5), 100)
    assert {i.dtype for i in found} == {np.dtype(np.int64)}
    assert {i.ndim for i in found} == {1}
    assert {i for array in found for i in array} == set(range(-5, 5))
    assert max(array.size for array in found) == 8
    assert any(array.size == 0 for array in found)
    assert sum(len(np.unique(array % 5)) < array.size for array in found) > 30
    assert any({-1, 4} <= set(array) for array in found)
    assert sum(len(np.unique(a % 1000)) < a.size for a in examples(indices(1000), 40)) > 8
    assert {array.size for array in examples(indices(0), 5)} == {0}
    assert simplest(indices(5)).size == 0
    assert simplest(indices(5), len).tolist() == [0]


# --- window geometries ----------------------------------------------------------------------------


def reaches(g):
    return [d * (k - 1) + 1 for d, k in zip(g.dilation, g.kernel, strict=True)]


def left_over(g):
    image = g.image if not getattr(g, "transposed", False) else g.output_shape[2:]
    sides = zip(image, g.padding, reaches(g), g.stride, strict=True)
    return max((n + 2 * p - reach) % s for n, p, reach, s in sides)


def differ(*settings):
    return all(len(set(setting)) > 1 for setting in settings)


WINDOW_CORNERS = {
    "stride beyond the reach": lambda g: any(map(int.__gt__, g.stride, reaches(g))),
    "overlap": lambda g: any(map(int.__lt__, g.stride, reaches(g))),
    "one row left over": lambda g: left_over(g) == 1,
    "several rows left over": lambda g: left_over(g) > 1,
    "nothing left over": lambda g: left_over(g) == 0,
    "kernel as large as the image": lambda g: g.kernel == g.image and max(g.image) > 1,
    "1x1": lambda g: set(g.kernel) == {1},
    "one window": lambda g: set(g.output_shape[2:]) == {1},
    "one pixel": lambda g: set(g.image) == {1},
    "even kernel": lambda g: any(k % 2 == 0 for k in g.kernel),
    "padding": lambda g: max(g.padding) > 0,
    "no padding": lambda g: max(g.padding) == 0,
    "dilation": lambda g: any(d > 1 < k for d, k in zip(g.dilation, g.kernel, strict=True)),
    "batch of 1": lambda g: g.batch == 1,
    "batch of several": lambda g: g.batch > 1,
    "batch of 0": lambda g: g.batch == 0,
}
AXIS_CORNERS = {
    "not square": lambda g: differ(g.image, g.kernel),
    "strides differ": lambda g: differ(g.stride),
    "paddings differ": lambda g: differ(g.padding),
    "all alike": lambda g: not any(map(differ, (g.image, g.kernel, g.stride, g.padding))),
}
CONV_CORNERS = {
    "padding as wide as the kernel": lambda g: any(map(int.__ge__, g.padding, g.kernel)),
    "one group": lambda g: g.groups == 1,
    "groups": lambda g: 1 < g.groups < g.in_channels,
    "depthwise": lambda g: 1 < g.groups == g.in_channels == g.out_channels,
    "depthwise, several filters": lambda g: 1 < g.groups == g.in_channels < g.out_channels,
    "one channel in": lambda g: g.in_channels == 1,
    "one channel out": lambda g: g.out_channels == 1,
    "more out than in": lambda g: g.out_channels > g.in_channels,
    "fewer out than in": lambda g: g.out_channels < g.in_channels,
    "bias": lambda g: g.bias,
    "no bias": lambda g: not g.bias,
}
POOL_CORNERS = {
    "half padding": lambda g: any(0 < 2 * p == k for p, k in zip(g.padding, g.kernel, strict=True)),
    "a window hangs over": lambda g: g.output_shape != replace(g, ceil_mode=False).output_shape,
    "ceil_mode without effect": lambda g: g.ceil_mode and left_over(g) == 0,
    "floor": lambda g: not g.ceil_mode,
    "padding counts": lambda g: g.count_include_pad and max(g.padding) > 0,
    "padding does not count": lambda g: not g.count_include_pad and max(g.padding) > 0,
    "one channel": lambda g: g.channels == 1,
    "several channels": lambda g: g.channels > 1,
}
CONV_2D = CONV_CORNERS | {
    "dilations differ": lambda g: differ(g.dilation),
    "stride, padding and dilation differ": lambda g: differ(g.stride, g.padding, g.dilation),
}


def with_arrays(geometries, *shapes_of, **arguments):
    """Draw a geometry and arrays of the shapes it names."""
    return geometries.flatmap(
        lambda g: st.tuples(
            st.just(g), *(arrays(getattr(g, name), **arguments) for name in shapes_of)
        )
    )


@functools.cache
def geometries(function, **arguments):
    return examples(function(**arguments))


STRATEGIES = {
    "conv1d": (conv_geometries, {"dims": 1}, CONV_CORNERS),
    "conv2d": (conv_geometries, {"dims": 2}, AXIS_CORNERS | CONV_2D),
    "conv3d": (conv_geometries, {"dims": 3, "max_side": 4}, AXIS_CORNERS | CONV_CORNERS),
    "transposed": (
        conv_geometries,
        {"dims": 2, "transposed": True},
        AXIS_CORNERS
        | CONV_2D
        | {
            "output padding": lambda g: max(g.output_padding) > 0,
            "output paddings differ": lambda g: differ(g.output_padding),
        },
    ),
    "pool": (
        pool_geometries,
        {"dims": 2},
        AXIS_CORNERS | POOL_CORNERS | {"dilations differ": lambda g: differ(g.dilation)},
    ),
    "average": (pool_geometries, {"dims": 2, "dilated": False}, AXIS_CORNERS | POOL_CORNERS),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_corner_is_reached_again_and_again(name):
    function, arguments, corners = STRATEGIES[name]
    if name == "average":
        corners = {**WINDOW_CORNERS, **corners}
        del corners["dilation"]
    else:
        corners = WINDOW_CORNERS | corners
    found = geometries(function, **arguments)
    counts = {corner: sum(map(condition, found)) for corner, condition in corners.items()}
    assert {corner: n for corner, n in counts.items() if n < 5} == {}
    assert len(set(found)) > 0.8 * len(found)


def check_kernels(found):
    for kernel in (1, 2, 3):
        assert 0.12 < sum(g.kernel[0] == kernel for g in found) / len(found) < 0.45, kernel


@pytest.mark.parametrize("name", STRATEGIES)
def test_plain_cases_do_not_crowd_out_the_others(name):
    function, arguments, _ = STRATEGIES[name]
    check_kernels(geometries(function, **arguments))


@pytest.mark.parametrize("function", [conv_geometries, pool_geometries])
def test_nor_beside_arrays_of_which_hypothesis_could_copy_what_it_chose(function):
    beside = with_arrays(function(), "input_shape", "output_shape")
    check_kernels([g for g, *_ in examples(beside, 150)])


@pytest.mark.parametrize("max_side", [1, 2, 9])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_sizes_keep_to_their_limits(dims, max_side):
    for transposed in (False, True):
        for g in examples(conv_geometries(dims, transposed, max_side), 25):
            lists = (g.image, g.kernel, g.stride, g.padding, g.dilation, g.output_padding)
            assert {len(values) for values in lists} == {dims}
            assert max(g.output_shape[2:] if transposed else g.image) <= max_side
            assert min(*g.image, *g.output_shape[1:], *g.weight_shape) >= 1
            assert all(0 <= extra < s for extra, s in zip(g.output_padding, g.stride, strict=True))
            assert transposed or not any(g.output_padding)
    for p in examples(pool_geometries(dims, max_side), 25):
        assert {len(v) for v in (p.image, p.kernel, p.stride, p.padding, p.dilation)} == {dims}
        assert max(p.image) <= max_side
        assert min(*p.image, *p.output_shape[1:]) >= 1
        assert all(2 * pad <= k for pad, k in zip(p.padding, p.kernel, strict=True))


def test_every_pooling_window_sees_a_pixel():
    for g in geometries(pool_geometries, dims=2) + examples(pool_geometries(1, 2), 100):
        for n, k, s, p, d, count in zip(
            g.image, g.kernel, g.stride, g.padding, g.dilation, g.output_shape[2:], strict=True
        ):
            for i in range(count):
                assert any(0 <= i * s - p + a * d < n for a in range(k)), g


def test_geometries_shrink_to_one_pixel_one_channel_one_group():
    assert simplest(conv_geometries()) == ConvGeometry(
        batch=1,
        in_channels=1,
        out_channels=1,
        image=(1, 1),
        kernel=(1, 1),
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        groups=1,
        output_padding=(0, 0),
        bias=False,
    )
    assert simplest(pool_geometries()) == PoolGeometry(
        batch=1,
        channels=1,
        image=(1, 1),
        kernel=(1, 1),
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        ceil_mode=False,
        count_include_pad=False,
    )
    leaving = simplest(conv_geometries(), lambda g: left_over(g) > 0)
    assert sorted(leaving.image) == [1, 2]
    assert (leaving.kernel, sorted(leaving.stride)) == ((1, 1), [1, 2])
    assert (leaving.batch, leaving.in_channels, leaving.out_channels) == (1, 1, 1)


def test_the_same_seed_draws_the_same_examples():
    for strategy in (conv_geometries(), pool_geometries(), shapes(), reduction_arguments((2, 3))):
        assert examples(strategy, 20, number=7) == examples(strategy, 20, number=7)
        assert examples(strategy, 20, number=7) != examples(strategy, 20, number=8)


def test_nothing_is_thrown_away():
    """No health check is silenced here and none complains."""
    for strategy in (conv_geometries(3), pool_geometries(3), arrays(shapes()), indices(3)):
        assert len(examples(strategy, 50)) >= 50
    tree = ast.parse(Path(strategies.__file__).read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert names & {"filter", "assume"} == set()


def test_a_mean_refuses_dilation():
    dilated = simplest(pool_geometries(), lambda g: max(g.dilation) > 1)
    with pytest.raises(ArgumentError, match=r"no dilation.*dilated=False"):
        _ = dilated.average_settings
    assert all(set(g.dilation) == {1} for g in examples(pool_geometries(dilated=False), 30))


# --- the libraries agree on the sizes -------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_torch_agrees_on_convolutions(torch, dims, transposed):
    name = f"conv_transpose{dims}d" if transposed else f"conv{dims}d"
    for g in examples(conv_geometries(dims, transposed, max_side=5), 30):
        x, w = torch.ones(g.input_shape), torch.ones(g.weight_shape)
        b = torch.ones(g.bias_shape) if g.bias else None
        assert (g.bias_shape is not None) == g.bias
        y = getattr(torch.nn.functional, name)(x, w, b, **g.settings)
        assert tuple(y.shape) == g.output_shape


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_torch_agrees_on_poolings(torch, dims):
    functional = torch.nn.functional
    for g in examples(pool_geometries(dims, 5), 30):
        y = getattr(functional, f"max_pool{dims}d")(torch.ones(g.input_shape), **g.max_settings)
        assert tuple(y.shape) == g.output_shape
        assert (y == 1).all()
    for g in examples(pool_geometries(dims, 5, dilated=False), 30):
        if dims == 3 and any(map(int.__lt__, g.image, g.kernel)):
            continue  # PyTorch's avg_pool3d refuses them, unlike its avg_pool2d
        y = getattr(functional, f"avg_pool{dims}d")(torch.ones(g.input_shape), **g.average_settings)
        assert tuple(y.shape) == g.output_shape


# --- at work: laws of the operations --------------------------------------------------------------


@given(with_arrays(conv_geometries(), "input_shape", "weight_shape", "output_shape"))
@settings(max_examples=80)
def test_the_three_views_of_a_convolution_are_adjoint(drawn):
    g, x, w, dy = drawn
    value = (dy * conv(x, w, **g.settings)).sum()
    dx = conv_input(dy, w, g.image, **g.settings)
    dw = conv_weight(x, dy, g.kernel, **g.settings)
    size = (abs(dy) * conv(abs(x), abs(w), **g.settings)).sum()
    assert abs(value - (x * dx).sum()) <= 1e-12 * size
    assert abs(value - (w * dw).sum()) <= 1e-12 * size


@given(with_arrays(conv_geometries(max_side=5), "input_shape", "weight_shape", kind="lattice"))
def test_a_convolution_follows_its_definition(drawn):
    g, x, w = drawn
    b = make_array((g.out_channels,), "lattice", 3) if g.bias else None
    y = F.conv2d(*(None if a is None else Tensor(a) for a in (x, w, b)), **g.settings).array
    with minicnn.use_algorithms(conv="loops"):
        expected = kernels.conv(x, w, **g.settings)
    assert y.shape == g.output_shape
    np.testing.assert_allclose(y, expected + (0 if b is None else b.reshape(-1, 1, 1)), rtol=1e-12)


@given(with_arrays(conv_geometries(max_side=5), "input_shape", "weight_shape"), st.data())
@settings(max_examples=60)
def test_a_convolution_does_not_depend_on_the_layout(drawn, data):
    g, x, w = drawn
    expected = F.conv2d(Tensor(x), Tensor(w), **g.settings).array
    moved = [Tensor(data.draw(layouts(array))) for array in (x, w)]
    size = F.conv2d(Tensor(abs(x)), Tensor(abs(w)), **g.settings).array
    assert (abs(F.conv2d(*moved, **g.settings).array - expected) <= 1e-12 * size).all()


@given(with_arrays(pool_geometries(), "input_shape", "output_shape"), st.data())
@settings(max_examples=80)
def test_a_maximum_passes_on_all_of_dy_on_every_layout(drawn, data):
    g, x, dy = drawn
    image = Tensor(data.draw(layouts(x)), requires_grad=True)
    y = F.max_pool2d(image, **g.max_settings)
    (dx,) = minicnn.grad(y, image, Tensor(dy))
    assert y.shape == g.output_shape
    assert np.isin(y.array, x).all()
    assert dx.array.sum() == pytest.approx(dy.sum(), abs=1e-12 * abs(dy).sum())
    np.testing.assert_array_equal(y.array, F.max_pool2d(Tensor(x), **g.max_settings).array)


@given(drawn=with_arrays(pool_geometries(), "input_shape", "output_shape"))
@settings(max_examples=60)
def test_maxima_and_winners_are_those_of_torch_also_in_ties(torch, drawn):
    g, x, dy = drawn
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = (
        f(v, **g.max_settings)
        for f, v in ((F.max_pool2d, ours), (torch.nn.functional.max_pool2d, theirs))
    )
    np.testing.assert_array_equal(y.array, expected.detach())
    expected.backward(torch.tensor(dy))
    (dx,) = minicnn.grad(y, ours, Tensor(dy))
    tolerance = 1e-12 * abs(dy).max(initial=0)
    np.testing.assert_allclose(dx.array, theirs.grad, rtol=1e-12, atol=tolerance)


@given(with_arrays(pool_geometries(dilated=False), "input_shape", "output_shape"))
@settings(max_examples=60)
def test_means_are_adjoint_to_spreading_and_keep_constants(drawn):
    g, x, dy = drawn
    windows = Windows(g.image, g.kernel, g.stride, g.padding, ceil_mode=g.ceil_mode)
    summed, spread = window_sum(x, windows), window_spread(dy, windows)
    size = (abs(dy) * window_sum(abs(x), windows)).sum()
    assert abs((dy * summed).sum() - (x * spread).sum()) <= 1e-12 * size
    y = F.avg_pool2d(Tensor(np.full(g.input_shape, 3.0)), **g.average_settings)
    assert y.shape == g.output_shape
    if not g.count_include_pad:
        np.testing.assert_allclose(y.array, 3.0)


@given(drawn=with_arrays(pool_geometries(dilated=False), "input_shape", kind="lattice"))
def test_means_are_those_of_torch(torch, drawn):
    g, x = drawn
    expected = torch.nn.functional.avg_pool2d(torch.tensor(x), **g.average_settings)
    y = F.avg_pool2d(Tensor(x), **g.average_settings)
    np.testing.assert_allclose(y.array, expected, rtol=1e-12, atol=1e-12)


@given(st.data(), shapes())
@settings(max_examples=60)
def test_a_sum_and_its_gradient(data, shape):
    x = data.draw(arrays(shape, kind="lattice"))
    dim, keepdim = data.draw(reduction_arguments(shape))
    leaf = Tensor(data.draw(layouts(x)), requires_grad=True)
    y = leaf.sum(dim, keepdim)
    expected = x.sum(axis=dim, keepdims=keepdim)
    np.testing.assert_array_equal(y.array, expected)
    dy = data.draw(upstream(expected.shape))
    (dx,) = minicnn.grad(y, leaf, Tensor(dy))
    kept = dy.reshape(x.sum(axis=dim, keepdims=True).shape)
    np.testing.assert_array_equal(dx.array, np.broadcast_to(kept, shape))


@given(st.data(), broadcastable_shapes(2))
@settings(max_examples=60)
def test_a_product_sums_its_gradients_over_what_was_broadcast(data, pair):
    a, b = (Tensor(data.draw(arrays(shape, kind="lattice")), requires_grad=True) for shape in pair)
    dy = data.draw(upstream(np.broadcast_shapes(*pair)))
    da, db = minicnn.grad(a * b, [a, b], Tensor(dy))
    assert (da.shape, db.shape) == pair
    total = (dy * a.array * b.array).sum()
    assert (da.array * a.array).sum() == pytest.approx(total, abs=1e-9)
    assert (db.array * b.array).sum() == pytest.approx(total, abs=1e-9)


@given(st.data(), st.integers(0, 5))
def test_a_position_taken_twice_gets_both_gradients(data, length):
    x = Tensor(data.draw(arrays((length, 2))), requires_grad=True)
    taken = data.draw(indices(length))
    dy = data.draw(upstream((taken.size, 2)))
    (dx,) = minicnn.grad(x[taken], x, Tensor(dy))
    expected = np.zeros((length, 2))
    np.add.at(expected, taken, dy)
    np.testing.assert_allclose(dx.array, expected, rtol=1e-12, atol=1e-12)


# --- importing ------------------------------------------------------------------------------------


def test_without_hypothesis_one_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    spec = importlib.util.spec_from_file_location("without_hypothesis", strategies.__file__)
    with pytest.raises(
        ImportError, match=r'needs hypothesis: pip install "minicnn\[test\]"'
    ) as raised:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert raised.value.name == "hypothesis"


def test_what_is_public_is_listed_in_order():
    assert strategies.__all__ == sorted(strategies.__all__, key=lambda n: (not n.isupper(), n))
