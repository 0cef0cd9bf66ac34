from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from minicnn_kernels.reference.scan import accumulated

STEPS = [np.add, np.multiply, np.maximum, np.minimum, np.logaddexp]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
@pytest.mark.parametrize(("shape", "dim"), [((7, 3), 0), ((3, 8), 1), ((1, 2), 0), ((0, 2), 0)])
def test_each_value_is_combined_with_all_before_it(rng, card, step, shape, dim):
    x = rng.normal(size=shape)
    expected = step.accumulate(x, dim)
    assert_allclose(accumulated(step, x, dim), expected)
    assert_allclose(accumulated(step, card.array(x), dim).get(), expected)


def test_long_slices_are_combined_one_after_the_other(rng):
    x = rng.normal(size=(3, 1500))
    assert_allclose(accumulated(np.add, x, 0), np.cumsum(x, 0))
