from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


def same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.array, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 2, 4), (1, 3, 2, 2)])
@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0])
def test_running_statistics_are_those_of_torch(torch, rng, shape, momentum):
    x, mean, variance = rng.normal(2, 3, shape), rng.normal(size=3), rng.uniform(1, 2, 3)
    ours = [Tensor(mean.copy()), Tensor(variance.copy())]
    theirs = [torch.tensor(mean), torch.tensor(variance)]
    for training in (True, False):
        settings = {"training": training, "momentum": momentum, "eps": 1e-3}
        expected = torch.nn.functional.batch_norm(torch.tensor(x), *theirs, **settings)
        same(F.batch_norm(Tensor(x), *ours, **settings), expected)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)


def test_running_statistics_may_be_arrays_and_stay_in_place():
    mean, variance = np.zeros(2), np.ones(2)
    F.batch_norm(Tensor(np.array([[0.0, 2.0], [2.0, 6.0]])), mean, variance, training=True)
    np.testing.assert_allclose(mean, [0.1, 0.4])
    np.testing.assert_allclose(variance, [1.1, 1.7])


def test_running_statistics_carry_no_graph():
    mean, var, x = minicnn.zeros(2), minicnn.ones(2), minicnn.rand(4, 2, requires_grad=True)
    F.batch_norm(x, mean, var, training=True)
    assert not mean.requires_grad
    assert not var.requires_grad
    assert mean.version == var.version == [1]


def test_float32_stays_float32_with_statistics_of_float64():
    x = minicnn.rand(4, 2)
    for training in (True, False):
        y = F.batch_norm(x, np.zeros(2), np.ones(2), training=training)
        assert y.dtype == np.float32


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2, 4), (0, 3, 2)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_what_follows_may_be_part_of_batch_norm(rng, shape, training, added, relu):
    """The same as in separate operations, with the same gradients and running statistics."""
    arrays = [rng.normal(size=size) for size in (shape, shape, 3, 3)]
    dy, results = rng.normal(size=shape), []
    for fused in (True, False):
        x, add, *weights = (Tensor(v.copy(), True) for v in arrays)
        averages = [minicnn.zeros(3).double(), minicnn.ones(3).double()]
        if fused:
            settings = {"training": training, "add": add if added else None, "relu": relu}
            y = F.batch_norm(x, *averages, *weights, **settings)
        else:
            y = F.batch_norm(x, *averages, *weights, training=training)
            y = y + add if added else y
            y = F.relu(y) if relu else y
        leaves = [x, *weights, *([add] if added else [])]
        results.append([y, *averages, *minicnn.grad(y, leaves, Tensor(dy))])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.array, b.array, rtol=1e-12, atol=1e-12)


def test_what_is_added_may_be_the_input(rng):
    x = Tensor(rng.normal(size=(4, 3)), True)
    y = F.batch_norm(x, None, None, training=True, add=x, relu=True)
    z = F.relu(F.batch_norm(x, None, None, training=True) + x)
    seed = Tensor(rng.normal(size=(4, 3)))
    (a,), (b,) = minicnn.grad(y, x, seed), minicnn.grad(z, x, seed)
    np.testing.assert_allclose(a.array, b.array, rtol=1e-12, atol=1e-12)


def test_what_is_added_must_have_the_same_shape_and_type():
    averages = np.zeros(3), np.ones(3)
    for training in (True, False):
        for add, error in ((ones(1, 3), ShapeError), (ones(4, 3, dtype=np.float32), DTypeError)):
            with pytest.raises(error):
                F.batch_norm(ones(4, 3), *averages, training=training, add=add, relu=True)
    assert averages[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias"])
def test_batch_norm_names_a_shape_that_does_not_fit(name):
    arguments = {"running_mean": ones(3), "running_var": ones(3), name: ones(2)}
    with pytest.raises(ShapeError, match=rf"batch_norm: {name} must have shape \(3,\), got \(2,\)"):
        F.batch_norm(ones(4, 3), **arguments)


@pytest.mark.parametrize(("shape", "kind", "message"), [
    ((3,), ShapeError, r"input must be \(N, C, ...\), got shape \(3,\)"),
    ((1, 3), ShapeError, r"more than one value to normalise together, got shape \(1, 3\)"),
    ((1, 3, 1, 1), ShapeError, r"more than one value .*got shape \(1, 3, 1, 1\)"),
])  # fmt: skip
def test_batch_norm_needs_a_batch_to_learn_from(shape, kind, message):
    mean = ones(3)
    with pytest.raises(kind, match=f"batch_norm: .*{message}"):
        F.batch_norm(ones(*shape), mean, ones(3), training=True)
    assert mean.tolist() == [1, 1, 1]


def test_inference_needs_statistics():
    with pytest.raises(ArgumentError, match="batch_norm: needs both running_mean and running_var"):
        F.batch_norm(ones(4, 3), None, ones(3))
    for function in (F.batch_norm, partial(F.instance_norm, use_input_stats=False)):
        with pytest.raises(ArgumentError, match="_norm: needs running_mean and running_var"):
            function(ones(4, 3), None, None)


def test_batch_norm_needs_floating_point_numbers():
    with pytest.raises(DTypeError, match="batch_norm: input must be floating-point, got int64"):
        F.batch_norm(ones(4, 3, dtype=int), None, None, training=True)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 3, 0)])
