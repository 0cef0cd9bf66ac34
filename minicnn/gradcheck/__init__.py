"""Check gradients with error bounds, at kinks and ties too, and name the likely mistake."""

from __future__ import annotations

from minicnn.gradcheck.causes import CAUSES, Hint
from minicnn.gradcheck.check import gradcheck, gradcheck_pair, gradgradcheck
from minicnn.gradcheck.report import GradcheckError, Report

__all__ = [
    "CAUSES",
    "GradcheckError",
    "Hint",
    "Report",
    "gradcheck",
    "gradcheck_pair",
    "gradgradcheck",
]
