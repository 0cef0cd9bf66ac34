from __future__ import annotations

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn import random
from minicnn.errors import ArgumentError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


@pytest.mark.parametrize("settings", [{"training": False}, {"p": 0.0}, {"p": 0}])
def test_dropout_that_drops_nothing_is_the_input_itself(settings):
    x = ones(3)
    assert F.dropout(x, **settings) is x


def test_dropout_drops_half_unless_told():
    y = F.dropout(ones(2000)).array
    assert np.unique(y).tolist() == [0, 2]
    assert 800 < (y == 0).sum() < 1200


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("training", [True, False])
def test_dropout_needs_a_probability(p, training):
    with pytest.raises(ArgumentError, match=rf"dropout: p must be in \[0, 1\], got {p}"):
        F.dropout(ones(3), p, training)


def test_inplace_is_accepted_and_gives_a_new_tensor():
    x = Tensor(np.array([-1.0, 2.0]))
    assert F.relu(x, inplace=True).tolist() == [0, 2]
    F.dropout(x, 1.0, inplace=True)
    assert x.tolist() == [-1, 2]


# --- channels and alpha dropout -------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _same_seed():
    state = random.default.get_state()
    minicnn.manual_seed(5)
    yield
    random.default.set_state(state)


CHANNELS = {
    "dropout1d": [(20, 30, 4), (600, 4)],
    "dropout2d": [(20, 30, 2, 3), (20, 30, 4), (20, 30)],
    "dropout3d": [(20, 30, 2, 1, 3), (600, 2, 1, 3)],
    "feature_alpha_dropout": [(20, 30, 4), (20, 30)],
}


@pytest.mark.parametrize(
    ("name", "shape"), [(name, shape) for name, shapes in CHANNELS.items() for shape in shapes]
)
def test_channels_are_dropped_as_a_whole(name, shape):
    y = getattr(F, name)(ones(*shape), 0.3, training=True).array
    assert y.shape == shape
    channels = y.reshape(600, -1)
    assert (channels == channels[:, :1]).all()
    values, counts = np.unique(channels[:, 0], return_counts=True)
    assert len(values) == 2
    assert abs(counts[0] / 600 - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 600)
    if name != "feature_alpha_dropout":
        np.testing.assert_allclose(values, [0, 1 / 0.7])


@pytest.mark.parametrize("p", [0.05, 0.3, 0.8])
def test_alpha_dropout_keeps_mean_and_variance(p):
    x = np.random.default_rng(3).normal(size=200_000)
    y = F.alpha_dropout(Tensor(x), p, training=True).array
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.02


def test_alpha_dropout_sets_values_to_where_selu_saturates():
    """Undoing scale and shift leaves the values themselves, or -1.7581 in their place."""
    x, p, s = np.linspace(1, 2, 500), 0.4, -1.7580993408473766
    y = F.alpha_dropout(Tensor(x), p, training=True).array
    a = 1 / np.sqrt((1 - p) * (1 + p * s**2))
    undone = (y + a * p * s) / a
    dropped = np.isclose(undone, s)
    assert 0.3 < dropped.mean() < 0.5
    np.testing.assert_allclose(undone[~dropped], x[~dropped], rtol=1e-12)


def test_alpha_dropout_takes_the_constants_of_torch(torch):
    x = np.full(50, 1.5)
    with torch.random.fork_rng():
        expected = torch.nn.functional.alpha_dropout(torch.tensor(x), 0.3, training=True).numpy()
    y = F.alpha_dropout(Tensor(x), 0.3, training=True).array
    np.testing.assert_allclose(np.unique(y), np.unique(expected), rtol=1e-12)


@pytest.mark.parametrize("name", [*CHANNELS, "dropout", "alpha_dropout"])
def test_the_edges_of_probability(name):
    x, function = ones(2, 3, 4, 2, 2)[:, :, 0, 0], getattr(F, name)
    x = ones(2, 3, 4, 2, 2) if name == "dropout3d" else x
    assert function(x, 0.0, training=True) is x
    assert function(x, 0.7, training=False) is x
    assert not function(x, 1.0, training=True).array.any()
    assert function(x, 0.5, True, True) is not x
    narrow = x.to(np.float32).requires_grad_()
    y = function(narrow, 0.5, training=True)
    y.sum().backward()
    assert y.dtype == narrow.grad.dtype == np.float32
    assert function(x[:0], 0.5, training=True).shape == x[:0].shape


def test_alpha_dropout_does_nothing_unless_told():
    x = ones(5, 2)
    assert F.alpha_dropout(x) is x
    assert F.feature_alpha_dropout(x) is x


def f(m):
    return m.nn.functional


REFUSED = [
    *(refused(f"{name}: {p}", lambda m, name=name, p=p: getattr(f(m), name)(m.ones(2, 3, 4), p),
              name, str(p)) for name in ("alpha_dropout", "dropout1d") for p in (-0.5, 1.5)),
    refused("integers", lambda m: f(m).dropout(m.arange(3)), "dropout", "int64"),
    refused("4 dimensions", lambda m: f(m).dropout1d(m.ones(2, 3, 4, 5), training=False), "(C, L)"),
    refused("no channels", lambda m: f(m).feature_alpha_dropout(m.ones(3), training=True), "(3,)"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_refused(case, torch):
    case.check(torch)


def test_channels_need_two_dimensions():
    with pytest.raises(
        ShapeError, match=r"dropout2d: input must be \(N, C, ...\), got shape \(3,\)"
    ):
        F.dropout2d(ones(3))
