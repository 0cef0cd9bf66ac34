from __future__ import annotations

import gc
import itertools
import math
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import minicnn
from minicnn import grad
from minicnn.backprop import is_grad_enabled
from minicnn.differentiable import Node, differentiable
from minicnn.errors import GradientError, ShapeError
from minicnn.ops import broadcast
from minicnn.tensor import Tensor


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


def constant(values):
    return Tensor(np.array(values, dtype=np.float64))


@differentiable
def must_not_run(x, /):
    """y = x, with a gradient that nobody may ask for."""
    return x.copy()


@must_not_run.gradient(saves="")
def _(dy, y, x):
    raise AssertionError("this gradient is not needed")


@differentiable
def half_forbidden(a, b, /):
    """y = a + b, with a gradient for a only."""
    return a + b


@half_forbidden.gradient(saves="")
def _(dy, y, a, b):
    def forbidden():
        raise AssertionError("the gradient of b is not needed")

    return lambda: dy, forbidden


# --- gradients add up -----------------------------------------------------------------------------


def test_both_arguments_may_be_one_tensor():
    x = leaf(3.0)
    (x * x).backward()
    assert x.grad.item() == 6.0


def test_a_tensor_used_many_times():
    x = leaf(2.0)
    (x + x * x + x * x * x + 5 * x).backward()
    assert x.grad.item() == 1 + 4 + 12 + 5


def test_a_diamond_is_passed_once_each_way():
    x = leaf(2.0)
    top = x * x
    left, right = top * 3, top * 5
    (left * right).backward()  # 15 x^4
    assert x.grad.item() == 60 * 8.0


def test_a_ladder_of_diamonds_takes_linear_time():
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2^60 paths
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**60


def test_a_call_reached_early_and_late_waits_for_its_whole_gradient():
    x = leaf(2.0)
    h = x * 3
    deep = h
    for _ in range(5):
        deep = deep * 2
    (h + deep).backward()
    assert x.grad.item() == 3 * 33.0


def test_backward_adds_to_grad():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (x * 10).sum().backward()
    assert x.grad.tolist() == [12.0, 14.0]


def test_adding_to_grad_leaves_what_was_taken_before():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    taken = x.grad
    (x * 10).sum().backward()
    assert taken.tolist() == [2.0, 4.0]


def test_grad_of_a_leaf_that_is_the_root():
    x = leaf([1.0, 2.0])
    x.backward(constant([5.0, 6.0]))
    assert x.grad.tolist() == [5.0, 6.0]


def test_leaves_that_do_not_require_grad_get_none():
    x, c = leaf(2.0), constant(3.0)
    (x * c).backward()
    assert c.grad is None


def test_gradients_have_the_type_of_their_tensor():
    for dtype in (np.float16, np.float32, np.float64):
        x = Tensor(np.ones((2, 3), dtype), requires_grad=True)
        (x * 2.0 + x / 3).mean().backward()
        assert x.grad.dtype == dtype
        assert x.grad.shape == (2, 3)


def test_gradient_is_multiplied_in():
    x = leaf([1.0, 2.0])
    (x * x).backward(constant([10.0, 100.0]))
    assert x.grad.tolist() == [20.0, 400.0]


def test_gradient_may_be_an_array():
    x = leaf([1.0, 2.0])
    (x * x).backward(np.array([10.0, 100.0]))
    assert x.grad.tolist() == [20.0, 400.0]


def test_a_single_value_of_any_shape_starts_from_one():
    x = leaf([[4.0]])
    (x * x).backward()
    assert x.grad.tolist() == [[8.0]]


# --- broadcasting ---------------------------------------------------------------------------------

BROADCAST = [
    ((), (3,)),
    ((1,), (3,)),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((2, 1, 4), (3, 1)),
    ((0, 1), (1, 3)),
]