def test_an_empty_batch_leaves_running_statistics_alone(name, shape):
    mean, var = ones(3), ones(3)
    settings = {"training": True} if name == "batch_norm" else {}
    y = getattr(F, name)(ones(*shape), mean, var, **settings)
    assert y.shape == shape
    assert mean.tolist() == var.tolist() == [1, 1, 1]


@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_running_statistics_of_instances_are_those_of_torch(torch, rng, momentum):
    x, mean, variance = rng.normal(2, 3, (4, 3, 5)), rng.normal(size=3), rng.uniform(1, 2, 3)
    ours = [Tensor(mean.copy()), Tensor(variance.copy())]
    theirs = [torch.tensor(mean), torch.tensor(variance)]
    for use_input_stats in (True, False):
        settings = {"use_input_stats": use_input_stats, "momentum": momentum}
        expected = torch.nn.functional.instance_norm(torch.tensor(x), *theirs, **settings)
        same(F.instance_norm(Tensor(x), *ours, **settings), expected)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)


def test_groups_of_one_channel_are_instances_and_one_group_is_a_layer(rng):
    x = Tensor(rng.normal(size=(2, 6, 3, 5)))
    np.testing.assert_allclose(F.group_norm(x, 6).array, F.instance_norm(x).array, rtol=1e-12)
    layer = F.layer_norm(x, (6, 3, 5)).array
    np.testing.assert_allclose(F.group_norm(x, 1).array, layer, rtol=1e-12)


def test_a_batch_of_one_is_one_instance(rng):
    x = Tensor(rng.normal(size=(1, 3, 4)))
    batch = F.batch_norm(x, None, None, training=True)
    np.testing.assert_allclose(batch.array, F.instance_norm(x).array, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rms_norm_without_eps_uses_that_of_the_type(torch, dtype):
    x = np.array([[1e-4, -2e-4, 5e-4]], dtype)
    expected = torch.nn.functional.rms_norm(torch.tensor(x), (3,))
    np.testing.assert_allclose(F.rms_norm(Tensor(x), (3,)).array, expected, rtol=1e-6)


def test_local_response_in_the_convention_of_the_paper(rng):
    """b[i] = a[i] / (k + alpha sum_{j = max(0, i - n/2)}^{min(N - 1, i + n/2)} a[j]^2)^beta."""
    a, (k, alpha, beta, n) = rng.normal(size=(2, 7, 3)), (2.0, 0.3, 0.75, 5)
    b = F.local_response_norm(Tensor(a), n, alpha, beta, k, average=False).array
    for i in range(7):
        near = a[:, max(0, i - n // 2) : min(7, i + n // 2 + 1)]
        expected = a[:, i] / (k + alpha * (near**2).sum(axis=1)) ** beta
        np.testing.assert_allclose(b[:, i], expected, rtol=1e-12)


def test_the_two_conventions_differ_by_the_size_in_alpha(rng):
    x = Tensor(rng.normal(size=(2, 7, 3)))
    paper = F.local_response_norm(x, 5, alpha=0.1, average=False)
    np.testing.assert_allclose(paper.array, F.local_response_norm(x, 5, alpha=0.5).array)


REFUSED = [
    refused("one value", lambda m: f(m).batch_norm(m.zeros(1, 3), None, None, training=True),
            "batch_norm", "(1, 3)"),
    refused("eps 0 in training",
            lambda m: f(m).batch_norm(m.zeros(2, 3), None, None, training=True, eps=0.0), "eps"),
    refused("eps -1", lambda m: f(m).batch_norm(m.zeros(2, 3), m.zeros(3), m.ones(3), eps=-1.0)),
    refused("one of two averages",
            lambda m: f(m).batch_norm(m.zeros(2, 3), m.zeros(3), None, training=True), "both"),
    refused("one pixel", lambda m: f(m).instance_norm(m.zeros(2, 3, 1)), "instance_norm"),
    refused("no sides", lambda m: f(m).instance_norm(m.zeros(2, 3)), "instance_norm"),
    refused("one dimension", lambda m: f(m).group_norm(m.zeros(4), 2), "(N, C, ...)"),
    refused("left over channels", lambda m: f(m).group_norm(m.zeros(2, 4), 3), "4 channels", "3"),
    refused("negative groups", lambda m: f(m).group_norm(m.zeros(2, 4), -2), "-2"),
    refused("one value a group", lambda m: f(m).group_norm(m.zeros(1, 4), 4), "group_norm"),
    refused("another ending", lambda m: f(m).layer_norm(m.zeros(2, 3), (2,)), "(2,)", "(2, 3)"),
    refused("an empty ending", lambda m: f(m).layer_norm(m.zeros(2, 3), ()), "()"),
    refused("a longer ending", lambda m: f(m).rms_norm(m.zeros(3), (1, 3)), "rms_norm"),
    refused("a number", lambda m: f(m).layer_norm(m.zeros(2, 3), 3), "tuple"),
    refused("a scale of another shape",
            lambda m: f(m).layer_norm(m.zeros(2, 3), (3,), m.ones(1, 3)), "weight", "(1, 3)"),
    refused("size 0", lambda m: f(m).local_response_norm(m.zeros(2, 3, 4), 0), "size"),
    refused("only channels", lambda m: f(m).local_response_norm(m.zeros(2, 3), 2), "(2, 3)"),
]  # fmt: skip


def f(m):
    return m.nn.functional


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_refused(case, torch):
    case.check(torch)
