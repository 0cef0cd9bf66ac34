"""Averages of weights against PyTorch and against plain means; batch norms; SWALR's trace."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import nn, optim
from minicnn.errors import ArgumentError
from minicnn.optim.swa_utils import (
    SWALR,
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)

FUNCTIONS = {
    "default": {},
    "swa": {"avg_fn": get_swa_avg_fn()},
    "swa of lists": {"multi_avg_fn": get_swa_multi_avg_fn()},
    "ema": {"avg_fn": get_ema_avg_fn(0.75)},
    "ema of lists": {"multi_avg_fn": get_ema_multi_avg_fn(0.75)},
}


def small_model():
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))


def randomise(model, draw):
    """Give every parameter and buffer new values, and return those of all."""
    with minicnn.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(np.asarray(10 * draw.standard_normal(tensor.shape)).astype(tensor.dtype))
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("functions", FUNCTIONS.values(), ids=FUNCTIONS)
def test_averages(functions, use_buffers):
    draw, model = np.random.default_rng(5), small_model()
    averaged = AveragedModel(model, use_buffers=use_buffers, **functions)
    ema = functions in (FUNCTIONS["ema"], FUNCTIONS["ema of lists"])
    expected = {}
    for n in range(4):
        values = randomise(model, draw)
        averaged.update_parameters(model)
        buffers = {name for name, _ in model.named_buffers()}
        for name, value in values.items():
            old = expected.get(name, value)
            if name in buffers and not use_buffers:
                expected[name] = value
            else:
                new = 0.75 * old + 0.25 * value if ema else old + (value - old) / (n + 1)
                expected[name] = new.astype(value.dtype)  # a counter takes the whole part
    assert averaged.n_averaged.item() == 4
    for name, tensor in averaged.module.state_dict().items():
        assert tensor.dtype == model.state_dict()[name].dtype
        np.testing.assert_allclose(tensor.numpy(), expected[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", ["default", "ema"])
def test_against_torch(name):
    torch = pytest.importorskip("torch")
    swa = torch.optim.swa_utils
    functions = {} if name == "default" else {"avg_fn": swa.get_ema_avg_fn(0.75)}
    theirs = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    expected, ours = swa.AveragedModel(theirs, **functions), small_model()
    averaged, draw = AveragedModel(ours, **FUNCTIONS[name]), np.random.default_rng(6)
    for _ in range(3):
        values = randomise(ours, draw)
        theirs.load_state_dict({key: torch.tensor(value) for key, value in values.items()})
        averaged.update_parameters(ours)
        expected.update_parameters(theirs)
    state = averaged.state_dict()
    assert {*state} == {*expected.state_dict()}
    for key, value in expected.state_dict().items():
        np.testing.assert_allclose(state[key].numpy(), value.numpy(), rtol=1e-5, err_msg=key)


def test_the_model_itself_is_not_touched():
    model = small_model()
    averaged = AveragedModel(model)
    before = model[0].weight.tolist()
    averaged.update_parameters(model)
    randomise(averaged, np.random.default_rng(0))
    assert model[0].weight.tolist() == before
    x = minicnn.ones(2, 1, 3, 3)
    assert averaged(x).shape == (2, 2, 3, 3)


def test_a_state_dict_carries_on_exactly():
    draw, model = np.random.default_rng(2), small_model()
    first, second = AveragedModel(model), AveragedModel(small_model())
    for _ in range(2):
        randomise(model, draw)
        first.update_parameters(model)
    second.load_state_dict({name: t.numpy().copy() for name, t in first.state_dict().items()})
    randomise(model, draw)
    for averaged in (first, second):
        averaged.update_parameters(model)
    for name, tensor in first.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), second.state_dict()[name].numpy())


def test_batch_norms_get_the_mean_over_all_batches():
    draw, model = np.random.default_rng(7), nn.Sequential(nn.BatchNorm2d(2, momentum=0.3))
    model[0].running_var.fill_(np.nan)
    batches = [np.asarray(draw.standard_normal((4, 2, 3, 3)), np.float32) for _ in range(3)]
    model.eval()
    update_bn([(minicnn.tensor(x), "label") for x in batches], model)
    norm = model[0]
    means = [x.mean(axis=(0, 2, 3)) for x in batches]
    variances = [x.var(axis=(0, 2, 3), ddof=1) for x in batches]
    np.testing.assert_allclose(norm.running_mean.numpy(), np.mean(means, axis=0), atol=1e-6)
    np.testing.assert_allclose(norm.running_var.numpy(), np.mean(variances, axis=0), rtol=1e-5)
    assert norm.num_batches_tracked.item() == 3
    assert norm.momentum == 0.3
    assert not model.training


def test_other_normalisations_keep_their_statistics():
    model = nn.Sequential(nn.InstanceNorm2d(2, track_running_stats=True), nn.BatchNorm2d(2))
    model[0].running_mean.fill_(7)
    model.eval()
    update_bn([minicnn.ones(2, 2, 3, 3)], model)
    assert model[0].momentum == 0.1
    assert model[0].running_mean[0].item() == pytest.approx(0.9 * 7 + 0.1)


def test_without_batch_norms_no_batch_is_computed():
    update_bn(iter([pytest.fail]), nn.Sequential(nn.Conv2d(1, 1, 1)))


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 1, 4, 10])
def test_swalr_against_torch(same_schedule, epochs, strategy):
    def make(schedulers, optimizer):
        kind = SWALR if schedulers is optim.lr_scheduler else swalr_of_torch()
        return kind(optimizer, [0.05, 0.7, 0.01], epochs, strategy)

    same_schedule(make)
    same_schedule(lambda m, o: m.SequentialLR(o, [m.ExponentialLR(o, 0.9), make(m, o)], [5]))


def swalr_of_torch():
    return pytest.importorskip("torch").optim.swa_utils.SWALR


def test_swalr_takes_over_from_another_schedule(optimizer):
    ours = optimizer()
    first = optim.lr_scheduler.ExponentialLR(ours, 0.5)
    second = SWALR(ours, 0.2, anneal_epochs=2, anneal_strategy="linear")
    first.step()
    second.step()
    assert ours.param_groups[0]["lr"] == pytest.approx((0.05 + 0.2) / 2)
    second.step()
    assert ours.param_groups[0]["lr"] == 0.2


def test_refusals(optimizer):
    with pytest.raises(ArgumentError, match=r"decay must lie in \[0, 1\], got 1.5"):
        get_ema_multi_avg_fn(1.5)
    with pytest.raises(ArgumentError, match="give avg_fn or multi_avg_fn, not both"):
        AveragedModel(small_model(), avg_fn=get_swa_avg_fn(), multi_avg_fn=get_swa_multi_avg_fn())
    with pytest.raises(ArgumentError, match=r"anneal_strategy must be .* got 'sin'"):
        SWALR(optimizer(), 0.1, anneal_strategy="sin")
    with pytest.raises(ArgumentError, match=r"anneal_epochs must be an integer .* got -1"):
        SWALR(optimizer(), 0.1, anneal_epochs=-1)
    with pytest.raises(ArgumentError, match="swa_lr has 2 values for 3"):
        SWALR(optimizer(), [0.1, 0.2])
