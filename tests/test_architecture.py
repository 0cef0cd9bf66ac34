"""What holds for the whole repository: directions of imports, tests beside sources, sizes."""

from __future__ import annotations

import ast
import graphlib
import importlib
import io
import json
import os
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    "minicnn": ROOT / "minicnn",
    "minicnn_kernels": ROOT / "kernels" / "minicnn_kernels",
    "minicnn_pytest": ROOT / "minicnn_pytest",
}
TEST_FOLDERS = {"minicnn": "", "minicnn_kernels": "kernels", "minicnn_pytest": "testing"}

# From bottom to top.  What a line names may import from all lines above it and from itself.
ORDER = [
    ["minicnn_kernels.errors"],
    ["minicnn_kernels.precision"],
    ["minicnn_kernels.cards"],
    ["minicnn_kernels.cuda.memory", "minicnn_kernels.cuda.replay"],
    ["minicnn_kernels.arrays", "minicnn_kernels.geometry"],
    ["minicnn_kernels.constants", "minicnn_kernels.threads"],
    ["minicnn_kernels.tuning"],
    [
        "minicnn_kernels.cook_toom",
        "minicnn_kernels.registry",
        "minicnn_kernels.tiles",
        "minicnn_kernels.expression",
        "minicnn_kernels.strides",
    ],
    ["minicnn_kernels.cpu", "minicnn_kernels.cuda"],
    ["minicnn_kernels.pointwise", "minicnn_kernels.products"],
    ["minicnn_kernels.one_pass"],
    ["minicnn_kernels.reference"],
    ["minicnn_kernels"],
    ["minicnn.errors", "minicnn.hooks"],
    ["minicnn.random", "minicnn.tensor", "minicnn.anomaly"],
    ["minicnn.storage"],
    ["minicnn.arguments", "minicnn.guards"],
    ["minicnn.differentiable"],
    ["minicnn.pointwise"],
    ["minicnn.backprop"],
    ["minicnn.cuda", "minicnn.factories", "minicnn.grad_mode"],
    ["minicnn.ops"],
    ["minicnn.amp", "minicnn.autograd", "minicnn.utils"],
    ["minicnn.func"],
    ["minicnn.nn"],
    ["minicnn.models", "minicnn.data", "minicnn.io", "minicnn.optim"],
    ["minicnn.train", "minicnn.gradcheck", "minicnn.parity", "minicnn.summaries"],
    ["minicnn"],
    ["minicnn.testing", "minicnn.bench"],
    ["minicnn.cli", "minicnn_pytest"],
    ["minicnn.__main__"],
]


def up_to(last):
    """Return the entries of all lines down from the one that names `last`."""
    lines = next(i for i, line in enumerate(ORDER) if last in line) + 1
    return {name for line in ORDER[:lines] for name in line}


BOTTOM = up_to("minicnn.errors") | {"minicnn.tensor"}
ENGINE = up_to("minicnn.backprop")
BESIDE = {  # these stand beside the layers and need less than their line would allow
    "minicnn.data": BOTTOM | {"minicnn.random"},
    "minicnn.io": BOTTOM,
    "minicnn.optim": ENGINE | {"minicnn.nn"},
}
EXACT = {"minicnn", "minicnn_kernels"}  # their modules have lines of their own


# --- who imports whom -----------------------------------------------------------------------------


