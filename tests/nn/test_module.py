from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import minicnn
from minicnn import nn
from minicnn.errors import DeviceError, DTypeError, GradientError, ShapeError
from minicnn.nn import Module, Parameter
from minicnn.tensor import Tensor


class Block(Module):
    """Parameters, a buffer and two submodules, in an order that is not alphabetical."""

    def __init__(self):
        super().__init__()
        self.scale = Parameter(minicnn.ones(3))
        self.second = nn.Linear(3, 4)
        self.register_buffer("mean", minicnn.zeros(3))
        self.first = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 1, bias=False))
        self.bias = Parameter(minicnn.zeros(3))

    def forward(self, x):
        return self.second(x * self.scale + self.bias)


def torch_block(torch):
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(3))
            self.second = torch.nn.Linear(3, 4)
            self.register_buffer("mean", torch.zeros(3))
            self.first = torch.nn.Sequential(
                torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.Conv2d(2, 2, 1, bias=False)
            )
            self.bias = torch.nn.Parameter(torch.zeros(3))

    return Block()


KEYS = [
    "scale", "bias", "mean", "second.weight", "second.bias", "first.0.weight", "first.0.bias",
    "first.0.running_mean", "first.0.running_var", "first.0.num_batches_tracked", "first.2.weight",
]  # fmt: skip


# --- registering ----------------------------------------------------------------------------------


def test_the_names_and_their_order_are_those_of_torch(torch):
    ours, theirs = Block(), torch_block(torch)
    assert list(ours.state_dict()) == list(theirs.state_dict()) == KEYS
    for walk in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        settings = {} if walk == "named_children" else {"prefix": "net"}
        names = [name for name, _ in getattr(ours, walk)(**settings)]
        assert names == [name for name, _ in getattr(theirs, walk)(**settings)]


def test_iteration_without_names():
    block = Block()
    assert [id(p) for p in block.parameters()] == [id(p) for _, p in block.named_parameters()]
    assert [id(b) for b in block.buffers()] == [id(b) for _, b in block.named_buffers()]
    assert next(block.modules()) is block
    assert list(block.children()) == [block.second, block.first]


def test_without_recursion_only_what_is_directly_there():
    block = Block()
    assert [name for name, _ in block.named_parameters(recurse=False)] == ["scale", "bias"]
    assert [name for name, _ in block.named_buffers(recurse=False)] == ["mean"]
    assert len(list(block.parameters(recurse=False))) == 2
    assert len(list(block.buffers(recurse=False))) == 1


def test_attributes_are_found_and_missing_ones_named():
    block = Block()
    assert isinstance(block.scale, Parameter)
    assert block.mean is dict(block.named_buffers())["mean"]
    assert block.first[0] is block.first.get_submodule("0")
    with pytest.raises(AttributeError, match="Block has no attribute 'third'"):
        _ = block.third
    assert {"scale", "mean", "first", "forward"} <= set(dir(block))


def test_a_plain_tensor_is_a_plain_attribute():
    block = Block()
    block.note = minicnn.ones(2)
    assert list(block.state_dict()) == KEYS


def test_a_replaced_member_keeps_its_place(torch):
    ours, theirs = Block(), torch_block(torch)
    ours.second, theirs.second = nn.Linear(3, 9), torch.nn.Linear(3, 9)
    ours.scale, theirs.scale = Parameter(minicnn.zeros(3)), torch.nn.Parameter(torch.zeros(3))
    ours.mean, theirs.mean = minicnn.ones(3), torch.ones(3)
    assert list(ours.state_dict()) == list(theirs.state_dict()) == KEYS
    assert ours.state_dict()["second.weight"].shape == (9, 3)
    assert ours.state_dict()["mean"].tolist() == [1.0, 1.0, 1.0]


def test_a_member_may_change_its_kind():
    block = Block()
    block.mean = Parameter(minicnn.zeros(3))
    assert "mean" not in dict(block.named_buffers())
    block.scale = nn.ReLU()
    assert "scale" in dict(block.named_children())
    assert "scale" not in dict(block.named_parameters())
    block.plain = 3
    block.plain = Parameter(minicnn.zeros(1))
    assert isinstance(block.plain, Parameter)


@pytest.mark.parametrize("name", ["scale", "second"])
@pytest.mark.parametrize("value", [3, minicnn.ones(3)], ids=["number", "tensor"])
def test_a_member_cannot_be_overwritten_by_something_else(name, value):
    block = Block()
    with pytest.raises(TypeError, match=f"Block.{name} is registered"):
        setattr(block, name, value)
    assert list(block.state_dict()) == KEYS


