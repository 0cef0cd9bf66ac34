"""Rows for `minicnn.ops.convolution`."""

from __future__ import annotations

from functools import partial
from typing import Any

from minicnn.ops.convolution import col2im, conv_input, conv_weight, im2col
from minicnn.testing.cases.case import Case, Shape, both, functional, layer
from minicnn_kernels.geometry import Windows, output_size, sides


def convolutions(name: str, x: Shape, w: Shape, **given: Any) -> list[Case]:
    """Make a row for each of the three operations that form the convolution triangle."""
    ndim = len(x) - 2
    settings = {"stride": 1, "padding": 0, "dilation": 1, **given}
    groups = settings.pop("groups", 1)
    per_side = {key: sides(number, ndim) for key, number in settings.items()}
    geometry = list(zip(x[2:], w[2:], *per_side.values(), strict=True))
    dy = (x[0], w[0], *(output_size(*side) for side in geometry))
    unreached = [(n + 2 * p - d * (k - 1) - 1) % s for n, k, s, p, d in geometry]
    everything = {**per_side, "groups": groups}

    def torch_input(torch: Any, dy: Any, w: Any) -> Any:
        transposed = getattr(torch.nn.functional, f"conv_transpose{ndim}d")
        return transposed(dy, w, output_padding=unreached, **everything)

    def torch_weight(torch: Any, x: Any, dy: Any) -> Any:
        return getattr(torch.nn.grad, f"conv{ndim}d_weight")(x, w, dy, **everything)

    return [
        functional("conv", name, f"conv{ndim}d", x, w, **everything),
        Case(
            "conv_input",
            name,
            partial(conv_input, size=x[2:], **everything),
            (dy, w),
            torch_input,
        ),
        Case(
            "conv_weight",
            name,
            partial(conv_weight, size=w[2:], **everything),
            (x, dy),
            torch_weight if x[0] else None,  # torch cannot differentiate a batch of 0
        ),
    ]


def transposed(name: str, x: Shape, w: Shape, *bias: Shape, **settings: Any) -> Case:
    """Make a row for a transposed convolution."""
    return functional("conv_input", name, f"conv_transpose{len(w) - 2}d", x, w, *bias, **settings)


