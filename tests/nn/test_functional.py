from __future__ import annotations

import inspect

import numpy as np
import pytest
from geometries import integers
from scipy import signal

import minicnn
from minicnn.errors import ArgumentError, DTypeError, ShapeError
from minicnn.nn import functional as F
from minicnn.tensor import Tensor


def ones(*shape, dtype=np.float64):
    return Tensor(np.ones(shape, dtype))


def same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.array, theirs, rtol=1e-12, atol=1e-12)


# --- the names are those of PyTorch ---------------------------------------------------------------


WRITTEN_IN_PYTHON = [
    "adaptive_avg_pool2d", "batch_norm", "cross_entropy", "dropout", "fold", "mse_loss", "nll_loss",
    "log_softmax", "pad", "relu", "softmax", "unfold",
]  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN_IN_PYTHON)
def test_arguments_have_the_names_and_defaults_of_torch(torch, name):
    theirs = inspect.signature(getattr(torch.nn.functional, name)).parameters
    for parameter in inspect.signature(getattr(F, name)).parameters.values():
        assert parameter.default == theirs[parameter.name].default, parameter.name


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softmax", "log_softmax"])
def test_activations_by_keyword(torch, name):
    x = integers((2, 3)).astype(np.float32)
    settings = {"dim": 1, "dtype": "float64"} if "softmax" in name else {}
    theirs = {**settings, "dtype": torch.float64} if settings else {}
    ours = getattr(F, name)(input=minicnn.tensor(x), **settings)
    expected = getattr(torch.nn.functional, name)(input=torch.tensor(x), **theirs)
    assert str(ours.dtype) == str(expected.dtype).removeprefix("torch.")
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_the_dimension_of_classes_is_not_guessed(name):
    with pytest.raises(ArgumentError, match=rf"name the dimension.*{name}\(x, dim=1\)"):
        getattr(F, name)(ones(2, 3))


def test_plain_arrays_give_plain_arrays():
    x, w = integers((1, 2, 4, 4)), integers((1, 2, 3, 3))
    results = [
        F.conv2d(x, w), F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 1),
        F.unfold(x, 2), F.pad(x, (1, 1)), F.batch_norm(x, None, None, training=True),
        F.linear(x[0, 0], x[0, 1]), F.dropout(x), F.relu(x),
    ]  # fmt: skip
    assert {type(result) for result in results} == {np.ndarray}


# --- convolution ----------------------------------------------------------------------------------


def test_conv2d_is_scipys_correlation_plus_bias():
    x, w, b = integers((2, 3, 5, 6)), integers((2, 3, 3, 2), 1), np.array([10.0, -10.0])
    expected = [
        [
            sum(signal.correlate2d(i[c], k[c], "valid") for c in range(3)) + b[o]
            for o, k in enumerate(w)
        ]
        for i in x
    ]
    same(F.conv2d(Tensor(x), Tensor(w), Tensor(b)), np.array(expected))


def test_conv2d_of_one_image():
    x, w = integers((2, 4, 5)), integers((3, 2, 2, 2), 1)
    same(F.conv2d(Tensor(x), Tensor(w)), F.conv2d(Tensor(x[None]), Tensor(w)).array[0])


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (5, 2)])
@pytest.mark.parametrize("dilation", [1, (2, 1), 3])
def test_same_keeps_the_size_and_pads_the_end_more(torch, kernel, dilation):
    x, w = integers((1, 1, 6, 7)), integers((1, 1, *kernel), 1)
    y = F.conv2d(Tensor(x), Tensor(w), padding="same", dilation=dilation)
    (top, bottom), (left, right) = (
        (d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2)
        for k, d in zip(kernel, np.broadcast_to(dilation, 2).tolist(), strict=True)
    )
    padded = torch.nn.functional.pad(torch.tensor(x), (left, right, top, bottom))
    assert y.shape == (1, 1, 6, 7)
    same(y, torch.nn.functional.conv2d(padded, torch.tensor(w), dilation=dilation))


