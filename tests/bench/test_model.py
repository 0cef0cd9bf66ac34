"""Whole networks as work: the same weights and results in both libraries, weights that stay."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import models
from minicnn.bench import model
from minicnn.bench.kinds import work
from minicnn.bench.model import ModelProblem, flops_per_image, weights
from minicnn.bench.work import relative_error
from minicnn.errors import UsageError


def test_a_network_is_read_and_written():
    problem = ModelProblem.read("lenet5mb4")
    assert (problem.model, problem.batch, problem.image) == ("lenet5", 4, (1, 32, 32))
    assert ModelProblem.read(problem.key) == problem
    assert ModelProblem("inception_v3", 1).image == (3, 299, 299)


@pytest.mark.parametrize(
    ("text", "message"),
    [("lenet5", "write it as"), ("lenet5mb0", "write it as"), ("lennet5mb1", "did you mean")],
)
def test_a_mistake_is_named(text, message):
    with pytest.raises(UsageError, match=message):
        ModelProblem.read(text)


def test_operations_of_lenet_by_hand():
    convolutions = 25 * 1 * 6 * 28**2 + 25 * 6 * 16 * 10**2 + 25 * 16 * 120
    assert flops_per_image("lenet5") == 2 * (convolutions + 120 * 84 + 84 * 10)
    training = work("model", "lenet5mb4", "train")
    assert training.flops == 3 * 4 * flops_per_image("lenet5")
    assert training.bytes == 0  # unknown


def test_weights_are_drawn_by_their_names():
    shapes = {"a.weight": (4, 3, 2, 2), "b.weight": (4,), "b.running_var": (4,), "b.bias": (4,),
              "b.running_mean": (4,), "b.num_batches_tracked": ()}  # fmt: skip
    drawn, again = weights(shapes), weights({"a.weight": (4, 3, 2, 2)})
    np.testing.assert_array_equal(drawn["a.weight"], again["a.weight"])
    assert [drawn[name].sum() for name in list(shapes)[1:]] == [4, 4, 0, 0, 0]
    assert drawn["b.num_batches_tracked"].dtype == np.int64
    assert {array.dtype for name, array in drawn.items() if "num" not in name} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize("direction", model.DIRECTIONS)
def test_what_is_expected_is_what_float32_computes(direction):
    found = work("model", "lenet5mb3", direction)
    operands = found.operands()
    built = model.build("minicnn", found, operands)
    first = built.fetch(built.call())
    again = built.fetch(built.call())  # a step leaves the weights as they are
    np.testing.assert_array_equal(first[0], again[0])
    (sample,), (right,) = found.sampled(first), found.expected(operands)
    assert right.dtype == np.float64
    assert relative_error(sample, right) < 1e-5
    assert built.algorithms == ["minicnn"]


def test_dropout_is_off_in_the_check_and_back_on_afterwards(monkeypatch):
    from minicnn import nn

    def dropping(**settings):
        return nn.Sequential(nn.Flatten(), nn.Linear(1024, 10), nn.Dropout(0.5))

    monkeypatch.setattr(models, "create", lambda name, **settings: dropping())
    found = work("model", "lenet5mb3", "train")
    net = model.own_net(found, found.operands())
    np.testing.assert_array_equal(net.checked(True), net.checked(True))
    assert net.net[2].p == 0.5


def test_heads_count_less():
    class Library:
        class nn:
            class functional:
                cross_entropy = staticmethod(lambda x, labels: x)

    net = model.Net(Library, lambda x: (x, 10 * x, 100 * x), None, None, None)
    assert net.loss(1.0, None) == pytest.approx(1 + 0.3 * 110)


@pytest.mark.parametrize("direction", model.DIRECTIONS)
def test_the_other_device_is_waited_for(direction):
    waits = []
    found = work("model", "lenet5mb1", direction)
    net = model.own_net(found, found.operands())
    net.wait = lambda: waits.append(1)
    model.built(net, found, "minicnn").call()
    assert len(waits) == (direction == "infer")  # a training step asks for the loss
