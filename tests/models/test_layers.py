"""Families are known inside edgecap/models alone; looking at a checkpoint needs nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecap.models import registry

REPO = Path(__file__).resolve().parents[2]
FILES = {family.adapter.split(":")[0] for family in registry.FAMILIES.values()}
# What may be said of families elsewhere: the interface everything goes through.
SHARED = {"adapter", "checkpoint", "registry"}
# The same, and it needs more than the standard library.
SHARED_HEAVY = {"loading", "optimum", "translate", "weightless"}
# Makes checkpoints of true size, so it must name what it makes.
MAKES_CHECKPOINTS = REPO / "benchmarks" / "random_checkpoints.py"


def outside() -> list[Path]:
    """Every source file outside edgecap/models."""
    found = [
        file
        for root in ("edgecap", "exporters", "benchmarks")
        for file in (REPO / root).rglob("*.py")
    ]
    inside = REPO / "edgecap" / "models"
    return [file for file in found if inside not in file.parents and file != MAKES_CHECKPOINTS]


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_outside_imports_a_family() -> None:
    rows = {
        (file.name, name)
        for file in outside()
        for name in imported(file)
        if name.startswith("edgecap.models.") and name.split(".")[2] not in SHARED | SHARED_HEAVY
    }
    assert not rows


def test_nothing_outside_names_a_family() -> None:
    """As a string of code: what is written in prose is read by people."""
    # Two are words of their own: a program, and an operator.
    keys = set(registry.FAMILIES) - {"git", "clip"}
    named = {
        (str(file.relative_to(REPO)), node.value)
        for file in outside()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and node.value in keys
    }
    assert not named


@pytest.mark.parametrize("module", sorted(SHARED) + ["__init__"])
def test_the_shared_part_imports_nothing_heavy(module: str) -> None:
    heavy = {"torch", "transformers", "numpy", "onnx", "tokenizers", "safetensors"}
    name = "edgecap.models" if module == "__init__" else f"edgecap.models.{module}"
    code = f"import sys, {name}; print(*sorted(set(sys.modules) & {heavy}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


@pytest.mark.parametrize("file", sorted(FILES))
def test_a_family_is_short(file: str) -> None:
    lines = (REPO / "edgecap" / "models" / f"{file}.py").read_text().splitlines()
    assert len(lines) <= 170


def test_no_layer_is_rewritten() -> None:
    """Families call the model's layers: they make none, and no attention, of their own."""
    for file in FILES:
        tree = ast.parse((REPO / "edgecap" / "models" / f"{file}.py").read_text())
        called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not called & {"Linear", "LayerNorm", "softmax", "scaled_dot_product_attention"}