@pytest.mark.parametrize(("left", "right"), BROADCAST, ids=str)
def test_broadcasting_is_undone(left, right):
    generator = np.random.default_rng(0)
    a, b = leaf(generator.normal(size=left)), leaf(generator.normal(size=right))
    weights = generator.normal(size=np.broadcast_shapes(left, right))
    (a * b * constant(weights)).sum().backward()
    for tensor, other in ((a, b), (b, a)):
        expected = np.zeros(tensor.shape)
        pairs = np.broadcast_arrays(
            np.arange(expected.size).reshape(expected.shape), weights * other.array
        )
        np.add.at(expected.reshape(-1), pairs[0].ravel(), pairs[1].ravel())
        assert tensor.grad.shape == tensor.shape
        np.testing.assert_allclose(tensor.grad.array, expected, rtol=1e-12)


def test_broadcasting_is_undone_once_and_only_where_it_happened(monkeypatch):
    calls = []
    real = broadcast.sum_to
    monkeypatch.setattr(broadcast, "sum_to", lambda x, shape: calls.append(shape) or real(x, shape))
    a, b = leaf(np.ones((2, 3))), leaf(np.ones(3))
    ((a + b) * a).sum().backward()
    assert calls == [(3,)]


# --- higher derivatives ---------------------------------------------------------------------------


def derivatives(function, x, order):
    values = [function(x)]
    for _ in range(order):
        values.append(grad(values[-1], x, create_graph=True)[0])
    return [value.item() for value in values]


def test_derivatives_of_a_power_are_exact():
    assert derivatives(lambda x: x**5, leaf(2.0), 6) == [32, 80, 160, 240, 240, 120, 0]


def test_derivatives_of_a_product_are_exact():
    assert derivatives(lambda x: x * x * x * x, leaf(3.0), 4) == [81, 108, 108, 72, 24]


def test_the_third_derivative_of_tanh():
    y = math.tanh(0.7)
    s = 1 - y * y
    expected = [y, s, -2 * y * s, -2 * s * (s - 2 * y * y)]
    np.testing.assert_allclose(derivatives(minicnn.tanh, leaf(0.7), 3), expected, rtol=1e-14)


def test_every_derivative_of_exp_is_exp():
    np.testing.assert_allclose(derivatives(minicnn.exp, leaf(0.3), 5), math.exp(0.3), rtol=1e-14)


def test_mixed_derivatives():
    x, y = leaf(2.0), leaf(3.0)
    dx, dy = grad(x**3 * y**2, [x, y], create_graph=True)
    assert (dx.item(), dy.item()) == (108.0, 48.0)
    dxx, dxy = grad(dx, [x, y], create_graph=True)
    dyx, dyy = grad(dy, [x, y], create_graph=True)
    assert (dxx.item(), dxy.item(), dyx.item(), dyy.item()) == (108.0, 72.0, 72.0, 16.0)
    assert [g.item() for g in grad(dxy, [x, y])] == [72.0, 24.0]


def test_a_gradient_penalty_reaches_the_weights():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (slope,) = grad((x * x * w).sum(), x, create_graph=True)  # 2 x w
    (slope * slope).sum().backward()  # 4 x^2 w^2
    np.testing.assert_array_equal(w.grad.array, 8 * x.array**2 * w.array)
    np.testing.assert_array_equal(x.grad.array, 8 * x.array * w.array**2)


def test_forward_mode_by_differentiating_twice():
    x, v = leaf([1.0, 2.0]), leaf([0.0, 0.0])
    (pulled,) = grad(x * x * x, x, grad_outputs=v, create_graph=True)
    (pushed,) = grad(pulled, v, grad_outputs=constant([1.0, 10.0]))
    assert pushed.tolist() == [3.0, 120.0]


def test_backward_with_create_graph_gives_grads_that_can_be_differentiated():
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    first, x.grad = x.grad, None
    first.backward()
    assert x.grad.item() == 12.0


def test_a_constant_gradient_does_not_stop_the_recording():
    @differentiable
    def weighted(x, /, weights):
        return (x * weights).sum()

    @weighted.gradient(saves="")
    def _(dy, y, x, *, weights):
        return lambda: weights.copy()  # right as long as dy is 1

    x = leaf([1.0, 2.0])
    (first,) = grad(weighted(x**3, np.array([1.0, 10.0])), x, create_graph=True)
    (second,) = grad(first.sum(), x)
    assert second.tolist() == [6.0, 120.0]


