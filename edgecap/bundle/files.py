"""The files of a bundle: their names, which names are allowed, and how a manifest lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgecap.core.errors import BundleError

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"  # ids to text: edgecap.bundle.text_spec
ENCODER = "prompts.json"  # text to ids, as the tokenizers library reads it; optional
CERTIFICATE = "parity.json"
CARD = "README.md"
PLAN = "plan.json"  # the quantisation plan, in int8 bundles
SEARCH, FRONT = "search.json", "pareto.png"  # the search that found the plan, if there was one
PACKAGE = ".mlpackage"  # the suffix of a directory of files
MAX_FOLDERS = 4  # model.mlpackage/Data/com.apple.CoreML/weights/weight.bin


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle: lower-case hex SHA-256 and size in bytes."""

    sha256: str
    size: int


def is_listed(files: Mapping[str, FileEntry], name: str) -> bool:
    """Whether `name` is a listed file, or a *.mlpackage directory that holds listed files."""
    package = name.endswith(PACKAGE) and any(file.startswith(f"{name}/") for file in files)
    return package or name in files


def check_files(files: Mapping[str, FileEntry]) -> None:
    """Raise BundleError unless all names are allowed and differ, with a hash and a size each."""
    for name, entry in files.items():
        check_name(name)
        if not re.fullmatch(r"[0-9a-f]{64}", entry.sha256) or entry.size < 0:
            raise bad_manifest(f"files.{name} has no valid SHA-256 and size")
    if len({name.casefold() for name in files}) != len(files):
        raise bad_manifest("two files differ in upper and lower case only")


def check_name(name: str) -> None:
    """Raise BundleError unless `name` is a plain relative path inside the bundle."""
    parts = name.split("/")
    plain = all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", part) for part in parts)
    if not plain or len(parts) > MAX_FOLDERS + 1:
        raise BundleError(
            "bundle.path",
            f"{name!r} is not a plain path inside the bundle (letters, digits, _ - . and /).",
        )
    if name == MANIFEST:
        raise BundleError("bundle.path", f"{MANIFEST} must not list itself.")


def bad_manifest(message: str) -> BundleError:
    """The error of a manifest that is inconsistent."""
    return BundleError("bundle.manifest", f"{MANIFEST}: {message}.")
