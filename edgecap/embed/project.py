"""A minimal project that captions on a device: bundle, shim and a main program in one directory."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from edgecap.bundle.io import open_bundle
from edgecap.core.choices import pick
from edgecap.core.errors import InputError

TARGETS = ("c",)
# Of the library's directory: what is the command line's own.
_NOT_LIBRARY = ("cli.c", "cli_options.c", "pnm.c", "codecs.c")
# What only checks and tells may be missing from a bundle (SPEC.md).
_ONLY_CHECKS = ("README.md", "parity.json", "plan.json", "search.json", "pareto.png")


def write_project(target: str, bundle: Path, directory: Path) -> Path:
    """Write a buildable project; returns its directory.

    Args:
        target: one of TARGETS.
        bundle: a bundle directory of any schema; it is verified.
        directory: made new; it must not exist, or be empty.

    Raises:
        InputError for an unknown target or a directory with something in it, BundleError for a
        bundle that cannot be read.
    """
    pick("target", target, TARGETS)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(
            "project.exists", f"{directory} has something in it.", "Name a new directory."
        )
    opened = open_bundle(bundle)
    embed = resources.files("edgecap.embed")
    with resources.as_file(embed / "c") as library, resources.as_file(embed / "templates") as made:
        shutil.copytree(made / "c", directory, dirs_exist_ok=True)
        (directory / "edgecap").mkdir()
        for file in [*library.glob("*.c"), *library.glob("*.h")]:
            if file.name not in _NOT_LIBRARY:
                shutil.copy(file, directory / "edgecap")
    for name in opened.manifest.files:
        if name.startswith("golden/") or name in _ONLY_CHECKS or not (bundle / name).exists():
            continue
        (directory / "bundle" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bundle / name, directory / "bundle" / name)
    shutil.copy(bundle / "manifest.json", directory / "bundle")
    return directory
