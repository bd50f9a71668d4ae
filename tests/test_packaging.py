"""What is installed is what stands in the tree, wherever it is imported from."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import edgecap

REPO = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())
ROOTS = {"edgecap": "edgecap", "exporters": "edgecap/exporters", "benchmarks": "edgecap/benchmarks"}


def installed_path(path: Path) -> str:
    """Where a file of the tree stands in an installation."""
    root, *rest = path.relative_to(REPO).parts
    return "/".join([ROOTS[root], *rest])


def tree() -> list[Path]:
    return [
        path
        for root in ROOTS
        for path in (REPO / root).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that nothing is left in the tree."""
    source = tmp_path_factory.mktemp("source")
    for root in ROOTS:
        shutil.copytree(
            REPO / root, source / root, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(REPO / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", *build, "--wheel-dir", str(out), str(source)], check=True
    )
    (built,) = out.glob("edgecap-*.whl")
    return zipfile.ZipFile(built)


# Only `edgecap eval` reads it, and that is run in a checkout.
NOT_IN_THE_WHEEL = {"edgecap/reference/data/evaluation.zip"}


def test_listed_packages_are_the_tree() -> None:
    directories = {installed_path(path.parent) for path in tree() if path.suffix == ".py"}
    packages = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(packages) == sorted(name.replace("/", ".") for name in directories)


def test_every_package_has_an_init() -> None:
    directories = {path.parent for path in tree() if path.suffix == ".py"}
    assert [str(d) for d in directories if not (d / "__init__.py").exists()] == []


def test_wheel_holds_every_file_of_the_tree(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {installed_path(path) for path in tree()} - names == NOT_IN_THE_WHEEL
    assert sum(info.compress_size for info in wheel.infolist()) <= 30e6
    top = {name.split("/")[0] for name in names}
    assert top == {"edgecap", f"edgecap-{edgecap.__version__}.dist-info"}
    for name in ("LICENSE", "NOTICE"):
        assert f"edgecap-{edgecap.__version__}.dist-info/licenses/{name}" in names


def test_wheel_carries_the_shipped_data(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    for pattern in (
        r"edgecap/py\.typed",
        r"edgecap/bundle/SPEC\.md",
        r"edgecap/reference/data/tokenizer\.json",
        r"edgecap/reference/data/sample\.png",
        r"edgecap/reference/data/.*\.safetensors",
        r"edgecap/reference/scenes/lexicon/ja\.tsv",
    ):
        assert any(re.fullmatch(pattern, name) for name in names), pattern


@pytest.mark.parametrize("name", ["exporters", "benchmarks"])
def test_second_import_name_is_refused(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"], cwd=REPO, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"import edgecap.{name} instead" in done.stderr


@pytest.mark.parametrize("name", ["exporters", "benchmarks"])
def test_proper_import_name_works_anywhere(name: str, tmp_path: Path) -> None:
    code = f"import edgecap.{name} as m; print(m.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).samefile(REPO / name / "__init__.py")


def test_version_is_the_changelogs_head() -> None:
    heads = re.findall(r"^## (\S+)", (REPO / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads[0] == edgecap.__version__


def requirements(texts: list[str]) -> dict[str, Requirement]:
    found = [Requirement(text) for text in texts]
    return {canonicalize_name(r.name): r for r in found if canonicalize_name(r.name) != "edgecap"}


def test_the_runtime_needs_no_heavy_package() -> None:
    base = requirements(PROJECT["project"]["dependencies"])
    assert set(base) == {"numpy", "pillow", "typer", "rich"}


def test_constraints_pin_every_dependency_to_an_allowed_version() -> None:
    lines = (REPO / "constraints.txt").read_text().splitlines()
    pins = requirements([line for line in lines if not line.startswith("#")])
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = requirements(PROJECT["project"]["dependencies"] + [t for ts in extras for t in ts])
    for name, requirement in wanted.items():
        (pin,) = pins[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), name
    assert str(pins["torch"]) == "torch==2.13.0"
