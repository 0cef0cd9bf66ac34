"""Who called what, and that the model never notices."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import nn, random
from minicnn.errors import ArgumentError
from minicnn.nn import functional as F
from minicnn.summaries.trace import trace


class Twice(nn.Module):
    """One layer used twice, functions beside it, and a layer that is not used."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.act = nn.ReLU()
        self.layers = nn.ModuleList([nn.BatchNorm2d(2), nn.Dropout()])
        self.unused = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))

    def forward(self, x):
        y = self.act(self.conv(x))
        for layer in self.layers:
            y = layer(y)
        y = F.max_pool2d(self.act(self.conv(y)) + x, 2)
        return {"y": y, "mean": y.mean((2, 3))}


@pytest.fixture
def root():
    return trace(Twice(), [(2, 6, 8)]).root


def described(part):
    return [(p.path, p.kind, p.calls, p.shape) for p in part.walk()]


def test_modules_and_operations_come_in_the_order_of_their_first_call(root):
    assert described(root) == [
        ("", "Twice", 1, (2, 3, 4)),
        ("conv", "Conv2d", 2, (2, 6, 8)),
        ("act", "ReLU", 2, (2, 6, 8)),
        ("layers", "ModuleList", 0, None),
        ("layers.0", "BatchNorm2d", 1, (2, 6, 8)),
        ("layers.1", "Dropout", 1, (2, 6, 8)),
        ("add", "add", 1, (2, 6, 8)),
        ("max_pool", "max_pool", 1, (2, 3, 4)),
        ("sum", "sum", 1, (2,)),
        ("div", "div", 1, (2,)),
        ("unused", "Sequential", 0, None),
    ]


def test_a_layer_used_twice_works_twice_and_is_one_part(root):
    conv = root.children[0]
    assert conv.multiply_adds == 2 * (3 * 3 * 2) * 2 * 6 * 8
    assert conv.made == 2 * (4 * 2 * 6 * 8)
    assert [side.size for side in conv.sides] == [5, 5]  # of the last call


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3)

    def forward(self, x):
        return F.relu(self.conv(x)) * 2


def test_operations_of_a_block_called_twice_are_the_same_rows():
    block = Block()
    root = trace(nn.Sequential(block, block), [(1, 9)]).root
    assert described(root) == [
        ("", "Sequential", 1, (1, 5)),
        ("0", "Block", 2, (1, 5)),
        ("0.conv", "Conv1d", 2, (1, 5)),
        ("0.relu", "relu", 2, (1, 5)),
        ("0.mul", "mul", 2, (1, 5)),
    ]


class Both(nn.Module):
    """A layer called relu, and the function."""

    def __init__(self):
        super().__init__()
        self.relu = nn.Sequential(nn.ReLU())

    def forward(self, x):
        return self.relu(F.relu(F.relu(x)))


def test_an_operation_never_has_the_path_of_a_module():
    root = trace(Both(), [(3,)]).root
    assert [part.path for part in root.walk()] == ["", "relu1", "relu2", "relu", "relu.0"]


def test_the_memory_of_results_and_of_what_is_kept():
    """By hand: what each gradient reads, in units of an image of 8x8, float64."""
    image = 8 * 8 * 8
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),  # reads its input, and the weights, which are there anyway
        nn.Tanh(),  # reads its result
        nn.Conv2d(2, 3, 1),  # reads its input: the same array
        nn.Flatten(),  # a view
        nn.Linear(3 * 64, 1),  # reads its input
        nn.Identity(),
    ).double()
    parts = trace(model, [(1, 8, 8)]).root.children
    assert [part.made for part in parts] == [2 * image, 2 * image, 3 * image, 0, 8, 0]
    assert [part.kept for part in parts] == [image, 2 * image, 0, 0, 3 * image, 0]


