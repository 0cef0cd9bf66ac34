"""Names, numbers and shapes of torchvision's weights, taken down from torchvision 0.28.

`benchmarks/parity.py` compares what the networks compute, where torchvision is installed.
"""

from __future__ import annotations

import hashlib

import pytest
from small_models import count

from minicnn import models

STATES = {  # parameters, number of keys, SHA-256 of the lines "key shape"
    "alexnet": (61_100_840, 16, "9c198ebdae1863e4"),
    "densenet121": (7_978_856, 727, "aa0fd9923b0003b8"),
    "densenet169": (14_149_480, 1015, "e2d0f02d9c0ce650"),
    "densenet201": (20_013_928, 1207, "0d234ad7e9a31b95"),
    "googlenet": (13_004_888, 364, "7f541ca29410efb1"),
    "inception_v3": (27_161_264, 580, "aab0ac2cbaf84aa2"),
    "mobilenet_v2": (3_504_872, 314, "37bbbce8932fd0c4"),
    "resnet101": (44_549_160, 626, "02c0f34f4842751f"),
    "resnet152": (60_192_808, 932, "685c66205bc823aa"),
    "resnet18": (11_689_512, 122, "84fb10d9c6905a1c"),
    "resnet34": (21_797_672, 218, "28f9096d51307499"),
    "resnet50": (25_557_032, 320, "d7e4f8bb0a536344"),
    "resnext50_32x4d": (25_028_904, 320, "e3bad165c034e60f"),
    "squeezenet1_0": (1_248_424, 52, "4654d26ad581241f"),
    "squeezenet1_1": (1_235_496, 52, "1d365589393f9c1e"),
    "vgg11": (132_863_336, 22, "cb3dc23f2a13e182"),
    "vgg11_bn": (132_868_840, 62, "8b6717e727c0ecf9"),
    "vgg13": (133_047_848, 26, "67c1dc8b57fde74b"),
    "vgg13_bn": (133_053_736, 76, "f6b0597d18a7e4d2"),
    "vgg16": (138_357_544, 32, "35c4623e0cd4a39d"),
    "vgg16_bn": (138_365_992, 97, "347371586a8ea365"),
    "vgg19": (143_667_240, 38, "4723255af8f6c485"),
    "vgg19_bn": (143_678_248, 118, "fc3ff6fab2b5cc09"),
    "wide_resnet50_2": (68_883_240, 320, "41203d1d536c02ed"),
}


@pytest.mark.parametrize("name", STATES)
def test_parameters_keys_and_shapes(name, undrawn):
    model = models.create(name)
    state = model.state_dict()
    text = "\n".join(f"{key} {tuple(value.shape)}" for key, value in state.items())
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert (count(model), len(state), digest) == STATES[name]
