from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import models
from minicnn.data import Digits
from minicnn.errors import ShapeError
from minicnn.models import in_torch
from minicnn.models.neocognitron import CCells, Neocognitron, SCells, representatives


def filled(module, seed=1):
    """Give the module's synapses values that are not small."""
    rng = np.random.default_rng(seed)
    for parameter in module.parameters():
        parameter.array[...] = rng.uniform(0, 1, parameter.shape)
    return module


def test_sizes_of_the_paper():
    """Fukushima 1980, the simulation: cells in a plane of each layer."""
    net, u, sizes = Neocognitron(), minicnn.rand(1, 1, 16, 16), []
    for s_cells, c_cells in net.stages:
        s = s_cells(u)
        u = c_cells(s)
        sizes += [s.shape[1:], u.shape[1:]]
    expected = [(16, 16), (10, 10), (8, 8), (6, 6), (2, 2), (1, 1)]
    assert sizes == [(24, *size) for size in expected]
    assert net(minicnn.rand(3, 1, 16, 16)).shape == (3, 24)


def test_modifiable_synapses_of_each_layer():
    counts = [sum(p.array.size for p in stage.parameters()) for stage in Neocognitron().stages]
    assert counts == [24 * (25 + 1), 24 * (24 * 25 + 1), 24 * (24 * 25 + 1)]
    assert not any(p.requires_grad for p in Neocognitron().parameters())


def test_s_cells_by_their_definition():
    layer = filled(SCells(2, 3, border=1, column=2, amount=1.0, r=2.5).double())
    u = np.random.default_rng(0).random((1, 2, 5, 6))
    got = layer(minicnn.tensor(u)).array[0]
    padded = np.pad(u[0], ((0, 0), (1, 1), (1, 1)))
    assert got.shape == (3, 3, 4)
    fall = np.array([[0.8 ** np.hypot(i, j) for j in range(-2, 3)] for i in range(-2, 3)])
    fall /= 2 * fall.sum()  # over both planes it adds up to 1
    for k in range(3):
        for i in range(3):
            for j in range(4):
                window = padded[:, i : i + 5, j : j + 5]
                excitation = (layer.a.array[k] * window).sum()
                v = np.sqrt((fall * window**2).sum())
                inhibition = 2 * 2.5 / 3.5 * layer.b.array[k, 0, 0] * v
                expected = 2.5 * max((1 + excitation) / (1 + inhibition) - 1, 0)
                assert got[k, i, j] == pytest.approx(expected, abs=1e-6)


def test_c_cells_by_their_definition():
    layer = CCells(3, window=2, border=0).double()
    s = np.random.default_rng(0).random((1, 3, 4, 3))
    got = layer(minicnn.tensor(s)).array[0]
    assert got.shape == (3, 3, 2)
    d = 0.9 ** np.hypot(0.5, 0.5)  # the four cells are equally far
    for i in range(3):
        for j in range(2):
            e = [d * s[0, k, i : i + 2, j : j + 2].sum() for k in range(3)]
            for k in range(3):
                x = max((1 + e[k]) / (1 + sum(e) / 3) - 1, 0)
                assert got[k, i, j] == pytest.approx(x / (0.5 + x), abs=1e-6)


def test_a_border_below_zero_leaves_out_the_outermost_cells():
    s = minicnn.rand(1, 2, 9, 8)
    inner = CCells(2, window=5, border=0)(s[:, :, 1:-1, 1:-1])
    np.testing.assert_array_equal(CCells(2, window=5, border=-1)(s).array, inner.array)


def test_a_learned_feature_answers_by_its_angle():
    """With much reinforcement s = relu((r + 1) cos - r): 1 for the feature itself."""
    r, rng = 3.0, np.random.default_rng(2)
    layer = SCells(2, 1, border=0, column=1, amount=1e12, r=r).double()
    feature, other = rng.random((2, 1, 2, 5, 5))
    layer.reinforce(minicnn.tensor(feature), layer(minicnn.tensor(feature)))
    c = layer.c.array[0]
    for u in (feature, other, 0.5 * feature + 0.5 * other, feature * 7):
        norms = np.sqrt((c * feature[0] ** 2).sum() * (c * u[0] ** 2).sum())
        expected = max((r + 1) * (c * feature[0] * u[0]).sum() / norms - r, 0)
        assert layer(minicnn.tensor(u)).item() == pytest.approx(expected, abs=1e-6)


