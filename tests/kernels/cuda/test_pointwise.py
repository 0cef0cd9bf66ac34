"""Recorded formulas on a card: their text, the steps, how arrays are walked through, changes."""

from __future__ import annotations

import itertools

import compiled
import manifest
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn_kernels.arrays import address_of
from minicnn_kernels.cuda import pointwise, replay
from minicnn_kernels.cuda.launch import with_includes
from minicnn_kernels.cuda.pointwise import (
    CHUNK,
    EXACT,
    Program,
    blocks_of,
    change,
    table_of,
    walk_of,
)
from minicnn_kernels.expression import FUNCTIONS, STEPS, Node
from minicnn_kernels.one_pass import in_one_pass
from minicnn_kernels.pointwise import Lazy, changes_in_one_pass, record_from
from minicnn_kernels.reference.special import erf, erfc, lgamma
from minicnn_kernels.strides import memory_order


def draw(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(dtype)


def assert_same(card, formula, *arrays, launches=1, rtol=2e-6):
    """Compare with NumPy: values, type and layout; nothing may cross between host and card."""
    there = [card.array(x) for x in arrays]
    before = sum(card.seen("launch").values())
    with card.no_copies():
        found = in_one_pass(formula)(*there)
    assert sum(card.seen("launch").values()) - before == launches
    with np.errstate(all="ignore"):
        expected = formula(*arrays)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if found.shape == arrays[0].shape:
        assert memory_order(found) == memory_order(arrays[0])
    np.testing.assert_allclose(found.get(), expected, rtol=rtol, atol=1e-6)


# --- the text -------------------------------------------------------------------------------------


def test_the_text_of_a_kernel_is_that_of_the_module_docstring():
    x = draw(4)
    program = Program((1 - Lazy.of(x) * Lazy.of(x)).node)
    shown = pointwise.__doc__.partition("it is\n\n")[2].partition("\n\nNumbers")[0]
    text = program.text(walk_of(x, [x]), 4)
    assert text == "\n".join(line.removeprefix("    ") for line in shown.splitlines())


def test_numbers_are_arguments_of_the_types_of_their_steps():
    x, y = Lazy.of(draw(4)), Lazy.of(draw(4, dtype=np.float64))
    programs = [Program((x * slope).node) for slope in (0.1, 0.2)]
    texts = [program.text(walk_of(draw(4), program.arrays), 4) for program in programs]
    assert texts[0] == texts[1]
    assert [program.numbers for program in programs] == [(np.float32(0.1),), (np.float32(0.2),)]
    assert [type(c) for c in Program((x * 2 + y * 3).node).numbers] == [np.float32, np.float64]


def test_large_arrays_have_places_of_64_bits():
    x = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (2**15, 2**15), (0, 0))
    y = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), x.shape, (4 * 2**15, 4))
    walk = walk_of(y, [y, x])
    assert walk.is_far
    assert "using Index = long long;" in Program((Lazy.of(y) * Lazy.of(y)).node).text(walk, 4)
    assert not walk_of(y[1:], [y[1:]]).is_far


# --- compiled for a card --------------------------------------------------------------------------

X, BIAS = np.zeros((2, 8, 4, 4), np.float32), np.zeros((8, 1, 1), np.float32)
slow = pytest.mark.slow_emulation
FORMULAS = {
    "a bias and a mask": (lambda x, b, kept: (x + b) * x * (kept * np.float32(2)), X, BIAS, X > 0),
    "GELU": (lambda x: 0.5 * x * (1 + np.tanh(0.8 * (x + 0.045 * x * x * x))), X),
    "16 bits": (lambda x: (x.astype(np.float32) * 2).astype(x.dtype), X.astype(np.float16)),
}


@pytest.mark.parametrize(("name", "architecture"), [
    ("a bias and a mask", 90),
    pytest.param("a bias and a mask", 75, marks=slow),
    pytest.param("GELU", 90, marks=slow),
    pytest.param("16 bits", 75, marks=slow),
])  # fmt: skip
def test_a_formula_reads_several_values_at_once_and_spills_nothing(monkeypatch, name, architecture):
    formula, *arrays = FORMULAS[name]
    with monkeypatch.context() as patch:
        patch.setattr("minicnn_kernels.pointwise.is_on_card", lambda value: True)
        program = Program(formula(*map(Lazy.of, arrays)).node)
    text = with_includes(program.text(walk_of(X, program.arrays), 4))
    (code,) = compiled.codes(text, architecture, EXACT).values()
    width = 64 if name == "16 bits" else 128
    row = manifest.Row("pointwise", "formula", 64, uses=(f"LDG.E.{width}", f"STG.E.{width}"))
    assert compiled.complaints(row, "formula", code, architecture) == []
    assert name == "GELU" or not code.uses("FFMA")  # it rounds after each step


