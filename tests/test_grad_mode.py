from __future__ import annotations

import pytest

import minicnn


def test_recording_is_switched_as_in_torch(torch):
    for m in (torch, minicnn):
        seen = []
        with m.set_grad_enabled(False):
            seen.append(m.is_grad_enabled())
            with m.set_grad_enabled(True):
                seen.append(m.is_grad_enabled())
            seen.append(m.is_grad_enabled())
        seen.append(m.is_grad_enabled())
        m.set_grad_enabled(False)
        seen.append(m.is_grad_enabled())
        m.set_grad_enabled(True)
        seen.append(m.is_grad_enabled())
        assert seen == [False, True, False, True, False, True]


def test_an_error_switches_back():
    with pytest.raises(KeyError), minicnn.set_grad_enabled(False):
        raise KeyError
    assert minicnn.is_grad_enabled()


def test_inference_records_nothing(torch):
    for m in (torch, minicnn):
        x = m.ones(2, requires_grad=True)
        with m.inference_mode():
            assert not (x * 2).requires_grad
            with m.inference_mode(False):
                assert (x * 2).requires_grad

        @m.inference_mode()
        def double(x):
            return x * 2

        assert not double(x).requires_grad
        assert (x * 2).requires_grad
