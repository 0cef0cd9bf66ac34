from __future__ import annotations

import sys

import numpy as np
import pytest
from refusals import refused

import minicnn
from minicnn import random
from minicnn.errors import ArgumentError, DeviceError, DTypeError, ShapeError
from minicnn.tensor import Tensor

pytestmark = pytest.mark.usefixtures("seeded")


# --- from data ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (2.5, "float32"),
        (2, "int64"),
        (True, "bool"),
        ([1, 2.5], "float32"),
        ([], "float32"),
        ([[], []], "float32"),
        ([True, False], "bool"),
        ((1, 2), "int64"),
        (np.float64(1), "float64"),
        (np.float16([1]), "float16"),
        (np.arange(3.0), "float64"),
        (np.uint8([1]), "uint8"),
        ([np.float64(1), np.float64(2)], "float64"),
        ([np.float32([1, 2]), np.float32([3, 4])], "float32"),
        (range(3), "int64"),
    ],
)
def test_the_type_of_a_new_tensor(data, dtype):
    made = minicnn.tensor(data)
    assert made.dtype == dtype
    assert made.shape == np.shape(data)
    assert made.tolist() == np.array(data).tolist()


def test_the_types_are_those_of_torch():
    torch = pytest.importorskip("torch")
    for data in (
        2.5,
        2,
        True,
        [1, 2.5],
        [],
        [True],
        (1, 2),
        np.float64(1),
        np.arange(3.0),
        [np.float64(1)],
    ):
        assert str(torch.tensor(data).dtype) == f"torch.{minicnn.tensor(data).dtype}", data


def test_data_are_copied():
    array = np.zeros(3)
    for source in (array, Tensor(array), [array]):
        minicnn.tensor(source).fill_(1)
    assert array.tolist() == [0.0, 0.0, 0.0]


def test_a_tensor_of_tensors():
    rows = [minicnn.tensor([1.0, 2.0]), minicnn.tensor([3.0, 4.0])]
    assert minicnn.tensor(rows).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert minicnn.tensor([row[0] for row in rows]).tolist() == [1.0, 3.0]


def test_a_new_tensor_is_a_leaf():
    source = minicnn.tensor([1.0, 2.0], requires_grad=True) * 2
    made = minicnn.tensor(source, requires_grad=True)
    assert made.is_leaf
    assert made.requires_grad
    assert not minicnn.tensor(source).requires_grad


def test_dtype_is_taken_as_asked():
    assert minicnn.tensor([1, 2], dtype=minicnn.float64).dtype == np.float64
    assert minicnn.tensor([1.7], dtype="int8").tolist() == [1]
    assert minicnn.tensor(np.arange(3), dtype=minicnn.bool).tolist() == [False, True, True]


@pytest.mark.parametrize("data", ["word", None, [None], ["a", 1], 1j, {}, 2**70], ids=repr)
def test_what_is_not_a_number_is_refused(data):
    with pytest.raises(DTypeError, match="tensor: "):
        minicnn.tensor(data)


def test_what_the_type_does_not_hold_is_refused():
    with pytest.raises(DTypeError, match="uint8"):
        minicnn.tensor([300], dtype=np.uint8)
    with pytest.raises(DTypeError, match="word"):
        minicnn.tensor("word", dtype=np.float32)


def test_rows_of_different_length_are_refused():
    with pytest.raises(ShapeError, match="tensor: "):
        minicnn.tensor([[1, 2], [3]])


def test_integers_cannot_require_grad():
    with pytest.raises(DTypeError, match="int64"):
        minicnn.tensor([1, 2], requires_grad=True)


def test_from_numpy_shares_memory():
    array = np.arange(3)
    assert minicnn.from_numpy(array).array is array
    for other in ([1, 2], np.float64(1), minicnn.ones(2)):
        with pytest.raises(DTypeError, match=f"from_numpy: .*{type(other).__name__}"):
            minicnn.from_numpy(other)


# --- of constants ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "value"), [(minicnn.zeros, 0), (minicnn.ones, 1)])
def test_constants(make, value):
    for made in (make(2, 3), make((2, 3)), make([2, 3]), make(np.int64(2), 3)):
        assert made.dtype == np.float32
        assert made.tolist() == [[value] * 3] * 2
    assert make().shape == make(()).shape == ()
    assert make(0, 3).shape == (0, 3)
    assert make(2, dtype=np.int64).dtype == np.int64
    assert make(2, requires_grad=True).requires_grad


@pytest.mark.parametrize(
    ("value", "dtype"), [(1.5, "float32"), (2, "int64"), (True, "bool"), (np.int8(1), "int8")]
)
def test_full(value, dtype):
    made = minicnn.full((2, 2), value)
    assert made.dtype == dtype
    assert made.tolist() == [[value] * 2] * 2
    assert minicnn.full((2,), value, dtype=np.float64).dtype == np.float64


