"""The table of operations: every operation, in every geometry worth a check; one row a case.

To add an operation, add a row to the file here that has the name of its file in `minicnn.ops`::

    both("exp", "signed", lambda m, x: m.exp(x), (2, 3)),

`both` is for what is written alike with `minicnn` and with `torch`, `layer` for functions of
`nn.functional`, `Case` for everything else.  `tests/ops/test_gradients.py` then checks value, first
and second derivative, element types, memory layouts and that nothing is changed, and
`minicnn.testing.operations` knows the row; an operation without a row fails a test.
"""

from __future__ import annotations

from minicnn.testing.cases.activation import ACTIVATIONS
from minicnn.testing.cases.arithmetic import ARITHMETIC
from minicnn.testing.cases.broadcast import BROADCAST
from minicnn.testing.cases.case import Case
from minicnn.testing.cases.convolution import CONVOLUTIONS
from minicnn.testing.cases.dropout import DROPOUT
from minicnn.testing.cases.indexing import INDEXING
from minicnn.testing.cases.linear import PRODUCTS
from minicnn.testing.cases.loss import LOSSES
from minicnn.testing.cases.normalization import NORMALIZATION
from minicnn.testing.cases.pooling import POOLING
from minicnn.testing.cases.reduce import REDUCTIONS
from minicnn.testing.cases.shape import SHAPES

__all__ = ["CASES", "Case"]

CASES: list[Case] = [
    *ARITHMETIC,
    *BROADCAST,
    *SHAPES,
    *INDEXING,
    *REDUCTIONS,
    *ACTIVATIONS,
    *PRODUCTS,
    *CONVOLUTIONS,
    *POOLING,
    *NORMALIZATION,
    *DROPOUT,
    *LOSSES,
]