def modules_of(sources):
    """Return module name -> file for every module of the packages."""
    found = {}
    for package, folder in sources.items():
        for file in sorted(folder.rglob("*.py")):
            parts = [package, *file.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports_of(sources):
    """Return module -> the modules of ours that it imports, at its top or inside functions."""
    modules = modules_of(sources)
    return {name: imported(file.read_text(), modules) - {name} for name, file in modules.items()}


def imported(text, modules):
    """Return which of the modules a text imports; what only the type checker sees is left out."""
    found, waiting = set(), [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] in SOURCES:
                while name not in modules and "." in name:
                    name = name.rpartition(".")[0]
                found.add(name)
            elif name.startswith("."):
                found.add(name)  # relative: refused below, whatever it means
    return found


def place_of(module):
    """Return (number of the line, entry) of a module in ORDER, or None."""
    for number, line in enumerate(ORDER):
        for entry in line:
            if module == entry or (entry not in EXACT and module.startswith(f"{entry}.")):
                return number, entry
    return None


def violations(imports):
    """Return a sentence for each import that points the wrong way, and for circles."""
    found = []
    for module, targets in sorted(imports.items()):
        place = place_of(module)
        if place is None:
            found.append(f"{module} has no place in ORDER")
            continue
        for target in sorted(targets):
            other = place_of(target)
            if target.startswith("."):
                found.append(f"{module} imports {target}: write the whole name")
            elif other is None:
                found.append(f"{target} has no place in ORDER")
            elif other[1] != place[1]:
                allowed = BESIDE.get(place[1])
                if other[0] >= place[0] or (allowed is not None and other[1] not in allowed):
                    found.append(f"{module} imports {target}")
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        found.append("a circle: " + " <- ".join(error.args[1]))
    return found


@pytest.fixture(scope="module")
def imports():
    return imports_of(SOURCES)


def test_imports_point_one_way(imports):
    assert violations(imports) == []


def test_the_check_sees_every_module_and_real_imports(imports):
    assert {"minicnn", "minicnn.ops.shape", "minicnn_kernels.reference.windows"} <= set(imports)
    assert "minicnn.differentiable" in imports["minicnn.backprop"]
    assert "minicnn.anomaly" in imports["minicnn.guards"]  # from minicnn import anomaly
    assert "minicnn.nn.functional" in imports["minicnn.nn.layers.linear"]
    assert "minicnn.differentiable" not in imports["minicnn.tensor"]  # for the type checker only
    assert [entry for line in ORDER for entry in line if entry not in imports] == []


PLANTED = {
    "at the top": ("minicnn.tensor", "import minicnn.nn.module", "minicnn.nn.module"),
    "a name": ("minicnn.tensor", "from minicnn.ops import sum", "minicnn.ops"),
    "a module": ("minicnn.errors", "from minicnn import tensor as t", "minicnn.tensor"),
    "in a function": (
        "minicnn.ops.shape",
        "def f():\n def g():\n  from minicnn.nn import init",
        "minicnn.nn.init",
    ),
    "in a method": (
        "minicnn.guards",
        "class A:\n def f(self):\n  if 1:\n   pass\n  else:\n   import minicnn.backprop",
        "minicnn.backprop",
    ),
    "in a try": (
        "minicnn.tensor",
        "try:\n import minicnn.nn\nexcept ImportError: pass",
        "minicnn.nn",
    ),
    "of the kernels": (
        "minicnn_kernels.arrays",
        "from minicnn.errors import ShapeError",
        "minicnn.errors",
    ),
    "within the kernels": (
        "minicnn_kernels.geometry",
        "from minicnn_kernels.registry import Kernel",
        "minicnn_kernels.registry",
    ),
    "of the whole package": ("minicnn.nn.init", "import minicnn", "minicnn"),
    "of files into nn": ("minicnn.io.files", "import minicnn.nn", "minicnn.nn"),
    "of data into files": ("minicnn.data.idx", "import minicnn.io.files", "minicnn.io.files"),
    "of the command": ("minicnn.train.run", "import minicnn.cli", "minicnn.cli"),
    "relative": ("minicnn.nn.init", "from ..ops import shape", "..ops.shape: write the whole name"),
}


@pytest.mark.parametrize(("module", "code", "target"), PLANTED.values(), ids=PLANTED)
def test_a_planted_import_is_found(imports, module, code, target):
    planted = {**imports, module: imports[module] | imported(code, imports)}
    assert f"{module} imports {target}" in violations(planted)


def test_a_planted_circle_is_found(imports):
    both = {
        "minicnn.ops.broadcast": {"minicnn.ops.reduce"},
        "minicnn.ops.reduce": {"minicnn.ops.broadcast"},
    }
    (found,) = violations({**imports, **both})
    assert found.startswith("a circle: minicnn.ops.")


def test_a_module_without_a_place_is_found(imports):
    assert violations({**imports, "minicnn.newcomer": set()}) == [
        "minicnn.newcomer has no place in ORDER"
    ]


def test_files_are_read_and_what_only_the_type_checker_sees_is_exempt(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "__init__.py").write_text("from minicnn.errors import ShapeError")
    (tmp_path / "errors.py").touch()
    (tmp_path / "tensor.py").write_text(
        "import numpy\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import minicnn.errors\n"
        "else:\n    import minicnn.inner\n"
    )
    assert imports_of({"minicnn": tmp_path}) == {
        "minicnn.errors": set(),
        "minicnn.inner": {"minicnn.errors"},
        "minicnn.tensor": {"minicnn.inner"},
    }


# --- tests beside sources -------------------------------------------------------------------------


def places_of_tests(file):
    """Return the paths under tests/ where the tests of a source file may be."""
    for package, folder in SOURCES.items():
        if file.is_relative_to(folder):
            place = Path(TEST_FOLDERS[package], file.relative_to(folder).parent)
            if file.stem == "__init__":
                package = place.name or file.parent.name
                return [place / "test_init.py", place / f"test_{package}.py"]
            return [place / f"test_{file.stem.strip('_')}.py"]
    raise ValueError(file)


def is_trivial(file):
    """Say whether a file only collects names: no function and no class.

    Files of sample inputs count as such: every row of them is run by the tests of the operations.
    """
    if file.parent.name == "cases" and file.stem != "case":
        return True
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return not any(isinstance(node, definitions) for node in ast.walk(ast.parse(file.read_text())))


def test_every_source_file_has_its_test_file():
    missing = []
    for file in modules_of(SOURCES).values():
        places = places_of_tests(file)
        if not is_trivial(file) and not any((ROOT / "tests" / place).is_file() for place in places):
            missing.append(f"{file.relative_to(ROOT)}: tests/{places[0]}")
    assert missing == []


def test_the_mirror_maps_paths():
    def first(path):
        return str(places_of_tests(ROOT / path)[0])

    assert first("minicnn/tensor.py") == "test_tensor.py"
    assert first("minicnn/data/loader.py") == str(Path("data/test_loader.py"))
    assert first("kernels/minicnn_kernels/reference/windows.py") == str(
        Path("kernels/reference/test_windows.py")
    )
    assert first("minicnn/ops/__init__.py") == str(Path("ops/test_init.py"))
    assert str(places_of_tests(ROOT / "minicnn/cli/__init__.py")[1]) == str(Path("cli/test_cli.py"))


def test_no_test_hides_another_of_the_same_name():
    twice = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        for scope in ast.walk(ast.parse(file.read_text())):
            if isinstance(scope, (ast.Module, ast.ClassDef)):
                names = [
                    n.name for n in scope.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))
                ]
                twice += [
                    f"{file.name}: {name}"
                    for name in {*names}
                    if names.count(name) > 1 and name != "_"
                ]
    assert twice == []