def test_a_buffer_must_be_a_tensor():
    block = Block()
    for write in (lambda: setattr(block, "mean", 3), lambda: block.register_buffer("other", "x")):
        with pytest.raises(DTypeError, match="must be a Tensor"):
            write()
    assert list(block.state_dict()) == KEYS


def test_a_buffer_made_of_an_array_is_a_tensor():
    loss = nn.CrossEntropyLoss(weight=np.float32([1, 2]))
    assert isinstance(loss.weight, Tensor)
    assert loss.state_dict()["weight"].tolist() == [1.0, 2.0]


def test_none_holds_a_place_without_a_value(torch):
    block = Block()
    block.bias = None
    block.register_parameter("extra", None)
    block.register_buffer("spare", None)
    block.register_module("later", None)
    assert block.bias is block.extra is block.spare is block.later is None
    assert list(block.state_dict()) == [key for key in KEYS if key != "bias"]
    assert [name for name, _ in block.named_children()] == ["second", "first"]
    block.extra = Parameter(minicnn.ones(1))
    assert "extra" in block.state_dict()


def test_members_can_be_deleted():
    block = Block()
    block.note = 1
    for name in ("scale", "mean", "first", "note"):
        delattr(block, name)
        assert not hasattr(block, name)
    assert list(block.state_dict()) == ["bias", "second.weight", "second.bias"]
    with pytest.raises(AttributeError):
        del block.nothing


def test_super_init_must_come_first():
    class Hasty(Module):
        def __init__(self):
            self.weight = Parameter(minicnn.ones(1))

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Hasty()


def test_add_module_is_register_module():
    block = Block()
    block.add_module("tail", nn.ReLU())
    assert isinstance(block.tail, nn.ReLU)


def test_get_submodule():
    block = Block()
    assert block.get_submodule("") is block
    assert block.get_submodule("first.2") is block.first[2]
    for name in ("third", "first.9", "first.0.x", "scale"):
        with pytest.raises(AttributeError, match=f"no submodule '{name}'"):
            block.get_submodule(name)


# --- shared members -------------------------------------------------------------------------------


def shared(library):
    model = library.Module()
    model.left = library.Linear(2, 2)
    model.right = model.left
    model.tail = library.Sequential(library.BatchNorm2d(2), model.left)
    model.tied = model.left.weight
    return model


def test_what_is_shared_comes_once_and_is_stored_under_every_name(torch):
    ours, theirs = shared(nn), shared(torch.nn)
    for walk in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [n for n, _ in getattr(ours, walk)()] == [n for n, _ in getattr(theirs, walk)()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert len(list(ours.parameters())) == 4
    assert len(ours.state_dict()) == 12


def test_apply_meets_children_before_parents_and_direct_children_once():
    model = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh())
    model.again = model[1]
    met = []
    assert model.apply(lambda module: met.append(type(module).__name__)) is model
    assert met == ["ReLU", "Sequential", "Tanh", "Sequential"]


# --- calling and hooks ----------------------------------------------------------------------------


def test_a_module_without_forward_cannot_be_called():
    with pytest.raises(AttributeError, match=r"Empty has no forward\(\)"):
        type("Empty", (Module,), {})()(1)


def test_arguments_are_passed_on():
    class Scale(Module):
        def forward(self, x, y, *, factor=1):
            return (x + y) * factor

    assert Scale()(1, 2, factor=10) == 30


def test_hooks_see_and_replace():
    layer, seen = nn.Identity(), []
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(("before", module, inputs)))
    layer.register_forward_pre_hook(lambda module, inputs: inputs[0] + 1)
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 10,))
    layer.register_forward_hook(
        lambda module, inputs, result: seen.append(("after", inputs, result))
    )
    layer.register_forward_hook(lambda module, inputs, result: result * 2)
    assert layer(1) == 40
    assert seen == [("before", layer, (1,)), ("after", (20,), 20)]


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_removed_hooks_are_not_called(register):
    layer, seen = nn.Identity(), []

    def hook(*arguments):
        seen.append(arguments)

    handles = [getattr(layer, register)(hook) for _ in range(2)]
    layer(1)
    handles[0].remove()
    layer(1)
    handles[1].remove()
    handles[1].remove()
    layer(1)
    assert len(seen) == 3


