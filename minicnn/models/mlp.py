"""The multilayer perceptron: dense layers, with a nonlinearity between them.

Paper: Rumelhart, Hinton, Williams 1986, "Learning representations by back-propagating errors",
Nature 323.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from minicnn import nn
from minicnn.models.catalogue import published

__all__ = ["mlp"]


@published(
    1986,
    "Rumelhart: Learning representations by back-propagating errors",
    parameters=103_510,
    multiply_adds=103_400,
    input_shape=(1, 32, 32),
)
def mlp(
    hidden: Sequence[int] = (100,),
    num_classes: int = 10,
    input_shape: Sequence[int] = (1, 32, 32),
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Build dense layers of these numbers of hidden units for examples of one shape.

    The paper's units are sigmoids: `activation=nn.Sigmoid`.

    >>> model = mlp((25, 25), num_classes=1, input_shape=(10,))
    >>> sum(parameter.array.size for parameter in model.parameters())  # 11*25 + 26*25 + 26*1
    951
    """
    model, units = nn.Sequential(nn.Flatten()), prod(input_shape)
    for out in hidden:
        model.extend((nn.Linear(units, out), activation()))
        units = out
    return model.append(nn.Linear(units, num_classes))