def test_two_inputs_that_receive_one_array_are_told_apart_afterwards():
    a, b = leaf(1.0), leaf(2.0)
    da, db = grad((a + b) ** 2, [a, b], create_graph=True)
    (only_da,) = grad(da * 2 + db * 5, da, retain_graph=True)
    assert only_da.item() == 2.0


# --- retain_graph ---------------------------------------------------------------------------------


def test_a_retained_graph_can_be_used_again():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [6.0, 12.0]
    with pytest.raises(GradientError, match="retain_graph=True"):
        y.backward()


def test_a_graph_is_freed_by_grad_too():
    x = leaf(2.0)
    y = x * x
    grad(y, x)
    for allow_unused in (False, True):
        with pytest.raises(GradientError, match="released"):
            grad(y, x, allow_unused=allow_unused)


def test_create_graph_retains_unless_told_otherwise():
    x = leaf(2.0)
    y = x * x
    grad(y, x, create_graph=True)
    grad(y, x, create_graph=True, retain_graph=False)
    with pytest.raises(GradientError, match="released"):
        grad(y, x)


def test_a_freed_part_is_refused_however_it_is_reached():
    x = leaf(2.0)
    h = x * x
    h.backward()
    direct_and_freed = h * x
    with pytest.raises(GradientError, match="released"):
        grad(direct_and_freed, x)


def test_a_freed_part_that_is_not_needed_does_no_harm():
    x, w = leaf(2.0), leaf(3.0)
    h = x * x
    h.backward()
    y = h * w
    assert [g.item() for g in grad(y, [w, h])] == [4.0, 3.0]


def test_what_was_not_reached_is_not_freed():
    x, w = leaf(2.0), leaf(3.0)
    left, right = x * x, w * w
    left.backward()
    right.backward()
    assert (x.grad.item(), w.grad.item()) == (4.0, 6.0)


# --- grad() ---------------------------------------------------------------------------------------


def test_grad_touches_no_grad_attribute():
    x, w = leaf(2.0), leaf(3.0)
    assert grad(x * w, x)[0].item() == 3.0
    assert x.grad is None
    assert w.grad is None


def test_grad_returns_a_tuple_in_the_order_of_the_inputs():
    x, w = leaf(2.0), leaf(3.0)
    assert [g.item() for g in grad(x * x * w, [w, x, w])] == [4.0, 12.0, 4.0]
    assert isinstance(grad(x * w, x), tuple)


def test_grad_with_respect_to_a_result():
    x = leaf(2.0)
    h = x * x
    y = h * h
    dh, dx = grad(y, [h, x])
    assert (dh.item(), dx.item()) == (8.0, 32.0)


def test_grad_of_a_tensor_with_respect_to_itself_is_one():
    x = leaf(2.0)
    y = x * x
    assert grad(y, y)[0].item() == 1.0
    assert grad(x, x)[0].item() == 1.0


def test_several_outputs_add_up():
    x = leaf([1.0, 2.0])
    a, b = (x * x).sum(), (x * 10).sum()
    assert grad([a, b], x)[0].tolist() == [12.0, 14.0]


def test_one_output_named_twice_counts_twice():
    x = leaf(2.0)
    y = x * x
    assert grad([y, y], x)[0].item() == 8.0


def test_an_output_may_lie_behind_another():
    x = leaf(2.0)
    h = x * x
    y = h * 3
    assert grad([y, h], x)[0].item() == 12.0 + 4.0


def test_grad_outputs_weigh_the_outputs():
    x = leaf([1.0, 2.0])
    a, b = x * x, (x * 10).sum()
    (dx,) = grad([a, b], x, grad_outputs=[constant([1.0, -1.0]), None])
    assert dx.tolist() == [2.0 + 10.0, -4.0 + 10.0]
    (dx,) = grad(x * x, x, grad_outputs=np.array([1.0, -1.0]))
    assert dx.tolist() == [2.0, -4.0]


