from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import minicnn
from minicnn.errors import ArgumentError, DeviceError, DTypeError, GradientError, ShapeError
from minicnn.tensor import Tensor, values_of


def leaf(values):
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


# --- what it is -----------------------------------------------------------------------------------


def test_wraps_an_array_without_copying():
    array = np.arange(6.0).reshape(2, 3)[:, ::-1]
    assert Tensor(array).array is array


def test_a_numpy_scalar_becomes_an_array_without_dimensions():
    tensor = Tensor(np.float32(2.5))
    assert isinstance(tensor.array, np.ndarray)
    assert tensor.shape == ()
    assert tensor.dtype == np.float32


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3)])
def test_shape_and_dtype_are_those_of_the_array(shape):
    tensor = Tensor(np.zeros(shape, np.int16))
    assert tensor.shape == shape
    assert isinstance(tensor.shape, tuple)
    assert tensor.ndim == len(shape)
    assert tensor.dtype == np.int16
    assert tensor.device == "cpu"


def test_a_new_tensor_is_a_leaf_without_gradient():
    tensor = Tensor(np.zeros(2))
    assert tensor.is_leaf
    assert not tensor.requires_grad
    assert tensor.grad is None
    assert tensor.node is None
    assert tensor.origin is tensor


def test_a_result_is_no_leaf_and_requires_grad():
    y = leaf([1.0]) * 2
    assert not y.is_leaf
    assert y.requires_grad
    assert y.origin is y.node


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_only_floating_point_tensors_can_require_grad(dtype):
    with pytest.raises(DTypeError, match="floating-point"):
        Tensor(np.zeros(2, dtype), requires_grad=True)
    assert not Tensor(np.zeros(2, dtype)).requires_grad_(False).requires_grad


def test_requires_grad_can_be_switched_on_a_leaf():
    x = Tensor(np.zeros(2))
    assert x.requires_grad_() is x
    assert x.requires_grad
    assert not x.requires_grad_(False).requires_grad


def test_requires_grad_of_a_result_cannot_be_switched_off():
    y = leaf([1.0]) * 2
    with pytest.raises(GradientError, match="detach"):
        y.requires_grad = False
    assert y.requires_grad


# --- out of the graph -----------------------------------------------------------------------------


def test_detach_shares_the_memory_and_cuts_the_graph():
    y = leaf([1.0, 2.0]) * 3
    cut = y.detach()
    assert cut.array is y.array
    assert cut.is_leaf
    assert not cut.requires_grad


def test_detach_counts_changes_together_with_the_original():
    x = Tensor(np.zeros(2))
    cut = x.detach()
    cut.fill_(1)
    assert x.version == cut.version == [1]


def test_data_is_the_values_alone():
    x = leaf([1.0, 2.0])
    assert x.data.array is x.array
    assert not x.data.requires_grad


def test_assigning_data_replaces_values_and_keeps_the_rest():
    x = leaf([1.0, 2.0])
    x.grad = Tensor(np.ones(2))
    x.data = Tensor(np.array([5.0, 6.0]))
    assert x.tolist() == [5.0, 6.0]
    assert x.requires_grad
    assert x.grad is not None


def test_assigning_data_shares_the_count_of_changes_with_the_source():
    x, source = leaf([1.0, 2.0]), Tensor(np.array([5.0, 6.0]))
    x.data = source
    y = x * x
    source.fill_(0)
    with pytest.raises(GradientError, match="changed in place"):
        y.sum().backward()


def test_changing_data_in_place_changes_the_tensor():
    x = leaf([1.0, 2.0])
    x.data -= 0.5
    assert x.tolist() == [0.5, 1.5]
    assert x.requires_grad


def test_a_graph_uses_the_values_from_before_data_was_assigned():
    x = leaf(2.0)
    y = x * x * x
    x.data = Tensor(np.array(5.0))
    y.backward()
    assert x.grad.item() == 12.0


def test_numpy_shares_memory():
    array = np.zeros(3)
    assert Tensor(array).numpy() is array


