from __future__ import annotations

import numpy as np
import pytest

from minicnn.gradcheck import gradcheck_pair
from minicnn.gradcheck.compare import (
    AT_KINK,
    INCONCLUSIVE,
    RIGHT,
    UNMEASURED,
    WRONG,
    Comparison,
    Ground,
    Place,
    Tolerances,
)
from minicnn.gradcheck.search import SAMPLE, Row, Search
from minicnn.gradcheck.subject import from_pair, signs


def searched(forward, backward, *inputs, mode="fast", seed=0):
    """Search a plain pair; return the Search."""
    subject = from_pair(forward, backward, inputs, cache=False)
    ground = Ground(subject, subject.checked)
    rng = np.random.default_rng(seed)
    upstreams = [ground.usable([signs(rng, shape) for shape in ground.shapes]) for _ in range(2)]
    found = [subject.gradients(dy, subject.inputs) for dy in upstreams]
    search = Search(
        Comparison(subject, subject.checked, ground, upstreams, found, Tolerances()), seed
    )
    getattr(search, mode)()
    return search


def sine(cells, factor=1.01):
    """Return a pair whose gradient is off in some cells."""

    def backward(dy, x):
        dx = dy * np.cos(x)
        dx.reshape(-1)[cells] *= factor
        return dx

    return np.sin, backward


def normal(*shape, seed=3):
    return np.random.default_rng(seed).normal(size=shape)


# --- finding the element --------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [0, 4321, 9999])
def test_one_percent_in_one_of_ten_thousand_cells_is_found_and_located(cell):
    search = searched(*sine([cell]), normal(100, 100))
    (row,) = search.rows
    assert np.flatnonzero(row.state == WRONG).tolist() == [cell]
    assert row.worst == cell
    assert 0 < np.count_nonzero(row.state) <= SAMPLE + 10


@pytest.mark.parametrize("shape", [(16, 5, 25, 5), (10000,), (1, 10000), (100, 1, 100)])
def test_the_element_is_located_in_any_shape(shape):
    (row,) = searched(*sine([7777]), normal(*shape)).rows
    assert np.flatnonzero(row.state == WRONG).tolist() == [7777]


def test_nothing_is_followed_where_everything_is_right():
    (row,) = searched(*sine([]), normal(100, 100)).rows
    assert set(row.directions) == {RIGHT}
    assert np.count_nonzero(row.state) <= 6
    assert row.state[0] == row.state[-1] == RIGHT


def test_two_errors_that_cancel_in_the_sum_are_found():
    def backward(dy, x):
        dx = np.full_like(x, dy)
        dx[3], dx[900] = 1.5 * dy, 0.5 * dy
        return dx

    (row,) = searched(np.sum, backward, normal(1000)).rows
    assert WRONG in row.directions
    assert row.worst in (3, 900)


def test_full_mode_looks_at_every_element():
    search = searched(*sine([2, 5]), normal(3, 4), mode="full")
    (row,) = search.rows
    assert np.flatnonzero(row.state == WRONG).tolist() == [2, 5]
    assert UNMEASURED not in row.state
    assert row.directions == []
    assert np.all(row.bound < 1e-6)


def test_each_input_has_a_row_and_only_the_wrong_one_is_blamed():
    def backward(dy, a, b):
        return dy * b, 1.5 * dy * a

    for mode in ("full", "fast"):
        first, second = searched(
            np.multiply, backward, normal(4, 5), normal(4, 5, seed=4), mode=mode
        ).rows
        assert WRONG not in {*first.state.tolist(), *first.directions}
        assert np.any(second.state == WRONG)


# --- directions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1], np.s_[:, :, -1], np.s_[..., 0], np.s_[1]],
)
def test_there_is_a_direction_for_each_border(wrong):
    x = normal(6, 4, 5, 5)
    subject = from_pair(np.sin, lambda dy, x: dy * np.cos(x), [x])
    ground = Ground(subject, [0])
    dy = ground.usable([np.ones(x.shape)])
    found = [subject.gradients(dy, subject.inputs)]
    search = Search(Comparison(subject, [0], ground, [dy], found, Tolerances()), 0)
    mask = np.zeros(x.shape, dtype=bool)
    mask[wrong] = True
    directions = [u.reshape(x.shape) != 0 for u in search._directions(search.rows[0].place)]
    assert any(np.array_equal(seen, mask) for seen in directions)


def test_directions_have_both_signs_and_lose_no_element():
    search = searched(*sine([]), normal(40))
    first, *_, last = list(search._directions(search.rows[0].place))[:4]
    assert set(np.sign(first)) == {-1, 1}
    assert np.abs(first).min() >= 0.5 - 1 / 64
    assert np.all(last == 1)


def test_an_input_without_elements_or_axes_is_searched_too():
    empty, single = searched(
        lambda a, b: a.sum() * 0 + b**2,
        lambda dy, a, b: (0 * a, 2 * dy * b),
        np.zeros((0, 3)),
        np.array(1.5),
    ).rows
    assert empty.counts == {}
    assert empty.worst is None
    assert set(single.counts) == {RIGHT}


# --- ties -----------------------------------------------------------------------------------------


