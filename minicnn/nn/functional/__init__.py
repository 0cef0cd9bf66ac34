"""PyTorch's `torch.nn.functional` for convolutional networks: checked arguments, then the op.

Names, order, defaults and refusals of the arguments are PyTorch's; only `size_average` and
`reduce`, long deprecated there, are left out.  The mathematics is in `minicnn.ops`; here an integer
becomes a pair, "same" a number, and a bad call a clear error.
"""

from __future__ import annotations

from minicnn.nn.functional._activation import *
from minicnn.nn.functional._adaptive_pooling import *
from minicnn.nn.functional._class_loss import *
from minicnn.nn.functional._convolution import *
from minicnn.nn.functional._ctc import *
from minicnn.nn.functional._distance import *
from minicnn.nn.functional._dropout import *
from minicnn.nn.functional._indexing import *
from minicnn.nn.functional._linear import *
from minicnn.nn.functional._loss import *
from minicnn.nn.functional._normalization import *
from minicnn.nn.functional._pooling import *
from minicnn.nn.functional._vision import *
