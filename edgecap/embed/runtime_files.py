"""The part of edgecap that runs bundles, as files: for projects, and for the runtime-only wheel."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

# Packages below edgecap; everything that `edgecap.runtime` may import (tests/test_layering.py).
PACKAGES = (
    "bundle",
    "core",
    "inspection",
    "mil",
    "mil.ops",
    "runtime",
    "runtime.backends",
    "runtime.text",
)
_FILES = ("__init__.py", "py.typed")


def copy_runtime(to: Path) -> None:
    """Write the package `edgecap` without models, exporters, training and weights to `to`."""
    source = Path(str(resources.files("edgecap")))
    to.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copyfile(source / name, to / name)
    for package in PACKAGES:
        folder = source.joinpath(*package.split("."))
        into = to.joinpath(*package.split("."))
        into.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.glob("*.py")):
            shutil.copyfile(file, into / file.name)