def test_like_another():
    other = Tensor(np.arange(6, dtype=np.int16).reshape(2, 3))
    for make, value in ((minicnn.zeros_like, 0), (minicnn.ones_like, 1)):
        assert make(other).tolist() == [[value] * 3] * 2
        assert make(other).dtype == np.int16
        assert make(other, dtype=np.float32).dtype == np.float32
    parameter = minicnn.ones(2, requires_grad=True)
    assert not minicnn.zeros_like(parameter).requires_grad


def test_like_a_broadcast_one_has_memory_of_its_own():
    made = minicnn.zeros_like(Tensor(np.broadcast_to(np.float32(1), (2, 3))))
    made[0, 0] = 5.0
    assert made.tolist() == [[5.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_eye():
    assert minicnn.eye(2).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert minicnn.eye(1, 3).tolist() == [[1.0, 0.0, 0.0]]
    assert minicnn.eye(2).dtype == np.float32


# --- of numbers in order --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (5,),
        (0,),
        (2, 5),
        (0, 1, 0.25),
        (5, 0, -2),
        (1.5,),
        (0, 1, 0.1),
        (2, 2),
        (-3,) * 2,
        (0, -3, -1),
    ],
    ids=str,
)
def test_arange_is_that_of_torch(arguments):
    torch = pytest.importorskip("torch")
    expected, made = torch.arange(*arguments), minicnn.arange(*arguments)
    assert str(expected.dtype) == f"torch.{made.dtype}"
    np.testing.assert_allclose(made.array, expected.numpy(), rtol=1e-6)


def test_arange_of_a_type():
    assert minicnn.arange(3, dtype=np.float64).dtype == np.float64
    assert minicnn.arange(0, 2.5, dtype=np.int64).tolist() == [0, 1, 2]


@pytest.mark.parametrize("arguments", [(0, 3, 0), (3, 0), (-2,), (0, 3, -1)], ids=str)
def test_arange_must_lead_to_its_end(arguments):
    with pytest.raises(ArgumentError, match="arange: steps of"):
        minicnn.arange(*arguments)


def test_linspace():
    assert minicnn.linspace(0, 1, 5).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert minicnn.linspace(3, 1, 1).tolist() == [3.0]
    assert minicnn.linspace(0, 1, 0).shape == (0,)
    assert minicnn.linspace(0, 1, 5).dtype == np.float32


# --- of random numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [None, np.float32, np.float64])
def test_rand_is_uniform(dtype):
    values = minicnn.rand(100, 200, dtype=dtype)
    assert values.dtype == (dtype or np.float32)
    assert values.shape == (100, 200)
    assert values.array.min() >= 0
    assert values.array.max() < 1
    counts, _ = np.histogram(values.array, bins=10, range=(0, 1))
    assert (np.abs(counts - 2000) < 5 * np.sqrt(2000)).all()


def test_rand_of_half_precision_does_not_round_up_to_one():
    values = minicnn.rand(100_000, dtype=np.float16).array
    assert values.dtype == np.float16
    assert values.max() < 1
    assert abs(values.mean(dtype=np.float64) - 0.5) < 0.005


def test_rand_of_a_double_has_all_its_digits():
    values = minicnn.rand(100, dtype=np.float64).array
    assert (values != values.astype(np.float32)).any()


@pytest.mark.parametrize("dtype", [None, np.float64])
def test_randn_is_normal(dtype):
    values = minicnn.randn(20_000, dtype=dtype)
    assert values.dtype == (dtype or np.float32)
    assert abs(values.array.mean()) < 5 / np.sqrt(20_000)
    assert abs(values.array.std() - 1) < 5 / np.sqrt(40_000)
    assert abs((np.abs(values.array) < 1).mean() - 0.6827) < 0.02


def test_random_numbers_may_require_grad():
    assert minicnn.rand(2, requires_grad=True).requires_grad
    assert minicnn.randn((2, 2), requires_grad=True).requires_grad


def test_randint_reaches_every_number():
    values = minicnn.randint(3, 7, (4, 100))
    assert values.dtype == np.int64
    assert values.shape == (4, 100)
    assert set(values.array.ravel().tolist()) == {3, 4, 5, 6}


@pytest.mark.parametrize(
    "values",
    [
        lambda: minicnn.randint(3, (50,)),
        lambda: minicnn.randint(3, size=(50,)),
        lambda: minicnn.randint(high=3, size=(50,)),
    ],
    ids=["by position", "by name", "high"],
)
def test_randint_starts_from_zero_unless_told(values):
    assert set(values().tolist()) == {0, 1, 2}