@pytest.mark.parametrize("tensor", [leaf([1.0]), leaf([1.0]) * 2], ids=["leaf", "result"])
def test_numpy_refuses_to_lose_a_gradient(tensor):
    for convert in (Tensor.numpy, np.asarray, np.array, lambda t: np.stack([t])):
        with pytest.raises(GradientError, match=r"\.detach\(\)"):
            convert(tensor)


def test_asarray_shares_and_array_copies():
    array = np.arange(3.0)
    tensor = Tensor(array)
    assert np.asarray(tensor) is array
    assert not np.shares_memory(np.array(tensor), array)


def test_asarray_converts_the_type_on_request():
    tensor = Tensor(np.arange(3))
    assert np.asarray(tensor, dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="without a copy"):
        np.array(tensor, dtype=np.float32, copy=False)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_item_of_a_single_value(shape):
    assert Tensor(np.full(shape, 2.5)).item() == 2.5


@pytest.mark.parametrize("shape", [(0,), (2,), (1, 3)])
def test_item_of_more_or_less_than_one_value_names_the_shape(shape):
    with pytest.raises(ShapeError) as caught:
        Tensor(np.zeros(shape)).item()
    assert str(shape) in str(caught.value)


def test_tolist():
    assert leaf([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]


# --- DLPack ---------------------------------------------------------------------------------------


def test_dlpack_hands_out_the_memory_itself():
    array = np.arange(4.0)
    taken = np.from_dlpack(Tensor(array))
    array[0] = 7
    assert taken[0] == 7


def test_dlpack_takes_in_the_memory_itself():
    array = np.arange(4.0)
    assert np.shares_memory(minicnn.from_dlpack(array).array, array)


def test_dlpack_refuses_to_lose_a_gradient():
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(leaf([1.0]))


def test_dlpack_both_ways_with_torch():
    torch = pytest.importorskip("torch")
    array = np.arange(4.0)
    there = torch.from_dlpack(Tensor(array))
    there[1] = 9
    back = minicnn.from_dlpack(there)
    there[2] = 8
    assert array.tolist() == back.tolist() == [0, 9, 8, 3]


# --- hooks ----------------------------------------------------------------------------------------


def test_a_hook_on_a_leaf_sees_the_whole_gradient_once():
    x, seen = leaf([1.0, 2.0]), []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * x + 3 * x).sum().backward()
    assert seen == [[5.0, 7.0]]


def test_a_hook_on_a_result_sees_the_whole_gradient_once():
    x, seen = leaf(2.0), []
    h = x * x
    h.register_hook(lambda g: seen.append(g.item()))
    (h * h + h).backward()
    assert seen == [9.0]


def test_a_hook_replaces_the_gradient():
    x = leaf([1.0, 2.0])
    h = x * 3
    h.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    h.sum().backward()
    assert x.grad.tolist() == [31.0, 31.0]


def test_hooks_run_in_order_and_each_sees_what_the_last_returned():
    x, seen = leaf(1.0), []
    x.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: seen.append(g.item()))
    x.register_hook(lambda g: g + 1)
    (x * 5).backward()
    assert seen == [10.0]
    assert x.grad.item() == 11.0


def test_a_removed_hook_is_not_called_and_may_be_removed_again():
    x, seen = leaf(1.0), []
    handle = x.register_hook(lambda g: seen.append(g.item()))
    (x * 2).backward()
    handle.remove()
    handle.remove()
    (x * 2).backward()
    assert seen == [2.0]


def test_a_hook_may_remove_itself():
    x, seen = leaf(1.0), []

    def once(gradient):
        seen.append(gradient.item())
        handle.remove()

    handle = x.register_hook(once)
    x.register_hook(lambda g: g * 2)
    (x * 2).backward()
    (x * 2).backward()
    assert seen == [2.0]
    assert x.grad.item() == 8.0


def test_what_a_hook_does_to_the_gradient_it_was_shown_stays_with_it():
    x, w = leaf([1.0, 2.0]), leaf([1.0, 1.0])
    y = x + w  # both gradients are one array

    def spoil(gradient):
        gradient.zero_()

    x.register_hook(spoil)
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    assert w.grad.tolist() == [1.0, 1.0]