def test_valid_is_no_padding():
    x, w = ones(1, 1, 4, 4), ones(1, 1, 3, 3)
    same(F.conv2d(x, w, padding="valid"), F.conv2d(x, w).array)


def test_an_integer_is_a_pair():
    x, w = Tensor(integers((1, 1, 9, 9))), Tensor(integers((1, 1, 2, 2), 1))
    same(F.conv2d(x, w, None, 2, 1, 3), F.conv2d(x, w, None, (2, 2), [1, 1], (3,)).array)


X, W = (2, 4, 5, 5), (6, 4, 3, 3)


@pytest.mark.parametrize(("x", "w", "b", "settings", "kind", "parts"), [
    ((2, 4, 5, 5, 1), W, None, {}, ShapeError, ["input", "(2, 4, 5, 5, 1)"]),
    ((4, 5), W, None, {}, ShapeError, ["input", "(4, 5)"]),
    (X, (6, 4, 3), None, {}, ShapeError, ["weight", "(6, 4, 3)"]),
    (X, (6, 3, 3, 3), None, {}, ShapeError, ["groups=1", "(6, 3, 3, 3)", "(2, 4, 5, 5)"]),
    (X, W, None, {"groups": 2}, ShapeError, ["groups=2", "8 input channels"]),
    (X, (5, 2, 3, 3), None, {"groups": 2}, ShapeError, ["multiple of 2 filters"]),
    (X, W, None, {"groups": 0}, ShapeError, ["groups=0"]),
    (X, (6, 4, 0, 3), None, {}, ShapeError, ["weight is empty", "(6, 4, 0, 3)"]),
    (X, (0, 4, 3, 3), None, {}, ShapeError, ["weight is empty", "(0, 4, 3, 3)"]),
    ((2, 0, 5, 5), (6, 0, 3, 3), None, {}, ShapeError, ["weight is empty"]),
    (X, W, (5,), {}, ShapeError, ["bias", "(6,)", "(5,)"]),
    (X, W, (6, 1), {}, ShapeError, ["bias", "(6, 1)"]),
    (X, (6, 4, 6, 3), None, {}, ShapeError, ["(6, 3)", "(5, 5)", "larger image or padding"]),
    (X, W, None, {"dilation": 3}, ShapeError, ["(7, 7)", "dilation (3, 3)"]),
    (X, W, None, {"stride": 0}, ShapeError, ["stride", "at least 1", "0"]),
    (X, W, None, {"stride": 1.5}, ShapeError, ["stride", "1.5"]),
    (X, W, None, {"dilation": (1, 0)}, ShapeError, ["dilation", "(1, 0)"]),
    (X, W, None, {"padding": -1}, ShapeError, ["padding", "-1"]),
    (X, W, None, {"padding": (1, 2, 3)}, ShapeError, ["padding", "(1, 2, 3)"]),
    (X, W, None, {"padding": "full"}, ArgumentError, ["padding", "'full'"]),
    (X, W, None, {"padding": "same", "stride": 2}, ArgumentError, ['padding="same"', "stride 1"]),
])  # fmt: skip
def test_conv2d_names_what_does_not_fit(x, w, b, settings, kind, parts):
    with pytest.raises(kind) as error:
        F.conv2d(ones(*x), ones(*w), b and ones(*b), **settings)
    for part in ("conv2d", *parts):
        assert part in str(error.value)


@pytest.mark.parametrize("name", ["input", "weight"])
def test_conv2d_needs_floating_point_numbers(name):
    x = ones(1, 1, 3, 3, dtype=int if name == "input" else float)
    w = ones(1, 1, 3, 3, dtype=int if name == "weight" else float)
    with pytest.raises(DTypeError, match=f"conv2d: {name} must be floating-point, got int64"):
        F.conv2d(x, w)


def test_conv2d_does_not_mix_types():
    with pytest.raises(DTypeError, match="conv2d got float32 and float64"):
        F.conv2d(ones(1, 1, 3, 3, dtype=np.float32), ones(1, 1, 3, 3))


