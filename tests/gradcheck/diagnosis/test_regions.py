"""Right but for some elements, in small and in large inputs."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_of_pair import causes_of, evidence_of
from right_pairs import normal

from minicnn.gradcheck.diagnosis import diagnose
from minicnn.gradcheck.evidence import Evidence

(LARGE,) = normal((40, 60))


def hint_of(change, x=LARGE, measured=1.0):
    """Diagnose a sine whose gradient was changed; a share of the elements was measured."""

    def gradients(dy):
        dx = dy[0] * np.cos(x)
        change(dx)
        return [dx]

    dy = [np.random.default_rng(1).standard_normal(x.shape)]
    seen = np.random.default_rng(2).random(x.shape) <= measured
    return diagnose(
        Evidence(
            values=lambda inputs: [np.sin(inputs[0])],
            gradients=gradients,
            inputs=[x],
            outputs=[np.sin(x)],
            upstream=dy,
            position=0,
            analytic=gradients(dy),
            numeric=[np.where(seen, dy[0] * np.cos(x), np.nan)],
            bounds=[np.where(seen, 1e-12, np.nan)],
            names=["x"],
        )
    )[0]


def one_percent(dx):
    dx[3, 7] *= 1.01


def halved(dx):
    dx[16:20] *= 0.5


def negated(dx):
    dx[:, 5] *= -1


def copied(dx):
    dx[4] = np.where(True, dx[3], 0)


def corner(dx):
    dx[:5, :7] = 0


CHANGES = {
    one_percent: "only x[3, 7] of 2400 elements is wrong: 1.01 times the right value",
    halved: "indices 16 to 19 of axis 0 of x; there it is 0.5 times",
    negated: "index 5 of axis 1 of x; there it is -1 times",
    copied: "index 4 of axis 0 of x; there it is the gradient of index 3",
    corner: "indices 0 to 4 of axis 0 and indices 0 to 6 of axis 1 of x; there it is 0",
}


@pytest.mark.parametrize("measured", [1.0, 0.1])
@pytest.mark.parametrize("change", CHANGES)
def test_a_part_of_a_large_input(change, measured):
    hint = hint_of(change, measured=measured)
    assert hint.cause == "partial"
    assert CHANGES[change] in hint.text


def test_the_element_of_the_label():
    labels = np.array([2, 0, 1, 3, 3])
    rows = np.arange(5)

    def hinge(s):
        margins = np.maximum(0, s - s[rows, labels][:, None] + 1)
        margins[rows, labels] = 0
        return margins

    (s,) = normal((5, 4))
    evidence = evidence_of(lambda s: hinge(s).sum(), lambda dy, s: (dy * (hinge(s) > 0),), (s,))
    assert diagnose(evidence)[0].cause in {"missing-term", "partial"}


def test_a_mask_that_is_not_applied():
    x, w = normal((5, 4), (4, 6))
    mask = np.random.default_rng(1).random((4, 6)) > 0.5
    found = causes_of(
        lambda x, w: x @ (w * mask),
        lambda dy, x, w: (dy @ (w * mask).T, x.T @ dy),
        x,
        w,
        position=1,
    )
    assert found == ["local-derivative"]


def test_another_input_says_where():
    x, t = normal((5, 3))[0], (np.arange(15).reshape(5, 3) % 2 == 0).astype(int)
    evidence = evidence_of(
        lambda x, t: np.where(t > 0, 3, 1) * (np.sin(x) + x**4),
        lambda dy, x, t: (dy * (np.cos(x) + 4 * x**3), None),
        (x, t), 0,
    )  # fmt: skip
    hint = diagnose(evidence)[0]
    assert hint.cause == "local-derivative"
    assert "is 1, it is 0.333333 times the right gradient" in hint.text


def test_the_sum_over_channels_for_each_channel():
    x, w = normal((3, 4), (4, 5))

    def backward(dy, x, w):
        dx = dy @ w.T
        return np.repeat(dx.sum(1, keepdims=True), 4, axis=1), x.T @ dy

    assert causes_of(lambda x, w: x @ w, backward, x, w, position=0)[0] == "extra-term"
