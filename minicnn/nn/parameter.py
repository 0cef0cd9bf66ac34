"""Parameter: a tensor that a module learns."""

from __future__ import annotations

from typing import Any

from minicnn.tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that a Module registers, optimisers change and `state_dict` holds.

    >>> import minicnn
    >>> Parameter(minicnn.zeros(2)).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.array if isinstance(data, Tensor) else data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
