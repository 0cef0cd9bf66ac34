from __future__ import annotations

import numpy as np
import pytest
from small_models import pictures, small

import minicnn
from minicnn import models, nn
from minicnn.errors import ArgumentError
from minicnn.models import embedding, freeze_parameters, layerwise_groups, replace_head
from minicnn.optim import SGD

IMAGES = [  # a network of each family that classifies images by maps
    "alexnet", "alexnet2012", "cifar_cnn", "densenet121", "densenet40", "googlenet",
    "googlenet2014", "highway_cnn", "inception_resnet_v2", "inception_v2", "inception_v3", "lenet5",
    "mobilenet_v1", "mobilenet_v2", "nin_cifar", "preact_resnet110", "resnet18", "resnet20",
    "squeezenet1_0", "vgg11", "xception", "zfnet",
]  # fmt: skip


@pytest.fixture(autouse=True)
def numbers(seeded):
    """Weights and pictures that are the same in every run."""


@pytest.mark.parametrize("name", [*IMAGES, "lenet5_1998"])
def test_every_classifier_has_its_last_maps(name):
    model = small(name).eval()
    with minicnn.no_grad():
        maps = model.features(minicnn.tensor(pictures(name))).array
    assert maps.ndim == 4
    assert len(maps) == 2
    assert (maps[0] != maps[1]).any()


@pytest.mark.parametrize("name", [
    "resnet18", "resnet20", "googlenet", "inception_resnet_v2", "inception_v2", "inception_v3",
    "xception",
])  # fmt: skip
def test_the_embedding_of_some_is_the_mean_of_the_maps(name):
    model = small(name).eval()
    with minicnn.no_grad():
        x = minicnn.tensor(pictures(name))
        found, maps = embedding(model, x), model.features(x)
        np.testing.assert_allclose(found.array, maps.array.mean((2, 3)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [*IMAGES, "mlp"])
def test_a_new_head_on_every_model(name):
    model = small(name).eval()
    before = {key: value.array.copy() for key, value in model.state_dict().items()}
    assert replace_head(model, 3) is model
    with minicnn.no_grad():
        assert model(minicnn.tensor(pictures(name))).shape == (2, 3)
    after = model.state_dict()
    changed = [key for key, value in after.items() if value.shape != before[key].shape]
    assert after.keys() == before.keys()
    assert changed
    for key in before.keys() - changed:
        np.testing.assert_array_equal(after[key].array, before[key])


@pytest.mark.parametrize("name", ["alexnet", "densenet121", "mobilenet_v2", "vgg11", "lenet5"])
def test_the_embedding_times_the_last_weights_are_the_logits(name):
    model = small(name).eval()
    with minicnn.no_grad():
        x = minicnn.tensor(pictures(name))
        head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        logits = embedding(model, x).array @ head.weight.array.T + head.bias.array
        np.testing.assert_allclose(logits, model(x).array, rtol=1e-4, atol=1e-6)


def test_the_embedding_before_a_convolution_is_a_mean():
    model = small("squeezenet1_1").eval()
    with minicnn.no_grad():
        x = minicnn.tensor(pictures("squeezenet1_1"))
        maps = model.features(x).array
        np.testing.assert_allclose(embedding(model, x).array, maps.mean((2, 3)), rtol=1e-5)


def test_auxiliary_heads_get_new_layers_too():
    model = replace_head(small("googlenet"), 3)
    assert [y.shape for y in model(minicnn.tensor(pictures("googlenet")))] == [(2, 3)] * 3
    model = replace_head(models.inception_v3(width=1 / 16), 4)
    assert model.AuxLogits.fc.out_features == model.fc.out_features == 4


def test_a_new_head_is_like_the_old_one():
    model = nn.Sequential(nn.Conv2d(2, 5, (3, 1), 2, (1, 0), bias=False)).double().eval()
    (head,) = replace_head(model, 4)
    assert (head.kernel_size, head.stride, head.padding) == ((3, 1), (2, 2), (1, 0))
    assert (head.bias, head.weight.dtype, head.training) == (None, np.float64, False)
    assert head.weight.shape == (4, 2, 3, 1)
    assert not replace_head(models.lenet5().eval(), 3).output.training


@pytest.mark.parametrize(("model", "text"), [
    (lambda: models.lenet5_1998(), "the last layer of LeNet1998, 'output', is a Distances"),
    (lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), "'1', is a BatchNorm1d"),
    (lambda: nn.Sequential(nn.ReLU()), "the last layer of Sequential, '', is a Sequential"),
    (lambda: nn.Linear(2, 3), "the last layer of Linear, '', is a Linear"),
])  # fmt: skip
def test_a_model_without_a_head_is_refused(model, text):
    for function in (lambda m: replace_head(m, 3), lambda m: embedding(m, minicnn.ones(1, 2))):
        with pytest.raises(ArgumentError, match=text):
            function(model())


