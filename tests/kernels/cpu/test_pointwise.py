"""From expressions to loops: their text, how they walk through memory, what is kept on disk."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba", reason="Numba is not installed")

from minicnn_kernels.cpu import pointwise
from minicnn_kernels.cpu.pointwise import (
    IN_PLACE,
    OVER_ROWS,
    OVER_VALUES,
    Program,
    change,
    evaluate,
    rows_of,
)
from minicnn_kernels.expression import Node
from minicnn_kernels.pointwise import Lazy


def lazy(formula, *arrays):
    return formula(*map(Lazy.of, arrays))


def draw(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(dtype)


def test_the_text_of_a_loop_is_that_of_the_module_docstring():
    program = Program(lazy(lambda x: 1 - x * x, draw(3)).node)
    shown = pointwise.__doc__.partition("it is\n\n")[2].partition("\n\nNumbers")[0]
    text = program.text(OVER_VALUES).strip()
    assert text == "\n".join(line.removeprefix("    ") for line in shown.splitlines())


def test_rows_have_places_where_they_begin():
    program = Program(lazy(lambda x, b: x + b, draw(2, 3), draw(2, 1)).node)
    text = program.text(OVER_ROWS, "+0")
    assert "def loop(begin, end, numbers, y, columns, x0, starts0, x1, starts1):" in text
    assert "r0 = x0[starts0[r] : starts0[r] + columns]" in text
    assert "v1 = x1[starts1[r]]" in text


def test_each_array_and_each_step_is_there_once():
    x = draw(3)

    def formula(x):
        square = x * x
        return square + square / (1 + square)

    program = Program(lazy(formula, x).node)
    assert len(program.arrays) == 1
    assert program.text(OVER_VALUES).count("v0 * v0") == 1
    a = Lazy.of(x)
    assert len(Program((a * Lazy.of(x)).node).arrays) == 1


def test_numbers_are_arguments():
    loops = [Program((Lazy.of(draw(3)) * slope).node) for slope in (0.1, 0.2)]
    assert loops[0].text(OVER_VALUES) == loops[1].text(OVER_VALUES)
    assert [program.numbers.tolist() for program in loops] == [[0.1], [0.2]]
    assert loops[0].loop(OVER_VALUES) is loops[1].loop(OVER_VALUES)


# --- layouts --------------------------------------------------------------------------------------


def dense_layouts(x):
    """Yield arrays equal to x in every order of axes in memory."""
    for order in itertools.permutations(range(x.ndim)):
        yield np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def other_layouts(x):
    """Yield arrays equal to x with gaps, backwards, and read-only."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield wide[..., ::2]
    yield np.flip(np.flip(x, -1).copy(), -1)
    yield np.flip(np.flip(x, 0).copy(), 0)
    constant = x.copy()
    constant.flags.writeable = False
    yield constant


def test_a_result_lies_like_its_array_in_memory():
    x = draw(2, 3, 4)
    for laid in dense_layouts(x):
        y = evaluate(lazy(lambda x: x * 2 + 1, laid).node, x.shape)
        np.testing.assert_allclose(y, x * 2 + 1, rtol=1e-6, atol=1e-6)
        assert y.strides == laid.strides


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 5, 1), (2, 40, 3), (3, 2, 20)])
def test_two_arrays_in_any_two_layouts(shape):
    a, b = draw(*shape), draw(*shape, seed=1)
    for x, y in itertools.product([*dense_layouts(a), *other_layouts(a)],
                                  [*dense_layouts(b), *other_layouts(b)]):  # fmt: skip
        found = evaluate(lazy(lambda x, y: x * y + 1, x, y).node, shape)
        np.testing.assert_allclose(found, a * b + 1, rtol=1e-6, atol=1e-6)


@given(data=st.data())
def test_operands_that_are_repeated_along_some_axes(data):
    shape = data.draw(st.lists(st.sampled_from([1, 2, 3, 17, 20]), min_size=1, max_size=4))
    keep = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    order = data.draw(st.permutations(range(len(shape))))
    x = np.ascontiguousarray(draw(*shape).transpose(order)).transpose(np.argsort(order))
    bias = draw(*(n if kept else 1 for n, kept in zip(shape, keep, strict=True)), seed=1)
    while data.draw(st.booleans()) and bias.ndim > 1 and bias.shape[0] == 1:
        bias = bias[0]
    found = evaluate(lazy(lambda x, b: x - b, x, bias).node, tuple(shape))
    np.testing.assert_array_equal(found, x - bias)