def test_randint_needs_a_number_to_choose():
    with pytest.raises(ArgumentError, match=r"no integer in \[3, 3\)"):
        minicnn.randint(3, 3, (2,))


def test_randperm():
    order = minicnn.randperm(50)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() != list(range(50))
    assert minicnn.randperm(0).shape == (0,)


# --- what all of them refuse ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda n: minicnn.zeros(n),
        lambda n: minicnn.ones((2, n)),
        lambda n: minicnn.full((n,), 0),
        lambda n: minicnn.eye(n),
        lambda n: minicnn.linspace(0, 1, n),
        lambda n: minicnn.rand(2, n),
        lambda n: minicnn.randn(n),
        lambda n: minicnn.randint(0, 3, (n,)),
        lambda n: minicnn.randperm(n),
    ],
    ids=["zeros", "ones", "full", "eye", "linspace", "rand", "randn", "randint", "randperm"],
)
@pytest.mark.parametrize("size", [-1, 2.0, "2", None], ids=repr)
def test_sizes_are_integers_of_at_least_zero(make, size):
    before = random.default.get_state()
    with pytest.raises(ShapeError, match=r"sizes must be integers of at least 0"):
        make(size)
    assert random.default.get_state() == before


@pytest.mark.parametrize("make", [minicnn.rand, minicnn.randn])
def test_random_numbers_are_floating_point(make):
    with pytest.raises(DTypeError, match="int64"):
        make(2, dtype=np.int64)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", ""])
def test_an_unknown_device_is_refused(device):
    for make in (minicnn.zeros, minicnn.ones, minicnn.rand, minicnn.randn):
        with pytest.raises(DeviceError, match="unknown device"):
            make(2, device=device)


# --- other tensors and numbers --------------------------------------------------------------------


def test_what_is_made_without_chance_is_as_in_torch(torch):
    def made(m):
        whole, half = m.tensor([[1, 2, 3]]), m.tensor([0.5], dtype=m.float64)
        yield m.full_like(whole, 2.5)
        yield m.full_like(half, 7)
        yield m.full_like(whole, 1, dtype=m.bool)
        yield m.as_tensor([1.0, 2.0])
        yield m.as_tensor(np.ones(2))
        yield m.as_tensor(whole, dtype=m.float32)
        yield m.as_tensor([1, 2], dtype=m.half)
        yield m.logspace(0, 2, 3)
        yield m.logspace(0, 3, 4, base=2)
        yield m.logspace(0, 3, 4, 2.0, dtype=m.float64)
        yield m.zeros_like(m.empty(2, 3, dtype=m.int16))
        yield m.zeros_like(m.empty((2, 0)))
        yield m.zeros_like(m.empty_like(half))
        yield m.zeros_like(m.rand_like(half))
        yield m.zeros_like(m.randn_like(whole, dtype=m.float32))
        yield m.zeros_like(m.normal(half, 1.0))
        yield m.zeros_like(m.normal(0.0, 1.0, (2, 3)))
        yield m.normal(m.tensor([1.0, 2.0]), m.tensor(0.0))
        yield m.bernoulli(m.tensor([0.0, 1.0, 1.0], dtype=m.float64))
        yield m.bernoulli(whole, 1.0)
        yield m.multinomial(m.tensor([0.0, 3.0]), 1)
        yield m.multinomial(m.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]), 2, replacement=True)

    for ours, theirs in zip(made(minicnn), made(torch), strict=True):
        assert ours.tolist() == theirs.tolist()
        assert str(theirs.dtype) == f"torch.{ours.dtype}"


def test_as_tensor_copies_nothing_it_need_not():
    array, made = np.ones(2), minicnn.ones(2)
    assert minicnn.as_tensor(array).array is array
    assert minicnn.as_tensor(made) is made
    assert minicnn.as_tensor(array, dtype=minicnn.float32).dtype == "float32"


def test_what_is_a_tensor():
    assert minicnn.is_tensor(minicnn.ones(1))
    assert not minicnn.is_tensor(np.ones(1))


def test_normal_numbers_have_the_means_and_deviations_of_their_places():
    mean, std = minicnn.tensor([[-5.0], [5.0]]), minicnn.full((2, 4000), 2.0)
    drawn = minicnn.normal(mean, std).array
    np.testing.assert_allclose(drawn.mean(axis=1), [-5, 5], atol=0.2)
    np.testing.assert_allclose(drawn.std(axis=1), 2, atol=0.2)


def test_bernoulli_numbers_follow_their_probabilities():
    drawn = minicnn.bernoulli(minicnn.full((4000,), 0.3))
    assert set(drawn.tolist()) == {0.0, 1.0}
    assert drawn.array.mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("replacement", [True, False])
