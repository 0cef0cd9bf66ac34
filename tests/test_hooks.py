from __future__ import annotations

from minicnn.hooks import RemovableHandle


def test_a_handle_removes_its_own_hook_only_and_once():
    hooks = []
    first, second = RemovableHandle(hooks, print), RemovableHandle(hooks, print)
    first.remove()
    first.remove()
    assert hooks == [print]
    second.remove()
    assert hooks == []


def test_a_hook_lives_for_a_block_even_if_it_fails():
    hooks = []
    try:
        with RemovableHandle(hooks, print) as handle:
            assert isinstance(handle, RemovableHandle)
            assert hooks == [print]
            raise KeyError
    except KeyError:
        pass
    assert hooks == []


def test_a_hook_that_is_already_gone():
    hooks = []
    handle = RemovableHandle(hooks, print)
    hooks.clear()
    handle.remove()
