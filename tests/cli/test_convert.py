"""`minicnn convert` takes over weights, and checks them."""

from __future__ import annotations

import numpy as np
import pytest
from torch_files import ORDERED_DICT, archive, plain, table, tensor

from minicnn import cli, models
from minicnn.cli import convert
from minicnn.io import load_file, load_metadata, save_file

SIX = np.arange(6, dtype="<f4")


@pytest.fixture
def checkpoint(tmp_path):
    """A training's checkpoint, made by hand, with two arrays of a model."""
    model = table({"module.w": tensor(), "module.v": tensor(None, 0, (6,), (1,))}, ORDERED_DICT)
    steps = table({"epoch": plain(3), "model": model})
    path = tmp_path / "x.pth"
    path.write_bytes(archive(steps, {"0": SIX.tobytes()}))
    return path


def test_a_checkpoint_becomes_safetensors(checkpoint, tmp_path, capsys):
    target = tmp_path / "x.safetensors"
    assert cli.main(("convert", str(checkpoint), str(target))) == 0
    assert capsys.readouterr().out == f"{target}: 2 arrays (2 float32), 12 values, 0.0 MiB\n"
    found = load_file(target)
    assert list(found) == ["model.module.w", "model.module.v"]
    np.testing.assert_array_equal(found["model.module.w"], SIX.reshape(2, 3))


def test_a_part_in_another_type(checkpoint, tmp_path):
    target = str(tmp_path / "x.safetensors")
    arguments = ("--prefix", "model.module.", "--dtype", "float16")
    assert cli.main(("convert", str(checkpoint), target, *arguments)) == 0
    assert {name: array.dtype for name, array in load_file(target).items()} == {
        "w": np.float16, "v": np.float16
    }  # fmt: skip


def test_safetensors_keep_their_metadata_and_whole_numbers(tmp_path):
    path = str(tmp_path / "x")  # read and written in one place
    save_file({"w": SIX, "n": np.array(3)}, path, {"epoch": "3"})
    assert cli.main(("convert", path, path, "--dtype", "float64")) == 0
    found = load_file(path)
    assert (found["w"].dtype, found["n"].dtype) == (np.float64, np.int64)
    assert load_metadata(path) == {"epoch": "3"}


def test_the_names_are_checked_with_a_model(tmp_path, capsys):
    source, target = tmp_path / "x", tmp_path / "y"
    save_file(models.lenet5().state_dict(), source)
    command = ("convert", str(source), str(target), "--model")
    assert cli.main((*command, "lenet5")) == 0
    assert load_file(target).keys() == models.lenet5().state_dict().keys()
    target.unlink()
    assert cli.main((*command, "lenet5_1998")) == 1
    assert "keys do not fit LeNet1998" in capsys.readouterr().err
    assert cli.main((*command, "lenet6")) == 2
    assert "did you mean 'lenet5'" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize(("arguments", "code", "text"), [
    (("--prefix", "encoder."), 2, "--prefix 'encoder.': none of 1 arrays has it: w"),
    (("--dtype", "float16"), 2, "--dtype float16: w has values up to 100000.0, too large"),
])  # fmt: skip
def test_what_cannot_be_done(tmp_path, capsys, arguments, code, text):
    source, target = tmp_path / "x", tmp_path / "y"
    save_file({"w": np.float32([1e5, np.inf])[:1]}, source)
    assert cli.main(("convert", str(source), str(target), *arguments)) == code
    assert text in capsys.readouterr().err
    assert not target.exists()


def test_a_file_that_is_missing(tmp_path, capsys):
    assert cli.main(("convert", str(tmp_path / "no.pth"), str(tmp_path / "y"))) == 1
    assert "no.pth' is missing" in capsys.readouterr().err


def test_infinite_values_stay_infinite():
    found = convert.cast("w", np.float32([np.inf, np.nan]), "float16")
    np.testing.assert_array_equal(found, np.float16([np.inf, np.nan]))
