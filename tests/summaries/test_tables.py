from __future__ import annotations

import csv
import io

import pytest

import minicnn
from minicnn import models, nn, summary
from minicnn.summaries.tables import COLUMNS, amount, page, sides

TEXT = """\
Sequential for one example of 1x9x10, in evaluation

layer            output  window                 parameters  mult-adds  field  jump  results    saved   im2col
0 Conv2d         4x5x11  3x2 s2x1 p1  (3*2*1 + 1) * 4 = 28     1.32 k    3x2   2x1    880 B    360 B  1.32 kB
1 PReLU          4x5x11                                  4               3x2   2x1    880 B    880 B
2 ReLU, 2 calls  4x5x11                                                  3x2   2x1  1.76 kB  1.76 kB
4 Flatten           220                                                  all
5 Linear              2                (220 + 1) * 2 = 442        440    all            8 B

474 parameters, 1.90 kB
1,760 multiply-adds = 3.52 kFLOP, two for each
3.53 kB of results, 3.00 kB saved for backward; the largest im2col matrix 1.32 kB"""  # noqa: E501


@pytest.fixture
def found():
    relu = nn.ReLU()
    model = nn.Sequential(
        nn.Conv2d(1, 4, (3, 2), (2, 1), (1, 1)), nn.PReLU(4), relu, relu, nn.Flatten(),
        nn.Linear(4 * 5 * 11, 2),
    )  # fmt: skip
    return summary(model, (1, 9, 10))


def test_the_text(found):
    assert found.text(120) == TEXT


@pytest.mark.parametrize("width", [45, 60, 80, 100, 108])
def test_columns_of_little_worth_go_first_when_space_is_short(found, width):
    lines = found.text(width).splitlines()
    table = lines[2:8]
    assert max(map(len, table)) <= width
    assert table[0].split()[:2] == ["layer", "output"]
    assert lines[-1].startswith(f"Not shown in {width} columns: ")
    missing = lines[-1].partition(": ")[2].rstrip(".").split(", ")
    assert missing[-1] == "im2col"
    for column in COLUMNS:
        assert (column.title in table[0].split()) != (column.title in missing)
    bare = "parameters" in table[0] and "(220 + 1)" not in "".join(table)
    assert ("how parameters are counted" in missing) == bare


def test_the_terminal_decides_how_wide_it_is(found, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert repr(found) == found.text(60) != found.text(120)


class TwoGrids(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 3)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.a(x)[:, :, :2, :2] + self.b(x)


def test_asterisks_are_explained():
    text = summary(TwoGrids(), (1, 8, 8)).text(120)
    assert "* b: counted already as a.weight" in text
    assert "1*" in text
    assert "* add: branches of different jumps meet, 2 and 3 pixels" in text


@pytest.mark.parametrize(("number", "text"), [
    (0, "0"), (26, "26"), (999, "999"), (999.6, "1.00 k"), (1000, "1.00 k"), (12_345, "12.3 k"),
    (99_960, "100 k"), (999_499, "999 k"), (999_600, "1.00 M"), (15_470_264_320, "15.5 G"),
    (1_440_000_000_000, "1.44 T"),
])  # fmt: skip
def test_amounts_have_three_digits(number, text):
    assert amount(number) == text


def test_sides():
    assert (sides((2, 2)), sides((2, 3)), sides((0.5, 1))) == ("2", "2x3", "0.5x1")


def test_csv_has_every_figure(found):
    first, *_, last = csv.DictReader(io.StringIO(found.csv()))
    assert first["path"] == "0"
    assert first["output_shape"] == "4x5x11"
    assert (first["kernel_size"], first["stride"], first["groups"]) == ("3x2", "2x1", "1")
    assert first["formula"] == "(3*2*1 + 1) * 4 = 28"
    assert first["receptive_field"] == "3x2"
    assert int(first["flops"]) == 2 * int(first["multiply_adds"]) == 2 * 4 * 5 * 11 * 6
    assert (last["whole"], last["jump"]) == ("True True", "0x0")


def test_html_is_one_table_and_nothing_is_left_raw():
    class Odd(nn.Module):
        def forward(self, x):
            return x * 2

    Odd.__name__ = "<Odd & so on>"
    html = summary(nn.Sequential(nn.Linear(2, 3), Odd()), (2,))._repr_html_()
    assert "<Odd" not in html
    assert "&lt;Odd &amp; so on&gt;" in html
    assert html.count("<tr>") == 3
    assert html.count("<table") == html.count("</table>") == 1
    assert "(2 + 1) * 3 = 9" in html


def test_the_page_is_whole(found):
    text = page(found)
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert "http" not in text.replace("http-equiv", "")


def test_a_model_of_the_catalogue_fits_a_terminal():
    with nn.init.undrawn():
        model = models.create("resnet18")
    for line in summary(model, (3, 224, 224), depth=2).text(80).splitlines()[:20]:
        assert len(line) <= 80


def test_a_model_without_rows_of_its_own():
    lines = summary(nn.ReLU(), (3,)).text(80).splitlines()
    assert lines[3].split() == ["ReLU", "3", "12", "B"]
    assert lines[5] == "0 parameters, 0 B"
    assert lines[7] == "12 B of results, 0 B saved for backward"
    assert minicnn.summary is summary
