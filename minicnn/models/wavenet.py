"""WaveNet: what comes next, from what has been, through convolutions with growing holes.

Paper: van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior, Kavukcuoglu
2016, "WaveNet: a generative model for raw audio", section 2, arXiv:1609.03499.
"""

from __future__ import annotations

from typing import Any

from minicnn import nn
from minicnn.autograd import no_grad
from minicnn.factories import multinomial
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.ops.shape import cat, transpose

__all__ = ["wavenet"]

DILATIONS = tuple(2**k for k in range(10)) * 3  # 1, 2, 4, ..., 512, three times
RESIDUAL, SKIP = 32, 256  # channels; the paper does not say how many


class GatedLayer(nn.Module):
    """z = tanh(filter(x)) * sigmoid(gate(x)); (x + residual(z), skip(z)), as in equation 2.

    Filter and gate see a value and the one `dilation` before it. Padding with zeros on the left
    keeps the future out.
    """

    def __init__(self, residual: int, skip: int, dilation: int, last: bool) -> None:
        super().__init__()
        self.dilation = dilation
        self.filter = nn.Conv1d(residual, residual, 2, dilation=dilation)
        self.gate = nn.Conv1d(residual, residual, 2, dilation=dilation)
        # after the last layer nobody looks at x
        self.residual = nn.Identity() if last else nn.Conv1d(residual, residual, 1)
        self.skip = nn.Conv1d(residual, skip, 1)

    def forward(self, x: Any) -> Any:
        """Return what the next layer sees, and the part of the result."""
        past = F.pad(x, (self.dilation, 0))
        z = F.tanh(self.filter(past)) * F.sigmoid(self.gate(past))
        return x + self.residual(z), self.skip(z)


class WaveNet(nn.Module):
    """Gated layers over a sequence of classes; at each place the logits of the class that follows.

    A first convolution of one-hot codes, one value wide, is a table: `embedding`. `width` is the
    part of the channels to have. Waves become classes by `minicnn.data.mu_law`. Conditioning on a
    speaker or a text is left out.
    """

    def __init__(
        self, num_classes: int = 256, dilations: Any = DILATIONS, width: float = 1.0
    ) -> None:
        super().__init__()
        residual, skip = round(RESIDUAL * width), round(SKIP * width)
        self.receptive_field = 1 + sum(dilations)
        self.embedding = nn.Embedding(num_classes, residual)
        self.layers = nn.ModuleList(
            GatedLayer(residual, skip, dilation, last=number == len(dilations))
            for number, dilation in enumerate(dilations, 1)
        )
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv1d(skip, skip, 1), nn.ReLU(), nn.Conv1d(skip, num_classes, 1)
        )

    def forward(self, classes: Any) -> Any:
        """Return logits (N, num_classes, T) for classes (N, T); those at t are about t + 1."""
        x = transpose(self.embedding(classes), 1, 2)  # (N, residual, T)
        parts = []
        for layer in self.layers:
            x, part = layer(x)
            parts.append(part)
        return self.head(sum(parts))

    def generate(self, classes: Any, steps: int) -> Any:
        """Go on from classes (N, T) for some steps, each drawn from its distribution."""
        with no_grad():
            for _ in range(steps):
                logits = self(classes[:, -self.receptive_field :])[:, :, -1]
                drawn = multinomial(F.softmax(logits, 1), 1)
                classes = cat([classes, drawn], 1)
        return classes


@published(
    2016,
    "van den Oord: WaveNet: a generative model for raw audio",
    parameters=548_640,
    multiply_adds=1_625_282_560,
    input_shape=(3070,),
)
def wavenet(num_classes: int = 256, **settings: Any) -> WaveNet:
    """Build WaveNet with 30 layers and a receptive field of 3,070 values."""
    return WaveNet(num_classes, **settings)