@pytest.mark.parametrize("architecture", [90, pytest.param(75, marks=slow)])
def test_a_change_reads_several_values_at_once_and_spills_nothing(architecture):
    w, m, v, dw = (Node("array", X.dtype, value=X.copy()) for _ in range(4))
    lazy = [Lazy(node, X.shape) for node in (w, m, v, dw)]
    mean, square = 0.9 * lazy[1] + 0.1 * lazy[3], 0.99 * lazy[2] + 0.01 * lazy[3] * lazy[3]
    step = lazy[0] - 0.1 * mean / (np.sqrt(square) + 1e-8)
    program = Program(w, m, v, step.node, mean.node, square.node)
    text = with_includes(program.text_of_changes(3))
    (code,) = compiled.codes(text, architecture, EXACT).values()
    row = manifest.Row("pointwise", "change", 64, uses=("LDG.E.128", "STG.E.128"))
    assert compiled.complaints(row, "change", code, architecture) == []


# --- steps ----------------------------------------------------------------------------------------

ODD = [0.0, -0.0, 1.5, -2.5, 0.3, -0.6, np.inf, -np.inf, np.nan, 3.0, 1e-30, -1e30]
SPECIAL = {"erf": erf, "erfc": erfc, "lgamma": lgamma}
ROUNDED = {"logaddexp", "hypot", "arctan2", *FUNCTIONS}  # others are exact


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_step_is_the_function_of_its_name(card, dtype):
    a, b = (np.array(x, dtype) for x in zip(*itertools.product(ODD, ODD), strict=True))
    names = [name for name, step in STEPS.items() if "f" in step.kinds and name != "where"]
    nodes, expected = {}, {}
    there = {"a": card.array(a), "b": card.array(b)}
    x, y = (Node("array", a.dtype, value=there[name]) for name in "ab")
    for name in names:
        function = SPECIAL.get(name) or getattr(np, name)
        operands = 2 if getattr(function, "nin", 1) == 2 else 1
        with np.errstate(all="ignore"):
            expected[name] = function(*(a, b)[:operands])
        node = Node(name, expected[name].dtype, (x, y)[:operands])
        nodes[name] = node if expected[name].dtype == dtype else Node("cast", a.dtype, (node,))
        there[name] = card.array(np.full_like(a, 7))
    change([there], nodes)
    for name in names:
        found, wanted = there[name].get(), expected[name].astype(dtype)
        tolerance = (4e-6 if dtype == np.float32 else 1e-12) if name in ROUNDED else 0
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=0, err_msg=name)
        if name in ("negative", "absolute", "copysign", "floor", "ceil", "trunc", "rint"):
            np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted), err_msg=name)


def test_steps_of_booleans_and_small_integers(card):
    def formula(x, y):
        a, b = x > 0, y > 0
        logic = np.where(~a & b, 1.0, x) + np.where(a | b, 2.0, y) + (a ^ b) * x + (a == b) * y
        return logic + (a.view(np.int8) - b.view(np.int8)).astype(x.dtype)

    assert_same(card, formula, draw(8), draw(8, seed=1))


# --- how arrays are walked through ----------------------------------------------------------------


