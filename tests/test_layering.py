"""Imports point down only, and nothing up to the apps needs a heavy package."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
RUFF = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
HEAVY = RUFF["flake8-tidy-imports"]["banned-module-level-imports"]

# The layers: what each may import of edgecap, at module level or inside functions.
# A dotted name is a layer of its own inside a folder.
LIGHT = {"core", "mil", "inspection", "bundle", "runtime", "apps"}
MODELS = LIGHT | {"reference.scenes", "reference.model"}
QUANT = {"models.adapter", "quant", "reference.quant"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "embed": {"core", "bundle"},
    "mil": {"core"},
    "inspection": {"core", "mil"},
    "bundle": {"core"},
    "runtime": {"core", "mil", "inspection", "bundle"},
    "apps": LIGHT - {"apps"},
    "reference.scenes": LIGHT,  # what is drawn and said, and the vocabulary; no torch
    "reference.model": LIGHT | {"reference.scenes"},
    "models.adapter": LIGHT,  # what an adapter is, the registry, looking at a checkpoint
    # Plans of the reference that were written without exceptions ask it for them.
    "quant": MODELS | {"models.adapter", "reference.quant"},
    "reference.quant": MODELS | {"models.adapter", "quant"},
    "reference.train": MODELS | QUANT,
    "models": MODELS | QUANT,
    "exporters": MODELS | QUANT | {"models"},
    "benchmarks": MODELS | {"models.adapter", "models", "exporters", "benchmarks.reference"},
    "benchmarks.reference": MODELS | QUANT | {"reference.train", "models", "benchmarks"},
}
# What each layer may import from elsewhere when it is itself imported.
OUTSIDE = {
    "core": set[str](),
    "embed": set[str](),
    "mil": {"numpy"},
    "inspection": set[str](),
    "bundle": {"numpy", "PIL"},
    "runtime": {"numpy", "PIL"},
    "apps": {"numpy", "PIL"},
    "reference.scenes": {"numpy", "PIL"},
    "benchmarks": {"numpy", "PIL"},
    "cli": {"typer"},
}


ADAPTER = ("adapter", "checkpoint", "generation", "images", "registry")


def layer_of(dotted: str) -> str:
    """The layer of a module or package inside edgecap, named without `edgecap.`."""
    first, *rest = dotted.split(".")
    if first == "reference":
        return (
            f"reference.{rest[0]}"
            if rest and rest[0] in ("model", "quant", "train")
            else ("reference.scenes")
        )
    if first == "models" and rest and rest[0] in ADAPTER:
        return "models.adapter"
    return "benchmarks.reference" if dotted.startswith("benchmarks.reference") else first


def dotted_name(path: Path) -> str:
    """The module of a source file, without `edgecap.`."""
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("edgecap", "__init__"))


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
    """Layers of edgecap that a module of this layer imports and may not."""
    names = (
        name.removeprefix("edgecap.")
        for name in imports(every_statement(source))
        if name.startswith("edgecap.")
    )
    layers = {layer_of(name) for name in names} & {*MAY_IMPORT, "cli"}
    return layers - MAY_IMPORT[layer] - {layer}


def foreign(source: str, layer: str) -> set[str]:
    """Packages that a module of this layer imports on import and may not."""
    tops = {name.split(".")[0] for name in imports(module_level(source))}
    return tops - sys.stdlib_module_names - {"edgecap"} - OUTSIDE[layer]


def test_imports_point_down() -> None:
    wrong = {
        (str(path.relative_to(REPO)), found)
        for path in sources()
        if (layer := layer_of(dotted_name(path))) in MAY_IMPORT
        for found in upward(path.read_text(), layer)
    }
    assert wrong == set()


def test_light_layers_import_nothing_heavy() -> None:
    wrong = {
        (str(path.relative_to(REPO)), package)
        for path in sources()
        if (layer := layer_of(dotted_name(path))) in OUTSIDE
        for package in foreign(path.read_text(), layer)
    }
    assert wrong == set()


def test_every_directory_is_a_known_layer() -> None:
    assert {layer_of(dotted_name(path)) for path in sources()} == {*MAY_IMPORT, "cli"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from edgecap.reference.model.captioner import CaptionModel", {"reference.model"}),
        ("def f():\n    import edgecap.exporters.parity.gate", {"exporters"}),
        ("from edgecap import apps", {"apps"}),
        ("from edgecap.benchmarks.reference.ablations import towers", {"benchmarks.reference"}),
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
    names = [dotted_name(path) for path in sources()]
    modules = [f"edgecap.{name}" for name in names if layer_of(name) in OUTSIDE]
    assert "edgecap.runtime.captioner" in modules
    code = BLOCKED_IMPORT.format(heavy=set(HEAVY), modules=modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_gates_process_imports_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; "
        "import edgecap.exporters.parity.words, edgecap.runtime.loading"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert importlib.util.find_spec("torch")  # or the lines above prove nothing
