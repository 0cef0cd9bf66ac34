"""Rows for `minicnn.ops.activation`."""

from __future__ import annotations

from functools import partial
from typing import Any

from minicnn.nn import functional as F
from minicnn.testing.cases.case import Case, both, functional, layer, positive, repeatable


def _in_place(name: str, given: tuple[float, ...], nn: Any) -> Any:
    """Return the layer behind one whose result it may overwrite."""
    return nn.Sequential(nn.Linear(4, 3), getattr(nn, name)(*given, inplace=True))


def _largest(torch: Any, x: Any, pieces: int, dim: int) -> Any:
    """Return what `maxout` means, in PyTorch's words."""
    return torch.amax(x.unflatten(dim, (-1, pieces)), dim % x.ndim + 1)


IN_PLACE: dict[str, tuple[float, ...]] = {  # and what each needs
    "CELU": (), "ELU": (0.5,), "Hardswish": (), "Hardtanh": (-1.0, 0.5), "LeakyReLU": (0.1,),
    "Mish": (), "ReLU": (), "ReLU6": (), "SELU": (), "SiLU": (), "Threshold": (0.1, 20),
}  # fmt: skip

ROWS = [
    both("relu", "signed", lambda m, x: m.relu(x), (3, 4)),
    functional("hardtanh", "relu6", "relu6", (3, 4)),
    both("hardtanh", "relu6 above 6", lambda m, x: m.nn.functional.relu6(x * 4), (3, 4)),
    functional("hardtanh", "usual bounds", "hardtanh", (3, 4)),
    functional("hardtanh", "given bounds", "hardtanh", (3, 4), min_val=-0.3, max_val=1.2),
    functional("hardtanh", "one bound for both", "hardtanh", (3, 4), min_val=1, max_val=1),
    functional("leaky_relu", "usual slope", "leaky_relu", (3, 4)),
    functional("leaky_relu", "negative slope", "leaky_relu", (3, 4), negative_slope=-0.5),
    functional("leaky_relu", "slope above 1", "leaky_relu", (3, 4), negative_slope=2.0),
    functional("leaky_relu", "parametric, one weight", "prelu", (2, 3, 2, 1), (1,)),
    functional("leaky_relu", "parametric, each channel", "prelu", (2, 3, 2, 1), (3,)),
    functional("leaky_relu", "parametric, rows", "prelu", (2, 3), (3,)),
    functional("leaky_relu", "parametric, a vector", "prelu", (4,), (1,)),
    both("leaky_relu", "parametric, method", lambda m, x, w: x.prelu(w), (2, 3), (1,)),
    functional("leaky_relu", "random, in inference", "rrelu", (3, 4)),
    both("leaky_relu", "random, all the same", lambda m, x: m.rrelu(x, 0.2, 0.2, True), (3, 4)),
    functional("threshold", "of a number", "threshold", (3, 4), threshold=0.5, value=20.0),
    both("threshold", "tensor function", lambda m, x: m.threshold(x, 0.5, 2), (3, 4)),
    functional("hardshrink", "between two", "hardshrink", (3, 4)),
    functional("hardshrink", "negative bound", "hardshrink", (3, 4), lambd=-1.0),
    functional("softshrink", "towards 0", "softshrink", (3, 4)),
    functional("softshrink", "by nothing", "softshrink", (3, 4), lambd=0.0),
    # PyTorch's gradient of hardsigmoid is that of float32 even for float64
    Case("hardsigmoid", "three lines", lambda x: F.hardsigmoid(x * 3), ((3, 4),), None),
    both("hardswish", "hardswish", lambda m, x: m.nn.functional.hardswish(x * 3.0), (3, 4)),
    functional("elu", "usual", "elu", (3, 4)),
    functional("elu", "given height", "elu", (3, 4), alpha=0.3),
    functional("elu", "negative height", "elu", (3, 4), alpha=-1.5),
    functional("elu", "smooth at 0", "celu", (3, 4), alpha=0.5),
    functional("elu", "self-normalising", "selu", (3, 4)),
    functional("softplus", "usual", "softplus", (3, 4)),
    functional("softplus", "steep, with a threshold", "softplus", (3, 4), beta=3.0, threshold=2.0),
    functional("logsigmoid", "signed", "logsigmoid", (3, 4)),
    both("logsigmoid", "far out", lambda m, x: m.nn.functional.logsigmoid(x * 30.0), (3, 4)),
    both("sigmoid", "signed", lambda m, x: m.sigmoid(x), (2, 3)),
    functional("silu", "gate of itself", "silu", (3, 4)),
    both("tanh", "signed", lambda m, x: x.tanh(), (2, 3)),
    functional("tanhshrink", "shrunk", "tanhshrink", (3, 4)),
    functional("mish", "of softplus", "mish", (3, 4)),
    functional("gelu", "exact", "gelu", (3, 4)),
    functional("gelu_by_tanh", "by tanh", "gelu", (3, 4), approximate="tanh"),
    functional("softsign", "both sides", "softsign", (3, 4)),
    functional("gated", "gate, last dimension", "glu", (3, 4)),
    functional("gated", "gate, channels", "glu", (2, 4, 3, 1), dim=1),
    functional("gated", "gate, of nothing", "glu", (0, 4)),
    Case("pick", "maxout", lambda x: F.maxout(x, 3), ((2, 6, 3, 2),),
         lambda torch, x: _largest(torch, x, 3, 1), "maxout"),
    Case("pick", "maxout, last dimension", lambda x: F.maxout(x, 2, -1), ((3, 4),),
         lambda torch, x: _largest(torch, x, 2, -1), "maxout"),
    both("softmax", "columns", lambda m, x: m.softmax(x, 1), (2, 3)),
    both("softmax", "rows", lambda m, x: x.softmax(dim=0), (2, 3)),
    both("softmax", "channels", lambda m, x: m.softmax(x, -3), (2, 3, 2, 1)),
    both("softmax", "one class", lambda m, x: m.softmax(x, 1), (2, 1)),
    both("softmax", "nothing", lambda m, x: m.softmax(x, 1), (0, 3)),
    both("softmax", "a single value", lambda m, x: m.softmax(x, 0), ()),
    functional("softmax", "of negatives", "softmin", (2, 3), dim=1),
    Case("softmax", "drawn", repeatable(lambda x: F.gumbel_softmax(x, tau=0.7)), ((3, 4),),
         through="gumbel_softmax"),
    Case("softmax", "drawn along rows", repeatable(lambda x: F.gumbel_softmax(x, dim=0)), ((3, 2),),
         through="gumbel_softmax"),
    both("log_softmax", "columns", lambda m, x: m.log_softmax(x, 1), (2, 3)),
    both("log_softmax", "rows", lambda m, x: x.log_softmax(0), (2, 3)),
    both("log_softmax", "far apart", lambda m, x: m.log_softmax(x * 60, -1), (2, 3)),
    both("log_softmax", "nothing", lambda m, x: m.log_softmax(x, 1), (0, 3)),
    both("log_odds", "of a sigmoid", lambda m, x: m.logit(m.sigmoid(x)), positive(2, 3)),
]  # fmt: skip