def test_indices_are_drawn_in_proportion_to_their_weights(replacement):
    weights = minicnn.tensor([[1.0, 0.0, 3.0]] * 4000)
    drawn = minicnn.multinomial(weights, 2, replacement).array
    assert drawn.shape == (4000, 2)
    assert drawn.dtype == np.int64
    assert 1 not in drawn
    assert (drawn[:, 0] == 2).mean() == pytest.approx(0.75, abs=0.03)
    of_second = (drawn[:, 1] == 2).mean()
    assert of_second == pytest.approx(0.75 if replacement else 0.25, abs=0.03)


def test_the_seed_decides_what_is_drawn():
    def drawn():
        random.manual_seed(3)
        half = minicnn.full((5,), 0.5)
        yield minicnn.normal(half)
        yield minicnn.bernoulli(half)
        yield minicnn.multinomial(half, 3)
        yield minicnn.rand_like(half)
        yield minicnn.randn_like(half)
        yield half.normal_(1, 2)
        yield half.uniform_(1, 2)

    first, second = ([x.tolist() for x in drawn()] for _ in range(2))
    assert first == second


REFUSED = [
    refused("types of no float", lambda m: m.rand_like(m.tensor([1])), "int64"),
    refused("whole means", lambda m: m.normal(m.tensor([1])), "int64"),
    refused("no size", lambda m: m.normal(0.0, 1.0), "size"),
    refused("a negative deviation", lambda m: m.normal(0.0, -1.0, (2,)), "std"),
    refused("negative deviations", lambda m: m.normal(m.zeros(2), -m.ones(2)), "std"),
    refused("other shapes", lambda m: m.normal(m.zeros(2), m.ones(3)), "(2,)", "(3,)"),
    refused("no probability", lambda m: m.bernoulli(m.tensor([2.0])), "[0, 1]"),
    refused("whole probabilities", lambda m: m.bernoulli(m.tensor([1])), "int64"),
    refused("no weight", lambda m: m.multinomial(m.tensor([0.0, 0.0]), 1), "weights"),
    refused("negative weights", lambda m: m.multinomial(m.tensor([-1.0, 2.0]), 1), "weights"),
    refused("whole weights", lambda m: m.multinomial(m.tensor([1]), 1), "int64"),
    refused("a cube of weights", lambda m: m.multinomial(m.ones(1, 1, 2), 1), "(1, 1, 2)"),
    refused("too many", lambda m: m.multinomial(m.ones(2), 3), "num_samples=3"),
    refused("none", lambda m: m.multinomial(m.ones(2), 0), "num_samples=0"),
    refused("steps below 0", lambda m: m.logspace(0, 1, -1), "logspace"),
    refused("a negative deviation in place", lambda m: m.ones(2).normal_(0, -1), "std"),
    refused("bounds the wrong way", lambda m: m.ones(2).uniform_(2, 1), "[2, 1)"),
    refused("whole numbers in place", lambda m: m.tensor([1]).normal_(), "int64"),
    refused("a leaf in place", lambda m: m.ones(2, requires_grad=True).uniform_(), "uniform_"),
    refused("a stride beyond", lambda m: m.ones(2).stride(1), "stride"),
    refused("not a tensor", lambda m: m.is_floating_point(3), "int"),
]


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_bad_arguments_are_refused_as_by_torch(refusal, torch):
    refusal.check(torch)


# --- on a card ------------------------------------------------------------------------------------


class OnCard:
    """An array of another library, on a card."""

    def __init__(self, kind):
        self.kind = kind

    def __dlpack_device__(self):
        return self.kind, 0

    def __dlpack__(self, **arguments):
        raise AssertionError("only CuPy may ask for it")


@pytest.mark.parametrize("kind", [2, 13])
def test_arrays_on_a_card_are_shared_through_cupy(card, monkeypatch, kind):
    given, array = OnCard(kind), card.array(np.ones(2, np.float32))
    monkeypatch.setattr(
        card.cupy, "from_dlpack", lambda source: array if source is given else None, raising=False
    )
    assert minicnn.from_dlpack(given).array is array


def test_arrays_on_a_card_need_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match="cuda needs CuPy"):
        minicnn.from_dlpack(OnCard(2))


@pytest.mark.parametrize("make", [minicnn.zeros, minicnn.ones, minicnn.empty, minicnn.rand])
def test_new_tensors_on_a_card(card, make):
    assert make(2, 3, device="cuda").device == "cuda:0"
    images = make(2, 3, 4, 5, device="cuda:0", requires_grad=True)
    assert images.array.transpose(0, 2, 3, 1).flags.c_contiguous
    assert images.requires_grad
