"""Matrix products as work: the right values, both algorithms, the gradients by strides."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.bench import gemm
from minicnn.bench.kinds import work
from minicnn.bench.work import relative_error
from minicnn.errors import AlgorithmError
from minicnn_kernels.registry import can_compile


@pytest.mark.parametrize("text", ["5x3:3x4", "1x7:7x1", "50x60:60x70"])
@pytest.mark.parametrize("algorithm", ["numpy", "blocks"])
def test_products_are_right(text, algorithm):
    if algorithm == "blocks" and not can_compile():
        pytest.skip("nothing is compiled here")
    training = work("gemm", text, "train")
    operands = training.operands()
    built = gemm.build(algorithm, training, operands)
    results = built.fetch(built.call())
    a, b, dc = (operands[name].astype(np.float64) for name in ("a", "b", "dc"))
    for result, right in zip(results, (a @ b, dc @ b.T, a.T @ dc), strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-4, atol=1e-4)
    expected = training.expected(operands)
    for part, sample, right in zip(
        training.parts, training.sampled(results), expected, strict=True
    ):
        assert relative_error(sample, right) <= training.tolerance(part, algorithm)


def test_a_wrong_product_is_seen():
    forward = work("gemm", "50x60:60x70", "fwd")
    operands = forward.operands()
    (c,) = gemm.build("numpy", forward, operands).call()
    c[-1, -1] += 1
    assert relative_error(forward.sampled([c])[0], forward.expected(operands)[0]) > 1e-3


def test_without_numba_there_is_one_algorithm(monkeypatch):
    monkeypatch.setattr(gemm, "can_compile", lambda: False)
    forward = work("gemm", "5x3:3x4", "fwd")
    assert gemm.served_by(forward, forward.operands(), "cpu") == ["numpy"]
    assert gemm.served_by(forward, forward.operands(), "cuda") == []
    with pytest.raises(AlgorithmError, match="need Numba"):
        gemm.build("blocks", forward, forward.operands())
