from __future__ import annotations

import copy
import logging
import re
import sys

import numpy as np
import pytest

import minicnn
from minicnn import random
from minicnn.cuda import capture
from minicnn.cuda.graphs import MOST_CAPTURES, MOST_GRAPHS, WARM_UP
from minicnn.optim import SGD, RAdam
from minicnn.optim.lr_scheduler import ExponentialLR
from minicnn_kernels.cuda import memory, replay
from minicnn_kernels.pointwise import record_from


@pytest.fixture
def plain(card):
    """Leave formulas to CuPy: to compile them for the emulation takes seconds."""
    with record_from(10**9):
        yield card


class Model:
    """loss = sum (x * w - t)^2, learned with a rate that changes, and noise that is counted."""

    def __init__(self, device="cuda"):
        self.w = minicnn.tensor(np.float32([0.5, -1.0, 2.0]), device=device, requires_grad=True)
        self.rate, self.steps = 0.1, 0

    def update(self):
        """Change w by a rate and a random number that Python computes."""
        self.steps += 1
        key = random.default.numpy_generator().random()
        numbers = replay.numbers(np.float32([self.rate / self.steps, key]))
        if not replay.is_refilling():
            self.w.array -= self.w.grad.array * numbers[0] + numbers[1] * 0.01

    def snapshot(self):
        before = self.steps
        return lambda: setattr(self, "steps", before)

    def step(self, x, t):
        self.w.grad = None
        difference = x * self.w - t
        (difference * difference).backward(x)
        replay.repeated(self.update, self.snapshot)
        return {"difference": difference.detach(), "w": (self.w.detach(), None)}


def batches(count, size=3):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(count, 2, size)).astype(np.float32)
    return [tuple(minicnn.tensor(part, device="cuda") for part in pair) for pair in values]


def trained(step, model, count=8):
    """Do some steps with rates that change; return w, its gradient and the results after each."""
    minicnn.manual_seed(3)
    seen = []
    for i, (x, t) in enumerate(batches(count)):
        model.rate = 0.1 + 0.01 * i
        results = step(x, t)
        arrays = model.w, model.w.grad, results["difference"], results["w"][0]
        seen.append([array.array.get() for array in arrays])
    return seen, model.steps, random.default.get_state()


def launches(card):
    return card.seen("launch").get("graph", 0)


def test_a_captured_training_is_the_eager_one_bit_by_bit(plain, seeded):
    eager, captured = Model(), Model()
    expected = trained(eager.step, eager)
    fast = capture(captured.step)
    found = trained(fast, captured)
    assert fast.reason is None
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1:] == expected[1:]
    assert launches(plain) == 8 - WARM_UP


def test_a_replay_neither_waits_nor_reads_values(plain, seeded):
    model = Model()
    fast = capture(model.step)
    given = batches(6)
    for x, t in given[:3]:
        fast(x, t)
    plain.machine.seen.clear()
    for x, t in given[3:]:
        fast(x, t)
    assert plain.seen("wait") == {}
    assert plain.seen("copy") == {"array": 3}  # the numbers of each step, to the card


def test_results_and_gradients_are_the_same_memory_in_each_replay(plain, seeded):
    model = Model()
    fast = capture(model.step)
    given = batches(5)
    for x, t in given[:3]:
        result = fast(x, t)
    places = [t.array.data.ptr for t in (result["difference"], result["w"][0], model.w.grad)]
    model.w.grad = None  # as zero_grad() outside of the step does
    again = fast(*given[3])
    assert again is result
    assert [t.array.data.ptr for t in (again["difference"], again["w"][0], model.w.grad)] == places
    before, kept = result["difference"].array.get(), result["difference"].clone()
    fast(*given[4])
    np.testing.assert_array_equal(kept.array.get(), before)
    assert (result["difference"].array.get() != before).all()


def optimised(make, captured):
    """Do steps with a rate that falls, go back to an earlier state, and return all weights."""
    rng = np.random.default_rng(1)
    shapes = (3, 5), (4,)
    w = [minicnn.tensor(rng.normal(size=n).astype("f4"), device="cuda") for n in shapes]
    optimizer = make([part.requires_grad_() for part in w])
    schedule = ExponentialLR(optimizer, 0.9)

    def step(x):
        optimizer.zero_grad()
        for part in w:
            part.grad = minicnn.Tensor(part.array * x.array)
        optimizer.step()

    step, seen = capture(step) if captured else step, []
    for i in range(9):
        step(minicnn.full((1,), float(i - 3), device="cuda"))
        schedule.step()
        if i == 4:
            earlier = copy.deepcopy(optimizer.state_dict())
        if i == 6:
            optimizer.load_state_dict(earlier)
        seen += [part.array.get().tolist() for part in w]
    return seen, [v for v in optimizer.state_dict()["state"][0].values() if not hasattr(v, "get")]


