from __future__ import annotations

import manifest
import numpy as np
import pytest

from minicnn_kernels.cuda import launch


def test_what_is_included_stands_in_the_text_once(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "FOLDER", tmp_path)
    (tmp_path / "a.cuh").write_text("int a;\n")
    (tmp_path / "b.cuh").write_text('#include "a.cuh"\nint b;\n')
    (tmp_path / "c.cu").write_text('#include "a.cuh"\n#include "b.cuh"\nint c;\n')
    launch.source.cache_clear()
    text = launch.source("c.cu")
    launch.source.cache_clear()
    assert text.split("\n") == ["int a;", "", "", "int b;", "", "int c;", ""]


def test_structures_are_passed_without_their_fields(card, monkeypatch):
    """To describe them for CuPy takes NumPy longer than a launch."""
    seen = []
    monkeypatch.setattr(launch, "_function", lambda *_: lambda *call, **more: seen.append(call[2]))
    sizes = np.zeros((), np.dtype([("rows", np.int32), ("scale", np.float32)]))
    sizes["rows"], sizes["scale"] = 3, 0.5
    launch.launch("a.cu", "a", (1,), (1,), (np.int32(7), sizes))
    number, structure = seen[0]
    assert number == 7
    assert structure.shape == ()
    assert structure.dtype.fields is None
    assert structure.tobytes() == sizes.tobytes()


def test_arrays_of_another_card_are_refused(card):
    """CuPy would hand over their addresses unseen."""
    card.machine.cards = 2
    with card.cupy.cuda.Device(1):
        x = card.array(np.ones(4, np.float32))
    with pytest.raises(ValueError, match="array device = 1 while current = 0"):
        launch.launch("layout.cu", "any", (1,), (1,), (x,))
    with pytest.raises(ValueError, match="array device = 1 while current = 0"):
        launch.launch_text("", "any", (1,), (1,), (np.int32(4), x))


class Kernel:
    """A kernel of CuPy's that has some static shared memory."""

    def __init__(self, static):
        self.max_dynamic_shared_size_bytes = 48 * 1024 - static

    def __call__(self, grid, block, arguments, shared_mem):
        assert shared_mem <= self.max_dynamic_shared_size_bytes


@pytest.mark.parametrize("shared", [1000, 47 * 1024, 48 * 1024, 96 * 1024])
def test_room_is_asked_for_beside_static_memory(shared, card, monkeypatch):
    """A card refuses the launch if both kinds together are more than 48 KiB."""
    monkeypatch.setattr(launch, "_function", lambda *_: Kernel(launch.STATIC_BYTES))
    launch.launch("a.cu", "a", (1,), (1,), (), shared=shared)


def test_kernels_with_both_kinds_of_memory_have_little_of_the_static():
    both = [row for row in manifest.rows() if row.dynamic and row.static]
    assert both
    assert max(row.static for row in both) <= launch.STATIC_BYTES
