from __future__ import annotations

import numpy as np

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
