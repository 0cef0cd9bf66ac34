from __future__ import annotations

from math import prod

import pytest
from small_models import count, pictures, shapes_along, small

import minicnn
from minicnn import models, nn
from minicnn.models.googlenet2014 import NaiveInception

# Szegedy et al. 2014, Table 1: output; weights by its columns; the same printed, in 1024; millions
# of multiply-adds printed.  The columns contradict the printed weights by up to 7 % from 4a on.
TABLE = {
    "3a": ((256, 28, 28), 163_328, 159, 128),
    "3b": ((480, 28, 28), 388_096, 380, 304),
    "4a": ((512, 14, 14), 375_552, 364, 73),
    "4b": ((512, 14, 14), 448_512, 437, 88),
    "4c": ((512, 14, 14), 509_440, 463, 100),
    "4d": ((528, 14, 14), 604_672, 580, 119),
    "4e": ((832, 14, 14), 867_328, 840, 170),
    "5a": ((832, 7, 7), 1_042_432, 1072, 54),
    "5b": ((1024, 7, 7), 1_442_816, 1388, 71),
}


def weights(module):
    """Count the weights of all convolutions and dense layers; the table leaves biases out."""
    return sum(prod(p.shape) for name, p in module.named_parameters() if name.endswith("weight"))


def test_the_papers_table_row_by_row(undrawn):
    model = models.googlenet2014()
    for name, ((_, height, width), number, kilo, mega) in TABLE.items():
        assert weights(getattr(model, f"inception{name}")) == number
        assert number / 1024 == pytest.approx(
            kilo, rel=0.01 if name in ("3a", "3b", "4b") else 0.08
        )
        assert number * height * width / 1e6 == pytest.approx(
            mega, rel=0.06 if name == "5a" else 0.02
        )
    assert weights(model.conv2) / 1024 == pytest.approx(112, abs=0.5)
    assert weights(model.conv2) * 56**2 / 1e6 == pytest.approx(360, abs=1)
    assert weights(model.fc) == 1000 * 1024
    assert count(model.aux1) + count(model.aux2) == 6_379_728


def test_size_of_every_row():
    model = models.googlenet2014(width=1 / 8).eval()
    names = [f"inception{name}" for name in TABLE]
    found = shapes_along(
        model, minicnn.rand(1, 3, 224, 224), ["conv1", "norm1", "conv2", "norm2", *names]
    )
    assert list(found.values())[:4] == [(8, 112, 112), (8, 56, 56), (24, 56, 56), (24, 56, 56)]
    assert [found[name] for name in names] == [(c // 8, *s) for (c, *s), *_ in TABLE.values()]


def test_windows_of_5x5(undrawn):
    model = models.googlenet2014()
    sizes = [m.kernel_size for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert sizes.count((5, 5)) == 9
    assert sizes.count((7, 7)) == 1
    assert not [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def test_outputs_are_named_in_training():
    outputs = small("googlenet2014")(minicnn.tensor(pictures("googlenet2014")))
    assert outputs._fields == ("logits", "aux_logits2", "aux_logits1")
    assert [y.shape for y in outputs] == [(2, 5)] * 3


def test_the_naive_module_costs_more_and_grows():
    """Section 4: the pooled input is kept whole, so that channels can only become more."""
    naive, reduced = NaiveInception(192, 64, 128, 32), models.googlenet2014().inception3a
    x = minicnn.rand(1, 192, 6, 5)
    assert naive(x).shape == (1, 64 + 128 + 32 + 192, 6, 5)
    assert reduced(x).shape == (1, 256, 6, 5)
    assert weights(naive) == 192 * (64 + 9 * 128 + 25 * 32)
    assert weights(naive) > 2 * weights(reduced)
