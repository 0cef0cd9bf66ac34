"""A network beside its twin of PyTorch's layers: the same weights, outputs and gradients."""

from __future__ import annotations

import numpy as np

import minicnn


def assert_twins(torch, ours, theirs, *inputs, tolerance=1e-9):
    """Compare outputs, several too, and the gradients of inputs and parameters, in float64.

    Each output is multiplied by random numbers and added up, so no loss is needed.
    """
    ours, theirs = ours.double(), theirs.double()
    state = {key: torch.tensor(value.array) for key, value in ours.state_dict().items()}
    theirs.load_state_dict(state)  # strict: the keys are the same
    rng = np.random.default_rng(2)
    ours_x = [minicnn.tensor(x, dtype=np.float64, requires_grad=True) for x in inputs]
    theirs_x = [torch.tensor(np.float64(x), requires_grad=True) for x in inputs]
    pairs = list(zip(tensors(ours(*ours_x)), tensors(theirs(*theirs_x)), strict=True))
    weights = [rng.normal(size=y.shape) for y, _ in pairs]
    sum((y * minicnn.tensor(w)).sum() for (y, _), w in zip(pairs, weights, strict=True)).backward()
    sum((z * torch.tensor(w)).sum() for (_, z), w in zip(pairs, weights, strict=True)).backward()
    named = dict(ours.named_parameters())
    for key, value in theirs.named_parameters():
        mine = named[key]
        assert mine.requires_grad == value.requires_grad, key
        assert (mine.grad is None) == (value.grad is None), key
        if value.grad is not None:
            pairs.append((mine.grad, value.grad))
    pairs += [(x.grad, z.grad) for x, z in zip(ours_x, theirs_x, strict=True)]
    for y, z in pairs:
        z = z.detach().numpy()
        assert y.shape == z.shape
        np.testing.assert_allclose(y.array, z, rtol=0, atol=tolerance * max(np.abs(z).max(), 1e-6))


def tensors(outputs):
    """Return what a network puts out, nested tuples too, in one list."""
    if not isinstance(outputs, tuple):
        return [outputs]
    return [tensor for output in outputs for tensor in tensors(output)]
