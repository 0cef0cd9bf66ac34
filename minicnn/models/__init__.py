"""Networks, one paper a file."""

from __future__ import annotations

import difflib
from typing import Any

from minicnn.errors import UsageError
from minicnn.models.alexnet import *
from minicnn.models.alexnet2012 import *
from minicnn.models.autoencoder import *
from minicnn.models.catalogue import CATALOGUE, Entry
from minicnn.models.cifar_cnn import *
from minicnn.models.cifar_resnet import *
from minicnn.models.dcgan import *
from minicnn.models.deepspeech2 import *
from minicnn.models.densenet import *
from minicnn.models.densenet_cifar import *
from minicnn.models.detector import *
from minicnn.models.fcn import *
from minicnn.models.googlenet import *
from minicnn.models.googlenet2014 import *
from minicnn.models.highway import *
from minicnn.models.inception_resnet_v2 import *
from minicnn.models.inception_v2 import *
from minicnn.models.inception_v3 import *
from minicnn.models.lenet import *
from minicnn.models.lenet1998 import *
from minicnn.models.mlp import *
from minicnn.models.mobilenet_v1 import *
from minicnn.models.mobilenet_v2 import *
from minicnn.models.neocognitron import *
from minicnn.models.nin import *
from minicnn.models.posenet import *
from minicnn.models.preact_resnet import *
from minicnn.models.rbm import *
from minicnn.models.resnet import *
from minicnn.models.squeezenet import *
from minicnn.models.text_cnn import *
from minicnn.models.transfer import *
from minicnn.models.unet import *
from minicnn.models.vae import *
from minicnn.models.vgg import *
from minicnn.models.wavenet import *
from minicnn.models.xception import *
from minicnn.models.zfnet import *
from minicnn.nn import Module


def list() -> tuple[str, ...]:
    """Return the names that `create` knows."""
    return tuple(sorted(CATALOGUE))


def find(name: str) -> Entry:
    """Return what the catalogue says of a model.

    Raises:
        UsageError: there is no model of that name.
    """
    if name not in CATALOGUE:
        close = difflib.get_close_matches(name, CATALOGUE, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(f"unknown model {name!r}; {hint}there are: {', '.join(sorted(CATALOGUE))}")
    return CATALOGUE[name]


def create(name: str, **settings: Any) -> Module:
    """Build a model by name: `create("lenet5", num_classes=10)`.

    Raises:
        UsageError: there is no model of that name.
    """
    model: Module = find(name).builder(**settings)
    return model
