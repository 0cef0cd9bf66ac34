"""Kernels for NVIDIA cards: CUDA C++ sources with their launchers, and kernels in Numba CUDA.

Nothing here is imported before an array lies on a card.
"""
