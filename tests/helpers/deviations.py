"""Where minicnn means to differ from torch, and why.

The key is "operation or public function: change of the input", as `test_parity` prints it, and may
hold the wildcards of `fnmatch`.
"""

from __future__ import annotations

DEVIATIONS: dict[str, str] = {
    "batch_norm: all: size 0": "torch fails inside: it selects element 0 of an empty scale",
    "instance_norm: all: size 0": "torch fails inside: it selects element 0 of an empty scale",
    "batch_norm: input 0: axis 1: size 0": "without values torch lets scales of any size pass",
    "instance_norm: input 0: axis 1: size 0": "without values torch lets scales of any size pass",
    "instance_norm: input 0: axis 0: size 0": "torch refuses an empty batch only if it has a scale",
    "group_norm: input 0: axis [23]: size 0": "torch gives the scale of empty images a gradient NaN",
    "local_response_norm: int64": "torch rounds the average of whole squares down",
    "adaptive_avg_pool?d: input 0: a dimension *": "torch takes size 1 as a mean, and checks nothing",
    "adaptive_avg_pool?d: input 0: axis ?: size 0": "as above; with channels 0 only backward refuses",
    "avg_pool2d: input 0: a dimension less": "torch stumbles over the shape in its message",
    "lp_pool2d: input 0: a dimension less": "torch stumbles over the shape in its message",
}