def test_grad_outputs_must_be_as_many_as_the_outputs():
    x = leaf([1.0, 2.0])
    for seeds in ([], [constant(1.0)] * 2):
        with pytest.raises(GradientError, match=f"1 outputs but {len(seeds)} grad_outputs"):
            grad((x * x).sum(), x, grad_outputs=seeds)


def test_an_unused_input_is_an_error_unless_allowed():
    x, w = leaf([1.0, 2.0]), leaf([[1.0]])
    with pytest.raises(GradientError, match=r"input 1, shape \(1, 1\).*allow_unused=True"):
        grad((x * x).sum(), [x, w])
    dx, dw = grad((x * x).sum(), [x, w], allow_unused=True)
    assert dx.tolist() == [2.0, 4.0]
    assert dw is None


def test_an_input_must_require_grad():
    x = leaf([1.0, 2.0])
    with pytest.raises(GradientError, match=r"input 0, shape \(3,\), does not require grad"):
        grad((x * x).sum(), constant([1.0, 2.0, 3.0]))


# --- only what is needed runs ---------------------------------------------------------------------


def test_the_gradient_of_a_constant_never_runs():
    a, b = leaf(1.0), constant(2.0)
    half_forbidden(a, b).backward()
    assert a.grad.item() == 1.0


def test_grad_runs_only_the_thunks_on_the_way_to_the_inputs():
    a, b = leaf(1.0), leaf(2.0)
    assert grad(half_forbidden(a, b), a)[0].item() == 1.0
    with pytest.raises(AssertionError, match="not needed"):
        grad(half_forbidden(a, b), b)


def test_grad_does_not_enter_branches_that_lead_elsewhere():
    x, w = leaf(2.0), leaf(3.0)
    y = x * x + must_not_run(w) * x
    assert grad(y, x)[0].item() == 4.0 + 3.0


def test_grad_stops_at_its_inputs():
    x = leaf(2.0)
    h = must_not_run(x)
    assert grad(h * h, h)[0].item() == 4.0


def test_a_gradient_that_nobody_asked_for_is_not_started():
    x, w = leaf(2.0), leaf(3.0)
    unused = must_not_run(x)
    assert grad([unused, w * w], w, allow_unused=True)[0].item() == 6.0


# --- switching recording off and on ---------------------------------------------------------------


def test_no_grad_as_a_block():
    x = leaf(2.0)
    with minicnn.no_grad():
        y = x * x
    assert not y.requires_grad
    assert x.requires_grad
    assert (x * x).requires_grad


def test_no_grad_as_a_decorator_also_when_recursive():
    states = []

    @minicnn.no_grad()
    def count(n):
        states.append(is_grad_enabled())
        if n:
            count(n - 1)
        states.append(is_grad_enabled())

    count(3)
    assert states == [False] * 8
    assert is_grad_enabled()


def test_enable_grad_within_no_grad_and_back():
    states = [is_grad_enabled()]
    with minicnn.no_grad():
        states.append(is_grad_enabled())
        with minicnn.enable_grad():
            states.append(is_grad_enabled())
            with minicnn.no_grad():
                states.append(is_grad_enabled())
            states.append(is_grad_enabled())
        states.append(is_grad_enabled())
    states.append(is_grad_enabled())
    assert states == [True, False, True, False, True, False, True]


def test_an_error_restores_the_mode():
    with pytest.raises(ZeroDivisionError), minicnn.no_grad():
        1 / 0  # noqa: B018
    assert is_grad_enabled()


def test_backward_works_inside_no_grad_and_leaves_the_mode():
    x = leaf(2.0)
    y = x * x
    with minicnn.no_grad():
        y.backward()
        assert not is_grad_enabled()
    assert x.grad.item() == 4.0
    assert not x.grad.requires_grad


def test_a_failing_backward_restores_the_mode():
    with pytest.raises(AssertionError, match="not needed"):
        must_not_run(leaf(1.0)).backward()
    assert is_grad_enabled()