# --- linear, unfold, fold, pad --------------------------------------------------------------------


@pytest.mark.parametrize(("x", "w", "b", "part"), [
    ((2, 3), (4, 2), None, "weight (4, 2)"), ((), (4, 2), None, "input ()"),
    ((2, 3), (3,), None, "weight (3,)"),
    ((2, 3), (4, 3), (3,), "bias must have shape (4,), got (3,)"),
])  # fmt: skip
def test_linear_names_what_does_not_fit(x, w, b, part):
    with pytest.raises(ShapeError) as error:
        F.linear(ones(*x), ones(*w), b and ones(*b))
    assert str(error.value).startswith("linear: ")
    assert part in str(error.value)


def test_unfold_of_one_image_and_of_many():
    x = integers((2, 3, 4, 5))
    cols = F.unfold(Tensor(x), (2, 3), stride=(2, 1))
    assert cols.shape == (2, 3 * 6, 2 * 3)
    same(F.unfold(Tensor(x[0]), (2, 3), stride=(2, 1)), cols.array[0])
    assert cols.array[1, :6, 4].tolist() == x[1, 0, 2:4, 1:4].ravel().tolist()


def test_fold_counts_the_windows_of_each_pixel():
    x = ones(1, 1, 4, 4)
    back = F.fold(F.unfold(x, 3, padding=1), (4, 4), 3, padding=1)
    assert back.array[0, 0].tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]


@pytest.mark.parametrize(("shape", "parts"), [
    ((1, 5, 4), ["C*4", "(1, 5, 4)"]), ((1, 4, 5), ["4 windows", "(1, 4, 5)"]),
    ((1, 1, 4, 4), ["(N, C*KH*KW, L)", "(1, 1, 4, 4)"]), ((4,), ["(4,)"]),
])  # fmt: skip
def test_fold_names_what_does_not_fit(shape, parts):
    with pytest.raises(ShapeError) as error:
        F.fold(ones(*shape), (3, 3), 2)
    for part in ("fold", *parts):
        assert part in str(error.value)


def test_unfold_needs_an_image_that_is_large_enough():
    with pytest.raises(ShapeError, match=r"unfold: a kernel of \(4, 4\)"):
        F.unfold(ones(1, 1, 3, 3), 4)


@pytest.mark.parametrize(
    "widths", [(1, 2), (1, 0, 0, 2), (0, 0, 1, 1, 2, 0), (-1, 2), (-1, -2, 1, -1), ()]
)
def test_pad_is_that_of_torch(torch, widths):
    x = integers((2, 3, 4))
    expected = torch.nn.functional.pad(torch.tensor(x), widths, value=7)
    same(F.pad(Tensor(x), widths, value=7), expected)


@pytest.mark.parametrize(("widths", "kind", "part"), [
    ((1,), ArgumentError, "(1,)"), ((1,) * 6, ArgumentError, "at most 2 dimensions"),
    ((-5, 4), ShapeError, "(-5, 4) cuts more than there is from shape (2, 3)"),
    ((0, 0, -2, -1), ShapeError, "cuts more than there is"),
])  # fmt: skip
def test_pad_names_what_does_not_fit(widths, kind, part):
    with pytest.raises(kind) as error:
        F.pad(ones(2, 3), widths)
    assert str(error.value).startswith("pad: ")
    assert part in str(error.value)


def test_pad_knows_constants_only():
    with pytest.raises(ArgumentError, match="pad: mode must be \"constant\", got 'reflect'"):
        F.pad(ones(2, 3), (1, 1), mode="reflect")


# --- pooling --------------------------------------------------------------------------------------

POOLS = [F.max_pool2d, F.avg_pool2d]
each_pool = pytest.mark.parametrize("pool", POOLS, ids=lambda f: f.__name__)


