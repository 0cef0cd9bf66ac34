"""Tools around a training: checkpoints of memory."""

from __future__ import annotations

from minicnn.utils import checkpoint
