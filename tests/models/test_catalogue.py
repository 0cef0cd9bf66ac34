from __future__ import annotations

import pytest

from minicnn.models import catalogue


@pytest.fixture
def empty(monkeypatch):
    monkeypatch.setattr(catalogue, "CATALOGUE", {})


def test_a_builder_is_entered_under_its_name_and_stays_itself(empty):
    @catalogue.published(
        1958, "Rosenblatt: The perceptron", parameters=3, multiply_adds=2, input_shape=(2,)
    )
    def perceptron():
        return "built"

    assert perceptron() == "built"
    entry = catalogue.CATALOGUE["perceptron"]
    assert entry == catalogue.Entry(perceptron, 1958, "Rosenblatt: The perceptron", (2,), 3, 2)


class Net:
    def __init__(self, num_classes: int = 10, width: float = 1.0) -> None: ...


def test_settings_are_those_of_the_class_where_the_builder_passes_them_on():
    def plain(num_classes: int = 10, modern: bool = False) -> Net:
        return Net(num_classes)

    def passing(depth: int = 3, **settings: float) -> Net:
        return Net(**settings)

    def settings(builder):
        return catalogue.Entry(builder, 2000, "Nobody: Nothing", (3,), 0, 0).settings

    assert settings(plain) == {"num_classes", "modern"}
    assert settings(passing) == {"num_classes", "width"}
