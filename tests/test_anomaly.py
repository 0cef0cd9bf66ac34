from __future__ import annotations

import threading

import numpy as np
import pytest

import minicnn
from minicnn import anomaly, detect_anomaly, nn
from minicnn.errors import AnomalyError, GradientError
from minicnn.tensor import Tensor


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


class Log(nn.Module):
    def forward(self, x):
        return minicnn.log(x)


class Root(nn.Module):
    def forward(self, x):
        return minicnn.sqrt(x)


class Model(nn.Module):
    """One faulty layer, at a place that depends on the attribute's name."""

    def __init__(self, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        for layer in self.children():
            for module in layer if isinstance(layer, nn.ModuleList) else [layer]:
                x = module(x)
        return x


# --- forward --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "values", "made"),
    [
        (minicnn.log, [[1.0, 0.0]], "-inf"),
        (minicnn.sqrt, [[1.0, -1.0]], "nan"),
        (minicnn.exp, [[0.0, 1e4]], "inf"),
    ],
    ids=["log", "sqrt", "exp"],
)
def test_the_operation_that_makes_it_is_named(op, values, made):
    for x in (leaf(values), Tensor(np.array(values))):
        with pytest.raises(AnomalyError, match="in forward") as caught, detect_anomaly():
            op(x)
        for part in (f"{op.name} made {made} ", "shape (1, 2)", "first at [0, 1]"):
            assert part in str(caught.value)


def test_the_first_operation_is_named_not_the_last():
    x = leaf([1.0, -1.0])
    with pytest.raises(AnomalyError, match=r"^sqrt made nan"), detect_anomaly():
        (minicnn.sqrt(x) * 2 + 1).sum()


def test_the_line_outside_the_package_is_named():
    with pytest.raises(AnomalyError) as caught, detect_anomaly():
        minicnn.nn.functional.log_softmax(leaf([np.inf, 1.0]), 0)
    assert f"{__file__}:" in str(caught.value)


FEATURES = {
    "features.1 (Log)": lambda: Model(features=nn.Sequential(nn.Identity(), Log())),
    "blocks.0 (Log)": lambda: Model(blocks=nn.ModuleList([Log()])),
    "head (Log)": lambda: Model(head=Log()),
    "a.b.0 (Log)": lambda: Model(a=Model(b=nn.Sequential(Log()))),
    "in module Log,": Log,
}


@pytest.mark.parametrize("place", FEATURES)
def test_the_module_is_named_as_in_state_dict_when_forward_fails(place):
    with pytest.raises(AnomalyError) as caught, detect_anomaly():
        FEATURES[place]()(leaf([0.0]))
    assert place in str(caught.value)


@pytest.mark.parametrize("place", FEATURES)
def test_the_module_is_named_as_in_state_dict_when_backward_fails(place):
    model = FEATURES[place]()
    for module in model.modules():
        if isinstance(module, Log):
            module.forward = minicnn.sqrt  # fine at 0 itself, but of infinite slope
    with pytest.raises(AnomalyError) as caught, detect_anomaly():
        model(leaf([0.0])).sum().backward()
    assert place in str(caught.value)
    assert "the gradient of sqrt made inf in backward, shape (1,), first at [0]" in str(
        caught.value
    )


def test_a_module_used_twice_goes_by_its_first_name():
    shared = Log()
    model = Model(first=shared, second=shared)
    model.forward = lambda x: model.second(model.first(x))
    with pytest.raises(AnomalyError, match=r"first \(Log\)"), detect_anomaly():
        model(leaf([1.0]))


def test_modules_that_have_returned_are_not_named():
    with pytest.raises(AnomalyError) as caught, detect_anomaly():
        minicnn.log(Model(root=Root())(leaf([0.0])))
    assert "in module" not in str(caught.value)
    assert anomaly.running_modules.get() == ()


def test_integers_and_finite_values_pass():
    x = leaf([1.0, 2.0])
    with detect_anomaly():
        y = (minicnn.log(x) * 2).sum()
        assert minicnn.argmax(x).item() == 1
        assert (x > 1).to(np.int64).tolist() == [0, 1]
        y.backward()
    assert x.grad.tolist() == [2.0, 1.0]


# --- backward -------------------------------------------------------------------------------------


def test_a_gradient_is_found_where_forward_was_fine():
    x = leaf([0.0, 4.0])
    with detect_anomaly():
        y = minicnn.sqrt(x).sum()
        with pytest.raises(AnomalyError, match="the gradient of sqrt made inf") as caught:
            y.backward()
    assert "first at [0]" in str(caught.value)
    assert f"{__file__}:" in str(caught.value)
    assert x.grad is None


