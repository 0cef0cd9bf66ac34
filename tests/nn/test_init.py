from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import init
from minicnn.nn.parameter import Parameter

SHAPE = (60, 20, 5, 5)  # fan in 500, fan out 1500


pytestmark = pytest.mark.usefixtures("seeded")


def assert_uniform(values, low, high):
    assert values.min() >= low
    assert values.max() <= high
    reach = high - low
    assert values.min() < low + 0.01 * reach
    assert values.max() > high - 0.01 * reach
    counts, _ = np.histogram(values, bins=10, range=(low, high))
    assert (np.abs(counts - values.size / 10) < 5 * sqrt(values.size / 10)).all()


def assert_normal(values, mean, std):
    count = values.size
    assert abs(values.mean() - mean) < 5 * std / sqrt(count)
    assert abs(values.std() / std - 1) < 5 / sqrt(2 * count)
    assert abs((np.abs(values - mean) < std).mean() - 0.6827) < 5 * 0.47 / sqrt(count)
    assert np.abs(values - mean).max() > 3 * std


UNIFORM = {
    "uniform_": (lambda t: init.uniform_(t), 0.0, 1.0),
    "uniform_(-2, 3)": (lambda t: init.uniform_(t, -2.0, 3.0), -2.0, 3.0),
    "xavier": (lambda t: init.xavier_uniform_(t), -sqrt(6 / 2000), sqrt(6 / 2000)),
    "xavier, gain": (
        lambda t: init.xavier_uniform_(t, gain=2.0),
        -2 * sqrt(6 / 2000),
        2 * sqrt(6 / 2000),
    ),
    "kaiming": (lambda t: init.kaiming_uniform_(t), -sqrt(6 / 500), sqrt(6 / 500)),
    "kaiming, a": (lambda t: init.kaiming_uniform_(t, a=sqrt(5)), -sqrt(1 / 500), sqrt(1 / 500)),
    "kaiming, fan_out": (
        lambda t: init.kaiming_uniform_(t, mode="fan_out"),
        -sqrt(6 / 1500),
        sqrt(6 / 1500),
    ),
    "kaiming, tanh": (
        lambda t: init.kaiming_uniform_(t, nonlinearity="tanh"),
        -5 / 3 * sqrt(3 / 500),
        5 / 3 * sqrt(3 / 500),
    ),
}

NORMAL = {
    "normal_": (lambda t: init.normal_(t), 0.0, 1.0),
    "normal_(3, 0.1)": (lambda t: init.normal_(t, 3.0, 0.1), 3.0, 0.1),
    "xavier": (lambda t: init.xavier_normal_(t), 0.0, sqrt(2 / 2000)),
    "kaiming": (lambda t: init.kaiming_normal_(t, nonlinearity="relu"), 0.0, sqrt(2 / 500)),
    "kaiming, fan_out": (
        lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
        0.0,
        sqrt(2 / 1500),
    ),
    "kaiming, linear": (
        lambda t: init.kaiming_normal_(t, nonlinearity="linear"),
        0.0,
        sqrt(1 / 500),
    ),
}


@pytest.mark.parametrize(("fill", "low", "high"), UNIFORM.values(), ids=UNIFORM)
def test_uniform_numbers_between_the_bounds(fill, low, high):
    assert_uniform(fill(Parameter(minicnn.zeros(SHAPE))).array, low, high)


@pytest.mark.parametrize(("fill", "mean", "std"), NORMAL.values(), ids=NORMAL)
def test_normal_numbers_of_the_mean_and_deviation(fill, mean, std):
    assert_normal(fill(Parameter(minicnn.zeros(SHAPE))).array, mean, std)


@pytest.mark.parametrize(
    "name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"]
)
def test_the_spread_is_that_of_torch(torch, name):
    torch.manual_seed(0)
    for shape in ((40, 30), (20, 10, 3, 3)):
        ours = getattr(init, name)(Parameter(minicnn.zeros(shape))).array
        theirs = getattr(torch.nn.init, name)(torch.empty(shape)).numpy()
        assert abs(ours.std() / theirs.std() - 1) < 0.1
        if "uniform" in name:
            assert abs(ours.max() / theirs.max() - 1) < 0.02


def test_the_default_of_layers_is_that_of_torch(torch):
    torch.manual_seed(0)
    for make in (
        lambda n: n.Linear(300, 200),
        lambda n: n.Conv2d(30, 40, 5),
        lambda n: n.Conv2d(32, 64, 3, groups=4),
    ):
        ours, theirs = make(nn), make(torch.nn)
        bound = 1 / sqrt(np.prod(theirs.weight.shape[1:]))
        assert_uniform(ours.weight.array, -bound, bound)
        for name in ("weight", "bias"):
            mine, other = getattr(ours, name).array, getattr(theirs, name).detach().numpy()
            assert np.abs(mine).max() <= bound >= np.abs(other).max()
            assert abs(np.abs(mine).mean() / np.abs(other).mean() - 1) < 0.25


def test_constants():
    p = Parameter(minicnn.zeros(2, 3))
    assert set(init.constant_(p, 2.5).array.ravel()) == {2.5}
    assert set(init.ones_(p).array.ravel()) == {1.0}
    assert set(init.zeros_(p).array.ravel()) == {0.0}


