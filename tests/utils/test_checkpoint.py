from __future__ import annotations

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import minicnn
from minicnn import nn, random
from minicnn.errors import ArgumentError, GradientError
from minicnn.tensor import Tensor
from minicnn.utils.checkpoint import checkpoint, checkpoint_sequential


def plain(function, *args, **kwargs):
    return function(*args, **kwargs)


def leaf(*shape):
    values = np.random.default_rng(len(shape)).uniform(0.5, 1.5, shape)
    return Tensor(values, requires_grad=True)


def same(run):
    """Assert that `run` gives the same arrays with checkpoints and without."""
    state = random.default.get_state()
    expected = run(plain)
    after = random.default.get_state()
    random.default.set_state(state)
    for a, b in zip(run(checkpoint), expected, strict=True):
        np.testing.assert_allclose(a.array, b.array, rtol=1e-12)
    assert random.default.get_state() == after


# --- gradients ------------------------------------------------------------------------------------


def test_arguments_and_what_the_function_uses_besides_receive_gradients(seeded):
    x, w = leaf(2, 3), leaf(3, 3)

    def run(call):
        y = call(lambda x: minicnn.tanh(x @ w) * x, x)
        return y, *minicnn.grad((y * y).sum(), [x, w])

    same(run)


def test_backward_adds_to_the_leaves(seeded):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = minicnn.ones(5, 3)

    def run(call):
        net.zero_grad()
        call(net, x).sum().backward()
        return [p.grad for p in net.parameters()]

    same(run)


def test_second_derivatives(seeded):
    x, w = leaf(2, 3), leaf(3, 3)

    def run(call):
        y = call(lambda x: minicnn.tanh(x @ w), x * x)
        first = minicnn.grad((y**3).sum(), [x, w], create_graph=True)
        return minicnn.grad(sum((g * g).sum() for g in first), [x, w])

    same(run)


def test_dropout_draws_the_same_masks_again(seeded):
    x = leaf(20, 20)

    def run(call):
        y = call(lambda x: nn.functional.dropout(x * x, 0.5), x)
        minicnn.rand(3)  # other draws between forward and backward
        return y, *minicnn.grad(y.sum(), x)

    same(run)


def test_without_the_state_other_masks_are_drawn(seeded):
    x = leaf(20, 20)
    y = checkpoint(lambda x: nn.functional.dropout(x, 0.5), x, preserve_rng_state=False)
    (dx,) = minicnn.grad(y.sum(), x)
    assert ((y.array == 0) != (dx.array == 0)).any()


def test_inputs_that_depend_on_each_other_are_not_counted_twice(seeded):
    x, w = leaf(3), leaf(3)

    def run(call):
        h = x * w
        k = h * h
        y = call(lambda h, k: h * k * w * x * k.sum(), h, k)
        return minicnn.grad(y.sum() + h.sum(), [x, w, h, k])

    same(run)


def test_tensors_from_outside_that_are_no_arguments(seeded):
    x = leaf(3)

    def run(call):
        h = x * x
        y = call(lambda x: x * h.exp(), x)
        return minicnn.grad(y.sum() * h.sum(), [x, h], create_graph=True)

    same(run)


def test_the_same_tensor_twice(seeded):
    x = leaf(3)
    same(lambda call: minicnn.grad(call(lambda a, b: a * a * b, x, x).sum(), x))


def test_checkpoints_inside_checkpoints(seeded):
    x, w = leaf(3), leaf(3)

    def run(call):
        def inner(x):
            return nn.functional.dropout(x * w, 0.3).exp()

        y = call(lambda x: call(inner, x * 2) + call(inner, x), x)
        return minicnn.grad(y.sum(), [x, w])

    same(run)


def test_several_and_nested_results(seeded):
    x, w = leaf(2, 3), leaf(3)

    def function(x, *, state):
        h = x * w
        return h.exp(), {"state": (h.sum(0) + state, [h.max(1)])}, x.argmax(1), "text"

    def run(call):
        y, parts, positions, text = call(function, x, state=w)
        assert (positions.dtype, text) == (np.int64, "text")
        total, (extremes,) = parts["state"]
        loss = (y * 2).sum() + (total * total).sum() + extremes.values.sum()
        return y, total, extremes.values, *minicnn.grad(loss, [x, w])

    same(run)


