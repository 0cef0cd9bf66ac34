"""Recurrent cells and layers: one step, and whole sequences in several layers and directions."""

from __future__ import annotations

import warnings
from math import sqrt
from typing import Any

import numpy as np

from minicnn import factories
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn import functional as F
from minicnn.nn import init
from minicnn.nn.module import Module
from minicnn.nn.parameter import Parameter
from minicnn.nn.utils.rnn import PackedSequence
from minicnn.ops import recurrent
from minicnn.ops.arithmetic import add
from minicnn.ops.indexing import index
from minicnn.ops.linear import affine
from minicnn.ops.recurrent import Steps
from minicnn.ops.shape import cat, reshape, squeeze, stack, transpose, unsqueeze
from minicnn.tensor import values_of
from minicnn_kernels.arrays import beside, taken_to

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
"""How many matrices (H, I) lie one above the other in the weights of each kind."""


def _add_parameters(module: Module, shapes: dict[str, tuple[int, ...]], hidden_size: int) -> None:
    """Add parameters with values uniform in [-b, b], b = 1 / sqrt(hidden_size)."""
    bound = 1 / sqrt(hidden_size)
    for name, shape in shapes.items():
        parameter = Parameter(factories.zeros(shape))
        init.uniform_(parameter, -bound, bound)
        module.register_parameter(name, parameter)


# --- cells ----------------------------------------------------------------------------------------


