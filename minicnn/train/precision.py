"""The precision of a training: how products are computed, and what is stored in 16 bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import minicnn_kernels.precision
from minicnn.amp import GradScaler, autocast
from minicnn.errors import UsageError
from minicnn.storage import bfloat16

PRECISIONS = {
    "fp32": "float32",
    "tf32": "float32, products of factors rounded to 11 bits (cards)",
    "bf16": "float32, products of factors rounded to 8 bits (cards)",
    "bf16-mixed": "convolutions and dense layers store bfloat16, the rest float32",
    "fp16-mixed": "the same with float16, and with a scaled loss",
}


class Precision:
    """How a training on a device computes.

    Attributes:
        scaler: scales the loss, in "fp16-mixed"; elsewhere it does nothing.

    Raises:
        UsageError: there is no such precision, or the device has it not.
        DTypeError: bfloat16 without ml_dtypes.
    """

    def __init__(self, name: str, device: str) -> None:
        if name not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise UsageError(f"unknown precision {name!r}; there are {known}")
        is_card = device != "cpu"
        self.name, self.is_mode = name, name in minicnn_kernels.precision.MODES
        if self.is_mode and name != "fp32" and not is_card:
            raise UsageError(
                f"precision {name} is a mode of cards; on the CPU there are fp32, bf16-mixed and "
                f"fp16-mixed"
            )
        dtype = bfloat16() if name == "bf16-mixed" else "float16"
        self.autocast = autocast("cuda" if is_card else "cpu", dtype, enabled=not self.is_mode)
        self.scaler = GradScaler(enabled=name == "fp16-mixed", capturable=is_card)

    @contextmanager
    def products(self) -> Iterator[None]:
        """Compute products this way inside a `with` block, forward and backward.

        "fp32" leaves the mode as it is, so that MINICNN_MATH holds.
        """
        if self.is_mode and self.name != "fp32":
            with minicnn_kernels.precision.math_mode(self.name):
                yield
        else:
            yield