LAYERS = [
    *(layer(f"{name} in place", partial(_in_place, name, given), (3, 4))
      for name, given in IN_PLACE.items()),
    layer("signed", lambda nn: nn.ReLU(), (3, 4)),
    layer("signed", lambda nn: nn.ReLU6(), (3, 4)),
    layer("signed", lambda nn: nn.LeakyReLU(), (3, 4)),
    layer("steep", lambda nn: nn.LeakyReLU(0.2), (3, 4)),
    layer("one weight", lambda nn: nn.PReLU(), (2, 3, 2)),
    layer("each channel", lambda nn: nn.PReLU(3, init=0.1), (2, 3, 2, 1)),
    layer("in training", lambda nn: nn.RReLU(0.1, 0.4), (3, 4)),
    layer("in evaluation", lambda nn: nn.RReLU().eval(), (3, 4)),
    layer("signed", lambda nn: nn.Threshold(0.1, 20.0), (3, 4)),
    layer("signed", lambda nn: nn.Hardtanh(), (3, 4)),
    layer("given bounds", lambda nn: nn.Hardtanh(-0.5, 1.5), (3, 4)),
    layer("signed", lambda nn: nn.Hardsigmoid(), (3, 4), torch=False),
    layer("inplace", lambda nn: nn.Hardsigmoid(inplace=True), (3, 4), torch=False),
    layer("signed", lambda nn: nn.Hardswish(), (3, 4)),
    layer("signed", lambda nn: nn.Hardshrink(), (3, 4)),
    layer("given bound", lambda nn: nn.Hardshrink(1.0), (3, 4)),
    layer("signed", lambda nn: nn.Softshrink(), (3, 4)),
    layer("given bound", lambda nn: nn.Softshrink(1), (3, 4)),
    layer("signed", lambda nn: nn.ELU(), (3, 4)),
    layer("given height", lambda nn: nn.ELU(0.5), (3, 4)),
    layer("signed", lambda nn: nn.CELU(), (3, 4)),
    layer("given height", lambda nn: nn.CELU(0.5), (3, 4)),
    layer("signed", lambda nn: nn.SELU(), (3, 4)),
    layer("signed", lambda nn: nn.GELU(), (3, 4)),
    layer("by tanh", lambda nn: nn.GELU(approximate="tanh"), (3, 4)),
    layer("signed", lambda nn: nn.SiLU(), (3, 4)),
    layer("signed", lambda nn: nn.Mish(), (3, 4)),
    layer("signed", lambda nn: nn.Sigmoid(), (2, 3)),
    layer("signed", lambda nn: nn.LogSigmoid(), (3, 4)),
    layer("signed", lambda nn: nn.Tanh(), (2, 3)),
    layer("signed", lambda nn: nn.Tanhshrink(), (3, 4)),
    layer("signed", lambda nn: nn.Softplus(), (3, 4)),
    layer("steep", lambda nn: nn.Softplus(2, threshold=3), (3, 4)),
    layer("signed", lambda nn: nn.Softsign(), (3, 4)),
    layer("last dimension", lambda nn: nn.GLU(), (3, 4)),
    layer("channels", lambda nn: nn.GLU(1), (2, 4, 3)),
    layer("channels", lambda nn: nn.Maxout(2), (2, 4, 3), torch=False),
    layer("channels", lambda nn: nn.Softmax(dim=1), (2, 3, 2)),
    layer("channels", lambda nn: nn.Softmin(dim=1), (2, 3, 2)),
    layer("channels", lambda nn: nn.LogSoftmax(dim=1), (2, 3, 2)),
    layer("default", lambda nn: nn.LogSoftmax(dim=-1), (1, 4, 5, 4)),
    layer("images", lambda nn: nn.Softmax2d(), (2, 3, 2, 4)),
    layer("one image", lambda nn: nn.Softmax2d(), (3, 2, 4)),
]  # fmt: skip