ROWS = [
    *convolutions("oblong", (2, 2, 4, 5), (3, 2, 3, 2)),
    *convolutions("one by one", (1, 3, 2, 3), (2, 3, 1, 1)),
    *convolutions("one pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
    *convolutions("kernel as large as the image", (2, 1, 3, 2), (2, 1, 3, 2)),
    *convolutions("padded", (1, 2, 3, 4), (2, 2, 3, 3), padding=1),
    *convolutions("padding beyond the kernel", (1, 1, 2, 2), (2, 1, 2, 1), padding=(2, 3)),
    *convolutions("left-over rows", (1, 1, 6, 5), (2, 1, 3, 2), stride=2),
    *convolutions("stride larger than the kernel", (2, 1, 7, 6), (1, 1, 2, 1), stride=3),
    *convolutions("per axis", (1, 2, 5, 4), (2, 2, 3, 2), stride=(2, 1), padding=(0, 1)),
    *convolutions("dilated", (1, 1, 5, 6), (2, 1, 2, 3), dilation=(3, 2)),
    *convolutions("dilated, padded, strided", (1, 2, 5, 5), (1, 2, 3, 2), stride=2, padding=2,
                  dilation=2),
    *convolutions("groups", (1, 4, 3, 3), (6, 2, 2, 2), groups=2),
    *convolutions("depthwise", (2, 3, 4, 3), (3, 1, 3, 2), groups=3, padding=1),
    *convolutions("depthwise, multiplied", (1, 2, 4, 4), (6, 1, 3, 3), groups=2, stride=2),
    *convolutions("depthwise, per axis", (2, 2, 5, 7), (2, 1, 3, 2), groups=2, stride=(2, 3),
                  padding=(1, 2), dilation=(1, 2)),
    *convolutions("depthwise, one image", (1, 2, 3, 4), (2, 1, 2, 3), groups=2, padding=(0, 1)),
    *convolutions("batch 0", (0, 2, 4, 4), (3, 2, 2, 2)),
    *convolutions("depthwise, batch 0", (0, 2, 4, 4), (2, 1, 2, 2), groups=2),
    *convolutions("1d", (2, 3, 7), (2, 3, 3), padding=1),
    *convolutions("1d, all settings", (1, 4, 9), (6, 2, 2), stride=3, padding=2, dilation=3,
                  groups=2),
    *convolutions("1d, stride larger than the kernel", (2, 1, 8), (2, 1, 2), stride=5),
    *convolutions("1d, one by one", (2, 2, 3), (3, 2, 1), stride=2),
    *convolutions("1d, depthwise", (2, 3, 6), (3, 1, 3), groups=3, stride=2, padding=1),
    *convolutions("1d, batch 0", (0, 2, 4), (1, 2, 3)),
    *convolutions("3d", (1, 2, 3, 2, 4), (2, 2, 2, 1, 3), padding=(0, 1, 1)),
    *convolutions("3d, all settings", (1, 2, 4, 5, 3), (2, 1, 2, 3, 2), stride=(1, 2, 3),
                  padding=(1, 0, 2), dilation=(2, 1, 2), groups=2),
    *convolutions("3d, as large as the image", (2, 1, 2, 1, 2), (1, 1, 2, 1, 2)),
    *convolutions("3d, depthwise", (1, 2, 3, 3, 2), (2, 1, 2, 2, 2), groups=2, stride=(2, 1, 1)),
    *convolutions("3d, batch 0", (0, 1, 2, 3, 2), (1, 1, 2, 2, 1)),
    functional("conv_bias", "one group", "conv2d", (2, 1, 3, 3), (2, 1, 2, 2), (2,)),
    functional("conv_bias", "one image", "conv2d", (2, 3, 2), (2, 2, 2, 3), (2,), padding=1),
    functional("conv_bias", "groups, strided, left-over rows", "conv2d", (2, 2, 6, 5), (4, 1, 2, 3),
          (4,), groups=2, stride=(3, 2)),
    functional("conv_bias", "batch 0", "conv2d", (0, 1, 3, 3), (2, 1, 2, 2), (2,)),
    functional("conv", "valid", "conv2d", (1, 1, 3, 4), (2, 1, 2, 2), padding="valid"),
    functional("conv", "same", "conv2d", (1, 1, 3, 4), (2, 1, 3, 1), padding="same"),
    functional("conv", "same, even reach", "conv2d", (1, 1, 4, 3), (1, 1, 2, 2),
          padding="same", dilation=(1, 3)),
    functional("conv_bias", "depthwise", "conv2d", (2, 2, 4, 3), (2, 1, 3, 2), (2,), groups=2),
    functional("conv_bias", "1d, one sequence", "conv1d", (2, 5), (3, 2, 2), (3,), dilation=2),
    functional("conv_bias", "3d, one volume", "conv3d", (1, 2, 3, 3), (2, 1, 1, 2, 2), (2,)),
    functional("conv", "1d, same, even reach", "conv1d", (2, 1, 5), (1, 1, 4), padding="same"),
    functional("conv", "3d, same", "conv3d", (1, 1, 2, 3, 2), (1, 1, 1, 2, 3), padding="same"),
    both("conv", "1d, causal", lambda m, x, w: m.nn.functional.conv1d(
        m.nn.functional.pad(x, (4, 0)), w, dilation=2), (1, 2, 5), (2, 2, 3)),
    both("conv", "separable", lambda m, x, w, v: m.nn.functional.conv2d(
        m.nn.functional.conv2d(x, w, padding=1, groups=3), v), (2, 3, 3, 4), (3, 1, 3, 3),
        (2, 3, 1, 1)),
    transposed("2d, transposed", (2, 3, 2, 3), (3, 2, 3, 2), (2,), stride=2),
    transposed("2d, transposed, one image", (1, 2, 3), (1, 2, 2, 2), padding=1),
    transposed("2d, transposed, all settings", (1, 4, 3, 2), (4, 3, 2, 3), (6,), stride=(2, 3),
               padding=(1, 2), output_padding=(1, 2), groups=2, dilation=(3, 2)),
    transposed("2d, transposed, more windows than before", (1, 1, 2, 3), (1, 2, 2, 2), (2,),
               stride=(1, 2), output_padding=2, dilation=3),
    transposed("2d, transposed, gaps", (2, 1, 2, 2), (1, 1, 2, 1), stride=3, output_padding=(1, 2)),
    transposed("2d, transposed, depthwise", (2, 2, 3, 2), (2, 1, 3, 3), (2,), stride=2, padding=1,
               output_padding=1, groups=2),
    transposed("2d, transposed, from one pixel", (2, 3, 1, 1), (3, 2, 2, 3)),
    transposed("2d, transposed, batch 0", (0, 2, 2, 3), (2, 1, 2, 2), (1,), stride=2),
    transposed("1d, transposed", (2, 3, 4), (3, 1, 3), (1,), stride=2, padding=1),
    transposed("1d, transposed, one sequence", (2, 4), (2, 2, 2), (4,), stride=3, groups=2,
               output_padding=1, dilation=2),
    transposed("3d, transposed", (1, 2, 2, 1, 3), (2, 1, 2, 3, 1), (1,), stride=(1, 2, 2),
               padding=(0, 1, 0), output_padding=(0, 1, 1)),
    transposed("3d, transposed, one volume", (2, 1, 2, 2), (2, 1, 1, 2, 2), (2,), groups=2,
               dilation=(1, 2, 1)),
    functional("im2col", "overlap", "unfold", (2, 2, 3, 4), kernel_size=(2, 3)),
    functional("im2col", "one by one", "unfold", (1, 2, 2, 3), kernel_size=1),
    functional("im2col", "all settings", "unfold", (1, 2, 5, 4),
          kernel_size=(2, 1), dilation=(2, 1), padding=(1, 0), stride=(2, 3)),
    functional("im2col", "one image", "unfold", (1, 5, 4), kernel_size=2, stride=2),
    functional("col2im", "overlap", "fold", (2, 12, 4), output_size=(3, 4), kernel_size=(2, 3)),
    functional("col2im", "one by one", "fold", (1, 2, 6), output_size=(2, 3), kernel_size=1),
    functional("col2im", "all settings", "fold", (1, 4, 6), output_size=(5, 4),
          kernel_size=(2, 1), dilation=(2, 1), padding=(1, 0), stride=(2, 3)),
    functional("col2im", "one image", "fold", (4, 4), output_size=(5, 4), kernel_size=2, stride=2),
    Case("im2col", "batch 0", lambda x: im2col(x, Windows((3, 4), (2, 2))), ((0, 2, 3, 4),)),
    Case("col2im", "batch 0", lambda x: col2im(x, Windows((3, 4), (2, 2))), ((0, 1, 2, 2, 2, 3),)),
]  # fmt: skip

LAYERS = [
    layer("padded", lambda nn: nn.Conv2d(2, 3, 3, padding=1), (2, 2, 4, 3)),
    layer("all settings", lambda nn: nn.Conv2d(4, 2, (2, 1), (2, 1), (0, 1), (1, 2), 2, False),
          (1, 4, 5, 4)),
    layer("default", lambda nn: nn.Conv2d(4, 3, 3), (1, 4, 5, 4)),
    layer("by position", lambda nn: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2, False),
          (1, 4, 5, 4)),
    layer("depthwise", lambda nn: nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4), (1, 4, 5, 4)),
    layer("same", lambda nn: nn.Conv2d(4, 3, (3, 5), padding="same"), (1, 4, 5, 4)),
    layer("valid", lambda nn: nn.Conv2d(4, 3, 2, padding="valid"), (1, 4, 5, 4)),
    layer("reflect", lambda nn: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="reflect"),
          (1, 2, 3, 4)),
    layer("replicate, strided", lambda nn: nn.Conv2d(2, 3, 3, 2, 1, padding_mode="replicate"),
          (2, 2, 3, 4)),
    layer("circular, same, even", lambda nn: nn.Conv2d(
        1, 2, (2, 4), padding="same", dilation=(2, 1), padding_mode="circular"), (1, 1, 4, 5)),
    layer("reflect, valid", lambda nn: nn.Conv2d(1, 2, 2, padding="valid", padding_mode="reflect"),
          (1, 3, 3)),
    layer("padded", lambda nn: nn.Conv1d(2, 3, 3, padding=1), (2, 2, 5)),
    layer("all settings", lambda nn: nn.Conv1d(4, 2, (2,), (3,), (1,), 2, 2, False, "circular"),
          (1, 4, 7)),
    layer("one sequence, same", lambda nn: nn.Conv1d(1, 2, 3, padding="same"), (1, 5)),
    layer("padded", lambda nn: nn.Conv3d(1, 2, (1, 2, 3), padding=(0, 1, 1)), (2, 1, 2, 3, 2)),
    layer("all settings", lambda nn: nn.Conv3d(
        2, 4, 2, (1, 2, 1), 1, (2, 1, 1), 2, False, "replicate"), (1, 2, 3, 2, 3)),
    layer("one volume", lambda nn: nn.Conv3d(1, 1, 2, padding="same"), (1, 2, 3, 2)),
    layer("default", lambda nn: nn.ConvTranspose1d(2, 3, 3), (2, 2, 4)),
    layer("all settings", lambda nn: nn.ConvTranspose1d(4, 6, 3, 2, 2, 1, 2, False, 2), (1, 4, 5)),
    layer("default", lambda nn: nn.ConvTranspose2d(2, 3, 3), (2, 2, 2, 3)),
    layer("all settings", lambda nn: nn.ConvTranspose2d(
        4, 2, (3, 2), (2, 3), (1, 0), (1, 2), 2, False, (1, 2)), (1, 4, 2, 3)),
    layer("one image", lambda nn: nn.ConvTranspose2d(3, 4, 4, 2, 1), (3, 2, 3)),
    layer("default", lambda nn: nn.ConvTranspose3d(1, 2, 2), (2, 1, 2, 1, 3)),
    layer("all settings", lambda nn: nn.ConvTranspose3d(
        2, 2, (2, 1, 3), 2, (1, 0, 1), 1, 2, True, (1, 1, 2)), (1, 2, 2, 2, 2)),
    layer("overlap", lambda nn: nn.Unfold((2, 3), padding=1), (2, 2, 3, 4)),
    layer("all settings", lambda nn: nn.Unfold(2, 2, (1, 0), (1, 2)), (1, 4, 5)),
    layer("overlap", lambda nn: nn.Fold((3, 4), (2, 3)), (2, 12, 4)),
    layer("all settings", lambda nn: nn.Fold((5, 4), (2, 1), (2, 1), (1, 0), (2, 3)), (4, 6)),
    layer("stride over kernel", lambda nn: nn.Conv2d(4, 3, 2, stride=3), (1, 4, 5, 4)),
]  # fmt: skip
