"""The same networks made of PyTorch's layers, to compare with: their files run with torch instead.

Our names are PyTorch's, so a file of this folder means the same when it imports them from there.
Only what our batch norm computes in the same pass is written out: relu(bn(x) + add).
Only this needs torch to be installed, and only when called.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from minicnn import models

PLACES = {  # where torch has what a model file imports
    r"^from minicnn\.(ops\.\w+|factories) import": "from torch import",
    r"^from minicnn\.models\.": f"from {__name__}.",
    r"^from minicnn\b(?!\.(models|errors)\b)": "from torch",
}


def create(name: str, **settings: Any) -> Any:
    """Build a model by name, as `minicnn.models.create` does: a `torch.nn.Module`.

    State dicts have the same keys, so weights go from one to the other:
    `ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})`.
    """
    if name not in models.list():
        models.create(name)  # raises the error that names those there are
    file = getattr(models, name).__module__.rpartition(".")[2]
    return getattr(load(file), name)(**settings)


def load(file: str) -> ModuleType:
    """Execute a file of this folder with torch in the place of minicnn, once."""
    name = f"{__name__}.{file}"
    if name not in sys.modules:
        path = Path(__file__).with_name(f"{file}.py")
        text = path.read_text(encoding="utf-8")
        for other in re.findall(r"^from minicnn\.models\.(\w+) import", text, re.MULTILINE):
            load(other)
        for pattern, replacement in PLACES.items():
            text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
        module = ModuleType(name)
        sys.modules[name] = module  # where the next file's import finds it
        try:
            tree = ast.fix_missing_locations(_WrittenOut().visit(ast.parse(text)))
            exec(compile(tree, path, "exec"), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


class _WrittenOut(ast.NodeTransformer):
    """Write `bn(x, add=y, relu=True)` as `nn.functional.relu(bn(x) + y, inplace=True)`."""

    def visit_Call(self, call: ast.Call) -> ast.expr:
        self.generic_visit(call)
        extras = {keyword.arg: keyword.value for keyword in call.keywords}
        if not isinstance(extras.get("relu"), ast.Constant):
            return call
        call.keywords = [k for k in call.keywords if k.arg not in ("add", "relu")]
        y = ast.BinOp(call, ast.Add(), extras["add"]) if "add" in extras else call
        written = ast.parse("nn.functional.relu(y, inplace=True)", mode="eval").body
        assert isinstance(written, ast.Call)
        written.args = [y]
        return written
