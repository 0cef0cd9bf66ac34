"""Where minicnn means to differ from torch, and why.

The key is "operation or public function: change of the input", as `test_parity` prints it, and may
hold the wildcards of `fnmatch`.
"""

from __future__ import annotations

DEVIATIONS: dict[str, str] = {}