def test_a_hook_may_remove_itself_while_it_runs():
    layer, seen = nn.Identity(), []

    def once(*arguments):
        seen.append(1)
        handle.remove()

    handle = layer.register_forward_hook(once)
    layer.register_forward_hook(lambda *_: seen.append(2))
    layer(1)
    layer(1)
    assert seen == [1, 2, 2]


def test_a_hook_lives_for_a_block():
    layer, seen = nn.Identity(), []
    with layer.register_forward_hook(lambda *_: seen.append(1)):
        layer(1)
    layer(1)
    assert seen == [1]


# --- state ----------------------------------------------------------------------------------------


def test_state_dict_shares_memory_and_carries_no_gradient():
    block = Block()
    state = block.state_dict()
    assert isinstance(state, OrderedDict)
    for name, tensor in [*block.named_parameters(), *block.named_buffers()]:
        assert state[name].array is tensor.array
        assert type(state[name]) is Tensor
        assert not state[name].requires_grad


@pytest.mark.parametrize("prefix", ["net", "net."])
def test_state_dict_with_a_prefix(prefix):
    assert list(Block().state_dict(prefix=prefix)) == [f"net.{key}" for key in KEYS]


def filled(value=7):
    return {key: minicnn.zeros_like(tensor) + value for key, tensor in Block().state_dict().items()}


def contents(block):
    return {key: tensor.tolist() for key, tensor in block.state_dict().items()}


@pytest.mark.parametrize("convert", [
    lambda t: t, lambda t: t.array, lambda t: Parameter(t) if t.dtype.kind == "f" else t,
    lambda t: t.array.astype("float64") if t.dtype.kind == "f" else t.array.astype("int32"),
], ids=["tensors", "arrays", "parameters", "other widths"])  # fmt: skip
def test_load_state_dict_copies_everything(convert):
    block, state = Block(), {key: convert(tensor) for key, tensor in filled().items()}
    parameters = [*block.parameters()]
    missing, unexpected = block.load_state_dict(state)
    assert (missing, unexpected) == ([], [])
    assert contents(block) == {key: tensor.tolist() for key, tensor in filled().items()}
    assert all(a is b for a, b in zip(block.parameters(), parameters, strict=True))
    assert all(p.dtype == np.float32 and p.requires_grad for p in parameters)
    assert not np.shares_memory(block.scale.array, getattr(state["scale"], "array", state["scale"]))


def test_loading_is_a_change_in_place_that_older_graphs_notice():
    block = Block()
    loss = block(minicnn.ones(1, 3)).sum()
    block.load_state_dict(filled())
    with pytest.raises(GradientError, match="changed in place"):
        loss.backward()


def change(**changes):
    state = filled()
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


ALWAYS, IF_STRICT = (True, False), (True,)
WRONG = {
    "size": (
        ALWAYS,
        change(scale=minicnn.ones(4)),
        [r"size mismatch  scale +\(4,\) +\(3,\)"],
    ),
    "broadcastable size": (
        ALWAYS,
        change(scale=minicnn.ones(1)),
        [r"size mismatch  scale +\(1,\) +\(3,\)"],
    ),
    "type": (
        ALWAYS,
        change(first__0__num_batches_tracked=minicnn.tensor(2.5)),
        [r"type mismatch  first.0.num_batches_tracked +float32 +int64"],
    ),
    "no array": (ALWAYS, {**filled(), "scale": [1.0]}, [r"no array +scale +list +\(3,\)"]),
    "missing": (
        IF_STRICT,
        change(bias=None, second__weight=None),
        [r"missing +bias +\(3,\)", "missing +second.weight", "2 of 11 keys"],
    ),
    "unexpected": (IF_STRICT, change(third=minicnn.ones(1)), [r"unexpected +third +\(1,\)\n?$"]),
    "everything at once": (
        IF_STRICT,
        change(scale=minicnn.ones(4), mean=np.ones((3, 1)), bias=None, extra=minicnn.ones(1)),
        ["4 of", r"scale +\(4,\)", r"mean +\(3, 1\)", "missing +bias", "unexpected +extra"],
    ),
}


