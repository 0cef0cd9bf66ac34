"""Rows for functions and layers of images that are spelled with the operations of other files."""

from __future__ import annotations

from minicnn.testing.cases.case import functional, layer

ROWS = [
    functional("permute_dims", "pixels from channels", "pixel_shuffle", (2, 8, 2, 3),
          upscale_factor=2),
    functional("permute_dims", "pixels from channels of one image", "pixel_shuffle", (9, 1, 2),
          upscale_factor=3),
    functional("permute_dims", "channels from pixels", "pixel_unshuffle", (2, 2, 2, 6),
          downscale_factor=2),
    functional("permute_dims", "channels from pixels of two batches", "pixel_unshuffle",
          (1, 2, 1, 3, 6), downscale_factor=3),
    functional("permute_dims", "channels dealt out", "channel_shuffle", (2, 6, 1, 2), groups=3),
    functional("permute_dims", "channels dealt out, one side", "channel_shuffle", (2, 6, 2),
          groups=2),
]  # fmt: skip

LAYERS = [
    layer("nearest", lambda nn: nn.Upsample(scale_factor=2), (2, 1, 2, 3)),
    layer("linear", lambda nn: nn.Upsample(5, mode="linear", align_corners=True), (2, 1, 3)),
    layer("by fractions", lambda nn: nn.Upsample(
        scale_factor=(1.5, 2), mode="bicubic", recompute_scale_factor=True), (2, 1, 3, 3)),
    layer("to a size", lambda nn: nn.UpsamplingNearest2d((3, 5)), (2, 1, 2, 3)),
    layer("doubled", lambda nn: nn.UpsamplingNearest2d(scale_factor=2), (2, 1, 2, 3)),
    layer("to a size", lambda nn: nn.UpsamplingBilinear2d((3, 5)), (2, 1, 2, 3)),
    layer("doubled", lambda nn: nn.UpsamplingBilinear2d(scale_factor=2), (2, 1, 2, 3)),
    layer("pixels from channels", lambda nn: nn.PixelShuffle(2), (2, 8, 2, 3)),
    layer("channels from pixels", lambda nn: nn.PixelUnshuffle(2), (2, 2, 4, 2)),
    layer("three groups", lambda nn: nn.ChannelShuffle(3), (2, 6, 2, 1)),
]  # fmt: skip
