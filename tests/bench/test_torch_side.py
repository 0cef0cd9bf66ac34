"""PyTorch's tensors in the two memory orders; the rest is tested through the process."""

from __future__ import annotations

from minicnn.bench import torch_side


def test_the_variants_differ_in_memory_order(torch):
    x = torch.zeros(2, 3, 4, 5)
    assert torch_side.in_format(x, "torch") is x
    last = torch_side.in_format(x, "torch-cl")
    assert last.is_contiguous(memory_format=torch.channels_last)
    volume = torch_side.in_format(torch.zeros(2, 3, 4, 5, 6), "torch-cl")
    assert volume.is_contiguous(memory_format=torch.channels_last_3d)
    sequence = torch.zeros(2, 3, 4)
    assert torch_side.in_format(sequence, "torch-cl") is sequence


def test_facts(torch):
    assert torch_side.facts()["torch"] == torch.__version__