def test_backward_twice_through_a_kept_graph():
    x = leaf(3)
    y = checkpoint(lambda x: x**3, x)
    first = minicnn.grad(y.sum(), x, retain_graph=True)[0]
    assert minicnn.grad(y.sum(), x)[0].tolist() == first.tolist()
    with pytest.raises(GradientError, match="second time"):
        minicnn.grad(y.sum(), x)


def test_hooks_are_called_once_with_the_whole_gradient():
    seen = []
    w = leaf(3)
    x = w * 2
    w.register_hook(lambda g: seen.append(("w", g.tolist())))
    x.register_hook(lambda g: seen.append(("x", g.tolist())))
    (checkpoint(lambda x: x * w.sum(), x).sum() + x.sum()).backward()
    total, whole = w.array.sum(), x.array.sum()
    np.testing.assert_allclose(seen[0][1], [total + 1] * 3)
    np.testing.assert_allclose(seen[1][1], [whole + 2 * (total + 1)] * 3)
    assert [name for name, _ in seen] == ["x", "w"]


def test_nothing_is_recorded_where_nothing_requires_a_gradient():
    x = minicnn.ones(3)
    assert not checkpoint(lambda x: x * 2, x).requires_grad
    with minicnn.no_grad():
        assert not checkpoint(lambda x: x * 2, leaf(3)).requires_grad
    y = leaf(3)
    assert checkpoint(lambda y: y, y) is y


def test_a_function_that_raises_leaves_everything_as_it_was(seeded):
    x, calls = leaf(3), []

    def fails_later(x):
        calls.append(minicnn.rand(1))
        if len(calls) > 1:
            raise KeyError("later")
        return x * 2

    y = checkpoint(fails_later, x)
    before = random.default.get_state()
    with pytest.raises(KeyError):
        y.sum().backward()
    assert random.default.get_state() == before
    assert x.grad is None


def test_tensors_changed_since_are_refused():
    x, w = leaf(3), leaf(3)
    factor = minicnn.ones(3, dtype=np.float64)
    for changed in (w, factor):
        y = checkpoint(lambda x, factor: x * w * factor, x, factor)
        with minicnn.no_grad():
            changed += 1
        with pytest.raises(GradientError, match=r"checkpoint: .* changed in place"):
            y.sum().backward()


# --- memory ---------------------------------------------------------------------------------------


def test_what_the_function_computed_is_let_go():
    made = []

    def function(x):
        h = x * 2
        made.append(weakref.ref(h.array))
        return (h * h).exp()

    y = checkpoint(function, leaf(3))
    gc.collect()
    assert made[0]() is None
    y.sum().backward()
    gc.collect()
    assert made[1]() is None


@pytest.mark.parametrize("call", [plain, checkpoint])
def test_a_chain_needs_less_memory(call):
    size, x = 2**14, leaf(2**14)

    def many(x):
        for _ in range(10):
            x = minicnn.tanh(x)
        return x

    tracemalloc.start()
    y = x
    for _ in range(10):
        y = call(many, y)
    held = tracemalloc.get_traced_memory()[0] / (8 * size)
    y.sum().backward()
    tracemalloc.stop()
    assert (held > 99) if call is plain else (held < 12)


# --- in segments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("segments", [1, 2, 3, 5])
def test_a_chain_in_segments(segments, seeded):
    net = nn.Sequential(
        nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 4), nn.Linear(4, 2)
    ).double()
    x = leaf(5, 3)
    state = random.default.get_state()
    expected = minicnn.grad(net(x).sum(), [x, *net.parameters()])
    random.default.set_state(state)
    found = minicnn.grad(checkpoint_sequential(net, segments, x).sum(), [x, *net.parameters()])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.array, b.array, rtol=1e-12)


def test_all_segments_but_the_last_are_computed_again():
    calls = []

    def counted(name):
        return lambda x: calls.append(name) or x * 2

    y = checkpoint_sequential([counted(name) for name in "abcde"], 2, leaf(3))
    y.sum().backward()
    assert "".join(calls) == "abcdeab"


def test_more_segments_than_functions_are_refused():
    with pytest.raises(ArgumentError, match="1 functions cannot make 2 segments"):
        checkpoint_sequential([minicnn.exp], 2, leaf(3))
