from __future__ import annotations

import pytest

import minicnn
from minicnn import nn


class Add(nn.Module):
    def __init__(self, amount):
        super().__init__()
        self.amount = amount

    def forward(self, x):
        return x * 10 + self.amount


# --- Sequential -----------------------------------------------------------------------------------


def test_sequential_calls_in_order():
    model = nn.Sequential(Add(1), Add(2), Add(3))
    assert model(minicnn.tensor(0)).item() == 123


def test_sequential_of_nothing_returns_its_input():
    x = minicnn.ones(2)
    assert nn.Sequential()(x) is x


def test_sequential_with_names():
    model = nn.Sequential({"first": Add(1), "second": Add(2)})
    assert model(minicnn.tensor(0)).item() == 12
    assert [name for name, _ in model.named_children()] == ["first", "second"]
    assert model.second.amount == 2


def test_a_module_named_twice_runs_twice():
    shared = Add(1)
    model = nn.Sequential(shared, Add(2), shared)
    assert model(minicnn.tensor(0)).item() == 121
    assert len(model) == 3
    assert [module is shared for module in model] == [True, False, True]
    assert len(list(model.children())) == 2


def test_a_replaced_module_keeps_its_place():
    model = nn.Sequential({"first": Add(1), "second": Add(2), "third": Add(3)})
    model.first = Add(9)
    assert model(minicnn.tensor(0)).item() == 923
    model.register_module("second", Add(8))
    assert model(minicnn.tensor(0)).item() == 983


def test_sequential_grows():
    model = nn.Sequential(Add(1))
    assert model.append(Add(2)) is model
    assert model(minicnn.tensor(0)).item() == 12
    assert [name for name, _ in model.named_children()] == ["0", "1"]


# --- what both are --------------------------------------------------------------------------------


@pytest.fixture(
    params=[lambda m: nn.Sequential(*m), nn.ModuleList], ids=["Sequential", "ModuleList"]
)
def made(request):
    modules = [Add(1), Add(2), Add(3)]
    return request.param(modules), modules


def test_positions(made):
    container, modules = made
    assert len(container) == 3
    assert list(container) == modules
    assert [container[i] for i in (0, 2, -1, -3)] == [
        modules[0],
        modules[2],
        modules[2],
        modules[0],
    ]
    for position in (3, -4):
        with pytest.raises(IndexError):
            container[position]


def test_slices_hold_the_same_modules(made):
    container, modules = made
    for part in (slice(1, None), slice(None, None, 2), slice(3, None), slice(None, None, -1)):
        chosen = container[part]
        assert type(chosen) is type(container)
        assert list(chosen) == modules[part]


def test_modules_are_registered_under_their_numbers(made):
    container, modules = made
    assert list(container.named_children()) == [(str(i), m) for i, m in enumerate(modules)]


def test_a_slice_of_a_sequential_keeps_the_names(torch):
    def names(library):
        model = library.Sequential(*(library.Linear(2, 2) for _ in range(3)))
        return list(model[1:].state_dict())

    assert names(nn) == names(torch.nn)


# --- ModuleList -----------------------------------------------------------------------------------


def test_module_list_grows():
    modules = nn.ModuleList()
    assert modules.append(Add(1)) is modules
    assert modules.extend(Add(i) for i in (2, 3)) is modules
    assert [module.amount for module in modules] == [1, 2, 3]
    assert [name for name, _ in modules.named_children()] == ["0", "1", "2"]


def test_a_module_list_cannot_be_called():
    with pytest.raises(AttributeError, match=r"ModuleList has no forward\(\)"):
        nn.ModuleList([Add(1)])(minicnn.ones(1))


def test_repr():
    model = nn.Sequential(
        {"a": nn.Linear(2, 3, bias=False), "b": nn.Sequential(nn.ReLU(), nn.Tanh())}
    )
    assert repr(model) == (
        "Sequential(\n"
        "  (a): Linear(in_features=2, out_features=3, bias=False)\n"
        "  (b): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Tanh()\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.ModuleList([nn.ReLU()])) == "ModuleList(\n  (0): ReLU()\n)"


def test_module_dict_is_a_dictionary(torch):
    found = []
    for library in (nn, torch.nn):
        modules = library.ModuleDict({"b": library.ReLU(), "a": library.Linear(2, 3)})
        modules["c"] = library.Tanh()
        modules.update([("b", library.Sigmoid())])
        states = list(modules.state_dict())
        popped = type(modules.pop("c")).__name__
        del modules["b"]
        found.append([list(modules), len(modules), "a" in modules, "b" in modules, popped, states])
        found[-1] += [repr(modules), [type(m).__name__ for m in modules.values()]]
        assert [name for name, _ in modules.items()] == list(modules.keys())
        modules.clear()
        assert len(modules) == 0
    assert found[0] == found[1]
