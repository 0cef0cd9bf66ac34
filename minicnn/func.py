"""Functions that make the derivative of a function, which is a function again: torch.func's names.

Results take part in the graph if an argument requires a gradient; so they nest:

>>> import minicnn
>>> third = grad(grad(grad(lambda x: x**4)))
>>> third(minicnn.tensor(2.0))
tensor(48.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicnn.autograd import functional
from minicnn.errors import GradientError
from minicnn.tensor import Tensor

__all__ = ["grad", "grad_and_value", "hessian", "jacrev", "jvp", "vjp"]

Function = Callable[..., Any]
Positions = int | tuple[int, ...]


def grad(func: Function, argnums: Positions = 0, has_aux: bool = False) -> Function:
    """Return the function that computes the gradient of `func`, which returns a single value.

    dx = d func(x) / dx

    Args:
        func: the function; with `has_aux` it returns (value, something else), and its gradient
            (dx, something else).
        argnums: the argument to differentiate by; several for a tuple of gradients.
    """
    both = grad_and_value(func, argnums, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        dx, value = both(*args, **kwargs)
        return (dx, value[1]) if has_aux else dx

    return gradient


def grad_and_value(func: Function, argnums: Positions = 0, has_aux: bool = False) -> Function:
    """Return the function that computes the gradient of `func` and its value, as a pair.

    dx, y = d func(x) / dx, func(x)
    """

    def gradient_and_value(*args: Any, **kwargs: Any) -> Any:
        call, chosen = _by_chosen(func, argnums, args, kwargs)
        aux: list[Any] = []

        def value_only(*xs: Any) -> Any:
            result = call(*xs)
            if has_aux:
                result, extra = result
                aux.append(extra)
            return result

        y, dx = functional.vjp(value_only, chosen, None, _recorded(chosen))
        return dx, (y, *aux) if has_aux else y

    return gradient_and_value


def jacrev(func: Function, argnums: Positions = 0) -> Function:
    """Return the function that computes the Jacobian of `func`, row by row.

    J[i..,j..] = d func(x)[i..] / dx[j..]
    """

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        call, chosen = _by_chosen(func, argnums, args, kwargs)
        return functional.jacobian(call, chosen, _recorded(chosen))

    return jacobian


def hessian(func: Function, argnums: Positions = 0) -> Function:
    """Return the function that computes the second derivatives of `func`.

    H[i..,j..] = d^2 func(x) / dx[i..] dx[j..]
    """

    def second(*args: Any, **kwargs: Any) -> Any:
        call, chosen = _by_chosen(func, argnums, args, kwargs)
        return functional.hessian(call, chosen, _recorded(chosen))

    return second


def vjp(func: Function, *primals: Any) -> tuple[Any, Function]:
    """Return func(*primals), and the function that multiplies v with its Jacobian.

    dx[j] = sum_i v[i] * d func(x)[i] / dx[j], one dx for each of the primals
    """

    def product(v: Any) -> Any:
        return functional.vjp(func, primals, v, _recorded(primals) or _recorded(v))[1]

    return func(*primals), product


def jvp(func: Function, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """Return func(*primals), and its Jacobian times the tangents.

    dy[i] = sum_j d func(x)[i] / dx[j] * tangents[j]
    """
    return functional.jvp(func, tuple(primals), tuple(tangents), _recorded((*primals, *tangents)))


def _by_chosen(
    func: Function, argnums: Positions, args: tuple[Any, ...], kwargs: Any
) -> tuple[Function, Any]:
    """Return the function of the chosen arguments alone, and these; one, or a tuple."""
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not all(-len(args) <= i < len(args) for i in positions):
        raise GradientError(f"argnums {argnums} names no argument; there are {len(args)}")

    def call(*xs: Any) -> Any:
        filled = list(args)
        for i, x in zip(positions, xs, strict=True):
            filled[i] = x
        return func(*filled, **kwargs)

    return call, args[argnums] if isinstance(argnums, int) else tuple(args[i] for i in positions)


def _recorded(values: Any) -> bool:
    values = (values,) if isinstance(values, Tensor) else values
    return any(isinstance(x, Tensor) and x.requires_grad for x in values)
