"""Narrow copies of the models, with images as small as they allow, sides odd where they may be."""

from __future__ import annotations

import numpy as np

import minicnn
from minicnn import models
from minicnn.nn import functional as F

CLASSES = 5
SMALL = {  # settings beside num_classes, and the shape of an image
    "lenet5": ({}, (1, 32, 32)),
    "lenet5_1998": ({}, (1, 32, 32)),
    "alexnet": ({"width": 1 / 16, "dropout": 0.0}, (3, 65, 79)),
    "alexnet2012": ({"width": 1 / 16, "dropout": 0.0}, (3, 227, 229)),
    "vgg11": ({"width": 1 / 16, "dropout": 0.0}, (3, 33, 47)),
    "vgg13_bn": ({"width": 1 / 16, "dropout": 0.0}, (3, 41, 47)),
    "vgg19": ({"width": 1 / 16, "dropout": 0.0}, (3, 35, 41)),
    "googlenet": ({"width": 1 / 8, "dropout": 0.0, "dropout_aux": 0.0}, (3, 65, 79)),
    "googlenet2014": ({"width": 1 / 8, "dropout": 0.0, "dropout_aux": 0.0}, (3, 223, 227)),
    "resnet18": ({"width": 1 / 8}, (3, 65, 79)),
    "resnet34": ({"width": 1 / 8}, (3, 64, 67)),
    "resnet50": ({"width": 1 / 8}, (3, 65, 79)),
    "resnext50_32x4d": ({"width": 1 / 4}, (3, 41, 47)),
    "wide_resnet50_2": ({"width": 1 / 16}, (3, 65, 79)),
    "mobilenet_v2": ({"width_mult": 1 / 4, "dropout": 0.0}, (3, 41, 51)),
    "squeezenet1_0": ({"width": 1 / 8, "dropout": 0.0}, (3, 53, 67)),
    "squeezenet1_1": ({"width": 1 / 8, "dropout": 0.0}, (3, 53, 67)),
    "densenet121": ({"growth_rate": 4, "num_init_features": 8}, (3, 41, 51)),
    "resnet20": ({"width": 1 / 4, "in_channels": 2}, (2, 17, 15)),
    "preact_resnet110": ({"width": 1 / 4, "blocks": 2}, (3, 17, 15)),
    "preact_resnet164": ({"width": 1 / 8, "blocks": 2, "in_channels": 1}, (1, 17, 15)),
    "mobilenet_v1": ({"width": 1 / 8, "dropout": 0.0}, (3, 41, 51)),
    "xception": ({"width": 1 / 16, "dropout": 0.0}, (3, 37, 43)),
    "cifar_cnn": ({"width": 1 / 8, "in_channels": 1, "dropout": (0.0, 0.0, 0.0)}, (1, 32, 32)),
    "mlp": ({"hidden": (7, 6), "input_shape": (2, 3, 5)}, (2, 3, 5)),
    "densenet40": ({"depth": 10, "growth_rate": 4, "in_channels": 2}, (2, 13, 11)),
    "densenet_bc100": ({"depth": 16, "growth_rate": 4}, (3, 13, 11)),
    "highway_mlp": ({"layers": 4, "units": 6, "input_shape": (2, 3, 5)}, (2, 3, 5)),
    "highway_cnn": ({"stages": ((4, 4), (6, 6)), "in_channels": 1}, (1, 9, 7)),
    "nin_cifar": ({"width": 1 / 16, "dropout": 0.0, "in_channels": 1}, (1, 17, 19)),
    "nin_imagenet": ({"width": 1 / 32, "dropout": 0.0}, (3, 67, 79)),
    "zfnet": ({"width": 1 / 32, "dropout": 0.0}, (3, 63, 67)),
    "inception_v2": ({"width": 1 / 16}, (3, 41, 51)),
    "inception_resnet_v2": ({"width": 1 / 16, "blocks": (1, 1, 2), "dropout": 0.0}, (3, 79, 91)),
    "inception_v3": ({"width": 1 / 8, "dropout": 0.0, "aux_logits": False}, (3, 107, 113)),
}


def small(name, create=models.create, **settings):
    """Build the narrow copy, by default of minicnn's layers."""
    return create(name, **{"num_classes": CLASSES, **SMALL[name][0], **settings})


def pictures(name, batch=2, dtype=np.float32):
    """Draw images that the narrow copy takes."""
    shape = (batch, *SMALL[name][1])
    return np.random.default_rng(20).normal(size=shape).astype(dtype)


def count(module):
    """Return the number of parameters."""
    return sum(parameter.array.size for parameter in module.parameters())


def loss_of(outputs, labels):
    """Return the cross-entropy, with 0.3 times that of each auxiliary head."""
    if not isinstance(outputs, tuple):
        return F.cross_entropy(outputs, labels)
    main, *auxiliary = (F.cross_entropy(logits, labels) for logits in outputs)
    return main + 0.3 * sum(auxiliary)


def shapes_along(model, x, names):
    """Return the shapes that modules of these names put out for x."""
    seen = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, y, name=name: seen.update({name: y.shape[1:]})
        )
    with minicnn.no_grad():
        model(x)
    return seen
