"""A minimal project that captions on a device: bundle, shim and a program in one directory."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from edgecap import __version__
from edgecap.bundle.confidence_spec import CONFIDENCE
from edgecap.bundle.container import SUFFIX, is_container
from edgecap.bundle.files import MANIFEST
from edgecap.bundle.io import needed_files, open_bundle
from edgecap.bundle.packing import pack, unpack
from edgecap.core.atomic import atomic_dir
from edgecap.core.choices import pick
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.embed.runtime_files import copy_runtime
from edgecap.embed.targets import TEMPLATE, Copy, Target, embed_folder, targets

_IN = ".in"


def write_project(target: str, bundle: Path, directory: Path) -> Path:
    """Write a buildable project; returns its directory, which appears complete or not at all.

    Args:
        target: one of `targets()`.
        bundle: a bundle of any schema, a directory or packed; every file is hashed. What only
            checks or describes (golden cases, certificate, card) stays out.
        directory: made new; it must not exist, or be empty.

    Raises:
        InputError for an unknown target or a directory with something in it, UnsupportedError for
        a bundle whose format does not run there, BundleError for one that cannot be read.
    """
    row, folder = targets()[pick("target", target, targets())]
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(
            "project.exists", f"{directory} has something in it.", "Name a new directory."
        )
    manifest = open_bundle(bundle, verify="full").manifest
    if manifest.format not in row.formats:
        raise UnsupportedError(
            "project.format",
            f"{manifest.name} is in {manifest.format}; {target} runs {', '.join(row.formats)}.",
            f"Run: edgecap export MODEL --format {row.formats[0]}",
        )
    words = {
        "NAME": manifest.name,
        "FORMAT": manifest.format,
        "VERSION": __version__,
        "BUNDLE": row.bundle,
        "MIN_CONFIDENCE": '"auto"' if CONFIDENCE in manifest.files else "null",
        **row.words.get(manifest.format, {}),
    }
    with atomic_dir(directory, overwrite=True, marker=lambda _: False) as project:
        _write_template(folder / TEMPLATE, project, words)
        for copy in row.copies:
            _copy(copy, project)
        if row.runtime is not None:
            copy_runtime(project / row.runtime)
        _write_bundle(row, bundle, project)
    return directory


def _write_template(template: Path, project: Path, words: dict[str, str]) -> None:
    for file in sorted(template.rglob("*")):
        if not file.is_file():
            continue
        to = project / file.relative_to(template)
        to.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == _IN:
            text = file.read_text(encoding="utf-8")
            to = to.with_suffix("")
            to.write_text(re.sub(r"@([A-Z_]+)@", lambda m: words[m[1]], text), encoding="utf-8")
        else:
            shutil.copyfile(file, to)


def _copy(copy: Copy, project: Path) -> None:
    source = embed_folder() / copy.source
    for pattern in copy.patterns:
        for file in sorted(source.glob(pattern)):
            if file.is_file() and file.name not in copy.without:
                to = project / copy.to / file.relative_to(source)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, to)


def _write_bundle(row: Target, bundle: Path, project: Path) -> None:
    """The bundle without what only checks, packed or as a directory, as the row says."""
    place = project / row.bundle
    place.parent.mkdir(parents=True, exist_ok=True)
    whole = bundle
    if is_container(bundle):
        whole = unpack(bundle, project / ".unpacked")
    if place.suffix == SUFFIX:
        pack(whole, place, strip=True)
    else:
        for name in [MANIFEST, *needed_files(open_bundle(whole))]:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(whole / name, place / name)
    if whole != bundle:
        shutil.rmtree(whole)
