"""A pytest plugin: kernels are read from another folder, that of MINICNN_CUDA_SOURCES."""

from __future__ import annotations

import os
from pathlib import Path

from minicnn_kernels.cuda import launch


def pytest_configure():
    launch.FOLDER = Path(os.environ["MINICNN_CUDA_SOURCES"])
