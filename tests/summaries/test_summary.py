"""Figures of papers, courses and other tools; none of them was computed here first."""

from __future__ import annotations

import json
from itertools import pairwise
from math import prod

import numpy as np
import pytest

import minicnn
from minicnn import models, nn, summary
from minicnn.errors import ArgumentError
from minicnn.models import in_torch
from minicnn.nn.init import undrawn
from minicnn.nn.utils import freeze
from minicnn.summaries.hollow import hollow
from minicnn.tensor import Tensor


def of(name, depth=None, size=None, training=False, **settings):
    with undrawn():
        model = models.create(name, **settings)
    shape = size or models.CATALOGUE[name].input_shape
    return summary(model, shape, depth=depth, training=training)


@pytest.fixture(scope="module")
def vgg16():
    return of("vgg16")


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("units", "count"), [((10, 2, 1), 25), ((10, 25, 25, 1), 951)])
def test_perceptrons_of_several_layers(units, count):
    layers = [nn.Linear(a, b) for a, b in pairwise(units)]
    assert summary(nn.Sequential(*layers), (10,)).parameters == count


def test_a_network_for_colour_pictures_of_50x50():
    found = summary(
        nn.Sequential(
            nn.Conv2d(3, 10, 5), nn.MaxPool2d(2), nn.Conv2d(10, 20, 3), nn.Flatten(),
            nn.Linear(21 * 21 * 20, 100), nn.Linear(100, 10),
        ),
        (3, 50, 50),
    )  # fmt: skip
    assert [row.output_shape for row in found] == [
        (10, 46, 46), (10, 23, 23), (20, 21, 21), (8820,), (100,), (10,)
    ]  # fmt: skip
    assert [row.formula for row in found] == [
        "(5*5*3 + 1) * 10 = 760", "", "(3*3*10 + 1) * 20 = 1,820", "",
        "(8820 + 1) * 100 = 882,100", "(100 + 1) * 10 = 1,010",
    ]  # fmt: skip
    assert found.parameters == 885_690


def test_dense_layers_on_pictures_are_large():
    with undrawn():
        model = nn.Sequential(nn.Flatten(), nn.Linear(256 * 256 * 3, 256), nn.Linear(256, 1))
    assert summary(model, (3, 256, 256)).parameters > 48_000_000
    layer = nn.Linear(1, 1, bias=False)
    layer.weight = nn.Parameter(Tensor(hollow((1000, 600 * 800 * 3), np.float32)))
    assert summary(layer, (600 * 800 * 3,)).parameters == 1_440_000_000


def test_alexnet_shares_its_weights():
    row = of("alexnet2012")["features.0"]
    units, of_one = prod(row.output_shape), row.parameters // row.output_shape[0]
    assert row.output_shape == (96, 55, 55)
    assert (units, of_one, units * of_one) == (290_400, 364, 105_705_600)
    assert row.formula == "(11*11*3 + 1) * 96 = 34,944"


def test_vgg_16(vgg16):
    assert vgg16.parameters == 138_357_544
    assert vgg16.parameters + (512 + 1) * 128 == 138_423_208  # the slides count a pooling
    assert sum(row.parameters for row in vgg16) == vgg16.parameters
    assert all(row.parameters == 0 for row in vgg16 if row.kind == "MaxPool2d")
    assert vgg16["features.10"].formula == "(3*3*128 + 1) * 256 = 295,168"
    assert vgg16.multiply_adds == pytest.approx(15.35e9, rel=0.01)
    assert vgg16.flops == 2 * vgg16.multiply_adds
    assert vgg16["features.30"].receptive_field == (212, 212)
    assert vgg16["features.30"].jump == (32, 32)


def test_the_slides_resnet_18_has_biases_and_neither_projections_nor_normalisation():
    found = of("resnet18")
    convolutions = [r for r in found if r.kind == "Conv2d" and "downsample" not in r.path]
    count = sum(row.parameters + row.output_shape[0] for row in convolutions)
    assert count + found["fc"].parameters == 11_511_784
    assert found.parameters == 11_689_512


# --- Szegedy et al. 2014, Table 1 -----------------------------------------------------------------

# Channels in, #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj; params in K, ops in M.
GOOGLENET = {
    "3a": (192, 64, 96, 128, 16, 32, 32, 159, 128),
    "3b": (256, 128, 128, 192, 32, 96, 64, 380, 304),
    "4a": (480, 192, 96, 208, 16, 48, 64, 364, 73),
    "4b": (512, 160, 112, 224, 24, 64, 64, 437, 88),
    "4c": (512, 128, 128, 256, 24, 64, 64, 463, 100),
    "4d": (512, 112, 144, 288, 32, 64, 64, 580, 119),
    "4e": (528, 256, 160, 320, 32, 128, 128, 840, 170),
    "5a": (832, 256, 160, 320, 32, 128, 128, 1072, 54),
    "5b": (832, 384, 192, 384, 48, 128, 128, 1388, 71),
}
MISPRINTED = {"4c", "4d", "5a", "5b"}  # params that contradict the row's own columns; of 5a ops too