@pytest.mark.parametrize(("strictness", "state", "texts"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_listed_and_nothing_copied(strictness, state, texts):
    block = Block()
    before = contents(block)
    for strict in strictness:
        with pytest.raises(ShapeError, match=r"\d of \d+ keys do not fit Block") as caught:
            block.load_state_dict(state, strict=strict)
        for text in texts:
            assert caught.match(text)
        assert contents(block) == before


def test_the_table_of_what_does_not_fit():
    with pytest.raises(ShapeError) as caught:
        minicnn.nn.Linear(2, 3).load_state_dict({"weight": np.ones((2, 3)), "scale": np.ones(1)})
    assert str(caught.value) == (
        "load_state_dict: 3 of 3 keys do not fit Linear; nothing was loaded\n"
        "  problem        key     given   the model has\n"
        "  size mismatch  weight  (2, 3)  (3, 2)\n"
        "  missing        bias            (3,)\n"
        "  unexpected     scale   (1,)"
    )


def test_a_prefix_of_all_keys_is_named_and_a_long_table_cut():
    state = {f"module.{key}": tensor for key, tensor in filled().items()}
    with pytest.raises(ShapeError, match=r"\(the keys begin with 'module\.'; give them without"):
        Block().load_state_dict(state)
    with pytest.raises(ShapeError, match=r"keys do not fit Linear; nothing was loaded\n"):
        minicnn.nn.Linear(2, 3).load_state_dict({"0.weight": np.ones(2), "1.weight": np.ones(2)})
    many = {f"k{i}": np.ones(1) for i in range(100)}
    with pytest.raises(ShapeError, match=r"102 of 102 keys") as caught:
        minicnn.nn.Linear(2, 3).load_state_dict(many)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1]) == (53, "  ... and 52 more")


def test_not_strict_loads_what_is_there_and_reports_the_rest():
    block = Block()
    state = change(bias=None, second__weight=None, third=minicnn.ones(1))
    result = block.load_state_dict(state, strict=False)
    assert result.missing_keys == ["bias", "second.weight"]
    assert result.unexpected_keys == ["third"]
    assert block.bias.tolist() == [0.0] * 3
    assert block.scale.tolist() == [7.0] * 3


def test_a_state_dict_from_torch_fits(torch):
    theirs, ours = torch_block(torch), Block()
    with torch.no_grad():
        for tensor in theirs.parameters():
            tensor.normal_()
    ours.load_state_dict({key: tensor.numpy() for key, tensor in theirs.state_dict().items()})
    for key, tensor in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[key].array, tensor.numpy())


# --- switching ------------------------------------------------------------------------------------


def test_train_and_eval_reach_every_module():
    block = Block()
    assert all(module.training for module in block.modules())
    assert block.eval() is block
    assert not any(module.training for module in block.modules())
    assert block.train() is block
    assert all(module.training for module in block.modules())
    block.first.eval()
    assert block.training
    assert not block.first[0].training
    block.train(False)
    assert not block.second.training


def test_requires_grad_freezes_every_parameter():
    block = Block()
    assert block.requires_grad_(False) is block
    assert not any(p.requires_grad for p in block.parameters())
    assert block(minicnn.ones(1, 3)).is_leaf
    block.second.requires_grad_()
    assert [n for n, p in block.named_parameters() if p.requires_grad] == [
        "second.weight",
        "second.bias",
    ]


def test_zero_grad_forgets():
    block = Block()
    block(minicnn.ones(1, 3)).sum().backward()
    assert block.scale.grad is not None
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())


CASTS = {
    "double": (lambda m: m.double(), np.float64),
    "to type": (lambda m: m.to(minicnn.float64), np.float64),
    "to name": (lambda m: m.to("float64"), np.float64),
    "to both": (lambda m: m.to("cpu", dtype=minicnn.float64), np.float64),
    "to tensor": (lambda m: m.to(Tensor(np.zeros(1))), np.float64),
    "half": (lambda m: m.to(minicnn.float16), np.float16),
    "float": (lambda m: m.double().float(), np.float32),
    "nothing": (lambda m: m.to("cpu"), np.float32),
}


@pytest.mark.parametrize(("cast", "dtype"), CASTS.values(), ids=CASTS)
def test_conversion_keeps_the_objects(cast, dtype):
    block = Block()
    members = [*block.parameters(), *block.buffers()]
    assert cast(block) is block
    assert all(
        a is b for a, b in zip([*block.parameters(), *block.buffers()], members, strict=True)
    )
    for tensor in members:
        assert tensor.dtype == (np.int64 if tensor is block.first[0].num_batches_tracked else dtype)
    assert all(type(p) is Parameter and p.requires_grad and p.is_leaf for p in block.parameters())
    x = minicnn.ones(1, 3, dtype=dtype)
    assert block(x).dtype == dtype


