"""Check layers and models as a whole: a sample of each, with small inputs.

The rows of layers are in `minicnn/testing/cases`, those of models here; `layers_without_case` and
`models_without_case` name those that have none.

>>> from minicnn.testing import check_module
>>> check_module("Linear: with bias").verdict
'pass'
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from minicnn import models, nn
from minicnn.errors import ArgumentError
from minicnn.gradcheck import Report
from minicnn.models import preact_resnet, resnet
from minicnn.models.cifar_resnet import CifarResNet
from minicnn.models.densenet import DenseLayer
from minicnn.models.densenet_cifar import PlainLayer
from minicnn.models.fcn import bilinear
from minicnn.models.googlenet import Inception
from minicnn.models.googlenet2014 import Inception as Module2014
from minicnn.models.highway import Highway
from minicnn.models.inception_resnet_v2 import Block as ResidualInception
from minicnn.models.inception_v2 import Inception as InceptionV2Module
from minicnn.models.inception_v3 import FIGURE_7, Mixed
from minicnn.models.mobilenet_v1 import DepthwiseSeparable
from minicnn.models.mobilenet_v2 import InvertedResidual
from minicnn.models.neocognitron import CCells, SCells
from minicnn.models.nin import NetworkInNetwork
from minicnn.models.rbm import RBM
from minicnn.models.xception import Block as XceptionBlock
from minicnn.models.zfnet import ZFNet
from minicnn.nn import functional as F
from minicnn.nn import layers as layer_files
from minicnn.testing.cases import LAYERS
from minicnn.testing.cases import ModuleCase as ModuleCase
from minicnn.testing.cases.case import Shape
from minicnn.testing.operations import checked, repeat_line
from minicnn_kernels.arrays import Array


def _model(
    kind: str,
    name: str,
    images: Shape,
    learned: tuple[str, ...] = ("",),
    num_classes: int = 10,
    **settings: Any,
) -> ModuleCase:
    """Make a row for a model of `minicnn.models` that tells classes of images apart.

    Only the parameters whose names begin with one of `learned` are checked, to save time; the
    gradient of the first passes through all others.
    """
    labels = np.arange(images[0]) * 7 % num_classes

    def make(nn: Any) -> nn.Module:
        return _learning(models.create(kind, num_classes=num_classes, **settings), learned)

    return ModuleCase(kind, name, make, (images,), lambda logits: F.cross_entropy(logits, labels))


def _block(
    kind: str,
    name: str,
    make: Callable[[], nn.Module],
    image: Shape | Array,
    learned: tuple[str, ...] = ("",),
) -> ModuleCase:
    """Make a row for what a deep model is made of, or for one that is no classifier."""
    return ModuleCase(kind, name, lambda nn: _learning(make(), learned), (image,))


def _learning(model: nn.Module, learned: tuple[str, ...]) -> nn.Module:
    """Let gradients be checked of the parameters whose names begin with one of `learned`."""
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(key.startswith(learned))
    return model


MODELS = [
    _model("lenet5", "as in 1998", (2, 1, 32, 32)),
    _model("lenet5", "modern", (2, 1, 32, 32), modern=True),
    _model("lenet5_1998", "as printed", (2, 1, 32, 32), ("c1", "s2", "c3.maps.6", "f6")),
    _model("alexnet", "narrow", (2, 3, 63, 67), ("features.0", "classifier"), width=1 / 64),
    _model("alexnet2012", "narrow", (1, 3, 227, 227), ("classifier.0",), width=1 / 64),
    _model("vgg11_bn", "narrow", (2, 3, 33, 32), ("features.0", "classifier.6"), width=1 / 64),
    _model("resnet18", "narrow", (2, 3, 33, 41), ("conv1", "bn1", "fc"), width=1 / 32),
    _model("squeezenet1_0", "narrow", (2, 3, 35, 41), ("features.0", "classifier"), width=1 / 16),
    _model("cifar_cnn", "narrow", (2, 3, 32, 32), ("conv1", "output"), width=1 / 16),
    _model("mlp", "two hidden layers", (3, 2, 5), hidden=(4, 3), input_shape=(2, 5)),
    _block(
        "resnet20", "a block that adds channels",
        lambda: CifarResNet(8, width=1 / 8).layer2[0], (2, 2, 4, 3),
    ),
    _block("preact_resnet110", "a block", lambda: preact_resnet.Basic(3, 2, 2), (2, 3, 4, 3)),
    _block(
        "preact_resnet164", "a bottleneck", lambda: preact_resnet.Bottleneck(4, 1, 1), (2, 4, 3, 3)
    ),
    _block("densenet40", "a layer", lambda: PlainLayer(3, 2, 0.5), (2, 3, 4, 3)),
    _model("highway_mlp", "narrow", (2, 5), num_classes=3, input_shape=(5,), layers=3, units=3),
    _block(
        "highway_cnn", "a layer",
        lambda: Highway(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1), -1.0), (2, 2, 3, 4),
    ),
    _block(
        "nin_cifar", "a layer",
        lambda: NetworkInNetwork(((3, 1, 1, (2, 3), "max"),), (), 2), (2, 3, 5, 4),
    ),
    _block("zfnet", "a stage", lambda: ZFNet(width=1 / 48).features[4:8], (1, 2, 7, 8)),
    _block(
        "inception_v2", "a module that halves the image",
        lambda: InceptionV2Module(2, 0, 1, 2, 1, 2, "max", 0), (2, 2, 4, 3), ("branches.0",),
    ),
    _block(
        "inception_resnet_v2", "a block",
        lambda: ResidualInception(2, (((1, 1),), ((1, 1), (2, (1, 3)))), 0.2, 1.0, last=False),
        (2, 2, 3, 4),
    ),
    _block("mobilenet_v1", "a block", lambda: DepthwiseSeparable(3, 2, 2), (2, 3, 5, 4)),
    _block("xception", "a block", lambda: XceptionBlock(3, [2, 4], True), (2, 3, 4, 3)),
    _block("resnet50", "a bottleneck", lambda: resnet.Bottleneck(3, 2, 2, 1, 64), (2, 3, 5, 4)),
    _block("googlenet", "a module", lambda: Inception(3, 2, 3, 2, 2, 3, 2), (2, 3, 4, 3)),
    _block("googlenet2014", "a module", lambda: Module2014(3, 2, 3, 2, 2, 3, 2), (2, 3, 4, 3)),
    _block(
        "inception_v3", "a forked module",
        lambda: Mixed(3, FIGURE_7, width=1 / 160), (2, 3, 4, 3),
    ),
    _block("densenet121", "a layer", lambda: DenseLayer(3, 2, 2, 0.5), (2, 3, 4, 3)),
    _block(
        "neocognitron", "a stage",
        lambda: nn.Sequential(SCells(2, 3, 1, 2, 1.0, 2.0), CCells(3, 2, 0)), (2, 2, 5, 6),
    ),
    _block("rbm", "free energy", lambda: RBM(3, 4), (2, 3)),
    _block(
        "text_cnn", "narrow",
        lambda: models.text_cnn(vocabulary=7, dimension=3, width=0.02, num_classes=2),
        np.array([[1, 2, 3, 4, 5, 6], [2, 2, 6, 4, 1, 2]]), ("vectors", "convolutions.0"),
    ),
    _block(
        "wavenet", "narrow",
        lambda: models.wavenet(num_classes=3, dilations=(1, 2), width=1 / 16),
        np.array([[0, 1, 2, 2, 1]]), ("embedding", "layers.0.gate"),
    ),
    ModuleCase(
        "deepspeech2", "narrow",
        lambda nn: _learning(
            models.deepspeech2(3, 5, layers=1, hidden=64, cell="GRU", width=1 / 32),
            ("convolutions.1.bn", "recurrent.0.rnn.weight_hh", "fc.bias"),
        ),
        ((2, 1, 5, 5), np.array([5, 3])), lambda log_probs, lengths: log_probs,
    ),
    _block("mobilenet_v2", "a block", lambda: InvertedResidual(2, 2, 1, 3), (2, 2, 4, 3)),
    _block(
        "unet", "narrow", lambda: models.unet(padding=1, width=1 / 64), (1, 1, 16, 16),
        ("contracting.0.0.weight",),
    ),
    _block("fcn8s", "an enlargement", lambda: bilinear(2, 2), (1, 2, 3, 2)),
    _block("posenet", "a regressor", lambda: models.posenet(width=1 / 16).trunk.fc.eval(), (2, 64)),
    _block(
        "detector", "narrow", lambda: models.detector(num_classes=2, width=1 / 16), (1, 3, 8, 16),
        ("layers.0.weight", "layers.14"),
    ),
    _block("dense_autoencoder", "narrow", lambda: models.dense_autoencoder((5, 4, 2)), (3, 5)),
    _block(
        "conv_autoencoder", "narrow", lambda: models.conv_autoencoder(1, 8, 3, width=1 / 16),
        (2, 1, 8, 8), ("encoder.0", "decoder.0"),
    ),
    _block("vae", "narrow", lambda: models.vae(3, 4, 2), (2, 3)),
    _block("dcgan_generator", "narrow", lambda: models.dcgan_generator(1, 8, 2, 1 / 32), (3, 2)),
    _block(
        "dcgan_discriminator", "narrow", lambda: models.dcgan_discriminator(2, 16, 1 / 64),
        (3, 2, 16, 16),
    ),
]  # fmt: skip


def layers() -> dict[str, type[nn.Module]]:
    """Find every class in `minicnn.nn` that computes something, by name."""
    found = pkgutil.iter_modules(layer_files.__path__, f"{layer_files.__name__}.")
    values = list(vars(nn.containers).values())
    values += [value for module in found for value in vars(import_module(module.name)).values()]
    return {
        value.__name__: value
        for value in values
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.forward is not nn.Module.forward  # a base class, or a list of modules
        and not value.__name__.startswith("_")
    }


def layer_cases() -> list[ModuleCase]:
    """Return a sample of every layer; `layers_without_case` tells which have none."""
    return list(LAYERS)


def model_cases() -> list[ModuleCase]:
    """Return a sample of every model; `models_without_case` tells which have none."""
    return list(MODELS)


def layers_without_case() -> list[str]:
    """Name the layers that no row samples."""
    return sorted(layers().keys() - {case.kind for case in LAYERS})


def models_without_case() -> list[str]:
    """Name the models that no row samples, nor any other model of their file."""
    sampled = {_file_of(case.kind) for case in MODELS}
    return sorted(name for name in models.list() if _file_of(name) not in sampled)


def _file_of(model: str) -> str:
    return str(getattr(models, model).__module__)


def check_module(case: ModuleCase | str, order: int = 1, **settings: Any) -> Report:
    """Check the gradients of a layer or a model by its inputs and parameters.

    Args:
        case: a row, the name of one, or of a layer or model, whose first row is then taken.
        order: 1 for the gradient, 2 for the gradient of the gradient.
        settings: as for `gradcheck`.

    Raises:
        GradcheckError: a gradient is wrong, or nothing could be said about it.
        ArgumentError: no row has this name.
    """
    if isinstance(case, str):
        case = module_cases_of(case)[0]
    given = {"repeat": repeat_line(str(case), order, settings), "loss": case.loss, **settings}
    return checked(str(case), order, case.module(), case.arrays(), given)


def module_cases_of(name: str) -> list[ModuleCase]:
    """Return the rows for a layer or a model, or the row of this name.

    Raises:
        ArgumentError: no row has this name.
    """
    cases = [*LAYERS, *MODELS]
    found = [case for case in cases if name in (case.kind, str(case))]
    if not found:
        names = {name for case in cases for name in (case.kind, str(case))}
        close = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "see layer_cases()"
        raise ArgumentError(f"module_cases_of: there is no sample of {name!r}; {hint}")
    return found
