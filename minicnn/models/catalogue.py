"""The catalogue of models: what `minicnn.models.list()` and `create(name)` know of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

Builder = TypeVar("Builder", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """What is known of a model before it is built.

    Attributes:
        builder: makes it: `builder(**settings)`.
        year: of the paper.
        paper: its first author and title.
        input_shape: of one example in the paper, without the batch: (channels, height, width).
        parameters: how many numbers it learns, built with the default settings.
        multiply_adds: of one example of that shape, as `minicnn.summary` counts them.
    """

    builder: Callable[..., Any]
    year: int
    paper: str
    input_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int

    @property
    def settings(self) -> frozenset[str]:
        """Names of what the builder takes; `**settings` are those of the class that it returns."""
        names = inspect.signature(self.builder).parameters
        kinds = {parameter.kind for parameter in names.values()}
        if inspect.Parameter.VAR_KEYWORD in kinds:
            names = inspect.signature(get_type_hints(self.builder)["return"]).parameters
        return frozenset(names)


CATALOGUE: dict[str, Entry] = {}


def published(
    year: int,
    paper: str,
    *,
    parameters: int,
    multiply_adds: int,
    input_shape: tuple[int, ...] = (3, 224, 224),
) -> Callable[[Builder], Builder]:
    """Enter the function below, which builds a model of a paper, into the catalogue.

    Write what `minicnn.summary(model, input_shape)` counts.
    """

    def enter(builder: Builder) -> Builder:
        CATALOGUE[builder.__name__] = Entry(
            builder, year, paper, input_shape, parameters, multiply_adds
        )
        return builder

    return enter