@given(data=st.data())
def test_every_place_is_that_of_the_value(data):
    """Follow the walk as the kernel does, in NumPy's memory."""
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 3, 4, 8]), min_size=1, max_size=4)))
    order = data.draw(st.permutations(range(len(shape))))
    y = np.empty([shape[axis] for axis in order], np.float32).transpose(np.argsort(order))
    sizes = tuple(n if data.draw(st.booleans()) else 1 for n in shape)
    steps = [data.draw(st.sampled_from([1, 2, -1])) for _ in shape]
    memory = draw(*(2 * n for n in sizes))
    x = memory[tuple(slice(None, None, step) for step in steps)][tuple(map(slice, sizes))]
    walk = walk_of(y, [x])
    rest, place = np.arange(y.size), 0
    for size, step in zip(reversed(walk.sizes), reversed(walk.strides[0]), strict=True):
        place = place + rest % size * step
        rest = rest // size
    start = (address_of(x) - address_of(memory)) // x.itemsize
    expected = np.broadcast_to(x, shape).transpose(memory_order(y)).ravel()
    np.testing.assert_array_equal(memory.ravel()[start + place], expected)
    if walk.kinds == "+":
        np.testing.assert_array_equal(place, np.arange(y.size))
    if walk.is_wide:
        assert (place[::4] % 4 == 0).all() or walk.kinds in "0."
        np.testing.assert_array_equal(np.diff(place.reshape(-1, 4)), walk.strides[0][-1])


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def test_a_bias_of_channels_is_read_in_vectors_where_channels_are_last():
    bias, first = draw(20, 1, 1), draw(2, 20, 4, 6)
    last = channels_last(first)
    assert walk_of(first, [first, bias]) == (
        (2, 20, 24),
        [(480, 24, 1), (0, 1, 0)],
        "+.",
        True,
        False,
    )
    assert walk_of(last, [last, bias]) == ((48, 20), [(20, 1), (0, 1)], "+s", True, False)
    assert walk_of(last, [last]) == ((960,), [(1,)], "+", True, False)
    assert not walk_of(last, [last, first]).is_wide


@pytest.mark.parametrize("shape", [(2, 8, 3, 5), (3, 5, 2, 1)], ids=["wide", "narrow"])
def test_arrays_of_several_layouts(card, shape):
    x, bias, scale = channels_last(draw(*shape)), draw(shape[1], 1, 1, seed=1), draw(1, seed=2)
    assert_same(card, lambda x, b, s: np.tanh(x * s + b), x, bias, scale)


def test_gaps_backwards_and_masks(card):
    def formula(x, a, mask):
        return np.where(mask, x, a * x)

    wide, mask = draw(4, 3, 10, seed=1), np.arange(12).reshape(3, 4).T % 5 > 1
    assert_same(card, formula, draw(4, 3, 5), wide[::-1, :, ::2], mask[:, :, None])


def test_rows_and_columns_are_recorded_or_computed_on_the_card(card):
    rows, columns = draw(3, 1), draw(4, seed=1)
    assert_same(card, lambda x, y: x * y, rows, columns)
    lazy = Lazy.of(card.array(rows)) * Lazy.of(card.array(columns))
    np.testing.assert_array_equal(lazy.compute().get(), rows * columns)


def test_where_arrays_begin_decides_how_they_are_read(card):
    x = card.array(draw(17))
    double = in_one_pass(lambda x: x * 2)
    for part in (x[:16], x[1:]):
        np.testing.assert_array_equal(double(part).get(), 2 * part.get())


def test_results_of_other_types_and_of_no_array(card):
    assert_same(card, lambda x: x > 0.5, draw(3, 4))
    assert_same(card, lambda x: np.full_like(x, 3), draw(5))
    assert_same(card, lambda x, y: x * y, draw(0, 3), draw(3), launches=0)


@pytest.mark.parametrize("name", ["float16", pytest.param("bfloat16", marks=slow)])
def test_16_bits_are_read_widened_and_rounded_in_one_kernel(card, name):
    half = np.dtype(name if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16)
    odd = [0.0, -0.0, 1e-7, -3e-8, 6e-5, 65504, 65519, 65520, -7e4, np.inf, -np.inf, np.nan]
    with np.errstate(over="ignore"):
        x = np.array([*odd, *draw(20)], np.float32).astype(half)
    y = x[::-1].copy()

    def gradient(dy, x):
        wide = x.astype(np.float32)
        return (lambda: dy), (lambda: 1.5 * wide * dy.astype(np.float32) + 0.25), lambda: wide > 0

    there = card.array(y), card.array(x)
    with card.no_copies():
        first, second, third = in_one_pass(gradient)(*there)
        assert first() is there[0]
        found, positive = second(), third()
    assert card.seen("launch") == {"formula": 2}
    assert (found.dtype, positive.dtype) == (half, bool)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float32)
        expected = (1.5 * wide * y.astype(np.float32) + np.float32(0.25)).astype(half)
    np.testing.assert_array_equal(found.get().astype(np.float32), expected.astype(np.float32))
    np.testing.assert_array_equal(positive.get(), wide > 0)
    with record_from(2**40):
        _, again, _ = in_one_pass(gradient)(*there)
        np.testing.assert_array_equal(again().get().astype(float), expected.astype(float))