def test_a_hook_in_a_recorded_backward_is_differentiated_too():
    x = leaf(3.0)
    x.register_hook(lambda g: g * g)
    (first,) = minicnn.grad(x * x, x, create_graph=True)  # (2x)^2
    (second,) = minicnn.grad(first, x)
    assert first.item() == 36.0
    assert second.item() == (8 * 3.0) ** 2  # the hook squares this gradient too


def test_a_hook_needs_a_tensor_that_requires_grad():
    with pytest.raises(GradientError, match="register_hook"):
        Tensor(np.zeros(2)).register_hook(print)


# --- retain_grad ----------------------------------------------------------------------------------


def test_a_result_has_no_grad_unless_retained():
    x = leaf(2.0)
    h, k = x * x, x * 3
    h.retain_grad()
    (h * k).backward()
    assert h.grad.item() == 6.0
    assert k.grad is None


def test_retaining_twice_is_retaining_once():
    h = leaf(2.0) * 3
    h.retain_grad()
    h.retain_grad()
    (h * 5).backward()
    assert h.grad.item() == 5.0


def test_retained_gradients_add_up_over_backwards():
    h = leaf(2.0) * 3
    h.retain_grad()
    y = h * 5
    y.backward(retain_graph=True)
    y.backward()
    assert h.grad.item() == 10.0


def test_a_leaf_retains_anyway():
    x = leaf(2.0)
    x.retain_grad()
    (x * 5).backward()
    assert x.grad.item() == 5.0


def test_nothing_to_retain_without_requires_grad():
    with pytest.raises(GradientError, match="retain_grad"):
        Tensor(np.zeros(2)).retain_grad()


def test_retaining_keeps_nobody_alive():
    h = leaf(2.0) * 3
    h.retain_grad()
    y, dead = h * 5, weakref.ref(h)
    gc.disable()
    try:
        del h
        assert dead() is None
    finally:
        gc.enable()
    y.backward()


# --- Python's protocols ---------------------------------------------------------------------------


def test_len_and_iteration_go_over_the_first_dimension():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1.0, 2.0], [3.0, 4.0]]
    first, second = x
    (first * second).sum().backward()
    assert x.grad.tolist() == [[3.0, 4.0], [1.0, 2.0]]


@pytest.mark.parametrize("use", [len, iter, list], ids=["len", "iter", "list"])
def test_a_tensor_without_dimensions_has_no_length(use):
    with pytest.raises(TypeError, match="without dimensions"):
        use(Tensor(np.float64(1)))


def test_truth_of_a_single_value():
    assert Tensor(np.array([[2.0]]))
    assert not Tensor(np.array(0))
    for shape in ((0,), (2,)):
        with pytest.raises(ShapeError, match="ambiguous"):
            bool(Tensor(np.zeros(shape)))


def test_numbers_of_a_single_value():
    assert float(leaf(2.5)) == 2.5
    assert int(Tensor(np.array([3.7]))) == 3
    assert [10, 20, 30][Tensor(np.array(2))] == 30
    with pytest.raises(TypeError, match="float64"):
        [10, 20, 30][Tensor(np.array(2.0))]


def test_hash_is_by_identity():
    x, y = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    assert {x: "x", y: "y"}[x] == "x"
    assert len({x, y, x}) == 2


def test_format():
    assert f"{leaf(2.0):.3f}" == "2.000"
    assert f"{leaf([2.0])}" == str(leaf([2.0]))


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor(np.float32([1, 2.5])), "tensor([1. , 2.5])"),
        (Tensor(np.array([1, 2])), "tensor([1, 2])"),
        (Tensor(np.array(True)), "tensor(True)"),
        (Tensor(np.array(1.5)), "tensor(1.5, dtype=float64)"),
        (Tensor(np.float32([1]), True), "tensor([1.], requires_grad=True)"),
        (leaf([1.0]) * 2, "tensor([2.], dtype=float64, made_by=mul)"),
        (Tensor(np.zeros(0, np.float32)), "tensor([])"),
        (Tensor(np.zeros((0, 3), np.float32)), "tensor([], shape=(0, 3))"),
        (Tensor(np.float32([[1, 2], [3, 4]])), "tensor([[1., 2.],\n        [3., 4.]])"),
    ],
)
def test_repr(tensor, text):
    assert repr(tensor) == text


