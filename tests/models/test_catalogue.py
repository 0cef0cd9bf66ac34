from __future__ import annotations

import pytest

from minicnn.models import catalogue


@pytest.fixture
def empty(monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", {})


def test_a_builder_is_entered_under_its_name_and_stays_itself(empty):
    @catalogue.published(1958, "Rosenblatt: The perceptron", parameters=3, input_shape=(2,))
    def perceptron():
        return "built"

    assert perceptron() == "built"
    entry = catalogue.CATALOGUE["perceptron"]
    assert entry == catalogue.Entry(perceptron, 1958, "Rosenblatt: The perceptron", (2,), 3)
