"""Draw the pictures of beyond-classifiers.md: train each network for a while, show what it does.

`python docs/pictures/beyond_classifiers.py NAME ...` draws masks, reconstructions, samples, boxes,
or all of them, and prints the figures of the page. A number in the place of a name is the part of
the steps to train.
"""

import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import minicnn
from minicnn import models
from minicnn.data import Digits, Shapes
from minicnn.models import (
    adversarial_step,
    detect,
    detector_loss,
    detector_targets,
    evidence_loss,
    iou,
)
from minicnn.nn import functional as F
from minicnn.optim import Adam

HERE = Path(__file__).parent
FOUR = ("circle", "bar", "cross", "star")
PART = 1.0  # of the steps


def train(model, steps, loss_of, lr):
    """Lower loss_of(step); return the seconds that it took and the last losses' mean."""
    optimizer = Adam(model.parameters(), lr=lr)
    steps, losses = max(int(steps * PART), 2), []
    start = time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, 2 * (1 - step / steps))  # falls to 0 in the second half
        optimizer.zero_grad()
        loss = loss_of(step)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"{steps} steps, {time.perf_counter() - start:.1f} s, loss {np.mean(losses[-20:]):.4f}")


def table(rows, columns, side=1.1):
    """Return a figure with a table of empty axes."""
    figure, axes = plt.subplots(
        rows, columns, figsize=(side * columns, side * rows), squeeze=False,
        gridspec_kw={"wspace": 0.06, "hspace": 0.06},
    )  # fmt: skip
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    return figure, axes


def save(figure, name):
    """Write a PNG without a date."""
    figure.savefig(HERE / f"beyond-{name}.png", dpi=100, bbox_inches="tight", metadata={
        "Software": None
    })  # fmt: skip