# --- importing ------------------------------------------------------------------------------------

HEAVY = [
    "numba",
    "cupy",
    "matplotlib",
    "torch",
    "tqdm",
    "safetensors",
    "scipy",
    "threadpoolctl",
    "PIL",
    "hypothesis",
    "pytest",
]


def run_python(code):
    paths = [str(folder.parent) for folder in SOURCES.values()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        timeout=60,
    )
    return json.loads(result.stdout)


def test_importing_the_package_loads_nothing_heavy():
    loaded = run_python(
        "import json, sys, minicnn, minicnn.nn; print(json.dumps(sorted(sys.modules)))"
    )
    assert set(HEAVY) & set(loaded) == set()
    assert "minicnn.ops" in loaded


def test_importing_the_package_loads_no_subpackage_that_is_not_used():
    loaded = run_python("import json, sys, minicnn; print(json.dumps(sorted(sys.modules)))")
    unused = {f"minicnn.{name}" for name in ("data", "io", "models", "nn", "optim", "train", "cli")}
    assert unused & set(loaded) == set()


def test_importing_the_package_is_quick():
    """At most 0.2 s beyond NumPy: the one time that is a promise.

    The processor's time, so that nobody else who computes here counts.
    """
    code = (
        "import json, time, numpy, numpy.random\n"
        "start = time.process_time()\n"
        "import minicnn\n"
        "print(json.dumps(time.process_time() - start))"
    )
    assert min(run_python(code) for _ in range(5)) < 0.2


def test_every_public_name_exists():
    for name in modules_of(SOURCES):
        if name == "minicnn.__main__":
            continue
        module = importlib.import_module(name)
        exported = getattr(module, "__all__", [])
        assert [n for n in exported if not hasattr(module, n)] == [], name
        assert len(set(exported)) == len(exported), name


# --- sizes ----------------------------------------------------------------------------------------


def lines_of_code(text):
    """Count lines without blank ones, comments and docstrings."""
    ignored = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in ignored:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        documented = isinstance(
            node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        )
        if documented and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def test_the_engine_stays_small():
    files = ("tensor.py", "differentiable.py", "backprop.py")
    assert sum(lines_of_code((SOURCES["minicnn"] / file).read_text()) for file in files) <= 450


def test_lines_of_code_are_counted_without_docstrings_comments_and_blank_lines():
    text = '''
"""A docstring.

More of it.
"""

# a comment
value = """a
b"""  # this text is a value


def function():
    """Another docstring."""
    return (
        1
    )
'''
    assert lines_of_code(text) == 2 + 4  # value, function


# --- what git tracks ------------------------------------------------------------------------------

MACHINE_PATH = re.compile(
    r"(?<![\w./~$}-])(?:/(?:home|root|Users|work|mnt|tmp)/|[A-Z]:\\Users\\)\w"
)


def test_no_tracked_file_mentions_a_path_of_one_machine():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        file = ROOT / name
        content = file.read_bytes() if file.is_file() else b""
        if b"\0" not in content:
            found += [
                f"{name}: {hit}" for hit in MACHINE_PATH.findall(content.decode(errors="replace"))
            ]
    assert found == []


def test_paths_of_one_machine_are_recognised():
    for folder in ("home", "root", "Users", "work", "mnt", "tmp"):
        assert MACHINE_PATH.search(f'open("/{folder}/me/data")')
        assert MACHINE_PATH.search(f"/{folder}/me")
        assert not MACHINE_PATH.search(f"https://example.org/{folder}/me")
        assert not MACHINE_PATH.search(f"docs/{folder}/me")
    assert MACHINE_PATH.search(r"C:" + r"\Users\me")
