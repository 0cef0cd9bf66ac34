"""Where minicnn means to differ from torch, and why.

The key is "operation or public function: change of the input", as `test_parity` prints it, and may
hold the wildcards of `fnmatch`.
"""

from __future__ import annotations

DEVIATIONS: dict[str, str] = {
    "index_[aeps]*: input 1: axis ?: size + 1": "torch refuses a larger src only in backward",
    "conv*d: input 1: axis [234]: size 0": "torch trips over an empty kernel if the batch is empty",
    "unfold: input 0: a dimension less": "torch stumbles over a dimension that is not there",
    "cross_entropy: input 0: axis 1: size 0": "torch ignores labels of which no class is there",
    "poisson_nll_loss: bool": "torch subtracts no truth values; here they are 0 and 1",
    "hinge_embedding_loss: *int*": "whole distances give a fractional loss, as the margin is one",
    "batch_norm: all: size 0": "torch fails inside: it selects element 0 of an empty scale",
    "instance_norm: all: size 0": "torch fails inside: it selects element 0 of an empty scale",
    "batch_norm: input 0: axis 1: size 0": "without values torch lets scales of any size pass",
    "instance_norm: input 0: axis 1: size 0": "without values torch lets scales of any size pass",
    "instance_norm: input 0: axis 0: size 0": "torch refuses an empty batch only if it has a scale",
    "group_norm: input 0: axis [23]: size 0": "torch gives an empty scale the gradient NaN",
    "local_response_norm: int64": "torch rounds the average of whole squares down",
    "adaptive_avg_pool?d: input 0: a dimension *": "torch takes size 1 as a mean, unchecked",
    "adaptive_avg_pool?d: input 0: axis ?: size 0": "as above; only backward refuses channels 0",
    "avg_pool2d: input 0: a dimension less": "torch stumbles over the shape in its message",
    "lp_pool2d: input 0: a dimension less": "torch stumbles over the shape in its message",
    "*median: *int*": "which of equal values is named is not specified; torch has no rule",
    "*median: bool": "torch takes the smallest integer for the median of nothing",
    "*median: input 0: axis ?: size + 1": "as above: the change makes two values equal",
    "*addbmm: input 2: a dimension less": "torch looks at a dimension before it checks them",
    "*softmax: *int*": "torch takes integers only if there are none",
    "*softmax: bool": "torch takes booleans only if there are none",
    "tanhshrink: bool": "beside floating-point numbers a boolean is a number",
    "rnn: input ?: a dimension less": "torch stumbles over a dimension that is not there",
    "lstm: input ?: a dimension less": "torch stumbles over a dimension that is not there",
    "gru: input ?: a dimension less": "torch stumbles over a dimension that is not there",
    "pixel_shuffle: *size 0": "torch's gradient of nothing has a wrong shape",
    "pixel_unshuffle: *size 0": "torch's gradient of nothing has a wrong shape",
    "channel_shuffle: *size 0": "torch's gradient of no channels refuses",
    "grid_sample: *int*": "whole numbers are refused also where there is nothing to sample",
    "grid_sample: bool": "whole numbers are refused also where there is nothing to sample",
    "[rlg][nsr][ntu]*: input [456]: *": "torch lets biases of other shapes pass if they broadcast",
    "rnn: *int*": "whole numbers into fractional states, unlike in the other cells and the layers",
    "rnn: bool": "whole numbers into fractional states, unlike in the other cells and the layers",
}
