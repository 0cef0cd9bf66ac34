from __future__ import annotations

from collections import OrderedDict

import pytest
from refusals import refused

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


# --- what a list can do ---------------------------------------------------------------------------


def lists(m):
    relu, tanh, linear = m.nn.ReLU, m.nn.Tanh, lambda: m.nn.Linear(1, 1)
    for build in (m.nn.Sequential, lambda *modules: m.nn.ModuleList(modules)):
        grown = build(relu(), tanh())
        grown.insert(1, linear())
        grown.insert(3, linear())
        yield grown
        yield build(relu(), tanh()).extend([linear(), relu()])
        yield build(relu(), tanh()) + build(linear())
        changed = build(relu(), tanh(), linear())
        changed[-1] = relu()
        yield changed
        del changed[0]
        yield changed
        yield changed.append(tanh())
        del changed[1:]
        yield changed
        longer = build(relu(), tanh(), linear())
        yield longer.pop(-2)
        yield longer
        yield longer[1:]
    named = m.nn.Sequential(OrderedDict(a=relu(), b=linear(), c=tanh()))
    yield named[1:]
    del named[0]
    yield named


def names(module):
    return [(name, type(child).__name__) for name, child in module.named_modules()]


def test_modules_are_put_in_and_taken_out_as_in_torch(torch):
    assert [names(x) for x in lists(minicnn)] == [names(x) for x in lists(torch)]


def modules(m):
    return m.nn.Sequential(m.nn.ReLU(), m.nn.Tanh())


REFUSALS = [
    refused("appended", lambda m: modules(m).append(3), "Module"),
    refused("made of", lambda m: m.nn.Sequential(3), "Module"),
    refused("inserted", lambda m: modules(m).insert(0, 3), "Sequential", "Module"),
    refused("extended", lambda m: modules(m).extend([3]), "Module"),
    refused("listed", lambda m: m.nn.ModuleList([3]), "Module"),
    refused("extended by no list", lambda m: m.nn.ModuleList().extend(3), "extend"),
    refused("named", lambda m: m.nn.ModuleDict({"a": 3}), "Module"),
    refused("replaced", lambda m: modules(m).__setitem__(0, 3), "Module"),
    refused("sum", lambda m: modules(m) + 3, "Sequential"),
    refused("replaced beyond", lambda m: modules(m).__setitem__(2, m.nn.ReLU()), "2"),
    refused("inserted beyond", lambda m: modules(m).insert(3, m.nn.ReLU()), "3"),
    refused("removed beyond", lambda m: modules(m).__delitem__(2), "2"),
    refused("found beyond", lambda m: modules(m)[2], "2"),
    refused("found beyond in a list", lambda m: m.nn.ModuleList()[0], "0"),
    refused("parameter beyond", lambda m: m.nn.ParameterList()[0], "0"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refusals(refusal, torch):
    refusal.check(torch)


def test_a_refused_module_changes_nothing():
    model = modules(minicnn)
    with pytest.raises(TypeError):
        model.insert(0, 3)
    assert [name for name, _ in model.named_children()] == ["0", "1"]


# --- parameters -----------------------------------------------------------------------------------


def parameter_lists(m):
    held = m.nn.ParameterList([m.nn.Parameter(m.zeros(1)), m.zeros(2)])
    held.append(m.zeros(3)).extend([m.zeros(4)])
    held[-2] = m.zeros(5)
    return held


def test_a_list_of_parameters(torch):
    ours, theirs = parameter_lists(minicnn), parameter_lists(torch)
    for held in (ours, theirs):
        assert len(held) == 4
        assert all(parameter.requires_grad for parameter in held)
        assert [len(parameter) for parameter in held[1:3]] == [2, 5]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [len(p) for p in ours.parameters()] == [len(p) for p in theirs.parameters()]
    assert repr(ours[:1]) == "ParameterList((0): Parameter of shape (1,))"
    with pytest.raises(TypeError, match="parameter"):
        ours.append(3)


def test_a_dict_of_parameters(torch):
    for m in (torch, minicnn):
        held = m.nn.ParameterDict({"a": m.zeros(1), "b": m.nn.Parameter(m.zeros(2))})
        held["c"] = m.zeros(3)
        held.update({"a": m.zeros(4)})
        assert list(held) == list(held.keys()) == ["a", "b", "c"]
        assert [len(value) for value in held.values()] == [4, 2, 3]
        assert [len(value) for _, value in held.items()] == [4, 2, 3]
        assert len(held.pop("b")) == 2
        del held["c"]
        assert "a" in held
        assert "c" not in held
        assert len(held) == 1
        assert list(held.state_dict()) == ["a"]
        assert all(parameter.requires_grad for parameter in held.parameters())