def test_nan_from_zero_times_infinity():
    x = leaf([0.0])
    with (
        pytest.raises(AnomalyError, match=r"the gradient of (mul|sqrt) made"),
        detect_anomaly(),
    ):
        (minicnn.sqrt(x) * 0.0).backward()


def test_a_graph_recorded_inside_is_also_watched_outside():
    x = leaf([0.0])
    with detect_anomaly():
        y = minicnn.sqrt(x)
    with pytest.raises(AnomalyError, match="the gradient of sqrt"):
        y.backward()


def test_a_graph_recorded_outside_is_also_watched_inside():
    x = leaf([0.0])
    y = minicnn.sqrt(x)
    with (
        pytest.raises(AnomalyError, match=r"sqrt .*recorded outside detect_anomaly\(\)"),
        detect_anomaly(),
    ):
        y.backward()


def test_a_recorded_backward_is_watched_too():
    x = leaf([0.0])
    with pytest.raises(AnomalyError, match="made inf"), detect_anomaly():
        minicnn.grad(minicnn.sqrt(x), x, create_graph=True)


def test_the_gradient_that_is_not_needed_may_be_infinite():
    x, c = leaf([1.0]), Tensor(np.array([0.0]))
    with detect_anomaly():
        (x + minicnn.sqrt(c)).backward()
    assert x.grad.tolist() == [1.0]


# --- arrays that changed behind our back ----------------------------------------------------------


@pytest.mark.parametrize("saved", ["input", "result"])
def test_a_saved_array_that_was_changed_is_found(saved):
    x = leaf([1.0, 2.0])
    with detect_anomaly():
        y = x * x if saved == "input" else minicnn.exp(x)
        z = y.sum()
        changed = x if saved == "input" else y
        changed.array[0] = 9.0
        with pytest.raises(GradientError, match=f"its {saved}.* between forward") as caught:
            z.backward()
    assert not isinstance(caught.value, AnomalyError)
    assert "shape (2,)" in str(caught.value)
    assert f"{__file__}:" in str(caught.value)


def test_without_it_such_a_change_cannot_be_seen():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    x.array[0] = 9.0
    y.backward()
    assert x.grad.tolist() == [18.0, 4.0]


def test_an_array_that_nobody_reads_any_more_may_change():
    x = leaf([1.0, 2.0])
    with detect_anomaly():
        y = (x + 1.0).sum()
        x.array[0] = 9.0
        y.backward()
    assert x.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.arange(6.0)[::-2],
        np.array(3.0),
        np.zeros((0, 3)),
    ],
    ids=["transposed", "strided", "no dimensions", "empty"],
)
def test_fingerprints_are_of_values(array):
    assert anomaly.fingerprint(array) == anomaly.fingerprint(array.copy())
    if array.size:
        assert anomaly.fingerprint(array) != anomaly.fingerprint(array + 1)


def test_only_arrays_have_fingerprints():
    assert anomaly.fingerprint(2.0) is None
    assert anomaly.fingerprint(None) is None


# --- on and off -----------------------------------------------------------------------------------


def test_it_is_off_before_and_after():
    x = leaf([0.0])
    minicnn.log(x)
    with detect_anomaly():
        minicnn.exp(x)
    minicnn.log(x)
    y = minicnn.sqrt(x)
    assert y.node.trace is None
    y.backward()
    assert x.grad.tolist() == [np.inf]


def test_it_is_off_after_it_has_raised():
    x = leaf([0.0])
    with pytest.raises(AnomalyError), detect_anomaly():
        nn.Sequential(Log())(x)
    assert not anomaly.active.get()
    assert anomaly.running_modules.get() == ()
    minicnn.log(x)


def test_blocks_may_be_nested():
    with detect_anomaly():
        with detect_anomaly():
            pass
        assert anomaly.active.get()
    assert not anomaly.active.get()


def test_it_belongs_to_its_thread():
    found = []
    with detect_anomaly():
        thread = threading.Thread(target=lambda: found.append(anomaly.active.get()))
        thread.start()
        thread.join(30)
    assert found == [False]


def test_results_are_the_same_with_and_without():
    def run():
        minicnn.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        loss = (model(minicnn.ones(2, 3)) ** 2).sum()
        loss.backward()
        return [loss.item(), *(p.grad.tolist() for p in model.parameters())]

    plain = run()
    with detect_anomaly():
        assert run() == plain
