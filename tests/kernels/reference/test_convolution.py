from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import pytest
from geometries import ANY_SIDES, integers, windows
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import signal

import minicnn_kernels
from minicnn_kernels import conv, conv_input, conv_weight
from minicnn_kernels.errors import AlgorithmError
from minicnn_kernels.geometry import Windows
from minicnn_kernels.reference import convolution
from minicnn_kernels.registry import can_compile

HERE = {"loops", "im2col", "flipped_filter"}  # the other algorithms have files of their own
FORWARD = sorted(conv.algorithms.keys() & HERE)
INPUT = sorted(conv_input.algorithms.keys() & HERE)
WEIGHT = sorted(conv_weight.algorithms.keys() & HERE)


@dataclass
class Setting:
    """Arrays and settings of one convolution, seen from its three sides."""

    x: np.ndarray
    w: np.ndarray
    dy: np.ndarray
    settings: dict[str, Any]

    def forward(self, **more):
        return conv(self.x, self.w, **self.settings, **more)

    def input(self, **more):
        return conv_input(self.dy, self.w, size=self.x.shape[2:], **self.settings, **more)

    def weight(self, **more):
        return conv_weight(self.x, self.dy, size=self.w.shape[2:], **self.settings, **more)


def setting(found, images=2, per_group=(2, 1), groups=1):
    channels, filters = per_group[0] * groups, per_group[1] * groups
    return Setting(
        integers((images, channels, *found.image)),
        integers((filters, per_group[0], *found.kernel), seed=1),
        integers((images, filters, *found.output), seed=2),
        {
            "stride": found.stride,
            "padding": found.padding,
            "dilation": found.dilation,
            "groups": groups,
        },
    )


settings = st.builds(
    setting,
    windows(ANY_SIDES),
    images=st.integers(0, 3),
    per_group=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.integers(1, 3),
)

# --- every algorithm against an independent one ---------------------------------------------------


