"""How exactly products of float32 are computed on a card.

"fp32": to about 1e-6, as on the CPU.  "tf32": factors rounded to 11 bits.  "bf16": to 8 bits.  Sums
are float32 in each.
"""

from __future__ import annotations

from contextvars import ContextVar

MODES = ("fp32", "tf32", "bf16")

math_mode: ContextVar[str] = ContextVar("math mode", default="fp32")
