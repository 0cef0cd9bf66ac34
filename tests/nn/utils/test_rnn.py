from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

import minicnn
from minicnn.nn.utils import rnn
from minicnn.tensor import Tensor

sizes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def sequences(lengths, *inner):
    rng = np.random.default_rng(sum(lengths))
    return [Tensor(rng.normal(size=(n, *inner)), requires_grad=True) for n in lengths]


@given(sizes, st.booleans(), st.sampled_from([(), (2,), (2, 3)]))
def test_packing_and_padding_are_those_of_torch(torch, lengths, batch_first, inner):
    ours = sequences(lengths, *inner)
    theirs = [torch.tensor(s.array) for s in ours]
    utils = torch.nn.utils.rnn
    for side in ("right", "left"):
        np.testing.assert_array_equal(
            rnn.pad_sequence(ours, batch_first, -1.0, side).array,
            utils.pad_sequence(theirs, batch_first, -1.0, side).numpy(),
        )
    packed = rnn.pack_sequence(ours, enforce_sorted=False)
    expected = utils.pack_sequence(theirs, enforce_sorted=False)
    np.testing.assert_array_equal(packed.data.array, expected.data.numpy())
    np.testing.assert_array_equal(packed.batch_sizes.array, expected.batch_sizes.numpy())
    padded, found = rnn.pad_packed_sequence(packed, batch_first, 5.0, 6)
    again, wanted = utils.pad_packed_sequence(expected, batch_first, 5.0, 6)
    np.testing.assert_array_equal(padded.array, again.numpy())
    assert found.tolist() == wanted.tolist() == lengths


@given(sizes)
def test_there_and_back(lengths):
    given_sequences = sequences(lengths, 2)
    for there, back in (
        (lambda s: (rnn.pad_sequence(s), lengths), lambda p: rnn.unpad_sequence(*p)),
        (lambda s: rnn.pack_sequence(s, enforce_sorted=False), rnn.unpack_sequence),
    ):
        returned = back(there(given_sequences))
        for a, b in zip(returned, given_sequences, strict=True):
            np.testing.assert_array_equal(a.array, b.array)


def test_a_gradient_goes_through():
    a, b = sequences([1, 3])
    packed = rnn.pack_sequence([a, b], enforce_sorted=False)
    padded, _ = rnn.pad_packed_sequence(packed, padding_value=9.0)
    (padded * padded).sum().backward()
    np.testing.assert_allclose(a.grad.array, 2 * a.array)
    np.testing.assert_allclose(b.grad.array, 2 * b.array)


def test_lengths_fall():
    packed = rnn.pack_sequence(sequences([1, 3, 2]), enforce_sorted=False)
    assert packed.lengths.tolist() == [3, 2, 1]
    assert packed.sorted_indices.tolist() == [1, 2, 0]
    assert packed.unsorted_indices.tolist() == [2, 0, 1]


def test_a_tensor_is_the_sequences_of_its_rows(torch):
    for m in (torch, minicnn):
        padded = m.nn.utils.rnn.pad_sequence(m.tensor([[1, 2, 3], [4, 5, 6]]))
        assert padded.tolist() == [[1, 4], [2, 5], [3, 6]]


def z(m, *shape):
    return m.zeros(shape)


REFUSED = [
    refused("lengths that rise", lambda m: m.nn.utils.rnn.pack_padded_sequence(z(m, 3, 2), [1, 2]),
            "[1, 2]", "enforce_sorted=False"),
    refused("an empty sequence", lambda m: m.nn.utils.rnn.pack_padded_sequence(z(m, 3, 2), [2, 0])),
    refused("a length too few", lambda m: m.nn.utils.rnn.pack_padded_sequence(z(m, 3, 2), [2])),
    refused("too short", lambda m: m.nn.utils.rnn.pad_packed_sequence(
            m.nn.utils.rnn.pack_padded_sequence(z(m, 3, 2), [3, 2]), total_length=2), "2", "3"),
    refused("sequences that differ", lambda m: m.nn.utils.rnn.pad_sequence([z(m, 3), z(m, 2, 2)])),
    refused("no sequence", lambda m: m.nn.utils.rnn.pad_sequence([])),
    refused("single numbers", lambda m: m.nn.utils.rnn.pad_sequence(z(m, 3)), "length"),
    refused("an unknown side", lambda m: m.nn.utils.rnn.pad_sequence([z(m, 2)],
            padding_side="up"), "'up'"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_bad_input_is_refused_as_by_torch(refusal, torch):
    refusal.check(torch)
