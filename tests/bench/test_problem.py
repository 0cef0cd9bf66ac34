"""Problems as text: what is read, what is written again, and what is refused."""

from __future__ import annotations

import pytest
from geometries import windows
from hypothesis import assume, given
from hypothesis import strategies as st

from minicnn.bench.problem import ConvProblem, GemmProblem, PoolProblem
from minicnn.errors import UsageError

NAMES = st.text(st.characters(codec="ascii", exclude_characters='"*\n\r'), max_size=8)


@st.composite
def geometries(draw):
    """The sides of a random problem, one to three of them."""
    found = draw(windows((1, 2, 3)))
    return {
        "image": found.image,
        "kernel": found.kernel,
        "stride": found.stride,
        "padding": found.padding,
        "dilation": found.dilation,
        "batch": draw(st.integers(1, 9)),
        "name": draw(NAMES),
        "count": draw(st.integers(1, 3)),
    }


@given(geometries(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_a_convolution_is_read_as_it_was_written(geometry, groups, inputs, outputs):
    problem = ConvProblem(
        **geometry, in_channels=groups * inputs, out_channels=groups * outputs, groups=groups
    )
    assert ConvProblem.read(str(problem)) == problem
    assert ConvProblem.read(problem.key).name == ""


@given(geometries(), st.integers(1, 5))
def test_pooling_is_read_as_it_was_written(geometry, channels):
    problem = PoolProblem(**geometry, in_channels=channels)
    assert PoolProblem.read(str(problem)) == problem


@given(st.tuples(*[st.integers(1, 999)] * 3), NAMES, st.integers(1, 3))
def test_a_product_is_read_as_it_was_written(sizes, name, count):
    problem = GemmProblem(*sizes, name, count)
    assert GemmProblem.read(str(problem)) == problem


@given(geometries())
def test_the_output_may_be_given_and_is_checked(geometry):
    problem = ConvProblem(**geometry, in_channels=1, out_channels=1)
    assume(not problem.name)
    sides = "".join(
        f"o{axis}{n}"
        for axis, n in zip("dhw"[-len(problem.image) :], problem.windows.output, strict=True)
    )
    assert ConvProblem.read(f"{problem.key}{sides}").windows == problem.windows
    padding = "" if any(problem.padding) else f"p{sides[1]}0"
    with pytest.raises(UsageError, match="the output is"):
        ConvProblem.read(f"{problem.key}{padding}{sides}7")


def test_what_is_left_out_is_as_in_benchdnn():
    problem = ConvProblem.read("ic3ih5oc4kh3")
    assert (problem.batch, problem.image, problem.kernel) == (2, (5, 5), (3, 3))
    assert (problem.stride, problem.padding, problem.dilation) == ((1, 1), (0, 0), (1, 1))
    assert ConvProblem.read("ic3ih5oc4kh3dh1").dilation == (2, 2)  # pixels that are skipped
    assert ConvProblem.read("ic3ih5oh5oc4kh3").padding == (1, 1)  # so that the output fits
    assert ConvProblem.read("g2_mb1_ic4ih5iw6oc4kh3kw1").image == (5, 6)
    assert ConvProblem.read("ic1iw9oc1kw3").image == (9,)
    assert ConvProblem.read("ic1id4oc1kd2").image == (4, 4, 4)


def test_operations_and_bytes_follow_the_definition():
    problem = ConvProblem.read("g2mb3ic4ih5iw6oc6kh3kw2ph1")
    assert problem.y_shape == (3, 6, 5, 7)
    assert problem.flops == 2 * 3 * 6 * 5 * 7 * (4 // 2) * 3 * 2
    assert problem.bytes == 4 * (3 * 4 * 30 + 6 * 2 * 6 + 3 * 6 * 35)
    pool = PoolProblem.read("mb2ic3ih4kh2sh2")
    assert (pool.flops, pool.bytes) == (2 * 3 * 4 * 4, 4 * 2 * 3 * (16 + 4))
    product = GemmProblem.read("2x3:3x5")
    assert (product.flops, product.bytes) == (2 * 30, 4 * (6 + 15 + 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mb16ic64ih56oc", "cannot be read from 'oc' on"),
        ("mb16ic64ih56oc64kh3px1", "from 'px1' on"),
        ("mb1mb2ic3ih5oc4kh3", "has mb twice"),
        ("ih5oc4kh3", "lacks ic"),
        ("ic3ih5kh3", "lacks oc"),
        ("ic3oc4kh3", "lacks the size of the image"),
        ("ic3ih5oc4", "lacks the size of the kernel: kh"),
        ("ic3iw5oc4kw3kh3", "has kh, but its image has no such side"),
        ("g2ic3ih5oc4kh3", "2 groups do not divide 3 input and 4 output channels"),
        ("ic3ih2oc4kh3", "reaches over"),
        ("ic3ih5oc4kh3sh0", "a stride of 0"),
        ("mb0ic3ih5oc4kh3", "a size or a stride of 0"),
        ("ic3ih5oc0kh3", "channels or groups of 0"),
        ("g0ic3ih5oc4kh3", "channels or groups of 0"),
    ],
)
def test_a_mistake_is_named(text, message):
    with pytest.raises(UsageError, match=message):
        ConvProblem.read(text)


def test_mistakes_in_other_kinds_are_named():
    with pytest.raises(UsageError, match="pooling has no oc"):
        PoolProblem.read("ic3ih5oc4kh3")
    with pytest.raises(UsageError, match="write it as 256x64:64x128"):
        GemmProblem.read("3x4x5")
    with pytest.raises(UsageError, match="4 columns do not fit 5 rows"):
        GemmProblem.read("3x4:5x6")
    with pytest.raises(UsageError, match="a size of 0"):
        GemmProblem.read("3x0:0x6")


def test_another_batch():
    problem = ConvProblem.read('mb8ic3ih5oc4kh3n"a*2"').with_batch(1)
    assert str(problem) == 'mb1ic3ih5oc4kh3n"a*2"'