@pytest.mark.parametrize(
    "through",
    [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))],
    ids=["deepcopy", "pickle"],
)
def test_leaves_can_be_copied(through):
    for x in (leaf([1.0, 2.0]), Tensor(np.arange(3))):
        twin = through(x)
        assert type(twin) is Tensor
        assert twin.tolist() == x.tolist()
        assert twin.dtype == x.dtype
        assert twin.requires_grad == x.requires_grad
        assert not np.shares_memory(twin.array, x.array)


def test_deepcopy_copies_a_shared_tensor_once():
    x = leaf([1.0])
    first, second = copy.deepcopy([x, x])
    assert first is second


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_result_cannot_be_copied_out_of_its_graph(through):
    with pytest.raises(GradientError, match="detach"):
        through(leaf([1.0]) * 2)


def test_values_of():
    x, array = leaf([1.0]), np.zeros(2)
    assert values_of(x) is x.array
    assert values_of(array) is array
    assert values_of((x, slice(None), (x,))) == (x.array, slice(None), (x.array,))
    assert values_of(None) is None


def test_a_hook_lives_for_a_block():
    x, seen = leaf(1.0), []
    with x.register_hook(lambda g: seen.append(g.item())):
        (x * 2).backward()
    (x * 3).backward()
    assert seen == [2.0]


def test_only_a_single_number_can_be_formatted_as_one(torch):
    for m in (torch, minicnn):
        assert f"{m.tensor(3.0):.2f}" == "3.00"
        assert f"{m.tensor([3.0])}" == "tensor([3.])"
        with pytest.raises(TypeError, match="format"):
            format(m.tensor([3.0]), ".2f")


# --- on a card ------------------------------------------------------------------------------------


def test_to_a_card_and_back(card):
    x = minicnn.tensor([[1.0, 2.5]], requires_grad=True)
    y = x.cuda()
    assert (y.device, y.requires_grad, y.is_leaf) == ("cuda:0", True, True)
    back = y.cpu()
    assert (back.device, back.tolist()) == ("cpu", [[1.0, 2.5]])
    assert y.to("cuda") is y.to("cuda:0") is y
    z = y * 2
    assert z.cuda() is z  # there is nothing to move
    assert back.cpu() is back


def test_values_of_a_card_are_read_when_asked_for(card):
    x = minicnn.tensor([2.5]).cuda()
    assert (x.item(), float(x), bool(x), x.tolist()) == (2.5, 2.5, True, [2.5])
    assert f"{x.reshape(()):.2f}" == "2.50"
    with pytest.raises(DTypeError, match=r"numpy: the values are on cuda:0; use \.cpu\(\)\.numpy"):
        x.numpy()
    with pytest.raises(DTypeError, match="the values are on cuda:0"):
        np.asarray(x)


def test_a_tensor_of_a_card_shows_its_values_and_where_they_are(card):
    x = minicnn.tensor([[1.0, 2.5]], device="cuda")
    assert repr(x) == 'tensor([[1. , 2.5]], device="cuda:0")'
    assert repr(x.requires_grad_() * 2) == 'tensor([[2., 5.]], device="cuda:0", made_by=mul)'


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_of_a_tensor_on_a_card_stay_there(card, copied):
    x = minicnn.tensor([[1.0, 2.5]], device="cuda", requires_grad=True)
    y = copied(x)
    assert (y.device, y.requires_grad, y.tolist()) == ("cuda:0", True, [[1.0, 2.5]])


def test_devices_do_not_mix(card):
    x, y = minicnn.ones(2, device="cuda"), minicnn.ones(2)
    for mix in (lambda: x + y, lambda: y * x, lambda: x + np.ones(2, np.float32)):
        with pytest.raises(
            DeviceError, match=r"got arrays on \['c.*; move one with \.to\(device\)"
        ):
            mix()
    card.machine.cards = 2
    with pytest.raises(DeviceError, match=r"\['cuda:0', 'cuda:1'\]"):
        x * minicnn.ones(2, device="cuda:1")


def test_only_leaves_move(card):
    with pytest.raises(ArgumentError, match="only leaves move between devices"):
        (minicnn.ones(2, requires_grad=True) * 2).cuda()
