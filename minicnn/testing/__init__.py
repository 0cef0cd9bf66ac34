"""Tools for testing operations and models."""

from __future__ import annotations

from minicnn.testing.cases import Case
from minicnn.testing.function_test_case import FunctionTestCase
from minicnn.testing.modules import (
    ModuleCase,
    check_module,
    layer_cases,
    layers_without_case,
    model_cases,
    models_without_case,
)
from minicnn.testing.operations import cases_of, check_operation, ops

__all__ = [
    "Case",
    "FunctionTestCase",
    "ModuleCase",
    "cases_of",
    "check_module",
    "check_operation",
    "layer_cases",
    "layers_without_case",
    "model_cases",
    "models_without_case",
    "ops",
]
