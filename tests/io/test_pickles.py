from __future__ import annotations

import os
import pickle
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import ORDERED_DICT, call, name, plain, whole

from minicnn.io.pickles import LARGEST, Recipe, unpickle

NAMES = {
    ("collections", "OrderedDict"): Recipe(lambda: OrderedDict()),
    ("torch", "Pair"): Recipe(lambda a, b: (b, a)),
    ("torch", "Kind"): "kind",
}


def read(steps):
    return unpickle(whole(steps), NAMES, lambda description: ["persistent", description])


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.tuples(inner, inner, inner, inner)
        | st.tuples(inner)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@settings(max_examples=20)
@given(value=values, protocol=st.sampled_from([0, 1, 2, 3, 4, 5]))
def test_plain_values_come_as_pickle_gives_them(value, protocol):
    found = unpickle(pickle.dumps(value, protocol=protocol), NAMES, print)
    assert found == value
    assert repr(found) == repr(value)  # True is not 1


def test_what_comes_twice_is_one_object():
    shared = [1]
    first, second = unpickle(pickle.dumps((shared, shared), 2), NAMES, print)
    assert first is second


def test_names_calls_and_persistent_values():
    assert read(name("torch", "Kind")) == "kind"
    assert read(call(name("torch", "Pair"), plain(1), plain(2))) == (2, 1)
    assert read(plain((1, 2)) + b"Q") == ["persistent", (1, 2)]
    text = b"\x80\x04" + b"\x8c\x05torch\x8c\x04Kind\x93."
    assert unpickle(text, NAMES, print) == "kind"


def test_the_attributes_of_a_state_dict_are_dropped():
    state = read(ORDERED_DICT + plain({"_metadata": {"": {"version": 1}}}) + b"b")
    assert state == OrderedDict()
    assert not hasattr(state, "_metadata")


class Trap:
    def __init__(self, function, *arguments):
        self.called = (function, arguments)

    def __reduce__(self):
        return self.called


class WithState:
    def __setstate__(self, state):
        os.mkdir(state)


def refused(cases):
    return pytest.mark.parametrize(("steps", "reason"), cases.values(), ids=cases)


@refused({
    "os.system": (plain(Trap(os.system, "true")), r"names posix\.system|names nt\.system"),
    "builtins.eval": (plain(Trap(eval, "1")), "names __builtin__.eval"),
    "getattr": (plain(Trap(getattr, (), "append")), "names __builtin__.getattr"),
    "a class of ours": (plain(WithState()), "names copy_reg._reconstructor|names .*WithState"),
    "a name with dots": (name("collections", "OrderedDict.__init__"), "names collections.Ordered"),
    "a name in another module": (name("torch.os", "system"), "names torch.os.system"),
    "an allowed name of another module": (name("torch", "OrderedDict"), "names torch.OrderedDict"),
    "a name made of lists": (b"]]\x93", r"names \[\]\.\[\]"),
    "copyreg's extensions": (b"\x82\x01", "the step EXT1"),
    "copyreg's extensions, long": (b"\x84\x01\x00\x00\x00", "the step EXT4"),
    "an old class": (b"(ios\nsystem\n", "the step INST"),
    "an old object": (b"(" + name("torch", "Pair") + b"o", "the step OBJ"),
    "a new object": (name("collections", "OrderedDict") + b")\x81", "the step NEWOBJ"),
    "a new object by name": (name("collections", "OrderedDict") + b")}\x92", "NEWOBJ_EX"),
    "a persistent id in text": (b"Pos.system\n", "the step PERSID"),
    "a buffer from outside": (b"\x97", "the step NEXT_BUFFER"),
    "bytes that can change": (b"\x96" + (2**62).to_bytes(8, "little"), "."),
    "a set": (b"\x8f", "the step EMPTY_SET"),
    "a call of a text": (plain("os.system") + plain(("true",)) + b"R", "what is no function"),
    "a call of a name that is a value": (name("torch", "Kind") + b")R", "what is no function"),
    "a call without a tuple": (name("torch", "Pair") + plain([1, 2]) + b"R", "no function"),
    "attributes of a dict": (b"}" + plain({"a": 1}) + b"b", "sets attributes"),
    "attributes of a function": (name("torch", "Pair") + plain({"a": 1}) + b"b", "sets attributes"),
    "attributes of a class": (name("torch", "Kind") + plain({"a": 1}) + b"b", "sets attributes"),
    "items of a list": (b"]" + plain(0) + plain(1) + b"s", "sets items of what is no dict"),
    "items of a function": (name("torch", "Pair") + b"(" + plain("a") * 2 + b"u", "no dict"),
    "a key without value": (b"}(" + plain("a") + b"u", "without its value"),
    "a list as a key": (b"}" + b"]" + plain(1) + b"s", "neither text nor a number"),
    "appended to a tuple": (b")" + plain(1) + b"a", "no list"),
    "a very deep key": (b"}" + b")" + b"\x85" * 100_000 + b"Ns", "neither text nor a number"),
    "too few values": (b"\x87", "too few values"),
    "garbage": (b"\xff", "opcode"),
})  # fmt: skip
def test_an_attack_is_refused(steps, reason):
    with pytest.raises(ValueError, match=reason):
        read(steps)


@pytest.mark.parametrize("steps", [b"h\x07", b"q\x00", b"t", b"e", b"(s", b"N(u", b"Q", b"a", b""])
def test_a_machine_without_what_a_step_needs(steps):
    with pytest.raises((ValueError, LookupError)):
        read(steps)


def test_a_place_in_the_memo_beyond_all_memory_costs_nothing():
    assert read(b"Nr\xff\xff\xff\xff") is None


def test_texts_longer_than_the_file():
    with pytest.raises(ValueError, match="expected 2147483647 bytes"):
        read(b"X\xff\xff\xff\x7f")


def test_a_pickle_that_is_too_long_is_not_read():
    with pytest.raises(ValueError, match="more than 16777216"):
        unpickle(bytes(LARGEST + 1), NAMES, print)


def test_a_pickle_without_end():
    with pytest.raises(ValueError, match="exhausted before seeing STOP"):
        unpickle(b"\x80\x02N", NAMES, print)
