"""Multiply-adds beside loops that count them, formulas beside what they say."""

from __future__ import annotations

from itertools import product

import pytest

import minicnn
from minicnn import nn
from minicnn.arguments import Calls, noting
from minicnn.nn import functional as F
from minicnn.summaries.costs import formula, multiply_adds, window_bytes
from minicnn.testing.modules import layer_cases


def calls_of(function, *shapes):
    with noting(Calls()) as calls:
        function(*(minicnn.ones(*shape) for shape in shapes))
    return calls


def counted(function, *shapes):
    return sum(map(multiply_adds, calls_of(function, *shapes)))


@pytest.mark.parametrize(
    ("image", "filters", "stride", "padding", "dilation", "groups", "output"),
    [
        ((2, 4, 7, 6), (3, 4, 3, 2), (2, 1), (1, 0), (1, 1), 1, (4, 5)),
        ((1, 4, 9, 5), (6, 2, 2, 3), (1, 3), (0, 2), (3, 1), 2, (6, 3)),
        ((1, 3, 5, 5), (3, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3, (5, 5)),
    ],
)
def test_a_convolution_multiplies_as_often_as_its_loops(
    image, filters, stride, padding, dilation, groups, output
):
    count = 0
    for _ in product(range(image[0]), range(filters[0]), *map(range, output)):
        for _ in product(range(image[1] // groups), *map(range, filters[2:])):
            count += 1

    def function(x, w):
        return F.conv2d(x, w, None, stride, padding, dilation, groups)

    assert counted(function, image, filters) == count
    bias = counted(lambda x, w, b: F.conv2d(x, w, b, stride, padding, dilation, groups),
                   image, filters, (filters[0],))  # fmt: skip
    assert bias == count


def test_a_transposed_convolution_spreads_every_pixel_over_every_cell():
    count = 0
    for _ in product(range(2), range(4), range(5), range(3)):  # the pixels, by channel
        for _ in product(range(6 // 2), range(3), range(2)):  # the cells, by channel of the group
            count += 1

    def function(x, w):
        return F.conv_transpose2d(x, w, stride=2, groups=2)

    assert counted(function, (2, 4, 5, 3), (4, 3, 3, 2)) == count


@pytest.mark.parametrize(("function", "shapes", "count"), [
    (F.linear, ((5, 3), (4, 3)), 5 * 4 * 3),
    (F.linear, ((5, 2, 3), (4, 3), (4,)), 5 * 2 * 4 * 3),
    (minicnn.matmul, ((2, 5, 3), (2, 3, 4)), 2 * 5 * 4 * 3),
    (minicnn.matmul, ((5, 3), (3,)), 5 * 3),
    (minicnn.matmul, ((3,), (3,)), 3),
    (lambda a, b: minicnn.einsum("bhid,bhjd->bhij", a, b), ((2, 3, 4, 5), (2, 3, 6, 5)), 720),
    (lambda x: F.max_pool2d(x.relu() + 1, 2), ((1, 2, 4, 4),), 0),
])  # fmt: skip
def test_products(function, shapes, count):
    assert counted(function, *shapes) == count


@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_a_recurrent_layer_multiplies_each_input_and_each_state(kind, gates):
    layer = getattr(nn, kind)(5, 3, num_layers=2, bidirectional=True)
    of_first, of_second = gates * 3 * (5 + 3), gates * 3 * (6 + 3)
    assert counted(layer, (7, 2, 5)) == 7 * 2 * 2 * (of_first + of_second)


def test_a_projected_state_is_a_product_more():
    layer = nn.LSTM(5, 4, proj_size=2)
    assert counted(layer, (7, 1, 5)) == 7 * (4 * 4 * (5 + 2) + 2 * 4)


@pytest.mark.parametrize(("function", "shapes", "columns"), [
    (lambda x, w: F.conv2d(x, w, stride=2, padding=1), ((1, 4, 7, 6), (3, 4, 3, 2)),
     (4 * 3 * 2) * (4 * 4)),
    (lambda x, w: F.conv2d(x, w, groups=2), ((1, 4, 7, 6), (2, 2, 3, 3)), (4 * 3 * 3) * (5 * 4)),
    (lambda x, w: F.conv2d(x, w), ((1, 4, 7, 6), (3, 4, 1, 1)), 0),
    (lambda x, w: F.conv2d(x, w, stride=2), ((1, 4, 7, 6), (3, 4, 1, 1)), 4 * 4 * 3),
    (lambda x, w: F.conv_transpose2d(x, w, stride=2), ((1, 4, 5, 3), (4, 2, 3, 3)),
     (2 * 3 * 3) * (5 * 3)),
    (F.linear, ((5, 3), (4, 3)), 0),
])  # fmt: skip
def test_the_matrix_of_all_windows(function, shapes, columns):
    assert sum(map(window_bytes, calls_of(function, *shapes))) == 4 * columns


def test_the_matrix_is_the_one_that_unfold_makes():
    x, w = (1, 3, 8, 9), (2, 3, 3, 2)
    (call,) = calls_of(lambda x, w: F.conv2d(x, w, stride=2, padding=1, dilation=2), x, w)
    columns = F.unfold(minicnn.ones(*x), w[2:], stride=2, padding=1, dilation=2)
    assert window_bytes(call) == columns.array.nbytes


# --- parameters -----------------------------------------------------------------------------------

CASES = [case for case in layer_cases() if list(case.module().parameters())]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_formula_gives_the_number_of_parameters(case):
    for module in case.module().modules():
        count = sum(p.array.size for p in module.parameters(recurse=False))
        left, _, right = formula(module).partition(" = ")
        if count:
            assert eval(left.replace(",", "")) == count
            assert right in ("", f"{count:,}")
        else:
            assert left == ""


@pytest.mark.parametrize(("module", "text"), [
    (nn.Conv2d(3, 96, 11, 4), "(11*11*3 + 1) * 96 = 34,944"),
    (nn.Conv2d(96, 256, (5, 3), groups=2, bias=False), "5*3*48 * 256 = 184,320"),
    (nn.Conv1d(7, 4, 3), "(3*7 + 1) * 4 = 88"),
    (nn.ConvTranspose2d(6, 4, 2, groups=2), "(2*2*3 + 1) * 4 = 52"),
    (nn.ConvTranspose2d(5, 5, 2, bias=False), "2*2*5 * 5 = 100"),
    (nn.Linear(25, 1), "(25 + 1) * 1 = 26"),
    (nn.BatchNorm2d(64), "2*64 = 128"),
    (nn.Embedding(20, 3), "3 * 20 = 60"),
    (nn.PReLU(5), "5"),
    (nn.LSTM(3, 2), "8*3 + 8*2 + 2*8 = 56"),
    (nn.ReLU(), ""),
])  # fmt: skip
def test_formulas(module, text):
    assert formula(module) == text
