"""Wrong strides, paddings, dilations, filters and groups, by loops over the definition."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from evidence_of_pair import causes_of
from right_pairs import normal


class Loops:
    """A convolution in two dimensions as loops; the settings may differ in the backward."""

    def __init__(self, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def places(self, x, w, outputs):
        return self.places_of(x.shape, w.shape, tuple(outputs))

    @cache  # noqa: B019
    def places_of(self, x, w, outputs):
        found = []
        for t in product(*map(range, outputs)):
            for a in product(*map(range, w[2:])):
                settings = zip(t, self.stride, a, self.dilation, self.padding, strict=True)
                b = tuple(t * s + a * d - p for t, s, a, d, p in settings)
                if all(0 <= k < n for k, n in zip(b, x[2:], strict=True)):
                    found.append((t, a, b))
        return found

    def filters(self, x, w):
        """Write w as (O, C, ...), with zeros between groups."""
        dense = np.zeros((w.shape[0], x.shape[1], *w.shape[2:]))
        for o in range(w.shape[0]):
            first = o * self.groups // w.shape[0] * w.shape[1]
            dense[o, first : first + w.shape[1]] = w[o]
        return dense

    def outputs(self, x, w):
        sides = zip(x.shape[2:], w.shape[2:], self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides)

    def forward(self, x, w):
        dense = self.filters(x, w)
        y = np.zeros((x.shape[0], w.shape[0], *self.outputs(x, w)))
        for t, a, b in self.places(x, w, y.shape[2:]):
            y[:, :, *t] += x[:, :, *b] @ dense[:, :, *a].T
        return y

    def backward(self, dy, x, w):
        dense = self.filters(x, w)
        dx, dw = np.zeros_like(x), np.zeros_like(dense)
        for t, a, b in self.places(x, w, dy.shape[2:]):
            dx[:, :, *b] += dy[:, :, *t] @ dense[:, :, *a]
            dw[:, :, *a] += dy[:, :, *t].T @ x[:, :, *b]
        own = self.filters(x, np.ones_like(w)) > 0
        return dx, dw[own].reshape(w.shape)


SETTINGS = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
SLIPS = {
    "stride ignored": ({"stride": (1, 1)}, "geometry"),
    "stride exchanged": ({"stride": (1, 2)}, "geometry"),
    "stride of the rows": ({"stride": (2, 2)}, "geometry"),
    "dilation ignored": ({"dilation": (1, 1)}, "geometry"),
    "dilation exchanged": ({"dilation": (2, 1)}, "geometry"),
    "stride and dilation exchanged": ({"stride": (1, 2), "dilation": (2, 1)}, "geometry"),
    "padding exchanged": ({"padding": (0, 1)}, "geometry"),
    "padding too large": ({"padding": (2, 1)}, "shifted"),
}


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_the_settings(slip, position):
    change, cause = SLIPS[slip]
    right, wrong = Loops(**SETTINGS), Loops(**{**SETTINGS, **change})
    found = causes_of(
        right.forward, wrong.backward, *normal((2, 2, 5, 5), (3, 2, 3, 2)), position=position
    )
    assert found[0] in {cause, "geometry", "shifted"}
    if cause == "geometry":
        assert "geometry" in found


def test_a_filter_that_is_not_turned():
    right = Loops(padding=(1, 1))
    x, w = normal((1, 2, 4, 4), (2, 2, 3, 3))

    def backward(dy, x, w):
        return right.backward(dy, x, w[:, :, ::-1, ::-1])[0], right.backward(dy, x, w)[1]

    assert causes_of(right.forward, backward, x, w, position=0)[0] == "turned"


def test_channels_that_are_not_exchanged():
    right = Loops(padding=(1, 1))
    x, w = normal((1, 2, 4, 4), (2, 2, 3, 3))

    def backward(dy, x, w):
        return right.backward(dy, x, w.swapaxes(0, 1))[0], right.backward(dy, x, w)[1]

    assert causes_of(right.forward, backward, x, w, position=0)[0] == "transposed"


@pytest.mark.parametrize("position", [0, 1])
def test_only_the_first_group(position):
    right = Loops(groups=2)
    x, w = normal((2, 4, 4, 4), (4, 2, 2, 2))

    def backward(dy, x, w):
        dy = dy * (np.arange(4) < 2)[:, None, None]
        return right.backward(dy, x, w)

    assert causes_of(right.forward, backward, x, w, position=position)[0] == "partial"


def test_a_filter_of_one_axis_without_channels():
    x, w = normal((9,), (4,))

    def backward(dy, x, w):
        return np.convolve(dy, w), np.convolve(x, dy[::-1], mode="valid")[::-1]

    found = causes_of(lambda x, w: np.convolve(x, w, mode="valid"), backward, x, w, position=0)
    assert found[0] == "turned"
