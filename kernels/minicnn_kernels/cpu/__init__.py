"""Kernels compiled by Numba for the processor at hand; imported only when one of them is to run.

`jit` compiles and keeps the result on disk, `threads` runs one kernel on all cores.  Everything
else here is kernels.  Without Numba the NumPy kernels of `reference/` do all the work.
"""
