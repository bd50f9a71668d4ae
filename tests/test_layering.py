"""Imports point down only, and nothing below the models needs a heavy package."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
RUFF = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
HEAVY = RUFF["flake8-tidy-imports"]["banned-module-level-imports"]

# What each layer may see of edgecap, at module level or inside functions.
MAY_SEE = {
    "core": set[str](),
    "bundle": {"core"},
    "runtime": {"core", "bundle"},
    "scenes": {"core", "bundle", "runtime"},
    "model": {"core", "bundle", "runtime"},
    "models": {"core", "bundle"},
    "benchmarks": {"core", "bundle", "runtime", "scenes"},
    "quant": {"core", "bundle", "runtime", "scenes", "model"},
    "train": {"core", "bundle", "runtime", "scenes", "model", "quant"},
    "exporters": {"core", "bundle", "runtime", "scenes", "model", "quant"},
    # Trains and times variants, and nobody uses it.
    "ablations": {"core", "bundle", "runtime", "scenes", "model", "benchmarks", "train"},
}
# The torch reference stands behind the runtime's interface; its model is imported when it is asked
# for, never for a bundle.
EXCEPTIONS = {
    ("edgecap/runtime/backends/torch.py", "model"),
    # What it measures is training, and it imports that when it runs.
    ("benchmarks/new_language.py", "model"),
    ("benchmarks/new_language.py", "train"),
}

# What each layer may import from elsewhere when it is itself imported.
OUTSIDE = {
    "core": set[str](),
    "bundle": {"numpy", "PIL"},
    "runtime": {"numpy", "PIL"},
    "scenes": {"numpy", "PIL"},
    "benchmarks": {"numpy", "PIL"},
    "cli": {"typer"},
}


def layer_of(path: Path) -> str:
    root, second, *_ = path.relative_to(REPO).parts
    return second if root == "edgecap" or second == "ablations" else root


def sources() -> list[Path]:
    found = [p for root in ("edgecap", "exporters", "benchmarks") for p in (REPO / root).rglob("*")]
    return [path for path in found if path.suffix == ".py" and path.parent != REPO / "edgecap"]


def imports(nodes: list[ast.stmt]) -> Iterator[str]:
    """Dotted names that importing a module made of these statements imports."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def every_statement(source: str) -> list[ast.stmt]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]


def module_level(source: str) -> list[ast.stmt]:
    """The statements run on import: not those in functions or under TYPE_CHECKING."""
    found: list[ast.stmt] = []
    queue: list[ast.AST] = [ast.parse(source)]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            queue += node.orelse
            continue
        if isinstance(node, ast.stmt):
            found.append(node)
        queue += ast.iter_child_nodes(node)
    return found


def upward(source: str, layer: str) -> set[str]:
    """Layers of edgecap that a module of this layer imports and may not see."""
    names = [name.split(".") for name in imports(every_statement(source))]
    seen = {
        "ablations" if parts[1:3] == ["benchmarks", "ablations"] else parts[1]
        for parts in names
        if parts[0] == "edgecap" and len(parts) > 1
    }
    layers = seen & {*MAY_SEE, "cli"}
    return layers - MAY_SEE[layer] - {layer}


def foreign(source: str, layer: str) -> set[str]:
    """Packages that a module of this layer imports on import and may not."""
    tops = {name.split(".")[0] for name in imports(module_level(source))}
    return tops - sys.stdlib_module_names - {"edgecap"} - OUTSIDE[layer]


def test_imports_point_down() -> None:
    wrong = {
        (str(path.relative_to(REPO)), seen)
        for path in sources()
        if layer_of(path) in MAY_SEE
        for seen in upward(path.read_text(), layer_of(path))
    }
    assert wrong - EXCEPTIONS == set()


def test_light_layers_import_nothing_heavy() -> None:
    wrong = {
        (str(path.relative_to(REPO)), package)
        for path in sources()
        if layer_of(path) in OUTSIDE
        for package in foreign(path.read_text(), layer_of(path))
    }
    assert wrong == set()


def test_every_directory_is_a_known_layer() -> None:
    assert {layer_of(path) for path in sources()} <= {*MAY_SEE, "cli"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from edgecap.model.captioner import Captioner", {"model"}),
        ("def f():\n    import edgecap.exporters.parity", {"exporters"}),
        ("from edgecap import scenes", {"scenes"}),
        ("from edgecap.benchmarks.ablations import towers", {"ablations"}),
        ("from edgecap.core import errors", set()),
    ],
)
def test_upward_imports_are_found(source: str, found: set[str]) -> None:
    assert upward(source, "runtime") == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("try:\n    import torch\nexcept ImportError:\n    pass", {"torch"}),
        ("class A:\n    from onnx import helper", {"onnx"}),
        ("def f():\n    import torch", set()),
        ("if TYPE_CHECKING:\n    import torch", set()),
        ("import numpy as np, os.path", set()),
    ],
)
def test_heavy_imports_are_found(source: str, found: set[str]) -> None:
    assert foreign(source, "runtime") == found


BLOCKED_IMPORT = """
import sys
from importlib import import_module

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {heavy!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Block())
for name in {modules!r}:
    import_module(name)
print(len(sys.modules))
"""


def test_light_layers_import_without_the_heavy_packages() -> None:
    paths = [path for path in sources() if layer_of(path) in OUTSIDE]
    parts = [path.relative_to(REPO).with_suffix("").parts for path in paths]
    dotted = [".".join(p if p[0] == "edgecap" else ("edgecap", *p)) for p in parts]
    modules = [name.removesuffix(".__init__") for name in dotted]
    assert "edgecap.runtime.captioner" in modules
    code = BLOCKED_IMPORT.format(heavy=set(HEAVY), modules=modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
