from __future__ import annotations

import numpy as np
import pytest
from small_models import count

import minicnn
from minicnn import models, nn
from minicnn.data import Digits
from minicnn.errors import ShapeError
from minicnn.nn import functional as F
from minicnn.optim import RMSprop

PARAMETERS = {  # as Keras prints them
    "conv1": 896, "conv2": 9_248, "conv3": 18_496, "conv4": 36_928, "dense": 1_180_160,
    "output": 5_130,
}  # fmt: skip
SHAPES = {
    "conv1": (32, 32, 32), "conv2": (32, 30, 30), "pool2": (32, 15, 15), "conv3": (64, 15, 15),
    "conv4": (64, 13, 13), "pool4": (64, 6, 6), "flatten": (2304,), "dense": (512,),
    "output": (10,),
}  # fmt: skip


def test_every_layer_has_the_parameters_and_the_shape_of_the_example():
    model, x = models.cifar_cnn(), minicnn.rand(1, 3, 32, 32)
    for name, module in model.named_children():
        x = module(x)
        assert count(module) == PARAMETERS.get(name, 0), name
        assert x.shape[1:] == SHAPES.get(name, x.shape[1:]), name
    assert count(model) == sum(PARAMETERS.values()) == 1_250_858


def test_dropout_and_first_weights(seeded):
    model = models.cifar_cnn(dropout=(0.1, 0.2, 0.3))
    assert [m.p for m in model if isinstance(m, nn.Dropout)] == [0.1, 0.2, 0.3]
    bound = (6 / (9 * 64 + 9 * 64)) ** 0.5
    assert abs(model.conv4.weight.array).max() == pytest.approx(bound, rel=0.01)
    assert not model.conv4.bias.array.any()


def test_it_learns_digits_by_the_rule_of_the_example(seeded):
    images, labels = Digits("train")[:64]
    model = models.cifar_cnn(in_channels=1, width=1 / 4)
    optimizer = RMSprop(model.parameters(), lr=1e-3, alpha=0.9)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(minicnn.tensor(images)), np.asarray(labels))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_images_of_another_size_are_refused():
    with pytest.raises(ShapeError):
        models.cifar_cnn(width=1 / 8)(minicnn.rand(1, 3, 28, 28))