@pytest.mark.parametrize("make", [lambda w: SGD(w, lr=0.1, momentum=0.9), RAdam])
def test_optimisers_compute_their_numbers_for_each_replay(card, make):
    """RAdam's formula is another one from its sixth step on: the step is captured anew."""
    assert optimised(make, captured=True) == optimised(make, captured=False)
    assert launches(card) == 9 - WARM_UP


def test_the_optimiser_may_stand_outside(plain):
    x, t = batches(1)[0]
    w = minicnn.ones(3, device="cuda", requires_grad=True)

    def step(x, t):
        ((x * w - t) * (x * w - t)).backward(x)

    fast, found = capture(step), []
    for _ in range(6):
        w.grad = None
        fast(x, t)
        found.append(w.grad.array.get())
        w.array -= 0.1 * w.grad.array
    eager = minicnn.ones(3, device="cuda", requires_grad=True)
    for expected in found:
        eager.grad = None
        ((x * eager - t) * (x * eager - t)).backward(x)
        np.testing.assert_array_equal(expected, eager.grad.array.get())
        eager.array -= 0.1 * eager.grad.array
    assert fast.reason is None


def test_a_failed_capture_leaves_no_gradient(plain):
    x, w = minicnn.ones(3, device="cuda"), minicnn.ones(3, device="cuda", requires_grad=True)

    def step(x):
        (x * w).backward(x)
        return w.grad.sum().item()

    fast = capture(step)
    for _ in range(4):
        w.grad = None
        assert fast(x) == 3
    assert "reads a value" in fast.reason


def test_other_shapes_have_graphs_of_their_own_up_to_a_number(plain, seeded):
    w = minicnn.ones(1, device="cuda")
    fast = capture(lambda x, factor=2: x * w * factor)
    for size in range(1, MOST_GRAPHS + 2):
        for i in range(5):
            x = minicnn.full((size,), float(i), device="cuda")
            np.testing.assert_array_equal(fast(x).array.get(), 2.0 * x.array.get())
    assert launches(plain) == MOST_GRAPHS * (5 - WARM_UP)
    assert fast.reason is None


def test_inputs_that_cannot_be_captured_leave_the_others_their_graph(plain):
    def step(x):
        return x * x.sum().item() if len(x) == 2 else x * 2

    fast = capture(step)
    for _ in range(5):
        for size in (3, 2):
            x = minicnn.ones(size, device="cuda")
            assert fast(x).array.get().tolist() == [2] * size
    assert launches(plain) == 5 - WARM_UP
    assert "reads a value" in fast.reason


def test_what_is_no_tensor_is_a_part_of_the_kind(plain):
    fast = capture(lambda x, factor: x * factor)
    x = minicnn.ones(3, device="cuda")
    for _ in range(4):
        assert fast(x, 2.0).array.get().tolist() == [2, 2, 2]
        assert fast(x, 3.0).array.get().tolist() == [3, 3, 3]
    assert launches(plain) == 2 * (4 - WARM_UP)


def test_a_step_without_inputs(plain):
    x = minicnn.ones(3, device="cuda")

    def step():
        x.array += 1

    fast = capture(step)
    for _ in range(5):
        fast()
    assert x.array.get().tolist() == [6, 6, 6]


def test_the_math_mode_is_a_part_of_the_kind(plain):
    fast = capture(lambda x: x * 2)
    x = minicnn.ones(3, device="cuda")
    for _ in range(3):
        fast(x)
        with minicnn.math_mode("tf32"):
            fast(x)
    assert len(fast._graphs) == 2


def reads(model, x, t):
    result = model.step(x, t)
    return result if result["difference"].sum().item() > -1e9 else None


def copies(model, x, t):
    return model.step(x, t + minicnn.tensor([0.0, 0.0, 0.0], device="cuda"))


def copies_by_itself(model, x, t):
    model.step(x, t)["difference"].array += sys.modules["cupy"].asarray(np.zeros(3, np.float32))
    return model.step(x, t)


def multiplies(model, x, t):
    model.step(x, t)
    x.array @ x.array
    return model.step(x, t)


def counts(model, x, t):
    return {**model.step(x, t), "steps": model.steps}


def leaves_the_card(model, x, t):
    return {**model.step(x, t), "constant": minicnn.ones(1)}


def adds_to_gradients(model, x, t):
    (x * model.w).backward(t)
    return {"difference": x - t, "w": (model.w.detach(), None)}


REFUSED = {
    reads: r"it reads a value on the card \(item, print, if\)",
    copies: r"an array of shape \(3,\) is copied to a card",
    copies_by_itself: "it copies values from the CPU to the card: RuntimeError",
    multiplies: "NotImplementedError: calling cuBLAS API during stream capture",
    counts: "it returns a int; return tensors on the card",
    leaves_the_card: "it returns a tensor on the CPU",
    adds_to_gradients: r"it adds to a gradient of shape \(3,\) that was there before; call zero",
}


