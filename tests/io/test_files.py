from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from minicnn.errors import ArgumentError
from minicnn.io.files import atomic_write, write_json, write_text

posix_only = pytest.mark.skipif(os.name != "posix", reason="permission bits and links are POSIX")


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_target_appears_only_when_the_block_has_succeeded(tmp_path):
    target = tmp_path / "a.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_existing_target_keeps_its_content_until_the_end(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_a_failure_leaves_the_old_content_and_no_temporary_file(tmp_path, failure):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with atomic_write(target) as temporary:
            temporary.write_text("half of the n")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_to_reach_the_disk_is_a_failure(tmp_path, monkeypatch):
    def full_disk(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_text(tmp_path / "a.txt", "new")
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_are_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    target = tmp_path / "a.txt"
    synced = []
    real_fsync = os.fsync

    def watched(descriptor):
        synced.append((os.fstat(descriptor).st_size, target.exists()))
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_text(target, "12345")
    assert synced == [(5, False)]


def test_a_writer_that_wrote_nowhere_is_noticed(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt") as temporary:
        temporary.unlink()
    assert list(tmp_path.iterdir()) == []


def test_parent_folders_are_made(tmp_path):
    write_text(tmp_path / "runs" / "first" / "a.txt", "x")
    assert (tmp_path / "runs" / "first" / "a.txt").read_text() == "x"


def test_a_path_in_words_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text("a.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "x"


def test_a_long_name_is_as_good_as_a_short_one(tmp_path):
    target = tmp_path / ("n" * 251 + ".txt")
    write_text(target, "x")
    assert target.read_text() == "x"


def test_the_temporary_path_has_the_suffix_of_the_target(tmp_path):
    with atomic_write(tmp_path / "picture.svg") as temporary:
        assert temporary.suffix == ".svg"


def test_two_writers_of_one_target_do_not_meet(tmp_path):
    target = tmp_path / "a.txt"
    with atomic_write(target) as first, atomic_write(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # the one that ended last


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


@posix_only
def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path, umask):
    write_text(tmp_path / "a.txt", "x")
    assert permissions(tmp_path / "a.txt") == 0o666 & ~umask


@posix_only
def test_permissions_that_the_writer_changed_are_put_right(tmp_path, umask):
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.unlink()
        temporary.touch(mode=0o600)
    assert permissions(tmp_path / "a.txt") == 0o666 & ~umask


@posix_only
def test_an_existing_file_keeps_its_permissions(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    target.chmod(0o604)
    write_text(target, "new")
    assert permissions(target) == 0o604


@posix_only
def test_a_link_stays_a_link_and_its_target_is_written(tmp_path):
    (tmp_path / "deep").mkdir()
    target, link = tmp_path / "deep" / "epoch3.txt", tmp_path / "latest.txt"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_folder_is_refused_before_the_block_runs(tmp_path):
    with pytest.raises(ArgumentError, match=r"is a folder; name a file"), atomic_write(tmp_path):
        pytest.fail("the block ran")
    assert list(tmp_path.iterdir()) == []


@posix_only
def test_a_pipe_or_device_is_refused_and_not_replaced(tmp_path):
    # a pipe of our own stands in for /dev/null: a guard that fails must not replace the real one
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ArgumentError, match="is a pipe or a device; name a file"):
        write_text(pipe, "x")
    assert pipe.is_fifo()


def test_text_is_utf8_with_unix_line_ends(tmp_path):
    write_text(tmp_path / "a.txt", "é\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\n"


def test_json_is_indented_and_read_back(tmp_path):
    value = {"loss": [0.5, 1], "name": "é", "none": None}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.startswith('{\n  "loss"')
    assert "é" in text
    assert text.endswith("}\n")


def test_a_value_without_json_form_changes_nothing(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "a.json", {"a": {1, 2}})
    assert json.loads((tmp_path / "a.json").read_text()) == 1
    assert len(list(tmp_path.iterdir())) == 1
