"""`minicnn warmup`: compile the kernels that a first lesson needs, before it begins."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from minicnn.cli.progress import progress

DESCRIPTION = """Run training steps of LeNet-5, in both forms, and of ResNet-18, so that all
kernels they need are compiled and kept on disk.  Without it the first step that needs a kernel
compiles it.
"""

Step = Callable[[], None]


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "warmup", help="compile the kernels that training needs, once", description=DESCRIPTION
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run all steps, and say what has been compiled."""
    from minicnn_kernels.registry import can_compile

    if not can_compile():
        print("nothing to compile: Numba is not installed, or MINICNN_KERNELS is numpy")
        return 0
    from minicnn_kernels.cpu.jit import cache_folder, compile_seconds

    with progress(len(STEPS), "network") as (_, tick):
        for step in STEPS.values():
            step()
            tick()
    folder = cache_folder()
    kept = f"kept in {folder}" if folder else "but there is no folder to keep the kernels in"
    print(f"ready for {', '.join(STEPS)}: compiled for {compile_seconds():.1f} s, {kept}")
    return 0


def _training_step(build: Callable[[], Any], shape: tuple[int, ...]) -> Step:
    """Make a function that trains a network on one batch, with SGD and Adam, and then uses it."""

    def step() -> None:
        import minicnn
        from minicnn import optim
        from minicnn.nn import functional as F

        model = build()
        images = minicnn.zeros(*shape)
        labels = minicnn.zeros(shape[0], dtype=minicnn.int64)
        for optimizer in (
            optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True),
            optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4),
            optim.Adam(model.parameters()),
        ):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        with minicnn.no_grad():
            model.eval()(images)

    return step


def _lenet(modern: bool) -> Any:
    from minicnn.models import lenet5

    return lenet5(modern=modern)


def _resnet() -> Any:
    from minicnn.models import resnet18

    return resnet18()


STEPS: dict[str, Step] = {
    "LeNet-5": _training_step(lambda: _lenet(modern=False), (64, 1, 32, 32)),
    "LeNet-5 modern": _training_step(lambda: _lenet(modern=True), (64, 1, 32, 32)),
    "ResNet-18": _training_step(_resnet, (2, 3, 224, 224)),
}
