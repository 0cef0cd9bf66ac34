"""Receptive fields beside what NaN reaches: a NaN pixel makes all units NaN that see it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.nn import functional as F
from minicnn.summaries.fields import Side
from minicnn.summaries.trace import trace
from minicnn.tensor import Tensor

SIDES = (16, 24)


class Sum(nn.Module):
    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return sum(branch(x) for branch in self.branches)


class Join(Sum):
    def forward(self, x):
        return minicnn.cat([branch(x) for branch in self.branches], 1)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        vars(self)["function"] = function

    def forward(self, x):
        return self.function(x)


def conv(channels=2, out=2, kernel=3, **settings):
    return nn.Conv2d(channels, out, kernel, bias=False, **settings)


def unet():
    """Down twice and up twice, joined on each level."""
    inner = nn.Sequential(nn.MaxPool2d(2), conv(padding=1), nn.ConvTranspose2d(2, 2, 2, 2))
    outer = nn.Sequential(
        nn.MaxPool2d(2), conv(padding=1), Join(nn.Identity(), inner), conv(4),
        nn.ConvTranspose2d(2, 2, 2, 2),
    )  # fmt: skip
    return nn.Sequential(Join(Function(lambda x: x[:, :, 2:-2, 2:-2]), outer), conv(4))


NETWORKS = {
    "a window of other sides": conv(kernel=(2, 5), stride=(3, 1), padding=(1, 0)),
    "dilation": nn.Sequential(conv(dilation=3, padding=2), conv(stride=2)),
    "stride above the kernel": nn.Sequential(conv(kernel=2, stride=3), conv(kernel=1, stride=2)),
    "depthwise": nn.Sequential(conv(groups=2, padding="same"), nn.BatchNorm2d(2), conv(kernel=4)),
    "pooling": nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2, padding=1)),
    "dilated pooling": nn.MaxPool2d(2, 3, dilation=2),
    "bins": nn.AdaptiveAvgPool2d((5, 3)),
    "bins of maxima": nn.Sequential(conv(), nn.AdaptiveMaxPool2d((4, 7))),
    "global": nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1)),
    "residual": nn.Sequential(
        conv(stride=2, padding=1), Sum(nn.Identity(), conv(padding=1), conv(kernel=5, padding=2))
    ),
    "branches that lie to one side": Sum(
        nn.Sequential(nn.ZeroPad2d((3, 0, 1, 0)), conv(kernel=(2, 4))), conv(kernel=1)
    ),
    "joined": Join(conv(padding=1), nn.Sequential(conv(kernel=1), nn.MaxPool2d(3, 1, 1))),
    "joined along a side": nn.Sequential(
        conv(), Function(lambda x: minicnn.cat([x[:, :, :3], x], 2))
    ),
    "a product along a side": nn.Linear(SIDES[1], 5, bias=False),
    "transposed": nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1, bias=False),
    "transposed, holes": nn.ConvTranspose2d(2, 3, 2, stride=3, bias=False),
    "transposed, dilated": nn.Sequential(
        conv(), nn.ConvTranspose2d(2, 2, 3, dilation=2, padding=1, bias=False), conv()
    ),
    "up and down": nn.Sequential(
        nn.ConvTranspose2d(2, 2, 3, 2, 1, bias=False), conv(), conv(stride=2), conv(kernel=2)
    ),
    "nearest": nn.Sequential(nn.Upsample(scale_factor=2), conv(padding=1)),
    "nearest, by 3/2": nn.Sequential(nn.Upsample(scale_factor=1.5), conv()),
    "U-Net": unet(),
    "slices": nn.Sequential(conv(), Function(lambda x: x[:, :1, 2:, 1::3])),
    "turned": nn.Sequential(conv(stride=2), Function(lambda x: x.flip(2))),
    "one row": nn.Sequential(conv(), Function(lambda x: x[:, :, 4])),
    "transposed image": nn.Sequential(Function(lambda x: x.permute(0, 1, 3, 2)), conv(stride=2)),
    "sum over rows": nn.Sequential(conv(), Function(lambda x: x.sum(2, keepdim=True))),
    "sum over columns": nn.Sequential(conv(), Function(lambda x: x.sum(3))),
    "flattened": nn.Sequential(conv(stride=3), nn.Flatten(), nn.Linear(2 * 5 * 8, 3)),
    "channels last": nn.Sequential(
        conv(), Function(lambda x: x.permute(0, 2, 3, 1)), nn.Linear(2, 5)
    ),
    "channels shuffled": nn.Sequential(conv(2, 6), nn.ChannelShuffle(3), conv(6, 3, groups=3)),
    "neighbouring channels": nn.Sequential(conv(2, 6), nn.LocalResponseNorm(3), conv(6)),
    "squeezed and excited": nn.Sequential(
        conv(), Function(lambda x: x * F.adaptive_avg_pool2d(x, 1))
    ),
    "reflected": nn.Sequential(nn.ReflectionPad2d(1), conv(kernel=5)),
    "windows as columns": nn.Unfold((3, SIDES[1])),
    "softmax over columns": nn.Softmax(dim=3),
}


def reached(model, image):
    """Return for each side and pixel along it which units are NaN if the pixels there are."""
    found = []
    for side in range(2):
        x = np.repeat(image, SIDES[side], axis=0)
        for i in range(SIDES[side]):
            x[i].swapaxes(0, side + 1)[i] = np.nan
        with minicnn.no_grad(), minicnn.use_algorithms(conv="im2col", conv_input="im2col"):
            found.append(np.isnan(model(Tensor(x)).array))
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_unit_sees_the_pixels_that_reach_it(name, rng):
    model = NETWORKS[name].eval().double()
    found = trace(model, [(2, *SIDES)])
    assert not any(part.meetings for part in found.root.walk())
    image = rng.random((1, 2, *SIDES)) + 1
    for n, (side, nan) in enumerate(zip(found.root.sides, reached(model, image), strict=True)):
        units = 1 if side.dim is None else nan.shape[side.dim]
        for i in range(units):
            own = nan if side.dim is None else np.moveaxis(nan, side.dim, 1)[:, i]
            pixels = np.flatnonzero(own.reshape(SIDES[n], -1).any(axis=1))
            first, last = np.clip(side.at(i), 0, SIDES[n] - 1)
            if len(pixels):
                assert (first, last) == (pixels[0], pixels[-1]), (n, i)
            else:  # a unit in a hole, or in the padding
                assert "holes" in name or side.at(i)[1] < 0 or side.at(i)[0] >= SIDES[n]


def field_of(model, shape, **settings):
    return trace(model, [shape], **settings).root


def test_the_field_grows_beyond_the_image():
    layers = [conv(padding=1) for _ in range(10)]
    part = field_of(nn.Sequential(*layers), (2, 7, 7))
    assert [side.size for side in part.sides] == [21, 21]
    assert part.sides[0].at(0) == (-10, 10)


def test_two_windows_of_3_see_as_much_as_one_of_5():
    three = field_of(nn.Sequential(conv(), conv()), (2, 9, 9)).sides
    assert three == field_of(conv(kernel=5), (2, 9, 9)).sides


def test_dilated_causal_convolutions_double_what_is_seen():
    layers = []
    for i in range(5):
        layers += [nn.ConstantPad1d((2**i, 0), 0.0), nn.Conv1d(1, 1, 2, dilation=2**i)]
        (side,) = field_of(nn.Sequential(*layers), (1, 40)).sides
        assert (side.size, side.at(39)) == (2 ** (i + 1), (40 - 2 ** (i + 1), 39))


def test_words_are_followed_through_their_vectors():
    model = nn.Sequential(
        nn.Embedding(11, 4), Function(lambda x: x.permute(0, 2, 1)), nn.Conv1d(4, 3, 5, stride=2)
    )
    (side,) = field_of(model, (20,), dtype=minicnn.int64).sides
    assert (side.size, side.jump) == (5, 2)


def test_a_recurrent_layer_sees_everything():
    model = nn.Sequential(nn.Conv1d(2, 4, 3), Function(lambda x: x.permute(0, 2, 1)),
                          nn.LSTM(4, 3, batch_first=True), Function(lambda y: y[0]))  # fmt: skip
    (side,) = field_of(model, (2, 9)).sides
    assert (side.dim, side.at(0)) == (None, (0, 8))


@pytest.mark.parametrize(("branches", "jumps", "size"), [
    ((conv(stride=2, padding=1), nn.MaxPool2d(2)), (), 3),
    ((conv(stride=2, padding=1), nn.Sequential(conv(kernel=5, stride=3), nn.Upsample((8, 8)))),
     (Fraction(3, 2), 2), 5),
])  # fmt: skip
def test_branches_whose_jumps_differ_are_noted(branches, jumps, size):
    root = field_of(Sum(*branches), (2, 16, 16))
    (add,) = (part for part in root.walk() if part.path == "add1")
    assert add.meetings == jumps
    assert add.sides[0].size == size


def test_what_does_not_come_from_the_input_sees_nothing():
    weight = minicnn.ones(2, 2)
    assert field_of(Function(lambda x: weight * 2), (2, 5, 5)).sides is None


def test_a_side_that_repeats_after_several_units():
    thirds = Side(2, 2, first=(0, 0, 1), last=(0, 1, 1))  # 3 units for 2 pixels
    assert thirds.jump == Fraction(2, 3)
    assert [thirds.at(i) for i in (-1, 3, 7)] == [(-1, -1), (2, 2), (4, 5)]
    every_second = thirds.through(lambda i: (2 * i, 2 * i), moves=2)
    assert [every_second.at(i) for i in range(4)] == [thirds.at(2 * i) for i in range(4)]
    assert every_second.jump == Fraction(4, 3)