@pytest.fixture(scope="module")
def googlenet():
    return of("googlenet2014", depth=1)


@pytest.mark.parametrize("row", GOOGLENET)
def test_googlenet_row_by_row(googlenet, row):
    channels, one, r3, three, r5, five, pool, kilo, mega = GOOGLENET[row]
    weights = channels * (one + r3 + r5 + pool) + 9 * r3 * three + 25 * r5 * five
    found = googlenet[f"inception{row}"]
    side = {"3": 28, "4": 14, "5": 7}[row[0]]
    assert found.output_shape == (one + three + five + pool, side, side)
    assert found.parameters == weights + one + r3 + three + r5 + five + pool
    assert found.multiply_adds == weights * side**2
    assert (weights / 1024 == pytest.approx(kilo, rel=0.01)) == (row not in MISPRINTED)
    assert (found.multiply_adds / 1e6 == pytest.approx(mega, abs=1)) == (row != "5a")


def test_the_other_rows_of_googlenet(googlenet):
    assert googlenet["inception3a"].parameters - 368 == 163_328  # 159K
    assert googlenet["inception5b"].parameters - 1264 == 1_442_816  # 1409K, printed as 1388K
    assert googlenet["conv2"].parameters - 64 - 192 == 112 * 1024
    assert round(googlenet["conv2"].multiply_adds / 1e6) == 360
    assert googlenet["fc"].parameters - 1000 == 1000 * 1024
    assert round(googlenet["fc"].multiply_adds / 1e6) == 1


def test_the_first_row_of_googlenets_table_is_a_separable_window(googlenet):
    """2.7K and 34M are those of 7x1 after 1x7; a full 7x7 has more, and is what all have built."""
    assert googlenet["conv1"].parameters == (7 * 7 * 3 + 1) * 64
    assert googlenet["conv1"].multiply_adds == 112 * 112 * 64 * 7 * 7 * 3
    separable = (7 + 7) * 3 * 64
    assert separable == pytest.approx(2700, rel=0.01)
    assert separable * 112 * 112 == pytest.approx(34e6, rel=0.01)


# --- receptive fields: Araujo, Norris, Sim 2019, table of networks --------------------------------


@pytest.mark.parametrize(("name", "row", "field", "jump", "settings"), [
    ("alexnet", "features.12", 195, 32, {}),
    ("alexnet2012", "features.14", 195, 32, {}),
    ("resnet50", "layer4", 483, 32, {"stride_in_1x1": True}),
    ("resnet101", "layer4", 1027, 32, {"stride_in_1x1": True}),
    ("resnet50", "layer4", 427, 32, {}),
    ("inception_v2", "inception", 699, 32, {}),
    ("inception_v3", "Mixed_7c", 1311, 32, {}),
    ("inception_resnet_v2", "conv", 3039, 32, {}),
    ("mobilenet_v1", "features", 315, 32, {}),
    ("wavenet", "head", 3 * 1024 - 2, 1, {}),
])  # fmt: skip
def test_receptive_fields(name, row, field, jump, settings):
    found = of(name, depth=2 if "." in row else 1, **settings)[row]
    assert {*found.receptive_field} == {field}
    assert {*found.jump} == {jump}