def test_representatives_by_hand():
    s = np.zeros((4, 4, 4))
    s[0, 0, 0] = 5  # beats plane 1 in the column of both
    s[1, 1, 1] = 4  # still the most active of the columns further down
    s[1, 3, 3] = 3  # a candidate, weaker than its plane's other one
    s[2, 0, 1] = 2  # in no column without a stronger cell
    assert representatives(s, 2) == {0: (0, 0), 1: (1, 1)}
    assert representatives(s, 4) == {0: (0, 0)}
    assert representatives(s, 1) == {0: (0, 0), 1: (1, 1), 2: (0, 1)}
    assert representatives(np.zeros((2, 3, 3)), 2) == {}


def test_only_planes_with_a_representative_learn():
    layer = filled(SCells(1, 3, border=2, column=3, amount=2.0, r=1.5).double())
    before = layer.a.array.copy(), layer.b.array.copy()
    u = np.random.default_rng(0).random((1, 1, 5, 4))
    s = np.zeros((1, 3, 5, 4))
    s[0, 1, 4, 0] = 1.0
    layer.reinforce(minicnn.tensor(u), minicnn.tensor(s))
    window = np.pad(u[0, 0], 2)[4:9, 0:5]
    added = layer.a.array - before[0], layer.b.array - before[1]
    fall = layer.c.array[0, 0]
    np.testing.assert_allclose(added[0][1, 0], 2 * fall * window, atol=1e-12)
    assert added[1][1] == pytest.approx(np.sqrt((fall * window**2).sum()))
    assert not added[0][[0, 2]].any()
    assert not added[1][[0, 2]].any()


def test_an_empty_retina_teaches_nothing(seeded):
    net = Neocognitron(planes=3)
    before = net.state_dict()["stages.0.0.a"].array.copy()
    net.present(minicnn.zeros(1, 1, 16, 16))
    np.testing.assert_array_equal(net.stages[0][0].a.array, before)


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (1, 16, 16), (1, 1, 16, 15), (1, 3, 16, 16)])
def test_other_patterns_are_refused_and_change_nothing(shape):
    net = Neocognitron(planes=2)
    before = {key: value.array.copy() for key, value in net.state_dict().items()}
    with pytest.raises(ShapeError, match=r"present: .* \(1, 1, 16, 16\), got"):
        net.present(minicnn.rand(*shape))
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value.array, before[key])


def retina(digit, down=0, right=0):
    """Put a digit of 8x8 pixels on the middle of the retina, or beside it."""
    pixels = np.zeros((1, 1, 16, 16))
    pixels[0, 0, 4 + down : 12 + down, 4 + right : 12 + right] = digit
    return minicnn.tensor(pixels)


def test_it_learns_digits_and_recognises_them_where_they_were_never_shown(seeded):
    """One handwriting of each of 0 to 4, without labels; then every shift by up to two pixels."""
    images, labels = Digits("train", 8, normalize=False)[:]
    digits = [images[np.flatnonzero(labels == k)[3], 0] > 0.5 for k in range(5)]
    net = models.neocognitron(selectivity=(4.0, 2.5, 1.5)).double()
    for _ in range(4):
        for digit in digits:
            net.present(retina(digit))

    def answer(digit, down=0, right=0):
        activities = net(retina(digit, down, right)).array[0]
        return int(activities.argmax()) if activities.max() > 0.05 else None

    cells = [answer(digit) for digit in digits]
    assert len({*cells} - {None}) == 5  # to each digit another cell
    near = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    right = [
        answer(d, *shift) == cell for d, cell in zip(digits, cells, strict=True) for shift in near
    ]
    assert all(right)
    far = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if max(abs(i), abs(j)) == 2]
    right = [
        answer(d, *shift) == cell for d, cell in zip(digits, cells, strict=True) for shift in far
    ]
    assert np.mean(right) > 0.8


def test_as_in_torch(torch):
    ours, theirs = Neocognitron(planes=4), in_torch.load("neocognitron").Neocognitron(planes=4)
    ours, theirs = filled(ours.double()), theirs.double()
    theirs.load_state_dict({k: torch.tensor(p.array) for k, p in ours.state_dict().items()})
    x = np.random.default_rng(0).random((3, 1, 16, 16))
    np.testing.assert_allclose(
        ours(minicnn.tensor(x)).array, theirs(torch.tensor(x)).numpy(), atol=1e-12
    )
