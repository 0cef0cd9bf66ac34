"""Cards: which there are, what lies in their memory, and steps captured as one graph.

The names are those of `torch.cuda`.  Nothing is imported and no card is touched before one of these
functions is called.

>>> import minicnn
>>> device = "cuda" if minicnn.cuda.is_available() else "cpu"
"""

from __future__ import annotations

from minicnn.cuda.graphs import CapturedStep, capture
from minicnn.errors import DeviceError
from minicnn_kernels import cards
from minicnn_kernels.cuda import memory

Device = int | str | None


def is_available() -> bool:
    """Say whether there is a card that can be used."""
    return device_count() > 0


def device_count() -> int:
    """Return how many cards there are, 0 also where CuPy or the driver is missing."""
    try:
        return cards.count()
    except DeviceError:
        return 0


def current_device() -> int:
    """Return the number of the card that "cuda" means.

    Raises:
        DeviceError: there is none, or CuPy or the driver is missing; the message says what helps.
    """
    return int(cards.device().id)


def set_device(device: Device) -> None:
    """Let "cuda" mean this card from now on, on this thread.

    What is computed is computed there; arrays on another card are refused.

    Raises:
        DeviceError: it is not there.
    """
    cards.device(number_of(device)).use()


class device:
    """Let "cuda" mean another card inside a `with` block: `with minicnn.cuda.device(1):`.

    Raises:
        DeviceError: it is not there.
    """

    def __init__(self, device: Device) -> None:
        self._device = cards.device(number_of(device))

    def __enter__(self) -> device:
        self._device.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._device.__exit__(*error)


def number_of(device: Device) -> int | None:
    """Return the number of a card given as 1, "cuda:1" or, for the current one, None or "cuda".

    >>> number_of("cuda:1"), number_of(0), number_of("cuda")
    (1, 0, None)

    Raises:
        DeviceError: it is no card.
    """
    if device is None or isinstance(device, int):
        return device
    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise DeviceError(f'{device!r} is no card; it must be a number, "cuda" or "cuda:1"')
    return int(number) if number else None


def get_device_name(device: Device = None) -> str:
    """Return the name of a card."""
    return cards.card(number_of(device)).name


def get_device_capability(device: Device = None) -> tuple[int, int]:
    """Return the compute capability of a card: (9, 0) for Hopper."""
    return cards.card(number_of(device)).capability


def get_device_properties(device: Device = None) -> cards.Card:
    """Return what a card is: its name, compute capability, memory and number of processors."""
    return cards.card(number_of(device))


def synchronize(device: Device = None) -> None:
    """Wait until a card has done everything that it was given."""
    with cards.device(number_of(device)) as chosen:
        chosen.synchronize()


# --- memory ---------------------------------------------------------------------------------------


def memory_allocated(device: Device = None) -> int:
    """Return how many bytes of a card tensors and captured steps hold."""
    return _held(device).arrays


def memory_reserved(device: Device = None) -> int:
    """Return how many bytes the pools have taken: those of tensors, and those for the next ones."""
    return _held(device).reserved


def max_memory_allocated() -> int:
    """Return the most bytes of the current card that tensors held since counting began.

    It begins with the first call of this function or of `reset_peak_memory_stats`; every new
    tensor then takes some microseconds more.
    """
    cards.device()
    return int(memory.peak().most)


def reset_peak_memory_stats() -> None:
    """Count the most bytes that tensors hold from now on."""
    cards.device()
    peak = memory.peak()
    peak.most = peak.now


def mem_get_info(device: Device = None) -> tuple[int, int]:
    """Return how many bytes of a card no program has taken, and how many it has."""
    now = _held(device)
    return now.free, now.total


def empty_cache() -> None:
    """Give back to the driver what the pool of the current card keeps for the next tensors."""
    if is_available():
        memory.give_back()


def memory_summary(device: Device = None) -> str:
    """Return a small table of who holds the memory of a card."""
    now = _held(device)
    rows = {
        "tensors and captured steps": now.arrays,
        "kept for the next ones": now.reserved - now.arrays,
        "other programs, and the driver": now.total - now.free - now.reserved,
        "free": now.free,
        "in all": now.total,
    }
    return "\n".join(f"{name:<32}{memory.size(count):>12}" for name, count in rows.items())


def _held(device: Device) -> memory.Held:
    with cards.device(number_of(device)):
        return memory.held()


__all__ = [
    "CapturedStep", "capture", "current_device", "device", "device_count", "empty_cache",
    "get_device_capability", "get_device_name", "get_device_properties", "is_available",
    "max_memory_allocated", "mem_get_info", "memory_allocated", "memory_reserved", "memory_summary",
    "reset_peak_memory_stats", "set_device", "synchronize",
]  # fmt: skip