# --- PyTorch's counter ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "alexnet2012", "dcgan_generator", "detector", "fcn32s", "googlenet2014", "mobilenet_v2", "unet",
    "vae",
])  # fmt: skip
def test_pytorch_counts_as_many_operations(torch, name):
    from torch.utils.flop_counter import FlopCounterMode

    entry = models.CATALOGUE[name]
    with torch.device("meta"):
        model, x = in_torch.create(name).eval(), torch.zeros(1, *entry.input_shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert counter.get_total_flops() == 2 * entry.multiply_adds


# --- rows and totals ------------------------------------------------------------------------------


class Tied(nn.Module):
    """Words to vectors and back with the same table."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.block[1].weight = self.block[0].weight
        self.out = nn.Linear(4, 9)
        self.out.weight = self.words.weight

    def forward(self, x):
        return self.out(self.block(self.words(x)))


@pytest.mark.parametrize("depth", [None, 0, 1, 5])
def test_shared_parameters_count_once(depth):
    found = summary(Tied(), (5,), dtype=minicnn.int64, depth=depth)
    assert found.parameters == 9 * 4 + (4 * 4 + 4 + 4) + 9
    assert sum(row.parameters for row in found) == found.parameters
    assert sum(row.multiply_adds for row in found) == found.multiply_adds == 5 * (16 + 16 + 36)
    if depth in (None, 5):
        assert found["out"].shared == ("words.weight",)
        assert found["out"].formula == "9"
        assert found["block.1"].shared == ("block.0.weight",)
    if depth == 1:
        assert (found["block"].parameters, found["block"].shared) == (24, ())


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_sums_do_not_depend_on_the_depth(depth):
    everything, found = of("resnet18", size=(3, 33, 33)), of("resnet18", depth, (3, 33, 33))
    for name in ("parameters", "multiply_adds", "activation_bytes", "saved_bytes"):
        assert sum(getattr(row, name) for row in found) == getattr(everything, name)
    assert max(row.im2col_bytes for row in found) == everything.im2col_bytes
    assert max(row.level for row in found) == depth


def test_heads_that_are_for_training_only_are_not_called_but_counted():
    found = of("googlenet", depth=1, size=(3, 65, 65))
    assert (found["aux1"].calls, found["aux1"].output_shape) == (0, None)
    assert found["aux1"].parameters > 2_000_000
    trained = of("googlenet", depth=1, size=(3, 65, 65), training=True)
    assert (trained["aux1"].calls, trained["aux1"].output_shape) == (1, (1000,))
    assert trained["aux1"].parameters == found["aux1"].parameters
    assert trained.multiply_adds == found.multiply_adds + sum(
        trained[name].multiply_adds for name in ("aux1", "aux2")
    )


class InAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.used = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.unused = nn.ModuleList([nn.Linear(3, 3)])

    def forward(self, x):
        return self.used[1](self.used[0](x))


def test_a_list_runs_if_its_modules_do():
    found = summary(InAList(), (3,), depth=1)
    assert [(row.path, row.calls, row.parameters) for row in found] == [
        ("used", 1, 24), ("unused", 0, 12)
    ]  # fmt: skip
    assert [line.split()[2:4] for line in found.text(80).splitlines()[3:5]] == [
        ["24", "18"], ["not", "called"]
    ]  # fmt: skip


class OneRow(nn.Module):
    def forward(self, x):
        return x[:, :, 4]


def test_one_place_of_an_image_does_not_see_all_of_it():
    found = summary(nn.Sequential(nn.Conv2d(1, 1, 3), OneRow(), nn.Linear(7, 2)), (1, 9, 9))
    assert (found["1"].receptive_field, found["1"].whole) == ((3, 3), (False, False))
    assert (found["2"].receptive_field, found["2"].whole) == ((3, 9), (False, True))


def test_frozen_parameters_are_told_apart():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    model[0].requires_grad_(False)
    found = summary(model, (3,))
    assert (found.parameters, found.trainable) == (41, 25)
    assert "16 of them are frozen" in found.text()


def test_float64_takes_twice_the_memory():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    single, double = summary(model, (1, 5, 5)), summary(model.double(), (1, 5, 5))
    assert double.activation_bytes == 2 * single.activation_bytes == 2 * 2 * 4 * 2 * 9
    assert double.parameter_bytes == 2 * single.parameter_bytes


def test_a_frozen_model_is_refused():
    frozen = freeze(nn.Sequential(nn.Linear(3, 2)), minicnn.ones(1, 3))
    with pytest.raises(ArgumentError, match="take the one it was made from"):
        summary(frozen, (3,))


def test_too_many_inputs_are_refused():
    with pytest.raises(ArgumentError, match="ReLU does not take 2 inputs: too many"):
        summary(nn.ReLU(), [(3,), (3,)])


@pytest.mark.parametrize("shape", [(3, -1, 5), (3, 5.0, 5), (3, 0, 5), "3x5x5"])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ArgumentError, match="input_shape must be sizes of at least 1"):
        summary(nn.ReLU(), shape)


def test_a_row_that_is_not_there(vgg16):
    with pytest.raises(ArgumentError, match=r"no row 'feature.3', but .*features.3"):
        vgg16["feature.3"]


def test_as_plain_values(vgg16):
    plain = json.loads(json.dumps(vgg16.to_dict()))
    assert plain["parameters"] == 138_357_544
    assert plain["rows"][1]["path"] == "features.0"
    assert plain["rows"][1]["output_shape"] == [64, 224, 224]
    assert plain["rows"][1]["flops"] == 2 * 86_704_128
    assert len(plain["rows"]) == len(vgg16) == len(list(vgg16))
