"""Deep Speech 2: convolutions over a spectrogram, recurrent layers both ways, and CTC.

Paper: Amodei et al. 2015, "Deep Speech 2: end-to-end speech recognition in English and Mandarin",
section 3, arXiv:1512.02595.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minicnn import nn
from minicnn.factories import arange, as_tensor
from minicnn.models.catalogue import published
from minicnn.nn import functional as F
from minicnn.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from minicnn.ops.arithmetic import where
from minicnn.ops.shape import flatten, permute

__all__ = ["deepspeech2"]

CONVOLUTIONS = (  # channels, (bands, frames) of the window, stride
    (32, (41, 11), (2, 2)),
    (32, (21, 11), (2, 1)),
    (96, (21, 11), (2, 1)),
)
CEILING = 20.0  # of clipped ReLU


class Transcription(NamedTuple):
    """Logarithms of probabilities (T, N, num_classes), and how many of the T steps each has."""

    log_probs: Any
    lengths: Any


class Convolution(nn.Module):
    """y = min(max(bn(conv(x)), 0), 20), where x is 0 beyond the end of each sample."""

    def __init__(self, in_channels: int, out_channels: int, window: Any, stride: Any) -> None:
        super().__init__()
        padding = tuple(size // 2 for size in window)
        self.conv = nn.Conv2d(in_channels, out_channels, window, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.stride = stride[1]

    def forward(self, x: Any, lengths: Any) -> Any:
        """Return (N, channels, bands, T), and the lengths, which the stride has divided."""
        ends: Any = as_tensor(lengths)
        inside = arange(x.shape[3]) < ends[:, None, None, None]
        y = self.bn(self.conv(where(inside, x, 0.0)))
        return F.hardtanh(y, 0.0, CEILING), [(n - 1) // self.stride + 1 for n in lengths]


class Recurrent(nn.Module):
    """y = bn(forward states + backward states), each of the batch's sequences without padding.

    Sequence-wise batch normalisation: mean and variance are over all steps of all samples.
    """

    def __init__(self, cell: str, size: int, hidden: int) -> None:
        super().__init__()
        settings = {"nonlinearity": "relu"} if cell == "RNN" else {}
        self.rnn = getattr(nn, cell)(size, hidden, bidirectional=True, **settings)
        self.bn = nn.BatchNorm1d(hidden)

    def forward(self, packed: Any) -> Any:
        """Return a PackedSequence of the sums."""
        y, _ = self.rnn(packed)
        ahead, back = y.data[:, : self.rnn.hidden_size], y.data[:, self.rnn.hidden_size :]
        return y._replace(data=self.bn(ahead + back))


class DeepSpeech2(nn.Module):
    """Up to three convolutions, up to seven recurrent layers, and a class or a blank at each step.

    `cell` is "RNN" or "GRU". `width` is the part of channels and hidden units to have.

    Deviations: recurrent layers normalise their sum of both directions, where the paper normalises
    its products with the next layer's weights; the ReLU in "RNN" is not clipped.
    """

    def __init__(
        self,
        num_classes: int = 29,
        bands: int = 161,
        convolutions: int = 2,
        layers: int = 7,
        hidden: int = 1280,
        cell: str = "RNN",
        width: float = 1.0,
    ) -> None:
        super().__init__()
        channels, hidden = 1, round(hidden * width)
        self.convolutions = nn.ModuleList()
        for wanted, window, stride in CONVOLUTIONS[:convolutions]:
            out = round(wanted * width)
            self.convolutions.append(Convolution(channels, out, window, stride))
            channels, bands = out, (bands - 1) // stride[0] + 1
        self.recurrent = nn.Sequential()
        size = channels * bands
        for _ in range(layers):
            self.recurrent.append(Recurrent(cell, size, hidden))
            size = hidden
        self.fc = nn.Linear(size, num_classes)

    def forward(self, spectrograms: Any, frames: Any = None) -> Transcription:
        """Transcribe spectrograms (N, 1, bands, T), of each its first `frames` (N), or all of them.

        `F.ctc_loss(y.log_probs, letters, y.lengths, counts)` is the loss of the result y.
        """
        x, count, longest = spectrograms, spectrograms.shape[0], spectrograms.shape[3]
        lengths = [longest] * count if frames is None else [int(n) for n in frames]
        for convolution in self.convolutions:
            x, lengths = convolution(x, lengths)
        steps = flatten(permute(x, (3, 0, 1, 2)), 2)  # (T, N, channels * bands)
        packed = self.recurrent(pack_padded_sequence(steps, lengths, enforce_sorted=False))
        logits = packed._replace(data=self.fc(packed.data))
        padded, _ = pad_packed_sequence(logits, total_length=x.shape[3])
        return Transcription(F.log_softmax(padded, 2), as_tensor(lengths))


def greedy(transcription: Transcription, blank: int = 0) -> list[list[int]]:
    """Return each sample's classes: the likeliest at each step, repeats merged, blanks left out.

    >>> import numpy as np
    >>> steps = np.array([1, 1, 0, 1, 2, 2, 0, 2])
    >>> greedy(Transcription(np.eye(3)[steps][:, np.newaxis], [7]))
    [[1, 1, 2]]
    """
    found = []
    for n, length in enumerate(transcription.lengths):
        best = [int(k) for k in transcription.log_probs[: int(length), n].argmax(1)]
        merged = [k for k, before in zip(best, [blank, *best], strict=False) if k != before]
        found.append([k for k in merged if k != blank])
    return found


@published(
    2015,
    "Amodei: Deep Speech 2: end-to-end speech recognition in English and Mandarin",
    parameters=46299133,
    multiply_adds=2_843_076_800,
    input_shape=(1, 161, 100),  # a second
)
def deepspeech2(num_classes: int = 29, bands: int = 161, **settings: Any) -> DeepSpeech2:
    """Build two convolutions and seven bidirectional layers of 1,280 recurrent units."""
    return DeepSpeech2(num_classes, bands, **settings)