def test_a_channels_bias_is_walked_by_rows_in_both_layouts():
    bias = draw(20, 1, 1)
    first = draw(2, 20, 4, 6)
    last = np.ascontiguousarray(first.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    by_channel = rows_of(np.empty_like(first), [first, bias])
    by_pixel = rows_of(np.empty_like(last), [last, bias])
    assert (by_channel.n_rows, by_channel.columns, by_channel.walks) == (40, 24, "+0")
    assert (by_pixel.n_rows, by_pixel.columns, by_pixel.walks) == (48, 20, "++")
    assert rows_of(np.empty_like(first), [first]) is None
    assert rows_of(np.empty_like(last), [last]) is None


def test_no_values_and_one_value():
    assert evaluate(lazy(lambda x, y: x * y, draw(0, 3), draw(0, 3)).node, (0, 3)).shape == (0, 3)
    y = evaluate(lazy(lambda x: x * 2, np.ones((1, 1), np.float32)).node, (1, 1))
    assert y.tolist() == [[2]]


def test_a_change_reads_everything_before_it_writes():
    a, b, given = draw(3, 4), draw(3, 4, seed=1), draw(4, 3, seed=2).T
    x, y = a.copy(), b.copy()
    mean = lazy(lambda x, y, c: (x + y + c) / 3, x, y, given)
    nodes = {"x": (mean + Lazy.of(y)).node, "y": (mean - Lazy.of(x)).node}
    change([{"x": x, "y": y, "c": given}], nodes)
    np.testing.assert_allclose(x, (a + b + given) / 3 + b, rtol=1e-5)
    np.testing.assert_allclose(y, (a + b + given) / 3 - a, rtol=1e-5)


def test_a_change_is_made_to_every_member():
    first, second = draw(3, 4), np.asfortranarray(draw(5, 2, seed=1))
    expected = second + 2 * second.T.copy().T
    b = first.copy()
    node = lazy(lambda x, b: x + 2 * b, first, b).node
    change(
        [{"x": first, "b": b}, {"x": second, "b": second.copy()}, {"x": draw(0), "b": draw(0)}],
        {"x": node},
    )
    np.testing.assert_allclose(first, 3 * b, rtol=1e-6)
    np.testing.assert_allclose(second, expected, rtol=1e-6)


def test_what_is_changed_is_an_argument_once():
    x, y = draw(3), draw(3)
    node = (Lazy.of(x) * Lazy.of(y)).node
    text = Program(Node("array", x.dtype, value=x), node).text(IN_PLACE, changed=1)
    assert "def loop(begin, end, numbers, x0, x1):" in text
    assert text.count("x0[i] = t0") == text.count("[i] = ") == 1


def test_a_change_follows_the_order_of_memory():
    x, b = np.asfortranarray(draw(3, 4)), draw(3, 4, seed=1)
    expected = x + b
    change([{"x": x, "b": b}], {"x": lazy(lambda x, b: x + b, x, b).node})
    np.testing.assert_array_equal(x, expected)
    nothing = draw(0, 3)
    change([{"x": nothing}], {"x": (Lazy.of(nothing) * 2).node})


def test_large_arrays_are_divided_among_threads():
    x = draw(3 * pointwise.GRAIN + 5)
    np.testing.assert_array_equal(evaluate(lazy(lambda x: x + x, x).node, x.shape), x + x)
    rows, bias = draw(300, 200), draw(300, 1)
    found = evaluate(lazy(lambda x, b: x + b, rows, bias).node, rows.shape)
    np.testing.assert_array_equal(found, rows + bias)


# --- on disk --------------------------------------------------------------------------------------


def test_the_text_is_kept_once(tmp_path, monkeypatch):
    monkeypatch.setattr(pointwise, "cache_folder", lambda: tmp_path)
    text = "def loop(begin, end):\n    pass\n"
    path = pointwise._kept(text)
    assert Path(path).read_text() == text
    before = (tmp_path / "loops").stat().st_mtime_ns
    assert pointwise._kept(text) == path
    assert len(list((tmp_path / "loops").iterdir())) == 1
    assert (tmp_path / "loops").stat().st_mtime_ns == before


def test_without_a_folder_loops_are_compiled_all_the_same(monkeypatch):
    monkeypatch.setattr(pointwise, "cache_folder", lambda: None)
    monkeypatch.setattr(pointwise, "_loops", {})
    x = draw(3)
    np.testing.assert_array_equal(evaluate(lazy(lambda x: x * 3, x).node, (3,)), x * 3)
