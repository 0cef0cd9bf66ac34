"""One small trained run that the command tests share."""

from __future__ import annotations

import pytest

from minicnn.train import Recipe, Run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "quick"
    Run.start(Recipe(epochs=3, lr=0.05), folder).train(progress=False)
    return folder