@pytest.mark.parametrize("step", REFUSED, ids=lambda step: step.__name__)
def test_what_cannot_be_captured_is_run_eagerly_with_the_reason(plain, seeded, caplog, step):
    eager, captured = Model(), Model()
    expected = trained(lambda x, t: step(eager, x, t), eager, count=5)
    fast = capture(lambda x, t: step(captured, x, t))
    caplog.set_level(logging.WARNING)
    found = trained(fast, captured, count=5)
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1:] == expected[1:]
    assert launches(plain) == 0
    assert fast.reason is not None
    assert len(caplog.messages) == 1
    assert re.search(f"is not captured but run eagerly: {REFUSED[step]}", caplog.messages[0])
    assert step is not copies or f"({__file__}:" in caplog.messages[0]


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (lambda: (minicnn.ones(3),), "an input is on the CPU; move it to the card"),
        (lambda: (minicnn.ones(3, device="cuda", requires_grad=True),), "requires a gradient"),
        (lambda: ([minicnn.ones(3, device="cuda")],), "an input is a list; give it tensors"),
    ],
)
def test_inputs_that_a_graph_cannot_have(plain, inputs, reason):
    fast = capture(lambda x: x)
    for _ in range(4):
        (given,) = inputs()
        assert fast(given) is given
    assert reason in fast.reason


def test_without_a_card_a_step_is_eager(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    fast = capture(lambda: 5)
    assert [fast() for _ in range(4)] == [5] * 4
    assert "cuda needs CuPy" in fast.reason


def test_an_error_of_the_step_is_that_of_an_eager_one(plain):
    fail = []

    def step(x):
        return x.reshape(7) if fail else x * 2

    fast = capture(step)
    x = minicnn.ones(3, device="cuda")
    for _ in range(2):
        fast(x)
    fail.append(True)
    with pytest.raises(minicnn.errors.ShapeError, match="reshape"):
        fast(x)


def test_formulas_that_change_are_captured_anew_a_few_times(plain, seeded):
    model, drawn = Model(), []

    def update():
        model.steps += 1
        drawn.append(random.default.calls)
        random.default.next_key()
        values = np.ones(1 + model.steps // 4, np.float32)
        numbers = replay.numbers(values)
        if not replay.is_refilling():
            model.w.array += numbers.sum()

    def step():
        replay.repeated(update, model.snapshot)
        return model.w.detach()

    fast = capture(step)
    expected = 0.5
    for i in range(1, 30):
        expected += 1 + i // 4
        assert fast().array.get()[0] == expected
    assert model.steps == 29
    assert sorted(set(drawn)) == list(range(29))  # those of refused replays again
    assert 0 < launches(plain) < 29
    assert "change again and again" in fast.reason
    assert MOST_CAPTURES * 4 < 29


def test_ctrl_c_in_a_capture_is_passed_on_and_undoes_it(plain, seeded):
    model, calls = Model(), []

    def step(x, t):
        calls.append(0)
        results = model.step(x, t)
        if len(calls) == WARM_UP + 1:
            raise KeyboardInterrupt
        return results

    fast = capture(step)
    given = batches(5)
    for x, t in given[:2]:
        fast(x, t)
    with pytest.raises(KeyboardInterrupt):
        fast(*given[2])
    assert model.steps == 2
    assert not any(graph.stream.is_capturing() for graph in fast._graphs.values())
    for x, t in given[2:]:
        fast(x, t)
    assert (model.steps, fast.reason, launches(plain)) == (5, None, 3)


def test_a_capture_that_finds_no_memory_gives_its_own_back(plain):
    fast, pools = capture(lambda x: pools.append(len(memory._of_steps)) or x * 2), []
    x = minicnn.ones(4096, device="cuda")
    fast(x)
    fast(x)
    (graph,) = fast._graphs.values()
    graph.memory.pool.set_limit(1000)
    del graph
    assert fast(x).array.get()[0] == 2
    assert re.match("OutOfMemoryError: .*Out of memory allocating", fast.reason)
    assert pools[-1] == 0


def test_each_graph_holds_its_memory_until_the_step_is_gone(plain):
    fast = capture(lambda x: (x * 2) * 3)
    x = minicnn.ones(1024, device="cuda")
    for _ in range(3):
        fast(x)
    assert len(memory._of_steps) == 1
    (graph,) = fast._graphs.values()
    assert graph.memory.pool.used_bytes() > 2 * 4096
    assert memory.held().arrays > 2 * 4096
    del fast, graph
    assert len(memory._of_steps) == 0