def pool(share):
    """Return a pair that pools 2 x 2 windows; `share` deals out dy in a window with ties."""

    def windows(x):
        return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).swapaxes(1, 2)

    def forward(x):
        return windows(x).max(axis=(2, 3))

    def backward(dy, x):
        dx = np.zeros_like(x)
        parts, targets = windows(x), windows(dx)
        for i, j in np.ndindex(dy.shape):
            targets[i, j] = dy[i, j] * share(parts[i, j] == parts[i, j].max())
        return dx

    return forward, backward


def first(tied):
    return (np.arange(tied.size) == np.flatnonzero(tied)[0]).reshape(tied.shape)


def last(tied):
    return (np.arange(tied.size) == np.flatnonzero(tied)[-1]).reshape(tied.shape)


SHARES = {
    "first": (first, "pass"),
    "last": (last, "pass"),
    "split": (lambda tied: tied / tied.sum(), "pass"),
    "unevenly": (lambda tied: 0.25 * first(tied) + 0.75 * last(tied), "pass"),
    "all": (lambda tied: tied, "fail"),
    "none": (lambda tied: tied * (tied.sum() == 1), "fail"),
    "half": (lambda tied: tied / (1 + (tied.sum() > 1)) / tied.sum(), "fail"),
}
TIED = {
    "constant": np.ones((4, 6)),
    "some": np.array([[1.0, 1, 0, 2], [0, 1, 2, 2], [3, 4, 5, 5], [1, 2, 3, 0]]),
    "one in many": np.where(np.arange(400).reshape(20, 20) // 2 == 100, 9.0, normal(20, 20)),
}


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize("x", TIED.values(), ids=TIED)
@pytest.mark.parametrize(("share", "expected"), SHARES.values(), ids=SHARES)
def test_tied_maxima_share_one_gradient(share, expected, x, mode):
    if mode == "full" and x.size > 100:
        x = x[9:13, :4]
    report = gradcheck_pair(*pool(share), [x], mode=mode, raise_exception=False)
    assert report.verdict == expected
    if expected == "pass":
        assert not report.ties


@pytest.mark.parametrize(
    ("of_first", "of_second", "expected"),
    [(1, 0, "pass"), (0, 1, "pass"), (0.5, 0.5, "pass"), (1, 1, "fail"), (0, 0, "fail")],
)
def test_two_inputs_that_tie_share_one_gradient(of_first, of_second, expected):
    def backward(dy, a, b):
        return (
            dy * np.where(a == b, of_first, a > b),
            dy * np.where(a == b, of_second, b > a),
        )

    a, b = np.array([1.0, 2, 3]), np.array([1.0, 1, 5])
    report = gradcheck_pair(np.maximum, backward, [a, b], raise_exception=False)
    assert report.verdict == expected
    if expected == "fail":
        assert report.causes[0].cause == "ties"


def test_one_input_that_ties_with_itself_gets_one_gradient():
    x = np.array([1.0, -2.0])

    def forward(a, b):
        return np.maximum(a, b)

    def both(weight):
        return lambda dy, a, b: (weight * dy, (1 - weight) * dy)

    assert gradcheck_pair(forward, both(0.3), [x, x])
    assert not gradcheck_pair(forward, both(1.3), [x, x], raise_exception=False)


def test_a_wrong_tie_tells_its_output_its_elements_and_the_two_sums():
    search = searched(*pool(SHARES["all"][0]), TIED["some"], mode="full")
    tie = search.wrong_ties[0]
    assert tie.output == 0
    assert tie.elements == [0, 1, 5]
    assert tie.claimed == pytest.approx(3)
    assert tie.measured == pytest.approx(1)
    assert np.all(search.rows[0].state[tie.elements] == WRONG)


# --- rows -----------------------------------------------------------------------------------------


def row_of(state, claimed=None, measured=None, directions=()):
    n = len(state)
    claimed = np.zeros(n) if claimed is None else np.array(claimed)
    measured = np.zeros(n) if measured is None else np.array(measured)
    return Row(
        Place(0, 0, (n,), 1.0), claimed, np.array(state), measured, np.zeros(n), [*directions]
    )


def test_a_row_counts_elements_and_directions_but_nothing_unmeasured():
    row = row_of([UNMEASURED, RIGHT, RIGHT, WRONG], directions=[RIGHT, AT_KINK])
    assert row.counts == {RIGHT: 3, WRONG: 1, AT_KINK: 1}


def test_the_worst_element_is_the_furthest_off_among_the_worst_state():
    state = [INCONCLUSIVE, WRONG, WRONG, RIGHT]
    assert row_of(state, [9.0, 1, 3, 0], [0.0, 0, 0, 0]).worst == 2
    assert row_of(state, [9.0, np.nan, 3, 0], [0.0, 0, 0, 0]).worst == 1
    assert row_of([UNMEASURED] * 2).worst is None


def test_searching_again_with_the_same_seed_gives_the_same_bits():
    one, two = (searched(*sine([321]), normal(30, 30), seed=5).rows[0] for _ in range(2))
    assert np.array_equal(one.measured, two.measured, equal_nan=True)
    assert np.array_equal(one.state, two.state)
    assert one.directions == two.directions


def test_every_direction_is_told():
    told = []
    subject = from_pair(np.sin, lambda dy, x: dy * np.cos(x), [normal(7)])
    ground = Ground(subject, [0])
    dy = [np.ones(7)]
    comparison = Comparison(
        subject, [0], ground, [dy], [subject.gradients(dy, subject.inputs)], Tolerances()
    )
    Search(comparison, 0, told.append).full()
    assert told == [1] * 7