def test_what_is_kept_is_what_a_real_graph_keeps(rng):
    """The same model run on numbers: all arrays that its nodes hold, each owner once."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Sigmoid(),
        nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3), nn.LogSoftmax(1),
    ).eval()  # fmt: skip
    found = trace(model, [(2, 12, 12)])
    x = minicnn.tensor(rng.random((1, 2, 12, 12)).astype(np.float32))
    with minicnn.use_algorithms(conv="im2col"):
        waiting, held = [model(x).node], {}
    while waiting:
        node = waiting.pop()
        if not hasattr(node, "saved"):
            continue
        waiting += node.parents
        for value in (*node.saved, *node.settings.values()):
            if isinstance(value, np.ndarray):
                held[value.__array_interface__["data"][0]] = value.nbytes
    for tensor in (*model.parameters(), *model.buffers()):
        held.pop(tensor.array.__array_interface__["data"][0], None)
    assert sum(part.kept for part in found.root.walk()) == sum(held.values())


def test_what_is_frozen_keeps_nothing():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh()).requires_grad_(False)
    assert sum(part.kept for part in trace(model, [(1, 5, 5)]).root.walk()) == 0


# --- the model stays as it was --------------------------------------------------------------------


class Counter(nn.Module):
    """Changes a buffer and draws random numbers in every forward."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", minicnn.ones(1))
        self.weight = nn.Parameter(minicnn.ones(1))

    def forward(self, x):
        self.seen.copy_(self.seen + 1)
        return x * self.weight + minicnn.rand(1)


def state_of(model):
    return (
        [module.training for module in model.modules()],
        [(key, value.array.tolist()) for key, value in model.state_dict().items()],
        [parameter.grad for parameter in model.parameters()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        random.default.get_state(),
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(1, 7, 7), (3, 7, 7), (1, 2, 2)])
def test_the_model_is_left_as_it_was_also_after_an_error(shape, training):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), Counter(), nn.Dropout())
    model[1].eval()
    before = state_of(model)
    if shape == (1, 7, 7):
        trace(model, [shape], training=training)
    else:
        with pytest.raises(
            ArgumentError, match=r"(?s)Sequential does not take .* without the batch"
        ):
            trace(model, [shape], training=training)
    assert state_of(model) == before


def test_training_keeps_a_mask_and_what_batch_norm_reads():
    model = nn.Sequential(
        nn.Conv2d(2, 2, 1), nn.Tanh(), nn.BatchNorm2d(2, affine=False), nn.Dropout()
    )
    _, tanh, norm, dropout = trace(model, [(2, 5, 5)], training=True).root.children
    assert tanh.kept == 4 * 50
    assert norm.kept < 100  # its input is there; moments, and weights that do not learn
    assert dropout.kept == 50  # one byte each


def test_inside_no_grad_the_same_is_found():
    model = Twice()
    with minicnn.no_grad():
        found = trace(model, [(2, 6, 8)])
    assert described(found.root) == described(trace(model, [(2, 6, 8)]).root)
    assert found.root.children[0].kept > 0


def test_weights_that_are_computed_have_no_batch():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 4, 3))
    root = trace(nn.Sequential(layer), [(2, 10)]).root
    shapes = {part.path: part.shape for part in root.walk()}
    assert shapes["0.parametrizations.weight"] == (4, 2, 3)
    assert shapes["0"] == (4, 8)


def test_no_kernel_is_compiled(monkeypatch):
    monkeypatch.setattr("minicnn_kernels.registry.import_module", lambda name: pytest.fail(name))
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(3, 1), nn.Softmax(1), nn.Sigmoid())
    assert trace(model, [(3, 70, 70)]).root.shape == (8, 66, 66)


def test_several_inputs():
    class Two(nn.Module):
        def forward(self, a, b):
            return a @ b

    root = trace(Two(), [(2, 3), (3, 4)]).root
    assert (root.shape, root.children == [], root.multiply_adds) == ((2, 4), True, 24)


def test_words_are_tried_where_numbers_are_refused():
    root = trace(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)), [(6,)]).root
    assert root.shape == (6, 2)
    with pytest.raises(ArgumentError, match=r"embedding: .*float32"):
        trace(nn.Embedding(9, 4), [(6,)], minicnn.float32)
    with pytest.raises(ArgumentError, match=r"embedding: .*float32"):  # what was tried first
        trace(nn.Sequential(nn.Embedding(9, 4), nn.Linear(5, 2)), [(6,)])
