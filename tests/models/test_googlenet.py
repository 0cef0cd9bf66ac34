from __future__ import annotations

import numpy as np
import pytest
from small_models import count, pictures, shapes_along, small

import minicnn
from minicnn import models, nn
from minicnn.models.googlenet import as_tensorflow_saw_it

MODULES = {  # Szegedy et al. 2014, Table 1: output size, for 224x224 pixels
    "3a": (256, 28, 28), "3b": (480, 28, 28), "4a": (512, 14, 14), "4b": (512, 14, 14),
    "4c": (512, 14, 14), "4d": (528, 14, 14), "4e": (832, 14, 14), "5a": (832, 7, 7),
    "5b": (1024, 7, 7),
}  # fmt: skip


def test_parameters_and_keys(undrawn):
    model = models.googlenet()
    assert count(model) == 13_004_888
    assert count(model.aux1) + count(model.aux2) == 6_379_984
    assert count(models.googlenet(aux_logits=False)) == 6_624_904
    keys = list(model.state_dict())
    assert len(keys) == 364
    assert keys[0] == "conv1.conv.weight"
    assert keys[1:6] == [
        f"conv1.bn.{kind}"
        for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ]
    branches = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
    convolutions = [
        *(f"conv{i}" for i in (1, 2, 3)),
        *(f"inception{name}.{branch}" for name in MODULES for branch in branches),
        "aux1.conv", "aux2.conv",
    ]  # fmt: skip
    assert [k.removesuffix(".conv.weight") for k in keys if k.endswith("conv.weight")] == (
        convolutions
    )
    assert keys[-6:] == [
        f"{name}.{kind}" for name in ("aux2.fc1", "aux2.fc2", "fc") for kind in ("weight", "bias")
    ]


def test_size_of_every_module():
    model = models.googlenet(width=1 / 8).eval()
    names = [f"inception{name}" for name in MODULES]
    found = shapes_along(model, minicnn.rand(1, 3, 224, 224), names)
    assert found == {f"inception{k}": (c // 8, *s) for k, (c, *s) in MODULES.items()}


def test_outputs_are_named_in_training():
    model, x = small("googlenet"), minicnn.tensor(pictures("googlenet"))
    outputs = model(x)
    assert outputs._fields == ("logits", "aux_logits2", "aux_logits1")
    assert [y.shape for y in outputs] == [(2, 5)] * 3
    assert model.eval()(x).shape == (2, 5)
    assert small("googlenet", aux_logits=False)(x).shape == (2, 5)


def test_the_first_head_sees_4a_and_the_second_4d():
    model, x = small("googlenet"), minicnn.tensor(pictures("googlenet"))
    outputs = model(x)
    names = {}
    for name in ("aux_logits1", "aux_logits2"):
        model.zero_grad()
        getattr(outputs, name).sum().backward(retain_graph=True)
        names[name] = {key for key, p in model.named_parameters() if p.grad is not None}
    assert max(key for key in names["aux_logits1"] if key.startswith("inc"))[:11] == "inception4a"
    assert max(key for key in names["aux_logits2"] if key.startswith("inc"))[:11] == "inception4d"


def test_first_weights(seeded):
    model = models.googlenet(width=1 / 2)
    assert model.conv3.conv.weight.array.std() == pytest.approx(0.01, rel=0.02)
    assert {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    drawn = models.googlenet(width=1 / 8, init_weights=False).conv3.conv.weight.array
    assert drawn.std() == pytest.approx(1 / np.sqrt(3 * 9 * 8), rel=0.05)


def test_transformed_images():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = x * std.reshape(3, 1, 1) + mean.reshape(3, 1, 1)
    y = as_tensorflow_saw_it(minicnn.tensor(x))
    np.testing.assert_allclose(y.array, (pixels - 0.5) / 0.5, rtol=1e-12, atol=1e-12)
    plain, changed = (small("googlenet", transform_input=t).eval() for t in (False, True))
    changed.load_state_dict(plain.state_dict())
    image = minicnn.tensor(pictures("googlenet"))
    expected = plain(as_tensorflow_saw_it(image))
    np.testing.assert_array_equal(changed(image).array, expected.array)