def in_thread(function):
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join(30)
    return result[0]


def test_the_mode_belongs_to_its_thread():
    with minicnn.no_grad():
        assert in_thread(is_grad_enabled)
    assert in_thread(minicnn.no_grad()(is_grad_enabled)) is False
    assert is_grad_enabled()


def test_a_decorated_function_may_run_in_two_threads_at_once():
    inside, go_on, errors = threading.Barrier(3), threading.Event(), []

    @minicnn.no_grad()
    def work():
        inside.wait(30)
        go_on.wait(30)
        return is_grad_enabled()

    def run():
        try:
            assert work() is False
            assert is_grad_enabled()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(30)  # both are in the block before either leaves it
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert errors == []


@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
def test_backward_sets_the_mode_itself(recorded):
    x, modes = leaf(2.0), []
    x.register_hook(lambda gradient: modes.append(is_grad_enabled()))
    y = x * x
    for mode in (minicnn.no_grad, minicnn.enable_grad):
        with mode():
            y.backward(retain_graph=True, create_graph=recorded)
    assert modes == [recorded, recorded]


# --- detach ---------------------------------------------------------------------------------------


def test_nothing_flows_through_detach():
    x = leaf(3.0)
    (x * x.detach()).backward()
    assert x.grad.item() == 3.0


# --- depth and memory -----------------------------------------------------------------------------


def test_a_chain_of_50_000_calls():
    x = leaf(1.0)
    y = x
    for _ in range(25_000):
        y = -(y + 1.0)
    y.backward(retain_graph=True)
    assert x.grad.item() == 1.0
    del y  # frees as many nodes, one holding the next, which must not recurse either


def test_a_long_chain_can_be_recorded():
    x = leaf(1.0)
    y = x
    for _ in range(2_000):
        y = y * 1.0
    (first,) = grad(y, x, create_graph=True)
    (second,) = grad(first * x, x)
    assert second.item() == 1.0


CHAINS = {
    "tanh": lambda h, w: minicnn.tanh(h),
    "mul": lambda h, w: h * w,
    "tanh and mul": lambda h, w: minicnn.tanh(h) * w,
    "views": lambda h, w: (h.reshape(128, 100) * 2.0).reshape(12800),
}


@pytest.mark.parametrize("step", CHAINS.values(), ids=CHAINS)
def test_backward_gives_memory_back_as_it_goes(step):
    layers, size = 200, 12_800 * 8  # 100 KB an array
    x, w = leaf(np.full(12_800, 0.5)), leaf(np.ones(12_800))
    use = []
    tracemalloc.start()
    try:
        h = x
        for i in range(layers):
            h = step(h, w)
            if i == layers // 2:
                h.register_hook(lambda _: use.append(tracemalloc.get_traced_memory()[0]))
        loss = h.sum()
        del h
        forward = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        loss.backward()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < forward + 6 * size
    assert use[0] < forward / 2 + 8 * size
    assert after < 2 * size + 6 * size  # the two .grad, and what is left of the nodes


def nodes_alive(shape):
    return sum(type(thing) is Node and thing.spec.shape == shape for thing in gc.get_objects())


def test_after_backward_nothing_of_the_graph_is_alive():
    shape = (4321,)  # of no other test
    h, arrays = leaf(np.ones(shape)), []
    for _ in range(20):
        h = minicnn.tanh(h) * 2.0
        arrays.append(weakref.ref(h.node.saved[1]))
    loss = h.sum()
    del h
    assert all(array() is not None for array in arrays)
    assert nodes_alive(shape) == 40
    gc.disable()
    try:
        loss.backward()
        assert all(array() is None for array in arrays)  # although the loss is alive
        del loss
        assert nodes_alive(shape) == 0
    finally:
        gc.enable()


# --- whose memory a gradient is -------------------------------------------------------------------

SHARED = np.array([1.0, 1.0, 1.0])


@differentiable
def twins(a, b, /):
    """y = 2 (a + b), with one array for both gradients."""
    return 2 * (a + b)