def by_scipy(x, w, *, stride, padding, dilation, groups):
    """Pad, correlate with the filter spread out by the dilation, and drop what the stride skips."""
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    reach = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    spread = np.zeros((*w.shape[:2], *reach))
    spread[:, :, *(slice(None, None, d) for d in dilation)] = w
    kept = tuple(slice(None, None, s) for s in stride)
    filters, per_group = len(w) // groups, w.shape[1]
    return np.array([
        [
            sum(
                signal.correlate(
                    image[o // filters * per_group + c], spread[o, c], "valid", "direct"
                )
                for c in range(per_group)
            )[kept]
            for o in range(len(w))
        ]
        for image in padded
    ])  # fmt: skip


@given(settings)
def test_forward_equals_scipy(given_setting):
    s = given_setting
    assume(len(s.x))
    expected = by_scipy(s.x, s.w, **s.settings)
    for name in FORWARD:
        np.testing.assert_allclose(s.forward(algorithm=name), expected, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", FORWARD)
@given(given_setting=settings)
def test_forward_equals_the_loops(name, given_setting):
    expected = given_setting.forward(algorithm="loops")
    np.testing.assert_array_equal(given_setting.forward(algorithm=name), expected)


@pytest.mark.parametrize("name", INPUT)
@given(given_setting=settings)
def test_input_gradient_equals_the_loops(name, given_setting):
    expected = given_setting.input(algorithm="loops")
    np.testing.assert_array_equal(given_setting.input(algorithm=name), expected)


@pytest.mark.parametrize("name", WEIGHT)
@given(given_setting=settings)
def test_weight_gradient_equals_the_loops(name, given_setting):
    expected = given_setting.weight(algorithm="loops")
    np.testing.assert_array_equal(given_setting.weight(algorithm=name), expected)


# --- laws -----------------------------------------------------------------------------------------


@given(settings)
def test_the_three_are_one_trilinear_form(given_setting):
    s = given_setting
    from_output = (s.forward(algorithm="loops") * s.dy).sum()
    assert (s.x * s.input(algorithm="loops")).sum() == from_output
    assert (s.w * s.weight(algorithm="loops")).sum() == from_output


@given(settings, st.integers(-3, 3))
def test_forward_is_linear_in_each_argument(given_setting, factor):
    s = given_setting
    z, v = integers(s.x.shape, seed=3), integers(s.w.shape, seed=4)
    y = lambda x, w: conv(x, w, **s.settings)  # noqa: E731
    np.testing.assert_array_equal(y(s.x + factor * z, s.w), y(s.x, s.w) + factor * y(z, s.w))
    np.testing.assert_array_equal(y(s.x, s.w + factor * v), y(s.x, s.w) + factor * y(s.x, v))


@given(windows(ANY_SIDES), st.data())
def test_moving_the_image_by_a_stride_moves_the_result_by_one(found, data):
    unpadded = replace(found, padding=(0,) * found.ndim)
    assume(min(unpadded.output) >= 1)
    s = setting(unpadded)
    moves = data.draw(st.tuples(*[st.integers(0, 2)] * found.ndim))
    before = [(step * move, 0) for step, move in zip(found.stride, moves, strict=True)]
    moved = conv(np.pad(s.x, [(0, 0), (0, 0), *before]), s.w, **s.settings)
    np.testing.assert_array_equal(moved[:, :, *(slice(move, None) for move in moves)], s.forward())


@given(settings)
def test_sides_of_one_pixel_change_nothing(given_setting):
    s = given_setting
    assume(s.x.ndim < 5)
    more = {
        **s.settings,
        "stride": (*s.settings["stride"], 1),
        "padding": (*s.settings["padding"], 0),
        "dilation": (*s.settings["dilation"], 1),
    }
    y = conv(s.x[..., None], s.w[..., None], **more)
    np.testing.assert_array_equal(y[..., 0], s.forward())


@pytest.mark.parametrize("name", FORWARD)
def test_groups_are_convolutions_side_by_side(name):
    s = setting(Windows((4, 5), (3, 2), (2, 1), (1, 0)), per_group=(2, 3), groups=2)
    alone = {**s.settings, "groups": 1}
    halves = [conv(s.x[:, 2 * g : 2 * g + 2], s.w[3 * g : 3 * g + 3], **alone) for g in range(2)]
    np.testing.assert_array_equal(s.forward(algorithm=name), np.concatenate(halves, axis=1))


# --- memory and types -----------------------------------------------------------------------------

ODD = Windows((6, 5), (3, 2), (2, 1), (1, 2), (1, 2))
SIDES = [
    *[("forward", name) for name in FORWARD],
    *[("input", name) for name in INPUT],
    *[("weight", name) for name in WEIGHT],
]


@pytest.mark.parametrize(("side", "name"), SIDES)
@pytest.mark.parametrize("layout", [
    lambda a: a.transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0),
    lambda a: np.flip(np.flip(a).copy()),
    lambda a: np.repeat(a, 2, axis=3)[..., ::2],
], ids=["turned", "backwards", "spaced"])  # fmt: skip
def test_any_strides_and_read_only_arrays(side, name, layout):
    s = setting(ODD, groups=2)
    expected = getattr(s, side)(algorithm="loops")
    s.x, s.w, s.dy = map(layout, (s.x, s.w, s.dy))
    for array in (s.x, s.w, s.dy):
        array.flags.writeable = False
    np.testing.assert_array_equal(getattr(s, side)(algorithm=name), expected)


@pytest.mark.parametrize(("side", "name"), SIDES)
def test_one_value_repeated_in_memory(side, name):
    s = setting(ODD)
    s.x, s.w, s.dy = (np.broadcast_to(np.float64(2), a.shape) for a in (s.x, s.w, s.dy))
    repeated = getattr(s, side)(algorithm=name)
    s.x, s.w, s.dy = s.x.copy(), s.w.copy(), s.dy.copy()
    np.testing.assert_array_equal(repeated, getattr(s, side)(algorithm="loops"))


@pytest.mark.parametrize(("side", "name"), SIDES)
def test_float32_stays_float32(side, name):
    s = setting(ODD, groups=2)
    expected = getattr(s, side)(algorithm="loops")
    s.x, s.w, s.dy = (a.astype(np.float32) for a in (s.x, s.w, s.dy))
    result = getattr(s, side)(algorithm=name)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("side", "name"), SIDES)
def test_the_result_has_memory_of_its_own(side, name):
    s = setting(Windows((2, 3), (1, 1)), per_group=(1, 1), images=1)
    result = getattr(s, side)(algorithm=name)
    assert result.flags.writeable
    assert not any(np.shares_memory(result, array) for array in (s.x, s.w, s.dy))


# --- the workspace --------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 500, 3000])
@pytest.mark.parametrize("side", ["forward", "input", "weight"])
def test_many_passes_give_the_same_result(monkeypatch, limit, side):
    s = setting(ODD, images=5, groups=2)
    expected = getattr(s, side)(algorithm="im2col")
    monkeypatch.setattr(convolution, "WORKSPACE_BYTES", limit)
    np.testing.assert_array_equal(getattr(s, side)(algorithm="im2col"), expected)


def scratch_bytes(s, side):
    """Measure the most memory a call holds, without arguments and the result."""
    tracemalloc.start()
    try:
        result = getattr(s, side)(algorithm="im2col")
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("side", ["forward", "input", "weight"])
def test_the_workspace_bounds_the_memory_of_a_call(monkeypatch, side):
    s = setting(Windows((40, 40), (5, 5), padding=(2, 2)), images=4, per_group=(4, 4))
    whole = s.x.nbytes * 25
    image = s.x.nbytes * 44**2 // 40**2
    monkeypatch.setattr(convolution, "WORKSPACE_BYTES", whole)
    monkeypatch.setattr(convolution, "_thread", threading.local())  # no memory from earlier calls
    assert scratch_bytes(s, side) > whole
    monkeypatch.setattr(convolution, "WORKSPACE_BYTES", whole // 20)
    monkeypatch.setattr(convolution, "_thread", threading.local())
    assert scratch_bytes(s, side) < 4 * whole // 20 + 3 * image


def test_each_thread_has_a_workspace_of_its_own():
    s = setting(ODD, images=5)
    expected = s.forward(algorithm="im2col")
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: s.forward(algorithm="im2col"), range(200)))
    for result in results:
        np.testing.assert_array_equal(result, expected)


