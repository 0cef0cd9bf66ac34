"""`python -m minicnn`: the same as the `minicnn` command."""

from __future__ import annotations

import sys

from minicnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