@twins.gradient(saves="")
def _(dy, y, a, b):
    shared = dy * 2
    return lambda: shared, lambda: shared


@differentiable
def saved_slope(x, slope, /):
    """y = sum_i x[i] slope[i], with the saved array itself as its gradient."""
    return np.sum(x * slope)


@saved_slope.gradient()
def _(dy, y, x, slope):
    return lambda: slope, lambda: x


@differentiable
def set_slope(x, /, slope):
    """y = sum_i x[i] slope[i], with the setting itself as its gradient."""
    return np.sum(x * slope)


@set_slope.gradient(saves="")
def _(dy, y, x, *, slope):
    return lambda: slope


ALIASES = {
    "sum": lambda a, b: (a.sum(0) + b.sum()).sum(),
    "add": lambda a, b: (a + b).sum(),
    "sub": lambda a, b: (a - b + a).sum(),
    "one seed": lambda a, b: a.sum() + b.sum(),
    "expand": lambda a, b: (a.unsqueeze(0).expand(4, 3) + b.expand(4, 3)).sum(),
    "views": lambda a, b: (a.reshape(3, 1).T + b.reshape(1, 3)).flip([0]).sum(),
    "slices": lambda a, b: (a[1:] + b[:2]).sum() + a[0] + b[2],
    "cat": lambda a, b: minicnn.cat([a, b, a]).sum(),
    "stack": lambda a, b: minicnn.stack([a, b]).sum(),
    "mean": lambda a, b: (a.mean() + b).mean(),
    "shared thunks": lambda a, b: twins(a, b).sum(),
    "shared thunks, twice": lambda a, b: (twins(a, b) + twins(a, b) + a).sum(),
    "saved values": lambda a, b: saved_slope(a, b),
    "saved values, twice": lambda a, b: saved_slope(a, b) + a.sum() + saved_slope(a, b),
    "a setting": lambda a, b: set_slope(a, SHARED) + a.sum() + set_slope(a, SHARED) + b.sum(),
}


