"""Errors for paths that are not bundles, with the command that helps."""

from __future__ import annotations

import os
from pathlib import Path

from edgecap.bundle.checks import is_lfs_pointer, lfs_pointer
from edgecap.bundle.files import MANIFEST
from edgecap.core.errors import BundleError

_MAKE = "Make a bundle with: edgecap export --format tflite --int8"
_MODELS = (".onnx", ".tflite", ".mlpackage")
_STARTS = {
    b"PK\x03\x04": ("a zip archive", "unzip {path} -d {stem}"),
    b"\x1f\x8b": ("a packed archive", "mkdir {stem} && tar -xf {path} -C {stem}"),
    b"BZh": ("a packed archive", "mkdir {stem} && tar -xf {path} -C {stem}"),
    b"\xfd7zXZ": ("a packed archive", "mkdir {stem} && tar -xf {path} -C {stem}"),
}


def not_a_bundle(path: Path) -> BundleError:
    """The error for `path`, which is not a directory with a manifest."""
    if str(path).startswith(("http:", "https:")):
        hint = "Download it first; from a hub with: edgecap pull ORG/NAME"
        return BundleError("bundle.missing", f"{path} is a URL, not a bundle directory.", hint)
    if not os.path.lexists(path):
        return BundleError("bundle.missing", f"{path} does not exist.", _MAKE)
    if path.is_file() and is_lfs_pointer(path):
        return lfs_pointer(str(path))
    if path.suffix.lower() in _MODELS:
        return _model(path)
    if path.is_dir():
        return _directory(path)
    if not path.is_file():
        what = "is a broken link" if path.is_symlink() else "is a device or a pipe"
        return BundleError("bundle.missing", f"{path} {what}, not a bundle directory.")
    if path.name == MANIFEST:
        hint = f"Give its directory: {path.parent}"
        return BundleError("bundle.missing", f"{path} is the manifest of a bundle.", hint)
    what, hint = _file(path)
    return BundleError("bundle.missing", f"{path} is {what}, not a bundle directory.", hint)


def _model(path: Path) -> BundleError:
    hint = f"Inspect it with: edgecap inspect {path}"
    if (path.parent / MANIFEST).is_file():
        hint = f"Give the bundle that contains it: {path.parent}"
    message = f"{path} is a model file, not a bundle directory."
    code = "bundle.missing_file" if path.is_dir() else "bundle.missing"
    return BundleError(code, message, hint)


def _file(path: Path) -> tuple[str, str]:
    if path.suffix.lower() == ".safetensors":
        return "a file of weights", f"Make a bundle with: edgecap export {path}"
    with path.open("rb") as file:
        head = file.read(512)
    stem = path.name.split(".")[0]
    if stem in ("", path.name):
        stem = f"{path.name}-unpacked"
    for start, (what, command) in _STARTS.items():
        if head.startswith(start):
            return what, f"Unpack it: {command.format(path=path, stem=path.parent / stem)}"
    if head[257:262] == b"ustar":
        return "a packed archive", f"Unpack it: tar -xf {path}"
    return "a file", _MAKE


def _directory(path: Path) -> BundleError:
    message = f"{path} has no {MANIFEST}: not a bundle."
    inside = sorted(file.parent.name for file in path.glob(f"*/{MANIFEST}"))
    if inside:
        more = " …" if len(inside) > 4 else ""
        message = f"{path} has no {MANIFEST}; it contains bundles: {', '.join(inside[:4])}{more}."
        return BundleError("bundle.missing_file", message, f"Give one: {path / inside[0]}")
    if (path / "snapshots").is_dir():
        found = sorted(path.glob(f"snapshots/*/{MANIFEST}"))
        hint = f"Give a snapshot: {found[-1].parent}" if found else ""
        return BundleError("bundle.missing_file", f"{path} is a hub's cache, not a bundle.", hint)
    if (path / "config.json").is_file():
        message = f"{path} is a checkpoint (it has a config.json), not a bundle."
        return BundleError(
            "bundle.missing_file", message, f"Make a bundle with: edgecap export {path}"
        )
    return BundleError("bundle.missing_file", message, _MAKE)