def test_windows_of_one_pixel_are_not_copied(monkeypatch):
    s = setting(Windows((4, 3), (1, 1)), per_group=(2, 3))
    expected = s.forward(algorithm="loops"), s.weight(algorithm="loops")
    monkeypatch.setattr(convolution, "_workspace", lambda _: pytest.fail("a copy is made"))
    np.testing.assert_array_equal(s.forward(algorithm="im2col"), expected[0])
    np.testing.assert_array_equal(s.weight(algorithm="im2col"), expected[1])


@pytest.mark.parametrize("channels", [3, 64])
def test_the_first_layers_of_vgg16_stay_far_below_a_gigabyte(channels):
    images, filters, side, cells = 16, 64, 224, 9
    shape = (channels, 3, 3, side, side, images)
    columns = np.broadcast_to(np.float32(0), shape)  # the im2col matrix, without its memory
    windows = Windows((side, side), (3, 3), padding=(1, 1))
    passes = list(convolution._passes(columns, windows))
    parts = [part for _, part in passes]
    assert [row for rows, _ in passes for row in range(side)[rows]] == list(range(side))
    assert all(part.shape[3] == len(range(side)[rows]) for rows, part in passes)
    pass_bytes = max(prod(part.shape) for part in parts) * 4
    product_bytes = pass_bytes // (channels * cells) * filters
    padded_bytes = channels * (side + 2) ** 2 * images * 4
    assert prod(shape) * 4 > channels * 25e6  # 64 channels: 1.8 GB at once
    assert pass_bytes + product_bytes + 2 * padded_bytes < 5e8


@pytest.mark.parametrize("algorithm", ["im2col", "implicit_gemm"])
@pytest.mark.parametrize("relu", [False, True])
def test_bias(algorithm, relu):
    if algorithm == "implicit_gemm" and not can_compile():
        pytest.skip("Numba is not installed")
    s, b = setting(ODD, per_group=(2, 3)), integers((3,), seed=3)
    expected = s.forward() + b[:, None, None]
    with minicnn_kernels.use_algorithms(conv=algorithm):
        y = minicnn_kernels.conv_bias(s.x, s.w, b, relu=relu, **s.settings)
    np.testing.assert_array_equal(y, np.maximum(expected, 0) if relu else expected)


def test_no_image_and_no_pass():
    s = setting(ODD, images=0)
    assert s.forward().shape == (0, 1, *ODD.output)
    assert s.input().shape == (0, 2, *ODD.image)
    assert not s.weight().any()


# --- which algorithm is taken ---------------------------------------------------------------------


def test_the_loops_are_taken_only_by_name():
    s = setting(ODD)
    assert conv.choose(s.x, s.w, **s.settings).name == "im2col"
    with minicnn_kernels.use_algorithms(conv="loops"):
        assert conv.choose(s.x, s.w, **s.settings).name == "loops"


@pytest.mark.parametrize(
    ("per_group", "stride", "expected"),
    [((8, 2), 1, "flipped_filter"), ((2, 8), 1, "im2col"), ((8, 4), 2, "im2col")],
)
def test_input_gradient_gathers_from_few_filters_and_scatters_from_many(
    per_group, stride, expected
):
    s = setting(Windows((6, 6), (3, 3), (stride, stride)), per_group=per_group)
    assert conv_input.choose(s.dy, s.w, size=(6, 6), **s.settings).name == expected


@pytest.mark.parametrize("layout", [np.asarray, np.asfortranarray])
def test_a_kernel_that_covers_the_image(layout):
    x, w = layout(integers((3, 4, 5, 3))), integers((7, 4, 5, 3), seed=1)
    settings = {"stride": (1, 2), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    dy = layout(integers((3, 7, 1, 1), seed=2))
    for compute in (
        lambda algorithm: conv(x, w, algorithm=algorithm, **settings),
        lambda algorithm: conv_input(dy, w, size=(5, 3), algorithm=algorithm, **settings),
        lambda algorithm: conv_weight(x, dy, size=(5, 3), algorithm=algorithm, **settings),
    ):
        np.testing.assert_array_equal(compute("one_window"), compute("loops"))
    assert conv.choose(x, w, **settings).name == "one_window"
    with pytest.raises(AlgorithmError, match="does not serve"):
        conv(x, w, algorithm="one_window", **{**settings, "padding": (1, 0)})