def batch_of(images, size, step):
    """Return the images that are next, in an order of their own in every epoch."""
    epoch, place = divmod(step, len(images) // size)
    order = np.random.default_rng(epoch).permutation(len(images))
    return images[order[place * size : (place + 1) * size]]


def colours(pictures):
    """Undo the normalisation of Shapes for imshow."""
    mean, std = (np.array(v)[:, None, None] for v in (Shapes.mean, Shapes.std))
    return (pictures * std + mean).clip(0, 1).transpose(0, 2, 3, 1)


def draw_masks():
    """U-Net: a class for each pixel of pictures of shapes."""
    settings = {"size": 48, "targets": "masks", "objects": 4, "shapes": FOUR}
    data = Shapes(**settings, length=100_000)
    model = models.unet(in_channels=3, num_classes=5, padding=1, width=1 / 8)

    def loss_of(step):
        pictures, masks = data[16 * step : 16 * (step + 1)]
        return F.cross_entropy(model(minicnn.tensor(pictures)), masks)

    train(model, 1000, loss_of, lr=3e-3)
    pictures, masks = Shapes("test", **settings)[:200]
    with minicnn.no_grad():
        found = model.eval()(minicnn.tensor(pictures)).array.argmax(axis=1)
    overlaps = [
        ((found == c) & (masks == c)).sum() / ((found == c) | (masks == c)).sum() for c in range(5)
    ]
    print(f"pixels right {(found == masks).mean():.2%}, background {(masks == 0).mean():.2%}")
    print(f"mean IoU {np.mean(overlaps):.3f}: {np.round(overlaps, 2)}")
    figure, axes = table(3, 8)
    rows = zip(axes, (colours(pictures), masks, found), ("picture", "truth", "U-Net"), strict=True)
    for row, images, name in rows:
        row[0].set_ylabel(name)
        for ax, image in zip(row, images, strict=False):
            ax.imshow(image, cmap="tab10", vmin=0, vmax=9, interpolation="nearest")
    save(figure, "masks")


def draw_reconstructions():
    """Autoencoder and VAE: digits drawn again, and new ones."""
    images = Digits(size=28, normalize=False)[:][0]
    test = minicnn.tensor(Digits("test", size=28, normalize=False)[:][0])
    auto, vae = models.conv_autoencoder(), models.vae(latent=6)

    def loss_of_auto(step):
        x = minicnn.tensor(batch_of(images, 64, step))
        return F.binary_cross_entropy_with_logits(auto(x), x)

    def loss_of_vae(step):
        x = minicnn.tensor(batch_of(images, 64, step).reshape(64, 784))
        return evidence_loss(vae(x), x)

    train(auto, 350, loss_of_auto, lr=3e-3)
    train(vae, 1200, loss_of_vae, lr=1e-3)
    flat = test.reshape(len(test), 784)
    with minicnn.no_grad():
        again = F.sigmoid(auto.eval()(test)).array
        outputs = vae.eval()(flat)
        vae_again = F.sigmoid(outputs.logits).array.reshape(test.shape)
        bound = evidence_loss(vae.train()(flat), flat).item()
        samples = vae.sample(24).array.reshape(24, 28, 28)
    for name, drawn in (("mean", images.mean(axis=0)), ("auto", again), ("vae", vae_again)):
        print(f"squared error of a pixel, {name}: {((drawn - test.array) ** 2).mean():.4f}")
    mean = minicnn.tensor(np.broadcast_to(images.mean(axis=0), test.shape).clip(1e-4, 1 - 1e-4))
    without = F.binary_cross_entropy(mean, test).item() * 784
    least = F.binary_cross_entropy(test, test).item() * 784
    print(f"minus the bound: {bound:.1f} nats; mean picture {without:.1f}, at least {least:.1f}")
    figure, axes = table(5, 12, side=0.8)
    shown = [test.array[:12, 0], again[:12, 0], vae_again[:12, 0], samples[:12], samples[12:]]
    names = ["digit", "autoencoder", "VAE", "VAE, new", ""]
    for row, images, name in zip(axes, shown, names, strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    save(figure, "reconstructions")


def draw_samples():
    """DCGAN: new digits, and the losses of the game."""
    images = 2 * Digits(size=16, normalize=False)[:][0] - 1
    settings = {"channels": 1, "image_size": 16, "width": 1 / 2}
    generator = models.dcgan_generator(**settings)
    discriminator = models.dcgan_discriminator(**settings)
    optimizers = [
        Adam(module.parameters(), lr=5e-4, betas=(0.5, 0.999))
        for module in (generator, discriminator)
    ]
    start, losses, shown = time.perf_counter(), [], []
    steps = max(int(1600 * PART), 8)
    with minicnn.no_grad():
        z = minicnn.randn(12, generator.latent)
    for step in range(steps):
        if step in (0, steps // 8, steps // 2):
            with minicnn.no_grad():
                shown.append(generator(z).array)
        real = minicnn.tensor(batch_of(images, 64, step))
        losses.append([loss.item() for loss in adversarial_step(
            generator, discriminator, *optimizers, real
        )])  # fmt: skip
    with minicnn.no_grad():
        shown.append(generator(z).array)
    print(f"{steps} steps, {time.perf_counter() - start:.1f} s, "
          f"losses {np.mean(losses[-50:], axis=0).round(2)}")  # fmt: skip
    figure, axes = table(5, 12, side=0.8)
    names = [f"step {step}" for step in (0, steps // 8, steps // 2, steps)] + ["real"]
    for row, drawn, name in zip(axes, [*shown, images[:12]], names, strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for ax, image in zip(row, drawn[:, 0], strict=True):
            ax.imshow(image, cmap="gray_r", vmin=-1, vmax=1)
    save(figure, "samples")


def draw_boxes():
    """Detector: boxes around shapes."""
    settings = {"size": 64, "targets": "boxes", "objects": 4, "shapes": FOUR}
    data = Shapes(**settings, length=100_000)
    model = models.detector(num_classes=4)

    def loss_of(step):
        pictures, labels, boxes = data[32 * step : 32 * (step + 1)]
        targets = detector_targets(boxes / 64, labels, (8, 8))
        return detector_loss(model(minicnn.tensor(pictures)), targets)

    train(model, 600, loss_of, lr=3e-3)
    pictures, labels, boxes = Shapes("test", **settings)[:300]
    with minicnn.no_grad():
        found = detect(model.eval()(minicnn.tensor(pictures)))
    hits = placed = 0
    for f, some, kinds in zip(found, boxes / 64, labels, strict=True):
        for box, kind in zip(some[kinds >= 0], kinds[kinds >= 0], strict=True):
            there = iou(f.boxes, box) > 0.5
            placed += there.any()
            hits += (there & (f.labels == kind)).any()
    objects, said = (labels >= 0).sum(), sum(len(f.labels) for f in found)
    print(f"{objects} objects, {said} boxes, {placed} objects in a box, {hits} of the right class")
    figure, axes = table(2, 5, side=2)
    for ax, picture, f in zip(axes.flat, colours(pictures), found, strict=False):
        ax.imshow(picture, interpolation="nearest")
        for (left, top, right, bottom), label in zip(64 * f.boxes - 0.5, f.labels, strict=True):
            ax.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec="w"))
            ax.text(left, max(top, 7), data.classes[label], color="w", fontsize=7, va="bottom")
        ax.set(xlim=(-0.5, 63.5), ylim=(63.5, -0.5))
    save(figure, "boxes")


PICTURES = {
    "masks": draw_masks,
    "reconstructions": draw_reconstructions,
    "samples": draw_samples,
    "boxes": draw_boxes,
}

if __name__ == "__main__":
    for argument in sys.argv[1:] or PICTURES:
        if argument in PICTURES:
            minicnn.manual_seed(0)
            print(argument)
            PICTURES[argument]()
        else:
            PART = float(argument)
