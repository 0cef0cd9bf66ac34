from __future__ import annotations

import pytest

from minicnn.gradcheck import CAUSES, Hint


def test_a_hint_holds_a_cause_a_sentence_and_how_well_it_fits():
    hint = Hint("sign", "dx: all signs", 1e-9)
    assert hint == ("sign", "dx: all signs", 1e-9)
    assert hint._replace(text="dw").cause == "sign"


@pytest.mark.parametrize(("key", "sentence"), CAUSES.items())
def test_every_cause_is_a_sentence_without_a_full_stop(key, sentence):
    assert key == key.lower().strip()
    assert sentence[0] != " "
    assert not sentence.endswith(".")
    assert len(sentence) < 100
