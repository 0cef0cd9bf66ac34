from __future__ import annotations

from math import ceil, prod

import numpy as np
import pytest

from minicnn_kernels import conv_bias, kernels
from minicnn_kernels.cuda import convolution
from minicnn_kernels.geometry import Windows
from minicnn_kernels.precision import math_mode
from minicnn_kernels.products import ON_CARDS

EXACT = {"simt": 2e-6, "tf32": 1e-3, "tf32x3": 2e-6, "bf16": 1e-2}

# images, channels, filters, groups, image, kernel, stride, padding, dilation
CASES = {
    "units of four": (2, 4, 8, 1, (7, 6), (3, 3), (1, 1), (1, 1), (1, 1)),
    "nothing fits": (2, 3, 5, 1, (9, 7), (3, 2), (2, 3), (1, 0), (1, 2)),
    "groups": (1, 8, 12, 2, (6, 6), (3, 3), (2, 2), (2, 2), (1, 1)),
    "pointwise": (3, 5, 7, 1, (5, 4), (1, 1), (1, 1), (0, 0), (1, 1)),
    "one channel": (2, 1, 9, 1, (8, 8), (5, 5), (1, 1), (0, 0), (1, 1)),
    "padding wider than the kernel": (1, 6, 6, 3, (10, 9), (3, 3), (3, 2), (3, 4), (2, 2)),
    "more than a tile": (2, 8, 70, 1, (9, 8), (3, 3), (2, 2), (1, 1), (1, 1)),
    "lines": (2, 4, 4, 1, (7,), (3,), (2,), (1,), (1,)),
    "phases without taps": (1, 4, 4, 1, (9, 9), (2, 2), (4, 4), (1, 1), (2, 2)),
    "units of eight": (1, 16, 24, 1, (6, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
    "one pixel": (1, 20, 3, 1, (1, 1), (1, 1), (2, 2), (0, 0), (1, 1)),
    "a window of all": (5, 2, 6, 1, (3, 5), (3, 5), (1, 1), (0, 0), (1, 1)),
}


class Problem:
    """Arrays of a convolution, and what NumPy makes of them in float64."""

    def __init__(self, images, channels, filters, groups, image, kernel, stride, padding, dilation):
        rng = np.random.default_rng(prod(image) + channels)
        windows = Windows(image, kernel, stride, padding, dilation)
        normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
        self.x, self.w = (
            normal(images, channels, *image),
            normal(filters, channels // groups, *kernel),
        )
        self.dy = normal(images, filters, *windows.output)
        self.b, self.add = normal(filters), normal(*self.dy.shape)
        moves = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self.settings = {
            "conv": moves,
            "conv_input": {"size": image, **moves},
            "conv_weight": {"size": kernel, **moves},
        }
        self.arrays = {
            "conv": (self.x, self.w),
            "conv_input": (self.dy, self.w),
            "conv_weight": (self.x, self.dy),
        }

    def expected(self, name, dtype=np.float32):
        arrays = (a.astype(dtype).astype(float) for a in self.arrays[name])
        return kernels[name](*arrays, algorithm="im2col", **self.settings[name])

    def on_card(self, card, name, algorithm, dtype=np.float32):
        arrays = [card.array(a.astype(dtype)) for a in self.arrays[name]]
        with card.no_copies():
            return kernels[name](*arrays, algorithm=algorithm, **self.settings[name])


def check(y, expected, tolerance):
    """Compare by norms, and see that channels are last in memory."""
    assert np.moveaxis(y, 1, -1).flags.c_contiguous
    assert y.shape == expected.shape
    assert np.linalg.norm(y.get().astype(float) - expected) <= tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("algorithm", ON_CARDS)
@pytest.mark.parametrize("name", ["conv", "conv_input", "conv_weight"])
@pytest.mark.parametrize("case", CASES)
def test_convolutions_of_odd_sizes(card, case, name, algorithm):
    problem = Problem(*CASES[case])
    y = problem.on_card(card, name, algorithm)
    check(y, problem.expected(name), EXACT[algorithm])


@pytest.mark.parametrize("name", ["conv", "conv_input", "conv_weight"])
@pytest.mark.parametrize("case", CASES)
def test_arrays_of_bfloat16(card, case, name):
    """The products are exact; only the results are rounded, to 8 bits."""
    dtype = pytest.importorskip("ml_dtypes").bfloat16
    problem = Problem(*CASES[case])
    y = problem.on_card(card, name, "bf16", dtype)
    assert y.dtype == dtype
    check(y, problem.expected(name, dtype), 2**-8)


@pytest.mark.parametrize("algorithm", ON_CARDS)
@pytest.mark.parametrize("case", ["units of four", "nothing fits"])
@pytest.mark.parametrize("relu", [False, True])
def test_bias_shortcut_and_relu_are_part_of_it(card, case, relu, algorithm):
    problem = Problem(*CASES[case])
    bias = problem.b.reshape(-1, 1, 1)
    expected = problem.expected("conv") + bias + problem.add
    x, w, b, add = map(card.array, (problem.x, problem.w, problem.b, problem.add))
    y = conv_bias(x, w, b, add=add, relu=relu, algorithm=algorithm, **problem.settings["conv"])
    check(y, np.maximum(expected, 0) if relu else expected, EXACT[algorithm])


def from_elsewhere(card, values):
    """Put values on the card, at an address that is no multiple of 16 bytes."""
    memory = card.array(np.append(np.float32(0), values))
    return memory[1:].reshape(values.shape)


@pytest.mark.parametrize("algorithm", ON_CARDS)
def test_arrays_may_begin_anywhere(card, algorithm):
    problem = Problem(*CASES["units of four"])
    arrays = problem.x, problem.w, problem.b, problem.add
    x, w, b, add = (from_elsewhere(card, values) for values in arrays)
    y = conv_bias(x, w, b, add=add, algorithm=algorithm, **problem.settings["conv"])
    expected = problem.expected("conv") + problem.b.reshape(-1, 1, 1) + problem.add
    check(y, expected, EXACT[algorithm])


@pytest.mark.parametrize("algorithm", ["tf32x3", "few_channels"])
def test_biases_may_be_every_other_value(card, algorithm):
    problem = Problem(*CASES["units of four"])
    x, w, b = map(card.array, (problem.x, problem.w, np.repeat(problem.b, 2)))
    y = conv_bias(x, w, b[::2], algorithm=algorithm, **problem.settings["conv"])
    check(y, problem.expected("conv") + problem.b.reshape(-1, 1, 1), EXACT["tf32x3"])


@pytest.mark.parametrize("mode", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("capability", [(7, 5), (9, 0)])
@pytest.mark.parametrize("name", ["conv", "conv_input", "conv_weight"])
def test_auto_is_as_exact_as_the_math_mode_and_can_be_captured(card, name, capability, mode):
    card.machine.compute_capability = capability
    usual = {"fp32": "tf32x3", "tf32": "tf32", "bf16": "bf16"}[mode]
    for case in CASES.values():
        problem = Problem(*case)
        arrays = map(card.array, problem.arrays[name])
        with math_mode(mode):
            chosen = kernels[name].choose(*arrays, **problem.settings[name]).name
        own = {"small_groups", "few_channels", usual if capability >= (8, 0) else "simt"}
        assert chosen in own


@pytest.mark.parametrize("algorithm", ON_CARDS)
@pytest.mark.parametrize("name", ["conv", "conv_input", "conv_weight"])
def test_sums_in_parts(card, monkeypatch, name, algorithm):
    monkeypatch.setattr(convolution, "plan", convolution.plan.__wrapped__)
    monkeypatch.setattr(convolution, "FEWEST_CHUNKS", 1)
    monkeypatch.setattr(convolution, "LAUNCH", -(10**9))
    problem = Problem(2, 9, 12, 1, (8, 7), (3, 3), (2, 1), (1, 1), (1, 1))
    check(problem.on_card(card, name, algorithm), problem.expected(name), EXACT[algorithm])
    assert card.seen("launch")["add_parts_f32"] == 1


TILES = [(math, tile) for math, tiles in convolution.TILES.items() for tile in tiles]

TURNS = [(0, False), (0, True), (2, False), (3, True)]


def around_a_tile(name, rows, columns):
    """Return a convolution whose result has so many rows and columns."""
    moves = (1, 2), (1, 1), (0, 1), (1, 1)  # kernel, stride, padding, dilation
    return {
        "conv": (1, 12, columns, 1, (2, rows // 2 - 1), *moves),
        "conv_input": (1, columns, 12, 1, (2, rows // 2), *moves),
        "conv_weight": (1, columns // 2, rows, 1, (3, 5), *moves),
    }[name]


def run_tile(card, monkeypatch, math, tile, name, rows, columns):
    dtype = pytest.importorskip("ml_dtypes").bfloat16 if math == "bf16_arrays" else np.float32
    algorithm = math.removesuffix("_arrays")
    monkeypatch.setattr(convolution, "TILES", {math: (tile,)})
    problem = Problem(*around_a_tile(name, rows, columns))
    y = problem.on_card(card, name, algorithm, dtype)
    check(y, problem.expected(name, dtype), EXACT[algorithm])
    assert f"{name}_{math}_{tile.rows}x{tile.columns}" in card.seen("launch")


@pytest.mark.parametrize(("math", "tile"), TILES)
def test_a_tile_that_is_not_full(card, monkeypatch, math, tile):
    run_tile(card, monkeypatch, math, tile, "conv", tile.rows - 6, tile.columns - 3)


@pytest.mark.parametrize(
    "turns",
    [(1, True), *(pytest.param(t, marks=pytest.mark.slow_emulation) for t in TURNS)],
)
@pytest.mark.parametrize("name", ["conv", "conv_input", "conv_weight"])
@pytest.mark.parametrize(("math", "tile"), TILES)
def test_more_than_a_tile_in_any_order(card, monkeypatch, math, tile, name, turns):
    card.machine.turns = dict(zip(("seed", "deferred"), turns, strict=True))
    run_tile(card, monkeypatch, math, tile, name, tile.rows + 6, tile.columns + 4)


def test_division_by_a_multiplication():
    rng = np.random.default_rng(0)
    for value in [1, 2, 3, 7, 2**15 - 1, 2**30, 2**31 - 1, *rng.integers(1, 2**31, 300).tolist()]:
        _, multiplier, shift = convolution.divisor(value)
        assert multiplier < 2**32
        numbers = [0, value - 1, value, 2**31 - 1, *rng.integers(0, 2**31, 30).tolist()]
        for x in [*numbers, *(x // value * value for x in numbers)]:
            assert (2 * x * multiplier >> 32) >> shift == x // value


def random_sizes(rng):
    """Draw a convolution, from tiny to large."""
    while True:
        image = tuple(np.exp(rng.uniform(0, 5.5, 2)).astype(int).tolist())
        kernel = tuple(rng.integers(1, 8, 2).tolist())
        moves = [
            tuple(rng.integers(low, high, 2).tolist()) for low, high in [(1, 5), (0, 5), (1, 4)]
        ]
        windows = Windows(image, kernel, *moves)
        groups = int(rng.choice([1, 1, 1, 2, 8]))
        channels, filters = (np.exp(rng.uniform(0, 6, 2)).astype(int) * groups).tolist()
        if min(windows.output) >= 1:
            images = int(rng.integers(1, 129))
            return convolution.Convolution(images, channels, filters, groups, windows)


def test_plans_compute_everything_once_and_fit():
    rng = np.random.default_rng(0)
    for _ in range(1500):
        sizes, name = random_sizes(rng), str(rng.choice(["conv", "conv_input", "conv_weight"]))
        math, processors = str(rng.choice([*convolution.TILES])), int(rng.choice([20, 132]))
        itemsize = 2 if math == "bf16_arrays" else 4
        plan = convolution.plan.__wrapped__(name, sizes, math, itemsize, processors)
        problem = plan.problem[()]
        (tile,) = (
            t for t in convolution.TILES[math] if plan.kernel.endswith(f"_{t.rows}x{t.columns}")
        )
        channels, taps = sizes.channels // sizes.groups, sizes.windows.cells
        images, output = sizes.images, prod(sizes.windows.output)
        filters = sizes.filters // sizes.groups
        phases = prod(sizes.windows.stride) if name == "conv_input" else 1
        steps = zip(sizes.windows.image, sizes.windows.stride, strict=True)
        rows, columns = {
            "conv": (images * output, filters),
            "conv_input": (images * prod(ceil(n / s) for n, s in steps), channels),
            "conv_weight": (filters, channels * taps),
        }[name]
        tiles = ceil(rows / tile.rows) * ceil(columns / tile.columns)
        assert plan.grid == (tiles * sizes.groups, phases, plan.parts)
        assert max(plan.grid[0] // 2**15, *plan.grid[1:]) < 2**16
        assert (problem["rows"], problem["columns"]) == (rows, columns)
        of_part, inner = int(problem["inner_of_part"]), int(problem["inner"])
        assert of_part % tile.chunk == 0
        assert (plan.parts - 1) * of_part < inner <= plan.parts * of_part
        values = {
            "conv": images * output * sizes.filters,
            "conv_weight": sizes.filters * channels * taps,
        }
        values["conv_input"] = images * prod(sizes.windows.image) * sizes.channels
        assert problem["part"] == values[name]
        if plan.parts > 1:
            assert 4 * plan.parts * values[name] <= 32 * 2**20
        assert plan.shared <= 99 * 1024
        assert tile.threads % 32 == 0