def test_no_class_at_all():
    with pytest.raises(ArgumentError, match="num_classes must be at least 1, got 0"):
        replace_head(models.lenet5(), 0)


def test_a_failing_model_leaves_no_hook():
    model = models.lenet5()
    with pytest.raises(Exception):  # noqa: B017, PT011
        embedding(model, minicnn.ones(1, 1, 4, 4))
    assert model.output._forward_pre_hooks == []


def test_frozen_parameters_do_not_learn():
    model = small("resnet18")
    frozen = freeze_parameters(model, "conv1.*", "bn1.*", "layer[12].*")
    assert set(frozen) == {
        name for name, _ in model.named_parameters() if name.split(".")[0] in
        ("conv1", "bn1", "layer1", "layer2")
    }  # fmt: skip
    before = {name: p.array.copy() for name, p in model.named_parameters()}
    optimizer = SGD(model.parameters(), lr=0.1)
    model(minicnn.tensor(pictures("resnet18"))).sum().backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert (parameter.array == before[name]).all() == (name in frozen), name


def test_a_pattern_that_fits_nothing_freezes_nothing():
    model = models.lenet5()
    with pytest.raises(ArgumentError, match=r"of LeNet5 fits 'c9\.weight'; names are like .*c3"):
        freeze_parameters(model, "c1.*", "c9.weight")
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert freeze_parameters(model) == []


@pytest.mark.parametrize(("name", "first", "count"), [
    ("resnet18", ["conv1", "bn1", "layer1.0", "layer1.1"], 2 + 8 + 1),
    ("vgg11", ["features.0", "features.3"], 8 + 3),
    ("lenet5", ["c1", "s2", "c3"], 7),
    ("squeezenet1_1", ["features.0", "features.3"], 1 + 8 + 1),
])  # fmt: skip
def test_groups_by_depth(name, first, count):
    model = small(name)
    groups = layerwise_groups(model, lr=2.0, decay=0.5)
    assert len(groups) == count
    assert [group["lr"] for group in groups] == [2.0 * 0.5**k for k in reversed(range(count))]
    for part, group in zip(first, groups, strict=False):
        assert all(key.startswith(f"{part}.") for key, _ in group["params"])
    named = [key for group in groups for key, _ in group["params"]]
    assert named == [key for key, _ in model.named_parameters()]
    optimizer = SGD(groups, lr=7.0)
    assert [group["lr"] for group in optimizer.param_groups] == [group["lr"] for group in groups]


def test_frozen_parts_have_no_group_and_change_no_rate():
    model = models.lenet5()
    freeze_parameters(model, "c[13].*", "s[24].*", "f6.bias")
    groups = layerwise_groups(model, lr=1.0, decay=0.5)
    assert [[name for name, _ in group["params"]] for group in groups] == [
        ["c5.weight", "c5.bias"], ["f6.weight"], ["output.weight", "output.bias"]
    ]  # fmt: skip
    assert [group["lr"] for group in groups] == [0.25, 0.5, 1.0]
    with pytest.raises(ArgumentError, match="every parameter is frozen"):
        layerwise_groups(model.requires_grad_(False), lr=1.0)


@pytest.mark.parametrize("decay", [0, -0.5, 1.1, float("nan")])
def test_a_decay_out_of_range(decay):
    with pytest.raises(ArgumentError, match="decay must be above 0, at most 1"):
        layerwise_groups(models.lenet5(), lr=1.0, decay=decay)
