from __future__ import annotations

import pytest
from small_models import count, shapes_along, small

import minicnn
from minicnn import models

MODULES = {  # Szegedy et al. 2015, Table 1, for 299x299 pixels
    "Conv2d_1a_3x3": (32, 149, 149), "Conv2d_2a_3x3": (32, 147, 147),
    "Conv2d_2b_3x3": (64, 147, 147), "Conv2d_3b_1x1": (80, 73, 73),
    "Conv2d_4a_3x3": (192, 71, 71),
    "Mixed_5b": (256, 35, 35), "Mixed_5c": (288, 35, 35), "Mixed_5d": (288, 35, 35),
    "Mixed_6a": (768, 17, 17), "Mixed_6b": (768, 17, 17), "Mixed_6e": (768, 17, 17),
    "Mixed_7a": (1280, 8, 8), "Mixed_7b": (2048, 8, 8), "Mixed_7c": (2048, 8, 8),
}  # fmt: skip


def test_parameters_and_keys(undrawn):
    model = models.inception_v3()
    assert count(model) == 27_161_264
    assert count(models.inception_v3(aux_logits=False)) == 23_834_568
    keys = list(model.state_dict())
    assert len(keys) == 580
    assert keys[0] == "Conv2d_1a_3x3.conv.weight"
    assert keys[290] == "Mixed_6c.branch7x7dbl_5.bn.bias"
    assert keys[-1] == "fc.bias"
    assert [key for key in keys if key.startswith("Mixed_7b") and key.endswith("conv.weight")] == [
        f"Mixed_7b.{name}.conv.weight"
        for name in (
            "branch1x1", "branch3x3_1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_1",
            "branch3x3dbl_2", "branch3x3dbl_3a", "branch3x3dbl_3b", "branch_pool",
        )
    ]  # fmt: skip
    tops = list(dict.fromkeys(key.split(".")[0] for key in keys))
    assert tops.index("AuxLogits") == tops.index("Mixed_6e") + 1


def test_size_of_every_module():
    model = models.inception_v3(width=1 / 16, aux_logits=False).eval()
    found = shapes_along(model, minicnn.rand(1, 3, 299, 299), MODULES)
    assert found == {name: (c // 16, *sides) for name, (c, *sides) in MODULES.items()}


def test_outputs_are_named_in_training(seeded):
    model, x = models.inception_v3(num_classes=4, width=1 / 32), minicnn.rand(2, 3, 299, 299)
    outputs = model(x)
    assert outputs._fields == ("logits", "aux_logits")
    assert [y.shape for y in outputs] == [(2, 4), (2, 4)]
    assert model.eval()(x[:, :, :90, :99]).shape == (2, 4)


def test_first_weights(seeded):
    model = small("inception_v3", aux_logits=True)
    assert model.Mixed_6b.branch7x7_2.conv.weight.array.std() == pytest.approx(0.1, rel=0.05)
    assert model.AuxLogits.fc.weight.array.std() == pytest.approx(0.001, rel=0.1)