@each_pool
def test_the_stride_is_the_kernel_unless_given(pool):
    x = Tensor(integers((1, 1, 5, 7)))
    for stride in (None, (), (2, 3)):
        same(pool(x, (2, 3), stride), pool(x, (2, 3), (2, 3)).array)


@each_pool
def test_one_image(pool):
    x = integers((2, 3, 5, 7))
    same(pool(Tensor(x[1]), 2, 1), pool(Tensor(x), 2, 1).array[1])


@each_pool
@pytest.mark.parametrize(("shape", "settings", "kind", "parts"), [
    ((5, 5), {"kernel_size": 2}, ShapeError, ["input", "(5, 5)"]),
    ((1, 1, 5, 5), {"kernel_size": 0}, ShapeError, ["kernel_size", "at least 1"]),
    ((1, 1, 5, 5), {"kernel_size": 2, "stride": 0}, ShapeError, ["stride", "0"]),
    ((1, 1, 5, 5), {"kernel_size": 6}, ShapeError, ["(6, 6)", "(5, 5)"]),
    ((1, 1, 5, 5), {"kernel_size": 2, "padding": 2}, ArgumentError, ["padding (2, 2)", "(2, 2)"]),
    ((1, 1, 5, 5), {"kernel_size": (3, 1), "padding": 1}, ArgumentError, ["(1, 1)", "(3, 1)"]),
    ((1, 1, 0, 5), {"kernel_size": 1}, ShapeError, ["(0, 5)"]),
])  # fmt: skip
def test_pooling_names_what_does_not_fit(pool, shape, settings, kind, parts):
    with pytest.raises(kind) as error:
        pool(ones(*shape), **settings)
    for part in (pool.__name__, *parts):
        assert part in str(error.value)


def test_a_divisor_is_not_zero():
    with pytest.raises(ArgumentError, match="avg_pool2d: divisor_override must not be zero"):
        F.avg_pool2d(ones(1, 1, 4, 4), 2, divisor_override=0)


@pytest.mark.parametrize("pool", [F.avg_pool2d, F.adaptive_avg_pool2d], ids=lambda f: f.__name__)
def test_means_of_integers_are_refused(pool):
    with pytest.raises(
        DTypeError, match=f"{pool.__name__}: input must be floating-point, got int64"
    ):
        pool(ones(1, 1, 4, 4, dtype=int), 2)


def test_maxima_of_integers_are_not():
    assert F.max_pool2d(Tensor(np.arange(4).reshape(1, 1, 2, 2)), 2).tolist() == [[[[3]]]]


@pytest.mark.parametrize("size", [1, 3, (2, 5), (None, 2), (4, None), [3, 1], (7, 9), 0, (2,)])
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (3, 4, 6), (0, 3, 4, 6)])
def test_adaptive_means_are_those_of_torch(torch, shape, size):
    x = integers(shape)
    wanted = size * 2 if size == (2,) else size
    same(
        F.adaptive_avg_pool2d(Tensor(x), size),
        torch.nn.functional.adaptive_avg_pool2d(torch.tensor(x), wanted),
    )


@pytest.mark.parametrize(("shape", "size", "part"), [
    ((4, 4), 1, "(4, 4)"), ((1, 1, 0, 4), 2, "(1, 1, 0, 4)"), ((1, 1, 4, 4), -1, "output_size"),
    ((1, 1, 4, 4), 1.5, "output_size"), ((1, 1, 4, 4), (1, 2, 3), "output_size"),
])  # fmt: skip
def test_adaptive_pooling_names_what_does_not_fit(shape, size, part):
    with pytest.raises(ShapeError) as error:
        F.adaptive_avg_pool2d(ones(*shape), size)
    assert str(error.value).startswith("adaptive_avg_pool2d: ")
    assert part in str(error.value)


