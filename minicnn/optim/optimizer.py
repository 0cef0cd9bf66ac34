"""Optimizer: parameter groups, their settings, and the state kept for each parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minicnn.backprop import enable_grad, no_grad
from minicnn.errors import ArgumentError
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array


class Optimizer:
    """Base of all optimisers; a subclass writes `update` for one parameter.

    Attributes:
        param_groups: dicts with "params" and the settings (lr, momentum, ...) of those parameters.
        state: for each parameter, arrays and counters kept from step to step.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        given: list[Any] = [params] if isinstance(params, (Tensor, dict)) else list(params)
        if not given:
            raise ArgumentError(f"{type(self).__name__}: got no parameters to optimise")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with settings of their own, such as another learning rate."""
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for parameter in params:
            if not isinstance(parameter, Tensor) or not parameter.is_leaf:
                raise ArgumentError(
                    f"{type(self).__name__}: can only optimise leaf tensors, got "
                    f"{type(parameter).__name__}"
                )
            if id(parameter) in known:
                raise ArgumentError(f"{type(self).__name__}: a parameter appears twice")
            known.add(id(parameter))
        self.param_groups.append({**self.defaults, **group, "params": params})

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; `closure` recomputes the loss first."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        state = self.state.setdefault(parameter, {})
                        self.update(parameter.array, parameter.grad.array, state, group)
                        parameter.version[0] += 1
        return loss

    def update(self, w: Array, dw: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change the array w in place, given its gradient; dw itself stays as it is."""
        raise AttributeError(f"{type(self).__name__} has no update(); write one")

    def state_dict(self) -> dict[str, Any]:
        """Return settings and state with parameters numbered in order, as PyTorch does."""
        numbers = {p: i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [
            {**group, "params": [numbers[p] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {
            "state": {numbers[p]: dict(s) for p, s in self.state.items()},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over settings and state that `state_dict` returned, copying the arrays.

        Raises:
            ArgumentError: the groups differ in number or size; nothing is changed then.
        """
        sizes = [len(group["params"]) for group in self.param_groups]
        given = [len(group["params"]) for group in state_dict["param_groups"]]
        if sizes != given:
            raise ArgumentError(
                f"load_state_dict: groups of {given} parameters do not fit groups of {sizes}"
            )
        parameters = [p for group in self.param_groups for p in group["params"]]
        for group, new in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({**new, "params": group["params"]})
        self.state = {
            parameters[int(number)]: {
                name: value.copy() if isinstance(value, np.ndarray) else value
                for name, value in state.items()
            }
            for number, state in state_dict["state"].items()
        }

    def __repr__(self) -> str:
        lines = [
            f"  group {i}: {len(group['params'])} parameters, "
            + ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            for i, group in enumerate(self.param_groups)
        ]
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])


def check_settings(name: str, **settings: float) -> None:
    """Raise ArgumentError for a setting that is negative or not a number."""
    for key, value in settings.items():
        if not value >= 0:
            raise ArgumentError(f"{name}: {key} must be at least 0, got {value}")
