from __future__ import annotations

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
