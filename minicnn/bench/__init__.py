"""Measuring kernels and models: correctness first, then time, beside PyTorch in its own process.

`problem` reads what is to be computed, `suites` holds the layers of known networks; `work` knows
the operands, the right result and the count of operations; `contest` lets the contestants take
turns; `results` is what comes out, and `table`, `page` and `compare` show it.
"""