@pytest.mark.parametrize("create_graph", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize("function", ALIASES.values(), ids=ALIASES)
def test_every_grad_has_memory_of_its_own(function, create_graph):
    a, b = leaf([1.0, 2.0, 3.0]), leaf([4.0, 5.0, 6.0])
    loss = function(a, b)
    seed = constant(1.0)
    loss.backward(seed, create_graph=create_graph)
    arrays = [a.grad.array, b.grad.array, a.array, b.array, seed.array, SHARED]
    for first, second in itertools.combinations(arrays, 2):
        assert not np.shares_memory(first, second)
    for gradient in arrays[:2]:
        assert gradient.flags.writeable
        assert 0 not in gradient.strides


@pytest.mark.parametrize("function", ALIASES.values(), ids=ALIASES)
def test_changing_one_grad_in_place_changes_nothing_else(function):
    a, b = leaf([1.0, 2.0, 3.0]), leaf([4.0, 5.0, 6.0])
    loss = function(a, b)
    loss.backward(retain_graph=True)
    expected = b.grad.tolist()
    a.grad.fill_(np.nan)
    a.grad = b.grad = None
    loss.backward()
    assert b.grad.tolist() == expected
    assert np.isfinite(a.grad.array).all()
    assert SHARED.tolist() == [1.0, 1.0, 1.0]


def test_retained_and_returned_gradients_have_memory_of_their_own():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = a + b
    h.retain_grad()
    h.sum().backward(retain_graph=True)
    da, dh = grad(h.sum(), [a, h])
    arrays = [a.grad.array, b.grad.array, h.grad.array, da.array, dh.array]
    for first, second in itertools.combinations(arrays, 2):
        assert not np.shares_memory(first, second)


def test_a_gradient_that_arrives_at_once_is_copied():
    x, seed = leaf([1.0, 2.0]), constant([1.0, 1.0])
    x.backward(seed)
    (given,) = grad(x, x, grad_outputs=seed)
    for gradient in (x.grad, given):
        assert not np.shares_memory(gradient.array, seed.array)


def test_gradients_that_add_up_at_a_root_do_not_change_each_other():
    x, first, second = leaf([1.0, 2.0]), constant([1.0, 1.0]), constant([2.0, 2.0])
    y = x * 3.0
    (dx,) = grad([y, y, y], x, grad_outputs=[first, second, first])
    assert dx.tolist() == [12.0, 12.0]
    assert first.tolist() == [1.0, 1.0]
    assert second.tolist() == [2.0, 2.0]


def test_the_upstream_gradient_is_not_changed():
    x, seed = leaf([1.0, 2.0]), constant([1.0, 1.0])
    y = x + 0.0
    (y + y + x).backward(seed)
    assert x.grad.tolist() == [3.0, 3.0]
    assert seed.tolist() == [1.0, 1.0]
    x.grad.fill_(0)
    assert seed.tolist() == [1.0, 1.0]


# --- refusals of backward itself ------------------------------------------------------------------


def test_backward_needs_something_that_requires_grad():
    with pytest.raises(GradientError, match=r"shape \(2,\), does not require grad"):
        constant([1.0, 2.0]).backward(constant([1.0, 1.0]))


def test_backward_of_several_values_needs_a_gradient():
    with pytest.raises(ShapeError, match=r"shape \(2,\) needs gradient"):
        (leaf([1.0, 2.0]) * 2).backward()


@pytest.mark.parametrize("first", ["passed on", "computed"])
def test_parts_of_a_gradient_add_up_without_touching_what_is_passed_on(first):
    """A sum passes the same array to both operands; a product makes a new one."""
    x = minicnn.ones(3, requires_grad=True)
    a, b = (x, x * 2) if first == "passed on" else (x * 2, x)
    z = x * 4
    y = (a + b) + z
    seed = np.array([1.0, 2.0, 3.0], np.float32)
    seen = []
    z.register_hook(lambda gradient: seen.append(gradient.array))
    y.backward(minicnn.Tensor(seed))
    np.testing.assert_array_equal(x.grad.array, [7, 14, 21])
    np.testing.assert_array_equal(seed, [1, 2, 3])
    np.testing.assert_array_equal(seen[0], [1, 2, 3])


def test_what_a_gradient_function_makes_may_be_added_to():
    """Memory grows by one array, not by one for each use."""
    x = minicnn.ones(200_000, requires_grad=True)
    y = x + x.exp()
    for _ in range(8):
        y = y + x.exp()
    seed = minicnn.ones(200_000)
    y.backward(seed, retain_graph=True)  # imports and compiles what it needs
    x.grad = None
    tracemalloc.start()
    y.backward(seed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_allclose(x.grad.array, 1 + 9 * np.e, rtol=1e-6)
    assert peak < 4.5 * x.array.nbytes


def test_gradients_on_a_card_are_kept_without_a_copy_where_nobody_else_sees_them(card):
    made = []

    @differentiable
    def twice(x, /):
        return x * 2

    @twice.gradient(saves="")
    def _(dy, y, x):
        made.append({"new": dy * 2, "view": (dy * 2).reshape(-1).reshape(dy.shape), "dy": dy,
                     "part of dy": dy.reshape(dy.shape)}[kind])  # fmt: skip
        return lambda: made[-1]

    for kind, kept in {"new": True, "view": True, "dy": False, "part of dy": False}.items():
        x = minicnn.Tensor(card.array(np.ones((2, 3), np.float32)), requires_grad=True)
        given = minicnn.Tensor(card.array(np.full((2, 3), 5, np.float32)))
        twice(x).backward(given)
        assert (x.grad.array.data.ptr == made[-1].data.ptr) == kept, kind
    scale = minicnn.Tensor(card.array(np.float32(1)), requires_grad=True)
    scale.expand(3, 4).sum().backward()
    rows = minicnn.Tensor(card.array(np.ones((3, 1), np.float32)), requires_grad=True)
    rows.sum().backward()
    assert 0 not in rows.grad.array.strides
