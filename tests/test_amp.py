"""Mixed precision: what autocast casts, and how a loss is scaled, beside torch.amp."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import minicnn
from minicnn import amp, nn
from minicnn.arguments import Calls, noting
from minicnn.differentiable import Op
from minicnn.errors import ArgumentError, DTypeError, GradientError
from minicnn.models.lenet import lenet5
from minicnn.nn import functional as F
from minicnn.optim import SGD, Adam
from minicnn.storage import bfloat16

HALVES = ["float16", "bfloat16"]


def autocast(name="float16"):
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    return minicnn.autocast("cpu", dtype=getattr(minicnn, name))


def network():
    minicnn.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3),
        nn.ReLU(), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    x = minicnn.tensor(rng.standard_normal((5, 1, 10, 10)).astype(np.float32))
    return x, minicnn.tensor(rng.integers(0, 3, 5))


# --- autocast -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HALVES)
def test_products_and_what_follows_have_16_bits_losses_32(name, batch, seeded):
    x, t = batch
    net = network()
    seen = Calls()
    with autocast(name), noting(seen):
        loss = F.cross_entropy(net(x), t)
    kinds = [(call.op.name, str(call.result.dtype)) for call in seen]
    assert [k for k in kinds if k[0] != "cast" and "float" in k[1]][:9] == [
        ("conv_bias", name), ("normalize_groups", name), ("relu", name),
        ("take_winners", name), ("conv_bias", name), ("relu", name), ("view_as", name),
        ("affine", name), ("mean_cross_entropy", "float32"),
    ]  # fmt: skip
    assert loss.dtype == np.float32
    loss.backward()
    assert {str(p.grad.dtype) for p in net.parameters()} == {"float32"}
    assert {str(p.dtype) for p in net.parameters()} == {"float32"}


@pytest.mark.parametrize("name", HALVES)
def test_values_and_gradients_are_near_those_of_float32(name, batch, seeded):
    x, t = batch
    found = []
    for enabled in (False, True):
        net = network()
        with minicnn.autocast("cpu", dtype=getattr(minicnn, name), enabled=enabled):
            y = net(x)
            loss = F.cross_entropy(y, t)
        loss.backward()
        found.append([y.detach().float().numpy(), *(p.grad.numpy() for p in net.parameters())])
    bound = {"float16": 1e-2, "bfloat16": 8e-2}[name]
    for exact, rounded in zip(*found, strict=True):
        error = np.linalg.norm(rounded - exact)
        assert 0 < error < bound * max(np.linalg.norm(exact), 1e-2)


def test_it_computes_what_torch_computes(torch):
    """The types where both lists agree; the values to a few roundings of bfloat16."""
    pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((2, 3, 6, 6), (4, 3, 3, 3), (5, 64), (5,))
    ]

    def logits(m, functional):
        x, w, v, b = (m.tensor(a, requires_grad=True) for a in arrays)
        with m.autocast("cpu", dtype=m.bfloat16):
            hidden = functional.relu(functional.conv2d(x, w))
            y = functional.linear(hidden.flatten(1), v, b)
            z = hidden + m.ones(1, dtype=m.float32)
        y.backward(m.ones_like(y))
        kinds = [str(t.dtype).removeprefix("torch.") for t in (hidden, y, z)]
        return kinds, [t.float().numpy() for t in (y.detach(), w.grad, v.grad, b.grad)]

    (kinds, ours), (their_kinds, theirs) = logits(minicnn, F), logits(torch, torch.nn.functional)
    assert kinds == their_kinds == ["bfloat16", "bfloat16", "float32"]
    for a, b in zip(ours, theirs, strict=True):
        assert np.linalg.norm(a - b) < 1e-2 * np.linalg.norm(b)


def test_types_meet_in_float32():
    x = minicnn.ones(2, 2)
    with autocast():
        product = x @ x
        assert (product.dtype, (product + product).dtype) == (np.float16, np.float16)
        assert (product + x).dtype == np.float32
        assert minicnn.cat([product, x]).dtype == np.float32
        assert product.sum().dtype == product.exp().dtype == np.float32


def test_arrays_beside_tensors_are_brought_along():
    x = minicnn.ones(2, 2)
    weights = np.ones((2, 2), np.float16)
    with autocast():
        assert ((x @ x) * weights).dtype == np.float16
        assert (x * weights).dtype == np.float32
        assert F.cross_entropy(x @ x, minicnn.tensor([0, 1]), minicnn.ones(2)).dtype == np.float32


def test_float64_and_integers_are_left_alone():
    x = minicnn.ones(2, 2, dtype=minicnn.float64)
    with autocast():
        assert (x @ x).dtype == np.float64
        assert (minicnn.tensor([1, 2]) * 2).dtype == np.int64


def test_blocks_nest_and_can_be_switched_off():
    x = minicnn.ones(2, 2)
    with autocast():
        with minicnn.autocast("cpu", enabled=False):
            assert (x @ x).dtype == np.float32
        assert (x @ x).dtype == np.float16
    assert (x @ x).dtype == np.float32


def test_a_block_for_cards_leaves_the_cpu_alone():
    x = minicnn.ones(2, 2)
    with minicnn.autocast("cuda"):
        assert (x @ x).dtype == np.float32


def test_on_a_card_products_have_16_bits(card):
    x = minicnn.ones(2, 2).cuda()
    with minicnn.autocast("cuda"):
        y = minicnn.nn.functional.linear(x, x)
    assert (y.dtype, y.device) == (np.float16, "cuda:0")
    assert y.cpu().tolist() == [[2, 2], [2, 2]]


def test_bfloat16_stays_so_on_a_card(card):
    """Kernels of their own read and write it, and give what the CPU gives."""
    pytest.importorskip("ml_dtypes")
    found = []
    for device in ("cpu", "cuda"):
        net = network().to(device=device)
        rng = np.random.default_rng(3)
        x = minicnn.tensor(rng.standard_normal((5, 1, 10, 10)).astype(np.float32), device=device)
        with minicnn.autocast(device, dtype=minicnn.bfloat16):
            y = net(x)
            loss = F.cross_entropy(y, minicnn.tensor([0, 1, 2, 1, 0], device=device))
        loss.backward()
        assert y.dtype == minicnn.bfloat16
        last = net[7].weight.grad
        found.append(
            [t.detach().cpu().float().numpy() for t in (y, loss, net[4].weight.grad, last)]
        )
    for ours, theirs in zip(*found, strict=True):
        assert np.linalg.norm(ours - theirs) <= 4e-3 * np.linalg.norm(ours)
    launched = " ".join(card.seen("launch"))
    for kernel in ("conv_bf16_arrays", "conv_weight_bf16", "moments_bf16", "scale_bf16_f32",
                   "products_bf16_f32", "max_winners_bf16", "route_to_winners_bf16"):  # fmt: skip
        assert kernel in launched


def test_a_card_without_kernels_for_bfloat16_computes_in_float32(card):
    pytest.importorskip("ml_dtypes")
    card.machine.compute_capability = (7, 5)
    x = minicnn.ones(2, 4).cuda().bfloat16()
    assert (x @ x.mT).cpu().tolist() == [[4, 4], [4, 4]]
    assert "bf16" not in " ".join(card.seen("launch"))


def test_a_function_can_be_decorated():
    @autocast()
    def product(x):
        """Say what it does."""
        return x @ x

    assert product(minicnn.ones(2, 2)).dtype == np.float16
    assert product.__doc__ == "Say what it does."


def test_without_autocast_types_still_must_agree():
    x, w = minicnn.ones(1, 1, 3, 3, dtype=minicnn.float16), minicnn.ones(1, 1, 3, 3)
    with pytest.raises(DTypeError, match="needs one element type"):
        F.conv2d(x, w)
    with autocast():
        assert F.conv2d(x, w).item() == 9
        with pytest.raises(DTypeError, match="needs one element type"):
            F.conv2d(x, w.double())


def test_what_is_no_device_or_type_is_refused():
    with pytest.raises(ArgumentError, match='device_type is "cpu" or "cuda", got \'tpu\''):
        minicnn.autocast("tpu")
    with pytest.raises(ArgumentError, match="dtype is float16 or bfloat16, got float32"):
        minicnn.autocast("cpu", dtype=minicnn.float32)


def test_the_usual_types_are_pytorchs(torch):
    pytest.importorskip("ml_dtypes")
    for device in ("cpu", "cuda"):
        usual = str(torch.get_autocast_dtype(device)).removeprefix("torch.")
        assert str(minicnn.autocast(device).dtype) == usual


def test_the_table_names_operations():
    families = [importlib.import_module(f"minicnn.ops.{name}") for name in (
        "activation", "arithmetic", "convolution", "ctc", "elementwise", "linear", "loss", "norm",
        "normalization", "rearrange", "reduce", "scan", "special",
    )]  # fmt: skip
    known = {v.name for family in families for v in vars(family).values() if isinstance(v, Op)}
    assert set(amp.PRECISION) - known == set()


# --- scaling --------------------------------------------------------------------------------------


def parameter(*values):
    return nn.Parameter(minicnn.tensor(values))


def with_gradient(weight, *values):
    weight.grad = minicnn.tensor(values, dtype=minicnn.float32)
    return weight


def test_gradients_come_back_unscaled():
    w = parameter(1.0, 2.0)
    optimizer = SGD([w], lr=1.0)
    scaler = amp.GradScaler(init_scale=1024.0)
    scaled = scaler.scale((w * w).sum())
    assert scaled.item() == 5 * 1024
    scaled.backward()
    assert w.grad.tolist() == [2048, 4096]
    scaler.unscale_(optimizer)
    assert w.grad.tolist() == [2, 4]
    scaler.step(optimizer)
    assert w.tolist() == [-1, -2]


SEQUENCES = {
    "grow after three": [1, 1, 1, 1, 1, 1, 1],
    "overflow at the start": [np.inf, 1, 1, np.nan, 1, 1, 1, 1],
    "overflow before growth": [1, 1, np.inf, 1, 1, 1],
    "down and down": [np.nan] * 5,
}


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
@pytest.mark.parametrize("capturable", [False, True])
def test_scale_and_weights_move_as_in_torch(torch, sequence, capturable):
    settings = {"init_scale": 8.0, "growth_factor": 4.0, "growth_interval": 3}
    ours, theirs = (amp.GradScaler(**settings, capturable=capturable),
                    torch.amp.GradScaler("cpu", **settings))  # fmt: skip
    w, v = parameter(1.0, 2.0), torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = SGD([w], lr=0.1, momentum=0.5)
    their_optimizer = torch.optim.SGD([v], lr=0.1, momentum=0.5)
    theirs.scale(torch.ones(()))
    for number in sequence:
        with_gradient(w, 16.0, number)
        v.grad = torch.tensor([16.0, number])
        for scaler, stepped in ((ours, optimizer), (theirs, their_optimizer)):
            scaler.step(stepped)
            scaler.update()
        assert ours.get_scale() == theirs.get_scale()
        np.testing.assert_allclose(w.detach().numpy(), v.detach().numpy(), atol=1e-6)
    assert ours.state_dict() == theirs.state_dict()


def test_one_overflow_among_several_optimisers_shrinks_the_scale():
    a, b = with_gradient(parameter(1.0), 1.0), with_gradient(parameter(1.0), np.inf)
    first, second = SGD([a], lr=1.0), SGD([b], lr=1.0)
    scaler = amp.GradScaler(init_scale=2.0)
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert (a.item(), b.item(), scaler.get_scale()) == (0.5, 1.0, 1.0)


def test_a_scale_that_would_overflow_stays():
    w = with_gradient(parameter(1.0), 1.0)
    scaler = amp.GradScaler(init_scale=3e38, growth_interval=1)
    scaler.step(SGD([w], lr=0.0))
    scaler.update()
    assert scaler.get_scale() == pytest.approx(3e38)


def test_calls_out_of_order_are_refused():
    w = with_gradient(parameter(1.0), 1.0)
    optimizer, scaler = SGD([w], lr=0.1), amp.GradScaler()
    with pytest.raises(GradientError, match=r"update: call step\(optimizer\) before"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(GradientError, match="unscale_: has been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(GradientError, match="step: has been called"):
        scaler.step(optimizer)
    with pytest.raises(GradientError, match=r"unscale_: step\(\) has been called"):
        scaler.unscale_(optimizer)
    scaler.update()
    scaler.step(optimizer)


def test_switched_off_it_does_nothing():
    w = with_gradient(parameter(1.0), 1.0)
    optimizer, scaler = SGD([w], lr=1.0), amp.GradScaler(enabled=False)
    loss = w * 1
    assert scaler.scale(loss) is loss
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert (w.item(), scaler.get_scale(), scaler.state_dict()) == (0, 1, {})
    assert not scaler.is_enabled()


def test_the_state_can_be_saved_and_a_damaged_one_changes_nothing():
    first, second = amp.GradScaler(init_scale=4.0, growth_interval=5), amp.GradScaler()
    w = with_gradient(parameter(1.0), 1.0)
    first.step(SGD([w], lr=0.1))
    first.update()
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    with pytest.raises(ArgumentError, match="lacks growth_factor, scale"):
        second.load_state_dict({"backoff_factor": 0.1, "growth_interval": 1, "_growth_tracker": 0})
    assert second.state_dict() == first.state_dict()
    first.update(new_scale=32.0)
    assert first.get_scale() == 32


@pytest.mark.parametrize(
    "wrong",
    [{"growth_factor": 1.0}, {"backoff_factor": 1.5}, {"init_scale": 0}, {"growth_interval": 0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ArgumentError, match=f"GradScaler.*{next(iter(wrong))}"):
        amp.GradScaler(**wrong)


@pytest.mark.parametrize("capturable", [False, True])
def test_on_a_card_it_waits_once_or_never(card, capturable):
    w = minicnn.ones(3).cuda().requires_grad_()
    optimizer, scaler = Adam([w], lr=0.5), amp.GradScaler(capturable=capturable)
    for grows in (True, False):
        loss = scaler.scale((w * w).sum() * (1 if grows else np.inf))
        card.machine.seen.clear()
        loss.backward()
        scaler.step(optimizer)
        scaler.update()
        waited = card.seen("copy").get("get", 0) + sum(card.seen("wait").values())
        assert waited == (0 if capturable else 1)
        optimizer.zero_grad()
    assert w.detach().cpu().tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert scaler.get_scale() == 32768


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HALVES)
def test_lenet_learns_in_mixed_precision(name, seeded):
    rng = np.random.default_rng(0)
    t = minicnn.tensor(np.arange(20) % 4)
    x = rng.standard_normal((20, 1, 32, 32)).astype(np.float32) * 0.3
    for i in range(20):
        x[i, 0, 8 * (i % 4) : 8 * (i % 4) + 8] += 1.5
    x = minicnn.tensor(x)
    net = lenet5(num_classes=4, modern=True)
    optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
    scaler = amp.GradScaler(enabled=name == "float16")
    for _ in range(12):
        optimizer.zero_grad()
        with autocast(name):
            loss = F.cross_entropy(net(x), t)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert loss.item() < 0.2
    assert {str(p.dtype) for p in net.parameters()} == {"float32"}


def test_a_gradient_too_small_for_float16_survives_by_scaling():
    w = parameter(1.0)
    found = []
    for scale in (1.0, 2.0**16):
        scaler = amp.GradScaler(init_scale=scale)
        with autocast():
            loss = ((w.view(1, 1) @ minicnn.tensor([[1e-3]])) * 1e-6).sum() * 0.1
        w.grad = None
        scaler.scale(loss).backward()
        scaler.unscale_(SGD([w], lr=1.0))
        found.append(w.grad.item())
    assert found[0] == 0
    assert found[1] == pytest.approx(1e-10, rel=0.05)


def test_bfloat16_can_be_named():
    pytest.importorskip("ml_dtypes")
    assert minicnn.bfloat16 == bfloat16()


def test_a_step_with_scaling_is_captured_and_replayed(card):
    rng = np.random.default_rng(2)
    batches = [rng.standard_normal((4, 3)).astype(np.float32) for _ in range(8)]
    batches[5][0, 0] = np.inf  # this step must be skipped, in the graph as well
    found = []
    for replayed in (False, True):
        minicnn.manual_seed(1)
        layer = nn.Linear(3, 2).to(device="cuda")
        optimizer = SGD(layer.parameters(), lr=0.1, momentum=0.9)
        scaler = amp.GradScaler(init_scale=2.0**10, growth_interval=4, capturable=True)

        def step(x, layer=layer, optimizer=optimizer, scaler=scaler):
            optimizer.zero_grad()
            with minicnn.autocast("cuda"):
                loss = (layer(x) ** 2).mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            return loss

        call = minicnn.cuda.capture(step) if replayed else step
        for batch in batches:
            call(minicnn.tensor(batch, device="cuda"))
        found.append([scaler.get_scale(), *(p.detach().cpu().numpy() for p in layer.parameters())])
    assert ("launch", "graph") in card.machine.seen
    eager, graph = found
    assert eager[0] == graph[0] == 2.0**10
    for ours, theirs in zip(eager[1:], graph[1:], strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_array_equal(ours, theirs)
