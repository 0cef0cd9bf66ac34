"""Groups, names, state and refusals that all optimisers share."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import minicnn
from minicnn import optim
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn import Parameter
from minicnn.optim import SGD, Adam, Optimizer
from minicnn.optim import optimizer as module
from minicnn_kernels.pointwise import record_from
from minicnn_kernels.registry import can_compile

needs_numba = pytest.mark.skipif(not can_compile(), reason="Numba is not installed")

KINDS = {
    "SGD": {"momentum": 0.9, "dampening": 0.5},
    "Adam": {"amsgrad": True},
    "AdamW": {},
    "Adamax": {},
    "NAdam": {},
    "RAdam": {},
    "Adagrad": {"lr_decay": 0.1},
    "Adadelta": {},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "LARS": {"weight_decay": 0.1},
}
every_kind = pytest.mark.parametrize(("name", "settings"), KINDS.items(), ids=KINDS)


def parameter(*values: float) -> Parameter:
    return Parameter(np.array(values))


def steps(optimizer, parameters, count, seed=0):
    draw = np.random.default_rng(seed)
    for _ in range(count):
        for p in parameters:
            p.grad = minicnn.tensor(np.asarray(draw.standard_normal(p.shape), p.dtype))
        optimizer.step()


def test_groups_have_settings_of_their_own():
    slow, fast = parameter(1.0), parameter(1.0)
    optimizer = SGD([{"params": [slow]}, {"params": fast, "lr": 0.5}], lr=0.1)
    slow.grad = fast.grad = minicnn.tensor(np.array([1.0]))
    optimizer.step()
    assert slow.item() == pytest.approx(0.9)
    assert fast.item() == pytest.approx(0.5)


def test_a_group_can_be_added():
    first, second = parameter(1.0), parameter(1.0)
    optimizer = SGD(iter([first]), lr=0.1)
    given = {"params": iter([second]), "lr": 0.5}
    optimizer.add_param_group(given)
    first.grad = second.grad = minicnn.tensor(np.array([1.0]))
    optimizer.step()
    assert second.item() == pytest.approx(0.5)
    assert set(given) == {"params", "lr"}


def test_a_parameter_without_a_gradient_stays():
    used, unused = parameter(1.0), parameter(2.0)
    optimizer = SGD([used, unused], lr=0.1, weight_decay=0.5)
    used.grad = minicnn.tensor(np.array([1.0]))
    optimizer.step()
    assert unused.item() == 2.0
    assert used.item() == pytest.approx(0.85)


@every_kind
def test_the_gradient_itself_is_not_changed(name, settings):
    p = parameter(1.0, -2.0)
    optimizer = getattr(optim, name)([p], **{"weight_decay": 0.1, **settings}, maximize=True)
    p.grad = minicnn.tensor(np.array([3.0, 4.0]))
    p.grad.array.flags.writeable = False
    for _ in range(2):
        optimizer.step()
    assert p.grad.tolist() == [3.0, 4.0]


@every_kind
def test_memory_of_any_strides_and_blocks_of_any_size(name, settings, monkeypatch):
    """Layers are stepped in blocks; with small ones, and odd strides, the result is the same."""
    draw = np.random.default_rng(1)
    start = draw.standard_normal((7, 6)).astype(np.float32)
    layouts = [
        start.copy(),
        np.asfortranarray(start),
        np.repeat(start, 2, axis=1)[:, ::2],
        np.flip(np.flip(start).copy()),
    ]
    parameters = [Parameter(array) for array in layouts]
    optimizers = [getattr(optim, name)([p], **settings) for p in parameters]
    for _ in range(4):
        gradient = minicnn.tensor(draw.standard_normal((6, 7)).astype(np.float32)).T
        gradient.array.flags.writeable = False
        for p, optimizer in zip(parameters, optimizers, strict=True):
            monkeypatch.setattr(module, "BLOCK", 65_536 if p is parameters[0] else 5)
            p.grad = gradient
            optimizer.step()
    expected = optimizers[0].state[parameters[0]]
    for p, optimizer, array in zip(parameters, optimizers, layouts, strict=True):
        assert p.array is array
        np.testing.assert_allclose(array, layouts[0], rtol=1e-5, atol=1e-9)
        for key, value in optimizer.state[p].items():
            np.testing.assert_allclose(value, expected[key], rtol=1e-5, atol=1e-9)


@needs_numba
@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_formulas_in_one_pass_do_the_same(name, settings, dtype):
    draw = np.random.default_rng(2)
    start = draw.standard_normal((7, 6)).astype(dtype)
    parameters = [Parameter(start.copy()), Parameter(start.copy())]
    optimizers = [getattr(optim, name)([p], **settings) for p in parameters]
    for _ in range(4):
        gradient = minicnn.tensor(draw.standard_normal((7, 6)).astype(dtype))
        for p, optimizer, least in zip(parameters, optimizers, (1, 100), strict=True):
            p.grad = gradient
            with record_from(least):
                optimizer.step()
    close = {"rtol": 1e-5, "atol": 1e-7} if dtype is np.float32 else {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(*(p.array for p in parameters), **close)
    first, second = (o.state[p] for o, p in zip(optimizers, parameters, strict=True))
    assert set(first) == set(second)
    for key, value in first.items():
        np.testing.assert_allclose(value, second[key], **close)


@needs_numba
@every_kind
def test_parameters_updated_together_are_as_each_alone(name, settings):
    def trained(least):
        draw = np.random.default_rng(3)
        arrays = [draw.standard_normal(shape) for shape in ((6,), (7, 6), (1,), (0, 2), (2, 3, 2))]
        parameters = [Parameter(array) for array in (*arrays, np.asfortranarray(arrays[1]))]
        groups = [{"params": parameters[:4]}, {"params": parameters[4:], "lr": 0.5}]
        optimizer = getattr(optim, name)(groups, **settings)
        for step in range(4):
            for i, p in enumerate(parameters):
                given = minicnn.tensor(draw.standard_normal(p.shape[::-1])).T
                p.grad = None if step == i else given  # so some are a step behind
            before = [p.version[0] for p in parameters]
            with record_from(least):
                optimizer.step()
            stepped = [p.version[0] - old for p, old in zip(parameters, before, strict=True)]
            assert stepped == [int(p.grad is not None) for p in parameters]
        return parameters, [optimizer.state[p] for p in parameters]

    (together, states), (alone, expected) = trained(2), trained(10**9)
    for p, q in zip(together, alone, strict=True):
        np.testing.assert_allclose(p.array, q.array, rtol=1e-12, atol=1e-14)
    for state, right in zip(states, expected, strict=True):
        assert set(state) == set(right)
        for key, value in state.items():
            assert type(value) is type(right[key])
            np.testing.assert_allclose(value, right[key], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "settings"), [
    pytest.param(*kind, marks=[] if kind[0] in ("SGD", "Adam") else pytest.mark.slow_emulation)
    for kind in KINDS.items()
], ids=KINDS)  # fmt: skip
def test_parameters_on_a_card_are_updated_as_on_the_cpu_in_one_launch(card, name, settings):
    def trained(put):
        draw = np.random.default_rng(3)
        shapes = [(6,), (1,), (0, 2), (3, 4, 2, 2)]
        parameters = [Parameter(put(draw.standard_normal(s).astype(np.float32))) for s in shapes]
        optimizer = getattr(optim, name)(parameters, lr=0.1, **settings)
        for _ in range(3):
            for p in parameters:
                p.grad = minicnn.Tensor(put(draw.standard_normal(p.shape).astype(np.float32)))
            before = card.seen("launch").get("change", 0)
            optimizer.step()
        return parameters, card.seen("launch").get("change", 0) - before

    there, launches = trained(lambda array: minicnn.tensor(array, device="cuda").array)
    here, _ = trained(lambda array: array)
    assert launches == (3 if name == "LARS" else 1)
    for p, q in zip(there, here, strict=True):
        np.testing.assert_allclose(p.array.get(), q.array, rtol=1e-6, atol=1e-7)


@needs_numba
def test_a_formula_that_begins_to_keep_something_is_done_for_each():
    def trained(least):
        parameters = [Parameter(np.full(n, 2.0)) for n in (5, 3)]
        optimizer = SGD(parameters, lr=0.1)
        for momentum in (0, 0, 0.9, 0.9):
            optimizer.param_groups[0]["momentum"] = momentum
            for p in parameters:
                p.grad = minicnn.tensor(np.arange(p.array.size) + 1.0)
            with record_from(least):
                optimizer.step()
        return [p.array for p in parameters]

    for found, expected in zip(trained(2), trained(10**9), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_blocks_cover_everything_once(monkeypatch):
    monkeypatch.setattr("minicnn_kernels.pointwise.can_compile", lambda: False)
    w, m = np.zeros((300, 500)), np.zeros((300, 500))
    sizes = []
    for w_piece, dw_piece, part in module.blocks(w, np.ones_like(w), {"step": 1, "m": m}):
        w_piece += dw_piece
        part["m"] += 2
        sizes.append(w_piece.size)
    assert max(sizes) <= module.BLOCK < w.size == sum(sizes)
    assert (w == 1).all()
    assert (m == 2).all()


def test_zero_grad_forgets():
    p, q = parameter(1.0), parameter(1.0)
    given = p.grad = minicnn.tensor(np.array([1.0]))
    optimizer = SGD([p, q])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0]
    assert q.grad is None
    assert given.tolist() == [1.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_closure_recomputes_the_loss():
    p = parameter(3.0)
    optimizer = SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with minicnn.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert p.item() == 0.0


def test_a_step_between_forward_and_backward_is_noticed():
    p = parameter(2.0)
    loss = (p * p).sum()
    p.grad = minicnn.tensor(np.array([1.0]))
    SGD([p], lr=0.1).step()
    with pytest.raises(minicnn.errors.GradientError, match=r"mul.*changed in place"):
        loss.backward()


def test_nan_is_a_value():
    p = parameter(1.0)
    p.grad = minicnn.tensor(np.zeros(1))
    Adam([p], eps=0.0).step()  # 0 / 0, as in PyTorch
    assert np.isnan(p.item())


def test_without_a_formula_there_is_no_step():
    p = parameter(1.0)
    p.grad = minicnn.tensor(np.array([1.0]))
    with pytest.raises(AttributeError, match=r"Optimizer has no update\(\); write one"):
        Optimizer([p], {"lr": 0.1}).step()


# --- state ----------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_state_dict_carries_on_exactly(name, settings, dtype):
    arrays = [np.asarray(array, dtype) for array in (np.ones((2, 3)), 1.5, np.zeros((0, 2)))]
    first_set, second_set = ([Parameter(a.copy()) for a in arrays] for _ in range(2))
    first = getattr(optim, name)(first_set, lr=0.1, **settings)
    steps(first, first_set, 3)
    for p, q in zip(first_set, second_set, strict=True):
        q.data = minicnn.tensor(p.detach())
    second = getattr(optim, name)(second_set, lr=99.0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.param_groups[0]["lr"] == 0.1
    steps(first, first_set, 3, seed=1)
    steps(second, second_set, 3, seed=1)
    for p, q in zip(first_set, second_set, strict=True):
        assert np.array_equal(p.detach().numpy(), q.detach().numpy())
        assert q.dtype == dtype


@pytest.mark.parametrize(
    ("name", "settings"), [(n, s) for n, s in KINDS.items() if n != "LARS"], ids=str
)
def test_a_state_of_pytorch_carries_on(name, settings):
    torch = pytest.importorskip("torch")
    p, q = parameter(1.0, -2.0), torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    ours = getattr(optim, name)([p])
    theirs = getattr(torch.optim, name)([("weight", q)], lr=0.1, **settings)
    for step in range(4):
        q.grad = torch.tensor([1.0, -0.5 * step], dtype=torch.float64)
        if step == 2:
            saved = theirs.state_dict()
            arrays = {
                number: {key: value.numpy().copy() for key, value in state.items()}
                for number, state in saved["state"].items()
            }
            ours.load_state_dict({"state": arrays, "param_groups": saved["param_groups"]})
            p.data = minicnn.tensor(q.detach().numpy().copy())
        if step >= 2:
            p.grad = minicnn.tensor(q.grad.numpy().copy())
            ours.step()
        theirs.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-9)
    assert ours.param_groups[0]["param_names"] == ["weight"]
    assert type(ours.state[p].get("step", 0)) is int


def test_names_are_saved():
    model = minicnn.nn.Linear(2, 1)
    optimizer = SGD(model.named_parameters(), lr=0.1)
    optimizer.add_param_group({"params": [("extra", parameter(1.0))]})
    groups = optimizer.state_dict()["param_groups"]
    assert [group["param_names"] for group in groups] == [["weight", "bias"], ["extra"]]
    assert [group["params"] for group in groups] == [[0, 1], [2]]


def test_loaded_state_is_a_copy():
    p = parameter(1.0)
    optimizer = SGD([p], momentum=0.9)
    p.grad = minicnn.tensor(np.array([1.0]))
    optimizer.step()
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)
    optimizer.step()
    assert saved["state"][0]["momentum_buffer"].tolist() == [1.0]


def test_state_takes_the_type_of_its_parameter():
    p, q = parameter(1.0), Parameter(np.ones(1, np.float32))
    optimizer, other = Adam([p]), Adam([q])
    steps(optimizer, [p], 2)
    other.load_state_dict(optimizer.state_dict())
    assert other.state[q]["exp_avg"].dtype == np.float32
    assert other.state[q]["step"] == 2


def test_settings_may_go_through_json():
    optimizer, other = (Adam([parameter(1.0)], betas=betas) for betas in ((0.5, 0.6), (0.7, 0.8)))
    other.load_state_dict(json.loads(json.dumps(optimizer.state_dict())))
    assert other.param_groups[0]["betas"] == (0.5, 0.6)


def saved_adam(*shape):
    p = Parameter(np.ones(shape))
    optimizer = Adam([("weight", p)], lr=0.7)
    steps(optimizer, [p], 1)
    return optimizer.state_dict()


def without(saved, *keys):
    return {**saved, "state": {0: {k: v for k, v in saved["state"][0].items() if k not in keys}}}


@pytest.mark.parametrize(
    ("kind", "saved", "error", "message"),
    [
        (SGD, {}, ArgumentError, "param_groups and state missing"),
        (
            SGD,
            SGD([parameter(1.0), parameter(2.0)]).state_dict(),
            ArgumentError,
            r"groups of \[2\] parameters do not fit groups of \[1\]",
        ),
        (Adam, saved_adam(3), ShapeError, r"\(fc\): exp_avg has shape \(3,\), .* \(1,\)"),
        (
            Adam,
            without(saved_adam(1), "step", "exp_avg_sq"),
            ArgumentError,
            r"Adam needs step, exp_avg_sq of parameter 0 \(fc\), its saved state has exp_avg$",
        ),
        (
            Adam,
            SGD([parameter(1.0)], momentum=0.9).state_dict(),
            ArgumentError,
            "Adam needs betas, eps, the saved group has only lr, momentum",
        ),
        (optim.NAdam, saved_adam(1), ArgumentError, "NAdam needs momentum_decay"),
        (optim.RAdam, {**saved_adam(1), "state": {4: {}}}, ArgumentError, "state for parameter 4"),
    ],
)
def test_a_wrong_state_changes_nothing(kind, saved, error, message):
    optimizer = kind([("fc", parameter(1.0))], lr=0.1)
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.state_dict()["state"] == {}


def test_an_optimizer_can_be_copied():
    p = parameter(1.0, 2.0)
    optimizer = Adam([p])
    steps(optimizer, [p], 2)
    other = copy.deepcopy(optimizer)
    (q,) = other.param_groups[0]["params"]
    assert q is not p
    steps(optimizer, [p], 2)
    steps(other, [q], 2)
    assert p.tolist() == q.tolist()


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: SGD([]), ArgumentError, "no parameters"),
        (lambda p: SGD([p, p]), ArgumentError, r"shape \(1,\) appears twice"),
        (lambda p: SGD([{"params": [p]}, {"params": [p]}]), ArgumentError, "twice"),
        (lambda p: SGD([p * 2]), ArgumentError, "leaf"),
        (lambda p: SGD(p), DTypeError, "put a single tensor into a list"),
        (lambda p: SGD(3), DTypeError, "must be an iterable .* got int"),
        (lambda p: SGD([3]), DTypeError, "can only optimise tensors, got int"),
        (lambda p: SGD([{"params": [p]}, p]), DTypeError, "a group must be a dict, got Parameter"),
        (lambda p: SGD([{"params": {p}}]), DTypeError, "a set has no order"),
        (lambda p: SGD([{"lr": 0.1}]), ArgumentError, r"a group needs \"params\", got \['lr'\]"),
        (lambda p: SGD([("a", p), parameter(1.0)]), ArgumentError, "only 1 of 2 parameters have"),
        (
            lambda p: SGD([("a", p)]).add_param_group({"params": parameter(1.0)}),
            ArgumentError,
            "of all groups, or of none",
        ),
        (lambda p: SGD([p], lr=-1), ArgumentError, "SGD: lr must be at least 0, got -1"),
        (lambda p: SGD([p], momentum=-1), ArgumentError, "momentum must be at least 0, got -1"),
        (lambda p: SGD([p], weight_decay=-1), ArgumentError, "weight_decay must be at least 0"),
        (lambda p: Adam([p], eps=float("nan")), ArgumentError, "eps must be at least 0, got nan"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make(parameter(1.0))


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (np.ones(3), ShapeError, r"shape \(1,\) has shape \(3,\)"),
        (np.ones(1, np.float32), DTypeError, "type float64 and shape .* gradient of type float32"),
        (np.ones(1, np.int64), DTypeError, "gradient of type int64"),
    ],
)
def test_a_gradient_that_does_not_fit_changes_nothing(gradient, error, message):
    first, second = parameter(1.0), parameter(1.0)
    optimizer = Adam([first, second])
    first.grad, second.grad = minicnn.tensor(np.ones(1)), minicnn.tensor(gradient)
    with pytest.raises(error, match=message):
        optimizer.step()
    assert first.item() == 1.0
    assert optimizer.state_dict()["state"] == {}


def test_integers_cannot_be_stepped():
    p = minicnn.tensor([1, 2])
    optimizer = SGD([p])
    optimizer.step()  # it has no gradient
    p.grad = minicnn.tensor([1, 1])
    with pytest.raises(DTypeError, match="must be of one floating-point type"):
        optimizer.step()


def test_read_only_memory_is_refused():
    array = np.ones(2)
    array.flags.writeable = False
    p = Parameter(array)
    p.grad = minicnn.tensor(np.ones(2))
    with pytest.raises(ArgumentError, match="is read-only"):
        SGD([p]).step()


def test_repr_names_the_settings():
    assert "lr=0.25" in repr(SGD([("w", parameter(1.0))], lr=0.25))
    assert "param_names" not in repr(SGD([("w", parameter(1.0))]))