def test_one_value_is_not_looked_at(card):
    """On the CPU it would be a number in the expression."""
    loss, dy = draw(), draw()
    assert_same(card, lambda x, y: x * y + 1, loss, dy)


def test_a_recording_is_used_again_and_a_reduction_stays_outside(card):
    made = []

    def formula(x):
        made.append(1)
        return x * 2

    once = in_one_pass(formula)
    for seed in range(3):
        x = draw(6, seed=seed)
        np.testing.assert_array_equal(once(card.array(x)).get(), x * 2)
    assert len(made) == 1
    # What CuPy computes may stand first among operands.
    assert_same(card, lambda x: x.max() - x * 2, draw(3, 4), launches=1)


def test_which_formulas_are_recorded(card):
    def recorded(*arguments, **settings):
        seen = []
        in_one_pass(lambda *a, **s: seen.append((*a, *s.values())))(*arguments, **settings)
        return any(isinstance(value, Lazy) for value in seen[0])

    x = card.array(draw(1))
    assert recorded(x)
    assert recorded(x, 2.0, np.float32(3))
    assert not recorded(x, draw(1))
    assert not recorded(x, mask=card.array(np.arange(3)))
    assert not recorded(card.array(draw(3).astype(np.complex64)))
    with record_from(2):
        assert not recorded(x)


# --- changes --------------------------------------------------------------------------------------


def test_a_change_is_made_to_every_member_in_one_launch(card):
    shapes = [(3, 4), (5, 7), (0,), (2, CHUNK + 2), (1,)]
    given = [{name: draw(*shape, seed=seed) for seed, name in enumerate("xyz")} for shape in shapes]
    given[1]["z"] = np.asfortranarray(given[1]["z"])
    there = [{name: card.array(x) for name, x in member.items()} for member in given]
    for lazy in changes_in_one_pass(*there):
        lazy["x"] *= 0.5
        lazy["y"] += lazy["x"] * lazy["z"]
    assert card.seen("launch") == {"change": 1}
    for member, found in zip(given, there, strict=True):
        x = np.float32(0.5) * member["x"]
        np.testing.assert_array_equal(found["x"].get(), x)
        np.testing.assert_array_equal(found["y"].get(), member["y"] + x * member["z"])
        np.testing.assert_array_equal(found["z"].get(), member["z"])


def test_each_value_belongs_to_one_block(card):
    sizes = [5, CHUNK, 1, CHUNK + 1, 0, 3 * CHUNK]
    members = [[card.array(np.zeros(size, np.float32))] for size in sizes]
    table = table_of(members)
    rows, blocks = table[: 4 * len(sizes)].reshape(-1, 4), table[4 * len(sizes) :]
    assert blocks.size == blocks_of(members)
    seen = [np.zeros(size, int) for size in sizes]
    for block, member in enumerate(blocks):
        start = (block - rows[member, 0]) * CHUNK
        seen[member][start : start + CHUNK] += 1
    assert all((counts == 1).all() for counts in seen)
    assert rows[:, 1].tolist() == sizes
    assert set(rows[[0, 2, 3], 2]) == {1}


def test_numbers_of_a_change_are_computed_again_before_a_replay(card):
    x, factor = card.array(np.ones(3, np.float32)), [1.0]

    def double():
        factor[0] *= 2
        for lazy in changes_in_one_pass({"x": x}):
            lazy["x"] *= factor[0]

    recording, graph = captured(card, double)
    for _ in range(2):
        recording.upload()
        graph.launch()
        recording.refill()
    assert x.get().tolist() == [8] * 3


def captured(card, work):
    """Capture work whose numbers differ from time to time."""
    with replay.recorded() as recording, card.cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        replay.repeated(work)
        return recording, stream.end_capture()


def test_a_replay_by_another_formula_is_refused(card):
    x, change_it = card.array(np.ones(3, np.float32)), [np.multiply]

    def change_x():
        for lazy in changes_in_one_pass({"x": x}):
            change_it[0](lazy["x"], 2, out=lazy["x"])

    recording, _ = captured(card, change_x)
    change_it[0] = np.add
    with pytest.raises(replay.NotCapturable, match="other numbers"):
        recording.refill()
