"""A recipe: everything that decides the result of a training, and what is usual for a network."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from minicnn import models, random
from minicnn.backprop import no_grad
from minicnn.data import OFFLINE, DataLoader, Dataset, KnownDataset, Subset, load
from minicnn.data.augment import RandomAffine
from minicnn.errors import MinicnnError, UsageError
from minicnn.nn import Module
from minicnn.nn import functional as F
from minicnn.optim import SGD, Adam, Optimizer, RMSprop
from minicnn.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from minicnn.tensor import Tensor
from minicnn.train.trainer import all_logits

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Recipe:
    """All settings of a training; `config.json` in the run folder.

    The defaults are those of LeNet-5 on digits; `recipe_for` knows those of other networks.

    Attributes:
        modern: LeNet-5 with ReLU and max-pooling.
        data_root: the folder of a data set that is read from files.
        size: height and width of the pictures in pixels.
        width: which part of its channels the network has.
        init: a file of weights to start from.
        patience: epochs to go on without a lower validation loss; None for all `epochs`.
        lr_decay: Keras's decay of RMSprop, lr / (1 + lr_decay * steps).
        schedule: "cosine", down to 0 in the last epoch, or "constant".
        augment: whether to move, turn and scale the training pictures.
        capture: whether steps on a card are captured as a graph, where that is possible.
        precision: "fp32", "tf32", "bf16", "bf16-mixed" or "fp16-mixed"; see train/precision.py.
    """

    model: str = "lenet5"
    modern: bool = False
    data: str = "digits"
    data_root: str | None = None
    size: int = 32
    width: float = 1.0
    init: str | None = None
    epochs: int = 60
    patience: int | None = None
    batch_size: int = 32
    optimizer: str = "sgd"
    lr: float = 0.05
    lr_decay: float = 0.0
    schedule: str = "cosine"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    augment: bool = True
    seed: int = 0
    device: str = "cpu"
    capture: bool = True
    precision: str = "fp32"

    def build_model(self, dataset: KnownDataset) -> Module:
        """Build the network for the data set's channels and classes.

        A network for a fixed number of channels sees the mean of the colours, or grey three times.

        Raises:
            UsageError: there is no such network, or it lacks a setting that the recipe has.
        """
        entry = models.find(self.model)
        channels = dataset.input_shape[0]
        known = {
            "num_classes": dataset.num_classes,
            "in_channels": channels,
            "input_shape": (channels, self.size, self.size),
        }
        settings = {name: value for name, value in known.items() if name in entry.settings}
        if "num_classes" not in settings:
            raise UsageError(f"{self.model} is no classifier: it has no num_classes")
        if len(entry.input_shape) != 3:
            raise UsageError(f"{self.model} is no classifier of pictures: it reads sequences")
        for option, names in (("modern", ("modern",)), ("width", ("width", "width_mult"))):
            value = getattr(self, option)
            if value != getattr(Recipe, option):
                name = next((name for name in names if name in entry.settings), None)
                if name is None:
                    raise UsageError(f"{self.model} has no setting {option}; leave out --{option}")
                settings[name] = value
        model = models.create(self.model, **settings).to(device=self.device)
        fixed = not {"in_channels", "input_shape"} & settings.keys()
        shape = (entry.input_shape[0] if fixed else channels, self.size, self.size)
        if shape != dataset.input_shape:
            model.register_forward_pre_hook(lambda _, inputs: (as_shape(inputs[0], shape),))
        return model

    def build_optimizer(self, model: Module) -> Optimizer:
        """Build the optimiser over all parameters."""
        usual: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.optimizer == "adam":
            return Adam(model.parameters(), **usual)
        if self.optimizer == "rmsprop":
            usual |= {"alpha": 0.9, "eps": 1e-7, "lr_decay": self.lr_decay}  # as in Keras
            return RMSprop(model.parameters(), **usual)
        if self.optimizer == "sgd":
            return SGD(model.parameters(), **usual, momentum=self.momentum, nesterov=True)
        raise UsageError(f"unknown optimizer {self.optimizer!r}; there are sgd, adam and rmsprop")

    def build_scheduler(self, optimizer: Optimizer) -> LRScheduler | None:
        """Build what changes the learning rate after each epoch."""
        if self.schedule not in ("cosine", "constant"):
            raise UsageError(f"unknown schedule {self.schedule!r}; there are cosine and constant")
        return CosineAnnealingLR(optimizer, self.epochs) if self.schedule == "cosine" else None

    def build_augmentation(self) -> RandomAffine | None:
        """Build what changes the training pictures."""
        return RandomAffine(degrees=10, translate=0.1, scale=0.1) if self.augment else None

    def open_data(self, split: str) -> KnownDataset:
        """Open "train", "validation" or "test" of the data set.

        Pictures from files have 32x32 pixels; for other sizes the network enlarges them.
        """
        sizes = {"mnist": 32, "fashion-mnist": 32, **dict.fromkeys(OFFLINE, self.size)}
        options = {"size": sizes[self.data]} if self.data in sizes else {}
        return load(self.data, split, self.data_root, **options)

    def loaders(self) -> tuple[DataLoader, DataLoader]:
        """Return shuffled training batches, and batches of images to validate with.

        A data set without a validation split gives every tenth of its shuffled training images.
        A last batch of one image, which batch normalisation may refuse, or of less than a quarter
        of the size is left out: its gradient would be mostly noise.
        """
        train: Dataset = self.open_data("train")
        if self.data in OFFLINE:
            validation: Dataset = self.open_data("validation")
        else:
            order = np.random.Generator(np.random.Philox(key=len(train))).permutation(len(train))
            held_out = len(train) // 10
            train, validation = Subset(train, order[held_out:]), Subset(train, order[:held_out])
        batches, rest = divmod(len(train), self.batch_size)
        small = batches > 0 and (rest == 1 or rest < self.batch_size / 4)
        return (
            DataLoader(train, self.batch_size, shuffle=True, drop_last=small, seed=self.seed),
            DataLoader(validation, EVALUATION_BATCH),
        )


NORMALISED = {"batch_size": 64, "weight_decay": 5e-4}  # networks with batch normalisation
PLAIN = {"batch_size": 64, "lr": 0.01, "weight_decay": 5e-4}
# Where the settings differ from Recipe's own: first by data set, of few pictures more epochs; then
# by the first pattern that fits the network's name.
DATA: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 60},
    "shapes": {"epochs": 10, "augment": False},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "lenet5": {},
    "lenet5_1998": {"optimizer": "adam", "lr": 0.002},
    "mlp": {"optimizer": "adam", "lr": 0.001},
    "cifar_cnn": {  # as in Keras
        **{"optimizer": "rmsprop", "lr": 1e-4, "lr_decay": 1e-6, "schedule": "constant"},
        **{"weight_decay": 0.0, "epochs": 60},
    },
    "alexnet": PLAIN | {"size": 64},
    "alexnet2012": PLAIN | {"size": 227},
    "googlenet2014": PLAIN | {"size": 224},
    "inception_v3": NORMALISED | {"size": 299},
    "inception_resnet_v2": NORMALISED | {"size": 299},
    "nin_imagenet": PLAIN | {"size": 224},
    "zfnet": PLAIN | {"size": 224},
    "nin_cifar": PLAIN,
    "highway_*": PLAIN,
    "squeezenet*": PLAIN,
    "vgg??": PLAIN,
    "*": NORMALISED,
}
MODERN_LR = 0.02  # of LeNet-5: ReLU passes more of the gradient than tanh
USUAL_LR = {"sgd": 0.05, "adam": 0.002, "rmsprop": 0.001}  # of an optimiser chosen otherwise


def recipe_for(model: str, **given: Any) -> Recipe:
    """Return the usual recipe for a network, with the settings that are given.

    >>> recipe_for("mlp", epochs=3).optimizer
    'adam'
    """
    usual = next(usual for pattern, usual in NETWORKS.items() if fnmatchcase(model, pattern))
    settings = {"model": model, **DATA.get(given.get("data", Recipe.data), {}), **usual}
    if given.get("modern"):
        settings["lr"] = MODERN_LR
    usual_optimizer = settings.get("optimizer", Recipe.optimizer)
    if given.get("optimizer", usual_optimizer) != usual_optimizer:
        settings["lr"] = USUAL_LR[given["optimizer"]]
    return Recipe(**{**settings, **given})


def as_shape(images: Any, shape: tuple[int, ...]) -> Any:
    """Bring images (N, C, H, W) to the channels, height and width of `shape`.

    >>> import minicnn
    >>> as_shape(minicnn.zeros(2, 1, 4, 4), (3, 5, 5)).shape
    (2, 3, 5, 5)
    """
    if shape[0] == 1:
        images = images.mean(dim=1, keepdim=True)
    if shape[1:] != images.shape[2:]:
        images = F.interpolate(images, size=shape[1:], mode="bilinear")
    return images.expand(-1, shape[0], -1, -1)


def check_fit(recipe: Recipe, model: Module, dataset: KnownDataset) -> None:
    """Let the model see two pictures as in training, and leave it as it was.

    Raises:
        UsageError: it does not take such pictures, or answers with something else than logits.
    """
    images = dataset.batch(np.arange(min(2, recipe.batch_size)))[0]
    buffers = {name: buffer.array.copy() for name, buffer in model.named_buffers()}
    state = random.default.get_state()
    size = f"{dataset.input_shape[0]}x{recipe.size}x{recipe.size}"
    try:
        with no_grad():
            logits = all_logits(model.train()(Tensor(images).to(device=recipe.device)))[0]
    except MinicnnError as error:
        usual = "x".join(str(side) for side in models.find(recipe.model).input_shape)
        raise UsageError(
            f"{recipe.model} does not take pictures of {size}: {error}\n"
            f"It was made for {usual}; choose another --size"
            + (", or a larger --width" if recipe.width < 1 else "")
            + (", or a larger --batch" if recipe.batch_size == 1 else "")
        ) from error
    finally:
        random.default.set_state(state)
        for name, buffer in model.named_buffers():
            buffer.array[...] = buffers[name]
    if getattr(logits, "shape", None) != (len(images), dataset.num_classes):
        raise UsageError(
            f"{recipe.model} is no classifier: for {len(images)} pictures of {size} it returns "
            f"{getattr(logits, 'shape', type(logits).__name__)}, not a number for each class"
        )