# --- batch normalisation --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 2, 4), (1, 3, 2, 2)])
@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0])
def test_running_statistics_are_those_of_torch(torch, rng, shape, momentum):
    x, mean, variance = rng.normal(2, 3, shape), rng.normal(size=3), rng.uniform(1, 2, 3)
    ours = [Tensor(mean.copy()), Tensor(variance.copy())]
    theirs = [torch.tensor(mean), torch.tensor(variance)]
    for training in (True, False):
        settings = {"training": training, "momentum": momentum, "eps": 1e-3}
        expected = torch.nn.functional.batch_norm(torch.tensor(x), *theirs, **settings)
        same(F.batch_norm(Tensor(x), *ours, **settings), expected)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)


def test_running_statistics_may_be_arrays_and_stay_in_place():
    mean, variance = np.zeros(2), np.ones(2)
    F.batch_norm(Tensor(np.array([[0.0, 2.0], [2.0, 6.0]])), mean, variance, training=True)
    np.testing.assert_allclose(mean, [0.1, 0.4])
    np.testing.assert_allclose(variance, [1.1, 1.7])


def test_running_statistics_carry_no_graph():
    mean, x = minicnn.zeros(2), minicnn.rand(4, 2, requires_grad=True)
    F.batch_norm(x, mean, None, training=True)
    assert not mean.requires_grad
    assert mean.version == [1]


def test_float32_stays_float32_with_statistics_of_float64():
    x = minicnn.rand(4, 2)
    for training in (True, False):
        y = F.batch_norm(x, np.zeros(2), np.ones(2), training=training)
        assert y.dtype == np.float32


@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias"])
def test_batch_norm_names_a_shape_that_does_not_fit(name):
    arguments = {"running_mean": ones(3), "running_var": ones(3), name: ones(2)}
    with pytest.raises(ShapeError, match=rf"batch_norm: {name} must have shape \(3,\), got \(2,\)"):
        F.batch_norm(ones(4, 3), **arguments)


@pytest.mark.parametrize(("shape", "kind", "message"), [
    ((3,), ShapeError, r"input must be \(N, C, ...\), got shape \(3,\)"),
    ((1, 3), ShapeError, r"more than one value per channel, got shape \(1, 3\)"),
    ((1, 3, 1, 1), ShapeError, r"more than one value per channel, got shape \(1, 3, 1, 1\)"),
    ((0, 3, 2, 2), ShapeError, r"more than one value per channel, got shape \(0, 3, 2, 2\)"),
])  # fmt: skip
def test_batch_norm_needs_a_batch_to_learn_from(shape, kind, message):
    mean = ones(3)
    with pytest.raises(kind, match=f"batch_norm: .*{message}"):
        F.batch_norm(ones(*shape), mean, ones(3), training=True)
    assert mean.tolist() == [1, 1, 1]


def test_inference_needs_statistics():
    with pytest.raises(ArgumentError, match="batch_norm: needs running_mean and running_var"):
        F.batch_norm(ones(4, 3), None, ones(3))


def test_batch_norm_needs_floating_point_numbers():
    with pytest.raises(DTypeError, match="batch_norm: input must be floating-point, got int64"):
        F.batch_norm(ones(4, 3, dtype=int), None, None, training=True)


# --- dropout and relu -----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"training": False}, {"p": 0.0}, {"p": 0}])
def test_dropout_that_drops_nothing_is_the_input_itself(settings):
    x = ones(3)
    assert F.dropout(x, **settings) is x


def test_dropout_drops_half_unless_told():
    y = F.dropout(ones(2000)).array
    assert np.unique(y).tolist() == [0, 2]
    assert 800 < (y == 0).sum() < 1200


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("training", [True, False])
def test_dropout_needs_a_probability(p, training):
    with pytest.raises(ArgumentError, match=rf"dropout: p must be in \[0, 1\], got {p}"):
        F.dropout(ones(3), p, training)


def test_inplace_is_accepted_and_gives_a_new_tensor():
    x = Tensor(np.array([-1.0, 2.0]))
    assert F.relu(x, inplace=True).tolist() == [0, 2]
    F.dropout(x, 1.0, inplace=True)
    assert x.tolist() == [-1, 2]