def test_conversion_takes_the_gradients_along():
    block = Block()
    block(minicnn.ones(1, 3)).sum().backward()
    expected = block.scale.grad.tolist()
    block.double()
    assert block.scale.grad.dtype == np.float64
    assert block.scale.grad.tolist() == expected
    block(minicnn.ones(1, 3, dtype=np.float64)).sum().backward()  # adds to them


def test_a_conversion_to_what_it_is_already_changes_nothing():
    block = Block()
    loss = block(minicnn.ones(1, 3)).sum()
    arrays = [p.array for p in block.parameters()]
    block.float().to("cpu")
    assert all(p.array is array for p, array in zip(block.parameters(), arrays, strict=True))
    with minicnn.no_grad():
        block.second.weight.zero_()
    with pytest.raises(GradientError, match="changed in place"):  # the graph still watches them
        loss.backward()


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (minicnn.int64, DTypeError),
        ("int32", DTypeError),
        (minicnn.bool, DTypeError),
        ("gpu", DTypeError),
        ("cuda:x", DeviceError),
    ],
    ids=str,
)
def test_a_conversion_that_cannot_be_changes_nothing(target, error):
    block = Block()
    with pytest.raises(error):
        block.to(target)
    assert all(p.dtype == np.float32 for p in block.parameters())


# --- copies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "through", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_a_copy_has_equal_values_in_memory_of_its_own(through):
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
    )
    model.eval()
    model[0].requires_grad_(False)
    twin = through(model)
    x = minicnn.rand(2, 1, 4, 4)
    assert twin(x).tolist() == model(x).tolist()
    assert contents(twin) == contents(model)
    assert not twin.training
    assert [p.requires_grad for p in twin.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]
    for a, b in zip(twin.parameters(), model.parameters(), strict=True):
        assert type(a) is Parameter
        assert not np.shares_memory(a.array, b.array)


def test_a_deepcopy_keeps_what_is_shared_shared():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    twin = copy.deepcopy(model)
    assert twin[1].weight is twin[0].weight
    assert twin[0].weight is not model[0].weight


# --- showing --------------------------------------------------------------------------------------


def test_repr_of_a_module_with_settings_and_children(torch):
    def named(library):
        class Named(library.Module):
            def __init__(self):
                super().__init__()
                self.inner = library.Sequential(library.ReLU())

            def extra_repr(self):
                return "size=3"

        class Twice(Named):
            def extra_repr(self):
                return "one=1\ntwo=2"

        return [Named(), Twice(), library.Sequential(Named(), Twice())]

    assert [repr(m) for m in named(nn)] == [repr(m) for m in named(torch.nn)]


def test_repr_of_a_module_without_children(torch):
    def lines(library):
        class Lines(library.Module):
            def extra_repr(self):
                return "one=1\ntwo=2"

        return [Lines(), library.Sequential(Lines()), library.Module()]

    assert [repr(m) for m in lines(nn)] == [repr(m) for m in lines(torch.nn)]


def test_repr_names_an_absent_child():
    block = nn.Sequential(nn.ReLU())
    block.register_module("later", None)
    assert repr(block) == "Sequential(\n  (0): ReLU()\n  (later): None\n)"


# --- buffers that are not kept, what is no module -------------------------------------------------


def test_a_buffer_that_is_not_persistent_is_not_in_the_state(torch):
    def build(m):
        block = m.nn.Module()
        block.register_buffer("kept", m.zeros(2))
        block.register_buffer("passing", m.zeros(2), persistent=False)
        block.passing = m.ones(3)  # stays what it is
        return block

    for block in (build(torch), build(minicnn)):
        assert list(block.state_dict()) == ["kept"]
        assert [name for name, _ in block.named_buffers()] == ["kept", "passing"]
        block.load_state_dict({"kept": block.kept})
        block.register_buffer("passing", block.kept)
        assert list(block.state_dict()) == ["kept", "passing"]
    ours = build(minicnn)
    ours.passing = nn.Parameter(minicnn.ones(1))
    assert list(ours.state_dict()) == ["passing", "kept"]


def test_what_is_no_module_is_refused(torch):
    for m in (torch, minicnn):
        for register in (m.nn.Module().register_module, m.nn.Module().add_module):
            with pytest.raises(TypeError, match="Module"):
                register("a", 3)
            register("b", None)