@pytest.mark.parametrize(("mean", "std", "a", "b"), [
    (0.0, 1.0, -2.0, 2.0), (0.0, 0.02, -2.0, 2.0), (1.0, 0.5, 0.9, 3.0), (0.0, 1.0, 2.0, 3.0),
], ids=str)  # fmt: skip
def test_truncated_normal_numbers(mean, std, a, b):
    stats = pytest.importorskip("scipy.stats")
    values = init.trunc_normal_(Parameter(minicnn.zeros(100, 100)), mean, std, a, b).array
    assert values.min() >= a
    assert values.max() <= b
    expected = stats.truncnorm((a - mean) / std, (b - mean) / std, loc=mean, scale=std)
    assert stats.kstest(values.ravel(), expected.cdf).statistic < 0.02


@pytest.mark.parametrize(("a", "b"), [(2.0, -2.0), (1.0, 1.0), (50.0, 60.0), (0.0, 1e-6)], ids=str)
def test_truncation_that_would_never_end_is_refused(a, b):
    p = Parameter(minicnn.ones(3))
    with pytest.raises(ArgumentError, match="trunc_normal_"):
        init.trunc_normal_(p, 0.0, 1.0, a, b)
    assert p.tolist() == [1.0] * 3


FUNCTIONS = [
    init.uniform_, init.normal_, init.zeros_, init.ones_, init.xavier_uniform_, init.xavier_normal_,
    init.kaiming_uniform_, init.kaiming_normal_, init.trunc_normal_,
]  # fmt: skip


@pytest.mark.parametrize("fill", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_function_fills_in_place_and_returns_the_tensor(fill, dtype):
    p = Parameter(minicnn.full((4, 3), 7.0, dtype=dtype))
    array = p.array
    assert fill(p) is p
    assert p.array is array
    assert p.dtype == dtype
    assert p.requires_grad
    assert p.is_leaf
    assert p.version == [1]  # a graph that saved the old values will notice
    assert not (p.array == 7.0).any()


@pytest.mark.parametrize("fill", FUNCTIONS, ids=lambda f: f.__name__)
def test_every_function_repeats_with_the_seed(fill):
    results = []
    for _ in range(2):
        minicnn.manual_seed(4)
        results.append(fill(Parameter(minicnn.zeros(4, 3))).tolist())
    assert results[0] == results[1]


@pytest.mark.parametrize("fill", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0, 0)], ids=str)
def test_nothing_to_fill_is_no_error(fill, shape):
    assert fill(Parameter(minicnn.zeros(shape))).shape == shape


@pytest.mark.parametrize(
    ("arguments", "gain"),
    [
        (("linear",), 1),
        (("conv2d",), 1),
        (("sigmoid",), 1),
        (("tanh",), 5 / 3),
        (("relu",), sqrt(2)),
        (("leaky_relu",), sqrt(2 / 1.0001)),
        (("leaky_relu", 0.2), sqrt(2 / 1.04)),
        (("leaky_relu", 0), sqrt(2)),
    ],
    ids=str,
)
def test_gains_are_those_of_torch(torch, arguments, gain):
    assert init.calculate_gain(*arguments) == pytest.approx(gain, rel=1e-12)
    assert torch.nn.init.calculate_gain(*arguments) == pytest.approx(gain, rel=1e-12)


def test_fans():
    assert init.fans(minicnn.zeros(3, 5)) == (5, 3)
    assert init.fans(minicnn.zeros(SHAPE)) == (500, 1500)


def test_mistakes_are_named():
    p = Parameter(minicnn.zeros(3))
    for fill in (
        init.xavier_uniform_,
        init.xavier_normal_,
        init.kaiming_uniform_,
        init.kaiming_normal_,
    ):
        with pytest.raises(ShapeError, match=r"2 dimensions or more, got \(3,\)"):
            fill(p)
    with pytest.raises(ArgumentError, match=r"'selu'.*known: .*tanh"):
        init.calculate_gain("selu")
    with pytest.raises(ArgumentError, match="'fan'"):
        init.kaiming_uniform_(Parameter(minicnn.zeros(2, 2)), mode="fan")


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (0, 3)])
def test_the_identity_as_in_torch(torch, shape):
    ours, theirs = (m.nn.init.eye_(m.ones(shape)) for m in (minicnn, torch))
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((2, 3, 3), 1), ((3, 2, 4, 3), 1), ((4, 1, 3, 3), 2), ((2, 2, 1, 2, 3), 1)],
)
def test_a_kernel_that_changes_nothing_as_in_torch(torch, shape, groups):
    ours, theirs = (m.nn.init.dirac_(m.ones(shape), groups) for m in (minicnn, torch))
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 2, 3), (2, 3, 2, 2)])
def test_rows_or_columns_at_right_angles(shape):
    filled = nn.init.orthogonal_(minicnn.ones(shape), gain=2.0).array
    matrix = filled.reshape(shape[0], -1)
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(matrix @ matrix.T, 4 * np.eye(len(matrix)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("eye_", [(3,)]), ("dirac_", [(2, 3)]), ("dirac_", [(5, 2, 3), 2]), ("orthogonal_", [(3,)])],
)
def test_shapes_that_cannot_be_filled(torch, name, arguments):
    for m in (torch, minicnn):
        with pytest.raises(ValueError, match=r"dim|needs"):
            getattr(m.nn.init, name)(m.ones(arguments[0]), *arguments[1:])


@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_", "kaiming_uniform_"])
def test_first_values_can_be_left_out(name):
    fill = getattr(init, name)
    before = minicnn.random.default.get_state()
    with pytest.raises(KeyError), init.undrawn():
        raise KeyError
    with init.undrawn():
        left = fill(minicnn.zeros(3, 4))
    assert minicnn.random.default.get_state() == before
    assert not left.array.any()
    assert fill(minicnn.zeros(3, 4)).array.any()
