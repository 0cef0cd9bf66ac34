"""The cards: CuPy, the driver and the devices, and what is missing if one cannot be used.

CuPy is imported when somebody wants a card, not before.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, NamedTuple

from minicnn_kernels.errors import DeviceError

INSTALL = "pip install 'minicnn[cuda13]' (for drivers of CUDA 13) or 'minicnn[cuda12]'"
PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x", "cupy")  # at most one may be installed
NOT_SEEN = "the driver sees no card; `nvidia-smi -L` must list it"
DRIVERS = "https://www.nvidia.com/drivers"


def cupy() -> Any:
    """Return the module CuPy.

    Raises:
        DeviceError: it is not installed, or cannot be loaded.
    """
    try:
        import cupy
    except Exception as error:  # a broken installation raises more than ImportError
        raise DeviceError(_cannot_import(error)) from None
    return cupy


def _cannot_import(error: Exception) -> str:
    if several := conflict():
        return f"cuda: CuPy cannot be imported ({error}): {several}"
    if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
        return f"cuda needs CuPy, which is not installed: {INSTALL}"
    return (
        f"cuda: CuPy is installed but cannot be imported ({type(error).__name__}: {error}); "
        f"install it anew with the libraries that it needs: {INSTALL}"
    )


@cache
def installed() -> dict[str, str]:
    """Return the packages that bring CuPy, with their versions; more than one spoil each other."""
    from importlib import metadata  # takes as long to import as all kernels

    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def conflict() -> str:
    """Say what to do about more than one package of CuPy, if there are."""
    names = list(installed())
    if len(names) < 2:
        return ""
    return (
        f"{' and '.join(names)} overwrite each other; "
        f"pip uninstall {' '.join(names)}, then install one: {INSTALL}"
    )


def count() -> int:
    """Return how many cards there are, at least one.

    Raises:
        DeviceError: no CuPy, no driver that fits it, or no card.
    """
    runtime = cupy().cuda.runtime
    try:
        found = int(runtime.getDeviceCount())
    except runtime.CUDARuntimeError as error:
        raise DeviceError(f"cuda: {_without_devices(error)}") from None
    if found == 0:
        raise DeviceError(f"cuda: {NOT_SEEN}{_hidden()}")
    return found


def _hidden() -> str:
    """Name the setting that may hide cards, if it is there."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if chosen is None else f" (CUDA_VISIBLE_DEVICES is {chosen!r}: unset it to see all)"


def _without_devices(error: Exception) -> str:
    """Say why the cards cannot be counted, and what helps."""
    name, _, _ = str(error).partition(":")
    if name == "cudaErrorNoDevice":
        return f"{NOT_SEEN}{_hidden()}"
    if name == "cudaErrorInsufficientDriver":
        driver = driver_version()
        if driver is None:
            return f"no NVIDIA driver is installed; install it ({DRIVERS}): `nvidia-smi` must run"
        return (
            f"the driver is for CUDA {driver}, CuPy for CUDA {runtime_version()}; install a newer "
            f"driver ({DRIVERS}), or the CuPy that fits: pip uninstall {' '.join(installed())}, "
            f"then pip install 'minicnn[cuda{driver.partition('.')[0]}]'"
        )
    several = conflict()
    return f"the cards cannot be used: {error}" + (f"; {several}" if several else "")


def device(number: int | None = None) -> Any:
    """Return CuPy's device of this number, without one the current device.

    Raises:
        DeviceError: it is not there, or no card is.
    """
    found = count()
    if number is None:
        return cupy().cuda.Device()
    if not 0 <= number < found:
        cards = "cuda:0" if found == 1 else f"cuda:0 to cuda:{found - 1}"
        raise DeviceError(f"cuda:{number} is not there: this machine has {cards}{_hidden()}")
    return cupy().cuda.Device(number)


def compute_capability() -> tuple[int, int]:
    """Return what kind the current card is: (9, 0) for Hopper."""
    text: str = cupy().cuda.Device().compute_capability
    return int(text[:-1]), int(text[-1])


class Card(NamedTuple):
    """What a card is.

    Attributes:
        capability: its compute capability, (9, 0) for Hopper.
        memory: in bytes.
    """

    name: str
    capability: tuple[int, int]
    memory: int
    processors: int


def card(number: int | None = None) -> Card:
    """Describe a card, without a number the current one.

    Raises:
        DeviceError: it is not there, or no card is.
    """
    facts = cupy().cuda.runtime.getDeviceProperties(int(device(number).id))
    return Card(
        facts["name"].decode(),
        (int(facts["major"]), int(facts["minor"])),
        int(facts["totalGlobalMem"]),
        int(facts["multiProcessorCount"]),
    )


def driver_version() -> str | None:
    """Return the newest CUDA that the driver can run, "12.4"; None without a driver."""
    return _version(int(cupy().cuda.runtime.driverGetVersion()))


def runtime_version() -> str | None:
    """Return the CUDA that CuPy runs with."""
    return _version(int(cupy().cuda.runtime.runtimeGetVersion()))


def nvrtc_version() -> str | None:
    """Return the CUDA of the compiler for kernels, NVRTC; None if it cannot be loaded."""
    try:
        major, minor = cupy().cuda.nvrtc.getVersion()
    except Exception:  # what the loader of libraries raises has many names
        return None
    return f"{major}.{minor}"


def _version(number: int) -> str | None:
    """Spell CUDA's version numbers: 12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else None
