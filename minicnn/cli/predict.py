"""`minicnn predict`: ask a trained network about pictures."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from minicnn.errors import DataError, UsageError
from minicnn_kernels.arrays import Array

DESCRIPTION = """Ask a trained network about pictures (PNG, JPEG, ...), or about test images.

A picture is made grey if the network expects grey, enlarged or reduced to its input size and, for
digits, turned to light ink on dark paper if it is the other way round.  One digit a picture,
filling most of it.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "predict",
        help="ask a trained network about pictures",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="RUN", help="the run folder that `minicnn train` made")
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help="picture files")
    parser.add_argument(
        "--test-image", type=int, action="append", metavar="N", help="test image number N (repeat)"
    )
    parser.add_argument("--top", type=int, default=3, help="how many answers to show (default 3)")
    parser.add_argument("--device", help="cpu or cuda (default: where it was trained)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the most probable classes of each picture."""
    from minicnn.train.run import Run

    numbers = options.test_image or []
    if not options.pictures and not numbers:
        raise UsageError("name a picture file, or a test image with --test-image N")
    if options.top < 1:
        raise UsageError(f"--top must be at least 1, got {options.top}")
    training = Run.open(options.folder, **({"device": options.device} if options.device else {}))
    training.load_weights()
    asked = [(path, read_picture(path, training.test_data)) for path in options.pictures]
    for number in numbers:
        if not 0 <= number < len(training.test_data):
            raise UsageError(
                f"--test-image must be from 0 to {len(training.test_data) - 1}, got {number}"
            )
        image, label = training.test_data[number]
        truth = training.test_data.classes[int(label)]
        asked.append((f"test image {number} (labelled {truth})", image))
    for name, image in asked:
        print(describe(name, probabilities(training.model, image), training, options.top))
    return 0


def probabilities(model: Any, image: Array) -> Array:
    """Return the network's probability of each class for one image (C, H, W)."""
    import minicnn

    device = next(iter(model.parameters())).device
    with minicnn.no_grad():
        logits = model.eval()(minicnn.tensor(image[np.newaxis], device=device))
        result: Array = minicnn.softmax(logits, 1).cpu().numpy()[0]
    return result


def describe(name: str, probability: Array, training: Any, top: int) -> str:
    """Return the most probable classes as text, each with a bar."""
    best = np.argsort(-probability, kind="stable")[:top]
    lines = [
        f"  {training.test_data.classes[i]:>12}  {probability[i]:7.2%}  "
        + "#" * round(30 * float(probability[i]))
        for i in best
    ]
    return "\n".join([name, *lines])


def read_picture(path: str, dataset: Any) -> Array:
    """Read a picture file as one normalised image (C, H, W) of the data set's kind.

    Raises:
        DataError: the file is missing or is no picture.
    """
    from PIL import Image, UnidentifiedImageError  # comes with matplotlib

    channels, height, width = dataset.input_shape
    try:
        with Image.open(path) as picture:
            picture.load()
            paper = Image.new("RGBA", picture.size, "white")  # what transparent parts become
            paper.alpha_composite(picture.convert("RGBA"))
    except FileNotFoundError:
        raise DataError(f"no such picture: {path}") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a picture that can be read: {error}") from None
    mode = "L" if channels == 1 else "RGB"
    small = paper.convert(mode).resize((width, height), Image.Resampling.BILINEAR)
    image = np.asarray(small, dtype=np.float32).reshape(height, width, channels) / 255
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    if channels == 1 and border.mean() > 0.5:
        image = 1 - image
    normal = (image - np.float32(dataset.mean)) / np.float32(dataset.std)
    result: Array = normal.transpose(2, 0, 1).astype(np.float32)
    return result
