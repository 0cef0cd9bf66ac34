"""`minicnn predict` on pictures as people have them: large, coloured, dark on light."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from minicnn import cli
from minicnn.cli.predict import read_picture
from minicnn.data import Digits
from minicnn.errors import DataError


@pytest.fixture(scope="module")
def test_set():
    return Digits("test")


def picture_of(test_set, number):
    """Return a test image as grey values, 0 for paper and 255 for ink."""
    image = test_set[number][0] * test_set.std + test_set.mean
    return np.clip(255 * image[0], 0, 255).astype(np.uint8)


def test_a_picture_is_read_like_the_data(tmp_path, test_set):
    grey = picture_of(test_set, 0)
    Image.fromarray(grey).save(tmp_path / "light-on-dark.png")
    Image.fromarray(255 - grey).save(tmp_path / "dark-on-light.png")
    large = Image.fromarray(255 - grey).resize((200, 200)).convert("RGB")
    large.save(tmp_path / "large.jpg")
    transparent = np.zeros((32, 32, 4), np.uint8)
    transparent[..., 3] = grey
    Image.fromarray(transparent).save(tmp_path / "transparent.png")
    expected = test_set[0][0]
    for name, tolerance in (
        ("light-on-dark.png", 0.02),
        ("dark-on-light.png", 0.02),
        ("transparent.png", 0.02),
        ("large.jpg", 0.5),
    ):
        found = read_picture(str(tmp_path / name), test_set)
        assert found.shape == (1, 32, 32)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=name)


def test_the_answer_for_a_file_and_for_the_test_image_agree(capsys, run_folder, tmp_path, test_set):
    Image.fromarray(picture_of(test_set, 5)).save(tmp_path / "five.png")
    path = str(tmp_path / "five.png")
    assert cli.main(("predict", str(run_folder), "--test-image", "5", "--top", "2", path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == path
    assert lines[3].startswith("test image 5 (labelled ")
    assert lines[1].split()[0] == lines[4].split()[0]
    assert len(lines) == 6


def test_refusals(capsys, run_folder, tmp_path):
    (tmp_path / "words.png").write_text("not a picture")
    for arguments, message in (
        ((str(tmp_path / "none.png"),), "no such picture"),
        ((str(tmp_path / "words.png"),), "not a picture that can be read"),
        (("--test-image", "300"), "from 0 to 299, got 300"),
        (("--test-image", "0", "--top", "0"), "--top must be at least 1"),
    ):
        assert cli.main(("predict", str(run_folder), *arguments)) in (1, 2)
        assert message in capsys.readouterr().err


def test_a_folder_is_no_picture(tmp_path, test_set):
    with pytest.raises(DataError):
        read_picture(str(tmp_path), test_set)
