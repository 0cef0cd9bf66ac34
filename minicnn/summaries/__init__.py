"""What a model consists of and costs, layer by layer: `minicnn.summary(model, input_shape)`."""

from __future__ import annotations

from minicnn.summaries.summary import Layer, Summary, summary

__all__ = ["Layer", "Summary", "summary"]
