import numpy as np
import pytest
from planted_checks import family, prove

CASES = {case.name: case for case in family("convolution")}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_marked_line_is_the_mistake(case):
    prove(case)


@pytest.mark.parametrize(
    "name",
    [
        "conv2d_filter_not_turned",
        "conv2d_padding_axes_exchanged",
        "conv2d_stride_axes_exchanged",
        "conv2d_dilation_axes_exchanged",
    ],
)
def test_the_forward_is_the_definition(name):
    pair = CASES[name].build()
    settings = getattr(pair.forward, "keywords", {})
    stride, dilation = settings.get("stride", (1, 1)), settings.get("dilation", (1, 1))
    top, left = settings.get("padding", (0, 0))
    x, w = pair.inputs
    y = pair.forward(x, w)
    for n, o, r, c in np.ndindex(y.shape):
        total = 0.0
        for k, i, j in np.ndindex(w.shape[1:]):
            row, column = (
                r * stride[0] + i * dilation[0] - top,
                c * stride[1] + j * dilation[1] - left,
            )
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                total += x[n, k, row, column] * w[o, k, i, j]
        assert y[n, o, r, c] == pytest.approx(total)