class _Cell(Module):
    """A cell: its weights, and a `forward` of one step for a batch or for a single sample."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = GATES[type(self).__name__.removesuffix("Cell")] * hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, input_size),
            "weight_hh": (rows, hidden_size),
        }
        if bias:
            shapes.update(bias_ih=(rows,), bias_hh=(rows,))
        _add_parameters(self, shapes, hidden_size)
        if not bias:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.to(device=device, dtype=dtype)

    def _batched(self, input: Any, state: Any) -> tuple[Any, Any]:
        """Return input and state with a batch dimension; a missing state is zero."""
        name = type(self).__name__
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: input must be (N, {self.input_size}) or ({self.input_size}), got shape "
                f"{input.shape}"
            )
        expected = (*input.shape[:-1], self.hidden_size)
        if state is None:
            state = factories.zeros(expected, dtype=input.dtype, device=input.device)
        if state.shape != expected:
            raise ShapeError(
                f"{name}: for input {input.shape} the state must have shape {expected}, got "
                f"{state.shape}"
            )
        return (input, state) if input.ndim == 2 else (unsqueeze(input, 0), unsqueeze(state, 0))

    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else f"{text}, bias=False"


class RNNCell(_Cell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of it.

    Shapes: x (N, input_size) or (input_size), h and h' (N, hidden_size) or (hidden_size).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = _known(nonlinearity)

    def forward(self, input: Any, hx: Any = None) -> Any:
        x, h = self._batched(input, hx)
        cell = recurrent.rnn_tanh_cell if self.nonlinearity == "tanh" else recurrent.rnn_relu_cell
        y = cell(x, h, *self._weights())
        return y if input.ndim == 2 else squeeze(y, 0)

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class LSTMCell(_Cell):
    """c' = f * c + i * g, h' = o * tanh(c'), [i f g o] = W_ih x + b_ih + W_hh h + b_hh.

    i, f and o go through the logistic function, g through tanh.  `forward(x, (h, c))` returns
    (h', c').
    """

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        x, h = self._batched(input, None if hx is None else hx[0])
        _, c = self._batched(input, None if hx is None else hx[1])
        h, c = recurrent.lstm_cell(x, (h, c), *self._weights())
        return (h, c) if input.ndim == 2 else (squeeze(h, 0), squeeze(c, 0))


class GRUCell(_Cell):
    """h' = (1 - z) * n + z * h, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)).

    r and z are logistic functions of W_ih x + b_ih + W_hh h + b_hh.
    """

    def forward(self, input: Any, hx: Any = None) -> Any:
        x, h = self._batched(input, hx)
        y = recurrent.gru_cell(x, h, *self._weights())
        return y if input.ndim == 2 else squeeze(y, 0)


def _known(nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        raise ArgumentError(f'nonlinearity must be "tanh" or "relu", got {nonlinearity!r}')
    return nonlinearity


# --- layers over sequences ------------------------------------------------------------------------


class _Recurrent(Module):
    """Layers of a recurrent network over sequences, in one or in both directions."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self._check_settings()
        rows, wide = GATES[type(self).__name__] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else wide * len(self._directions())
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs)}
            shapes["weight_hh"] = (rows, wide)
            if bias:
                shapes.update(bias_ih=(rows,), bias_hh=(rows,))
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in self._directions():
                named = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                _add_parameters(self, named, hidden_size)
        self.to(device=device, dtype=dtype)

    def _check_settings(self) -> None:
        name = type(self).__name__
        sizes = {key: getattr(self, key) for key in ("input_size", "hidden_size", "num_layers")}
        for key, value in sizes.items():
            if not isinstance(value, int) or value < 1:
                raise _setting_error(value)(f"{name}: {key} must be a positive integer: {value!r}")
        is_number = isinstance(self.dropout, (int, float)) and not isinstance(self.dropout, bool)
        if not is_number or not 0 <= self.dropout <= 1:
            raise ArgumentError(f"{name}: dropout must be in [0, 1], got {self.dropout!r}")
        if not 0 <= self.proj_size < self.hidden_size:
            raise ArgumentError(
                f"{name}: proj_size must be at least 0 and less than hidden_size "
                f"{self.hidden_size}, got {self.proj_size}"
            )
        if self.dropout and self.num_layers == 1:
            warnings.warn(
                f"{name}: dropout={self.dropout} acts between layers, and there is one only",
                stacklevel=4,
            )

    def _directions(self) -> tuple[str, ...]:
        """Return the suffix of the parameters for each direction."""
        return ("", "_reverse") if self.bidirectional else ("",)

    def _states(self) -> tuple[int, ...]:
        """Return the size of each state that goes from step to step."""
        return (self.hidden_size,)

    def _run(
        self, x: Any, states: list[Any], weights: dict[str, Any], steps: Steps
    ) -> tuple[Any, list[Any]]:
        """Return the results of all steps of one direction, and the states after each."""
        raise AttributeError(f"{type(self).__name__} has no _run(); write one")

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Return (results, last states) for a batch of sequences.

        Shapes: input (T, N, input_size); (N, T, input_size) with batch_first; (T, input_size) for
        one sequence; or a PackedSequence.  States (layers * directions, N, size); zero if left out.
        """
        packed = input if isinstance(input, PackedSequence) else None
        if packed is not None:
            x, sizes = packed.data, packed.batch_sizes.tolist()
        else:
            whole = self._checked(input)
            x = reshape(whole, whole.shape[0] * whole.shape[1], whole.shape[2])
            sizes = [whole.shape[1]] * whole.shape[0]
        self._check_values(x)
        states = self._initial(hx, x, sizes[0], packed, packed is None and input.ndim == 2)
        y, last = self._layers(x, states, sizes)
        if packed is not None:
            if packed.unsorted_indices is not None:
                order = taken_to(values_of(y), packed.unsorted_indices.array)
                last = [index(state, (slice(None), order)) for state in last]
            return packed._replace(data=y), self._as_given(last)
        y = reshape(y, len(sizes), sizes[0], y.shape[1])
        if input.ndim == 2:
            return squeeze(y, 1), self._as_given([squeeze(state, 1) for state in last])
        return transpose(y, 0, 1) if self.batch_first else y, self._as_given(last)

    def _layers(self, x: Any, states: list[Any], sizes: list[int]) -> tuple[Any, list[Any]]:
        """Run layer over layer; return the results of the top one and the last state of each."""
        ends = np.cumsum(sizes).tolist()
        steps = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        last: list[list[Any]] = [[] for _ in self._states()]
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            results = []
            for direction, suffix in enumerate(self._directions()):
                number = layer * len(self._directions()) + direction
                order = steps[::-1] if direction else steps
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
                weights = {name: getattr(self, f"{name}_l{layer}{suffix}", None) for name in names}
                y, after = self._run(x, [state[number] for state in states], weights, order)
                results.append(y)
                rows = beside(values_of(y), recurrent.last_rows(order, sizes[0]))
                for found, state in zip(last, after, strict=True):
                    found.append(index(state, rows))
            x = cat(results, 1) if len(results) > 1 else results[0]
        return x, [stack(found) for found in last]

    # --- what is given ---------------------------------------------------------------------

    def _checked(self, input: Any) -> Any:
        """Return the input as (T, N, input_size)."""
        name = type(self).__name__
        if input.ndim not in (2, 3):
            raise ShapeError(
                f"{name}: input must be (T, N, I), or (T, I) for one sequence, got {input.shape}"
            )
        whole = unsqueeze(input, 1) if input.ndim == 2 else input
        whole = transpose(whole, 0, 1) if self.batch_first and input.ndim == 3 else whole
        if whole.shape[0] == 0:
            raise ShapeError(f"{name}: there is no time step, input has shape {input.shape}")
        return whole

    def _check_values(self, x: Any) -> None:
        name = type(self).__name__
        if x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: the last size of the input must be input_size={self.input_size}, got "
                f"{x.shape[-1]}"
            )
        weight = getattr(self, "weight_ih_l0")  # noqa: B009 - added under a computed name
        if x.dtype != weight.dtype:
            raise _InputType(
                f"{name}: the input is {x.dtype} and the weights are {weight.dtype}; convert one "
                f"with .to(dtype)"
            )

    def _initial(
        self, hx: Any, x: Any, count: int, packed: PackedSequence | None, single: bool
    ) -> list[Any]:
        """Return the states before the first step, each (layers * directions, N, size)."""
        number = self.num_layers * len(self._directions())
        shapes = [(number, count, size) for size in self._states()]
        if hx is None:
            return [factories.zeros(shape, dtype=x.dtype, device=x.device) for shape in shapes]
        given = list(hx) if isinstance(hx, (tuple, list)) else [hx]
        expected = [(shape[0], shape[2]) for shape in shapes] if single else shapes
        if [tuple(state.shape) for state in given] != expected:
            raise _StateShape(
                f"{type(self).__name__}: the states must have shapes {expected}, got "
                f"{[tuple(state.shape) for state in given]}"
            )
        if packed is not None and packed.sorted_indices is not None:
            order = packed.sorted_indices.array
            return [index(state, (slice(None), order)) for state in given]
        return [unsqueeze(state, 1) for state in given] if single else given

    def _as_given(self, last: list[Any]) -> Any:
        return last[0] if len(last) == 1 else tuple(last)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += f", proj_size={self.proj_size}" if self.proj_size else ""
        text += f", num_layers={self.num_layers}" if self.num_layers != 1 else ""
        text += "" if self.bias else f", bias={self.bias}"
        text += f", batch_first={self.batch_first}" if self.batch_first else ""
        text += f", dropout={self.dropout}" if self.dropout else ""
        return text + (f", bidirectional={self.bidirectional}" if self.bidirectional else "")


class _InputType(DTypeError, ValueError):
    """Another element type than that of the weights; PyTorch raises ValueError here."""


class _StateShape(ShapeError, IndexError):
    """States of another shape; PyTorch raises RuntimeError or IndexError here."""


def _setting_error(value: Any) -> type[ArgumentError] | type[DTypeError]:
    return ArgumentError if isinstance(value, int) else DTypeError


class RNN(_Recurrent):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of it, from step to step.

    Returns (results (T, N, directions * hidden_size), last h (layers * directions, N, ...)).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.nonlinearity = _known(nonlinearity)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )

    def _run(
        self, x: Any, states: list[Any], weights: dict[str, Any], steps: Steps
    ) -> tuple[Any, list[Any]]:
        gates = affine(x, weights["weight_ih"], _both_biases(weights))
        y = recurrent.rnn(gates, states[0], weights["weight_hh"], steps, self.nonlinearity)
        return y, [y]


class LSTM(_Recurrent):
    """c' = f * c + i * g, h' = o * tanh(c'), [i f g o] = W_ih x + b_ih + W_hh h + b_hh.

    i, f and o go through the logistic function, g through tanh.  With proj_size h' = W_hr (o *
    tanh(c')).  Returns (results, (last h, last c)).
    """

    def _states(self) -> tuple[int, ...]:
        return self.proj_size or self.hidden_size, self.hidden_size

    def _run(
        self, x: Any, states: list[Any], weights: dict[str, Any], steps: Steps
    ) -> tuple[Any, list[Any]]:
        gates, (h, c) = affine(x, weights["weight_ih"], _both_biases(weights)), states
        both = recurrent.lstm(gates, h, c, weights["weight_hh"], weights["weight_hr"], steps)
        wide = self.proj_size or self.hidden_size
        y, c = both[:, :wide], both[:, wide:]
        return y, [y, c]


class GRU(_Recurrent):
    """h' = (1 - z) * n + z * h, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)).

    r and z are logistic functions of W_ih x + b_ih + W_hh h + b_hh.  Returns (results, last h).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )

    def _run(
        self, x: Any, states: list[Any], weights: dict[str, Any], steps: Steps
    ) -> tuple[Any, list[Any]]:
        gates = affine(x, weights["weight_ih"], weights["bias_ih"])
        y = recurrent.gru(gates, states[0], weights["weight_hh"], weights["bias_hh"], steps)
        return y, [y]


def _both_biases(weights: dict[str, Any]) -> Any:
    bias = weights["bias_ih"]
    return None if bias is None else add(bias, weights["bias_hh"])
