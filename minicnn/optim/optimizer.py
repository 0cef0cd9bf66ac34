"""Optimizer: parameter groups, their settings, and the state kept for each parameter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from functools import partial
from operator import is_
from typing import Any

import numpy as np

from minicnn.backprop import enable_grad, no_grad
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.tensor import Tensor, values_of
from minicnn_kernels.arrays import Array, is_on_card, to_device
from minicnn_kernels.cuda import memory, replay
from minicnn_kernels.pointwise import can_change_in_one_pass, changes_in_one_pass
from minicnn_kernels.strides import lying_like

BLOCK = 65_536  # values; in float32 256 KiB, so that what a formula makes on the way stays cached

State = dict[str, Any]
Group = dict[str, Any]
Member = tuple[Tensor, Array, Group]  # a parameter, its gradient, and its group


class Optimizer:
    """Base of all optimisers; a subclass writes `update` for one parameter.

    Attributes:
        elementwise: whether `update` does to each value what it would do in any other array; then
            one recording of it serves all parameters of a group.
        param_groups: dicts with "params" and the settings (lr, momentum, ...) of those parameters.
        state: for each parameter, arrays and counters kept from step to step.
        defaults: the settings of groups that do not name their own.
    """

    elementwise = False

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: defaultdict[Tensor, State] = defaultdict(dict)
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise DTypeError(
                f"{type(self).__name__}: params must be an iterable of tensors, (name, tensor) "
                f"pairs or dicts, got {type(params).__name__}; put a single tensor into a list"
            )
        given = list(params)
        if not given:
            raise ArgumentError(f"{type(self).__name__}: got no parameters to optimise")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own, such as another learning rate.

        Raises:
            DTypeError: something else than tensors, or a set, which has no order.
            ArgumentError: a parameter that is no leaf or already there, or only some with names.
        """
        name = type(self).__name__
        if not isinstance(param_group, dict):
            raise DTypeError(f"{name}: a group must be a dict, got {type(param_group).__name__}")
        if "params" not in param_group:
            raise ArgumentError(f'{name}: a group needs "params", got {sorted(param_group)}')
        given = param_group["params"]
        if isinstance(given, set):
            raise DTypeError(f"{name}: a set has no order to number parameters by; give a list")
        entries = [given] if isinstance(given, Tensor) else list(given)
        names = [entry[0] for entry in entries if isinstance(entry, tuple)]
        params = [entry[1] if isinstance(entry, tuple) else entry for entry in entries]
        if names and len(names) < len(params):
            raise ArgumentError(f"{name}: only {len(names)} of {len(params)} parameters have names")
        self._check_params(params)
        group = {"params": params, **self.defaults, **param_group}
        group.update({"params": params, "param_names": names} if names else {"params": params})
        for other in self.param_groups:
            if ("param_names" in group) != ("param_names" in other):
                raise ArgumentError(f"{name}: name the parameters of all groups, or of none")
        self.param_groups.append(group)

    def _check_params(self, params: list[Any]) -> None:
        """Raise if one is no leaf tensor, or is there already."""
        name = type(self).__name__
        known = {id(parameter) for group in self.param_groups for parameter in group["params"]}
        for parameter in params:
            if not isinstance(parameter, Tensor):
                raise DTypeError(
                    f"{name}: can only optimise tensors, got {type(parameter).__name__}"
                )
            if not parameter.is_leaf:
                raise ArgumentError(
                    f"{name}: can only optimise leaf tensors; one of shape {parameter.shape} is "
                    f"the result of an operation"
                )
            if id(parameter) in known:
                raise ArgumentError(f"{name}: a parameter of shape {parameter.shape} appears twice")
            known.add(id(parameter))

    # --- stepping --------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none or parameter.grad is None:
                    parameter.grad = None
                else:
                    parameter.grad = Tensor(np.zeros_like(parameter.array))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; `closure` recomputes the loss first.

        Raises:
            ShapeError, DTypeError: a gradient does not fit its parameter; nothing is changed then.
            OutOfMemoryError: there is no room for what it keeps for each parameter.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with memory.named(f"{type(self).__name__}.step", ()):
            for members in self._alike(self._gradients()):
                update = partial(self._update_all, members, self._memory(members))
                replay.repeated(update, partial(self._snapshot, members))
        return loss

    def update(self, w: Array, dw: Array, state: State, group: Group) -> None:
        """Change the array w in place, given its gradient; dw itself stays as it is."""
        raise AttributeError(f"{type(self).__name__} has no update(); write one")

    def _gradients(self) -> list[Member]:
        """Return the parameters that have a gradient, with it and their group."""
        found = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    gradient = parameter.grad.array
                    _check_gradient(type(self).__name__, parameter.array, gradient)
                    if is_on_card(gradient):  # here, or a graph would not copy it again
                        gradient = lying_like(gradient, parameter.array)
                    found.append((parameter, gradient, group))
        return found

    def _alike(self, members: list[Member]) -> list[list[Member]]:
        """Put together those whose update differs in nothing but the values of arrays."""
        if not self.elementwise:
            return [[member] for member in members]
        found: defaultdict[Any, list[Member]] = defaultdict(list)
        for parameter, gradient, group in members:
            state = self.state.get(parameter)
            numbers = None if state is None else (*state, *_numbers_of(state).values())
            key = (id(group), parameter.array.dtype, numbers)
            found[key].append((parameter, gradient, group))
        return list(found.values())

    def _memory(self, members: list[Member]) -> list[Any]:
        """Return what holds the arrays that a captured step writes to."""
        return [self.state, *(parameter.array for parameter, _, _ in members)]

    def _update_all(self, members: list[Member], before: list[Any]) -> None:
        """Update parameters whose update differs in nothing but the values of arrays."""
        if replay.is_refilling() and not all(map(is_, before, self._memory(members))):
            replay.refuse("its parameters, or the state of its optimiser, were given other memory")
        with no_grad(), np.errstate(all="ignore"):  # Inf and NaN are values here
            if not self._update_together(members):
                for parameter, gradient, group in members:
                    self.update(parameter.array, gradient, self.state[parameter], group)
        for parameter, _, _ in members:
            parameter.version[0] += 1

    def _snapshot(self, members: list[Member]) -> Callable[[], None]:
        """Return what puts back the numbers of the members' state."""
        if any(parameter not in self.state for parameter, _, _ in members):
            replay.refuse(f"the first step of {type(self).__name__} makes its state")
        before = {parameter: _numbers_of(self.state[parameter]) for parameter, _, _ in members}

        def restore() -> None:
            for parameter, numbers in before.items():
                self.state[parameter].update(numbers)

        return restore

    def _update_together(self, members: list[Member]) -> bool:
        """Update several parameters by one recording of the formula; False: nothing was done."""
        members = sorted(members, key=lambda member: -member[0].array.size)
        states = [self.state.get(parameter) for parameter, _, _ in members]
        if len(members) == 1 or states[0] is None:
            return False
        changed = [
            {"w": parameter.array, **_arrays_of(self.state[parameter])}
            for parameter, _, _ in (members[:1] if replay.is_refilling() else members)
        ]
        if not can_change_in_one_pass(*(list(arrays.values()) for arrays in changed)):
            return False
        given = ({**arrays, "dw": dw} for arrays, (_, dw, _) in zip(changed, members, strict=False))
        for lazy in changes_in_one_pass(*given):
            state = {**states[0], **lazy}
            self.update(state.pop("w"), state.pop("dw"), state, members[0][2])
            if set(state) != set(states[0]):  # it has begun to keep something new for each
                return False
        for parameter, _, _ in members:
            self.state[parameter].update({k: state[k] for k in _numbers_of(states[0])})
        return True

    # --- state -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return settings and state with parameters numbered in order, as PyTorch does."""
        numbers = {parameter: i for i, parameter in enumerate(self._parameters())}
        groups = [
            {**group, "params": [numbers[parameter] for parameter in group["params"]]}
            for group in self.param_groups
        ]
        state = {numbers[parameter]: dict(state) for parameter, state in self.state.items()}
        return {"state": {i: kept for i, kept in state.items() if kept}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over settings and state that `state_dict` returned, here or in PyTorch; copy arrays.

        Settings that a group does not name stay as they are.

        Raises:
            ArgumentError: the groups differ in number or size, or the state is another
                optimiser's; nothing is changed then.
            ShapeError: an array of the state does not fit its parameter; nothing is changed then.
        """
        groups = self._fitting_groups(state_dict)
        owners = [group for group in groups for _ in group["params"]]
        parameters, names = self._parameters(), self._names()
        state: defaultdict[Tensor, State] = defaultdict(dict)
        for key, saved in state_dict["state"].items():
            i = int(key)
            if not 0 <= i < len(parameters):
                raise ArgumentError(
                    f"load_state_dict: there is state for parameter {key}, but "
                    f"{type(self).__name__} has only {len(parameters)} parameters"
                )
            state[parameters[i]] = self.fitting_state(names[i], parameters[i], saved, owners[i])
        for group, new in zip(self.param_groups, groups, strict=True):
            group.update(new)
        self.state = state

    def _fitting_groups(self, state_dict: dict[str, Any]) -> list[Group]:
        """Return our groups with the saved settings, or raise if they are not for us."""
        name = type(self).__name__
        if missing := {"state", "param_groups"} - set(state_dict):
            raise ArgumentError(f"load_state_dict: {' and '.join(sorted(missing))} missing")
        sizes = [len(group["params"]) for group in self.param_groups]
        given = [len(group["params"]) for group in state_dict["param_groups"]]
        if sizes != given:
            raise ArgumentError(
                f"load_state_dict: groups of {given} parameters do not fit groups of {sizes}"
            )
        groups = []
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            # What is off by default may be missing: PyTorch's files lack some, older ones others.
            absent = [key for key, default in self.defaults.items() if default and key not in saved]
            if absent:
                raise ArgumentError(
                    f"load_state_dict: {name} needs {', '.join(absent)}, the saved group has only "
                    f"{', '.join(key for key in saved if key != 'params')}"
                )
            new = {key: _as_before(group.get(key), value) for key, value in saved.items()}
            groups.append({**group, **new, "params": group["params"]})
        return groups

    def fitting_state(self, name: str, parameter: Tensor, saved: State, group: Group) -> State:
        """Return a copy of saved state in the types of `parameter`, or raise if it does not fit.

        What the state must hold shows in the one that a step on an array without values makes.
        """
        example: State = {}
        nothing = np.zeros(0)
        self.update(nothing, nothing, example, group)
        if missing := [key for key in example if key not in saved]:
            raise ArgumentError(
                f"load_state_dict: {type(self).__name__} needs {', '.join(missing)} of {name}, "
                f"its saved state has {', '.join(saved) or 'nothing'}"
            )
        fitting = {key: deepcopy(value) for key, value in saved.items() if key not in example}
        for key, like in example.items():
            if isinstance(like, np.ndarray):
                fitting[key] = _fitting_array(f"{name}: {key}", saved[key], parameter)
            else:
                fitting[key] = type(like)(values_of(saved[key]))
        return fitting

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _names(self) -> list[str]:
        """Return what messages call the parameters: "parameter 3" or "parameter 3 (fc.bias)"."""
        own = [
            name
            for group in self.param_groups
            for name in group.get("param_names", [None] * len(group["params"]))
        ]
        return [f"parameter {i}" + (f" ({name})" if name else "") for i, name in enumerate(own)]

    def __repr__(self) -> str:
        lines = [
            f"  group {i}: {len(group['params'])} parameters, "
            + ", ".join(f"{k}={v}" for k, v in group.items() if k not in ("params", "param_names"))
            for i, group in enumerate(self.param_groups)
        ]
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])


# --- what the formulas share ----------------------------------------------------------------------


def blocks(w: Array, dw: Array, state: State) -> Iterator[tuple[Array, Array, State]]:
    """Go over w, dw and the arrays of the state together, once, for a formula of many steps.

    On a whole layer every intermediate result of a formula would travel to the memory and back.  So
    where code can be compiled, the formula is recorded and becomes a single loop; elsewhere it gets
    a block of values at a time, which stays in the cache.  Arrays of any strides are taken, and
    changed where they are.
    """
    arrays = _arrays_of(state)
    if can_change_in_one_pass([w, *arrays.values()]):
        for lazy in changes_in_one_pass({"w": w, "dw": dw, **arrays}):
            yield lazy.pop("w"), lazy.pop("dw"), lazy
        return
    if is_on_card(w):
        replay.refuse(f"an update of {w.dtype} reads numbers that stay as they were when captured")
    if not isinstance(w, np.ndarray) or w.size <= BLOCK:
        yield w, dw, state
        return
    uses: Any = [["readwrite"], ["readonly"], *[["readwrite"] for _ in arrays]]
    with np.nditer(
        [w, dw, *arrays.values()], ["external_loop", "buffered"], uses, buffersize=BLOCK
    ) as pieces:
        for w_piece, dw_piece, *parts in pieces:
            yield w_piece, dw_piece, dict(zip(arrays, parts, strict=True))


def _arrays_of(state: State) -> State:
    return {name: value for name, value in state.items() if hasattr(value, "dtype")}


def _numbers_of(state: State) -> State:
    return {name: value for name, value in state.items() if not hasattr(value, "dtype")}


def decayed(w: Array, dw: Array, group: Group) -> Array:
    """Return the gradient to go against: dw + weight_decay * w, with -dw in order to maximize.

    If the group has decoupled_weight_decay, w itself shrinks instead, by lr * weight_decay * w.
    """
    if group["maximize"]:
        dw = -dw
    if not group["weight_decay"]:
        return dw
    if group.get("decoupled_weight_decay"):
        w *= 1 - group["lr"] * group["weight_decay"]
        return dw
    loss_and_decay: Array = dw + group["weight_decay"] * w
    return loss_and_decay


def check_settings(name: str, **settings: float) -> None:
    """Raise ArgumentError for a setting that is negative or not a number."""
    for key, value in settings.items():
        if not value >= 0:
            raise ArgumentError(f"{name}: {key} must be at least 0, got {value}")


def check_betas(name: str, betas: tuple[float, float]) -> None:
    """Raise ArgumentError unless both lie in [0, 1)."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ArgumentError(f"{name}: betas must be two numbers in [0, 1), got {betas}")


def _check_gradient(name: str, w: Array, dw: Array) -> None:
    if dw.shape != w.shape:
        raise ShapeError(
            f"{name}: the gradient of a parameter of shape {w.shape} has shape {dw.shape}"
        )
    if dw.dtype != w.dtype or w.dtype.kind != "f":
        raise DTypeError(
            f"{name}: a parameter of type {w.dtype} and shape {w.shape} has a gradient of type "
            f"{dw.dtype}; both must be of one floating-point type"
        )
    if isinstance(w, np.ndarray) and not w.flags.writeable:
        raise ArgumentError(
            f"{name}: the memory of a parameter of shape {w.shape} is read-only; make the "
            f"parameter from a copy"
        )


def _fitting_array(name: str, value: Any, parameter: Tensor) -> Array:
    """Return a copy in the type and on the device of the parameter, or raise for another shape."""
    array = values_of(value)
    if np.shape(array) != parameter.shape:
        raise ShapeError(
            f"load_state_dict: {name} has shape {np.shape(array)}, the parameter {parameter.shape}"
        )
    host = to_device(array, "cpu") if is_on_card(array) else array
    copy: Array = to_device(np.array(host, parameter.dtype), parameter.device)
    return copy


def _as_before(present: Any, value: Any) -> Any:
    """Copy a setting; what went through JSON as a list becomes a tuple again."""
    return tuple(value) if isinstance(present, tuple) else deepcopy(value)
