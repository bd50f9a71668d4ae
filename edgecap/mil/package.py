"""Opening a .mlpackage: its form is fully checked before use.

A package is a directory: Manifest.json names the root model, Data/…/model.mlmodel is the program
as protobuf, and weight files are next to it. Nothing outside the directory is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edgecap.core.errors import BundleError
from edgecap.core.protobuf import Record, WireError, decode
from edgecap.core.typed import read_json
from edgecap.mil.blob import WeightFile
from edgecap.mil.mil import Function, Value
from edgecap.mil.parse import MalformedModel, functions_of
from edgecap.mil.schema import MODEL

MANIFEST = "Manifest.json"
MAX_MODEL_BYTES = 1 << 30
_MODEL_PATH = "@model_path/"  # in the names of weight files: the directory of the model file

# Model.specificationVersion -> the systems that read it. ML programs exist since version 6.
SPEC_VERSIONS: dict[int, str] = {
    6: "iOS 15, macOS 12",
    7: "iOS 16, macOS 13",
    8: "iOS 17, macOS 14",
    9: "iOS 18, macOS 15",
    10: "iOS 26, macOS 26",
}


@dataclass(frozen=True)
class Metadata:
    """The metadata of a package; `tools` are its user-defined entries."""

    description: str
    version: str
    author: str
    license: str
    tools: Mapping[str, str]


@dataclass(frozen=True)
class Package:
    """A .mlpackage whose program was read; weights are read on demand."""

    path: Path
    model_file: Path
    spec_version: int
    metadata: Metadata
    default_function: str
    functions: Mapping[str, Function]
    _weights: dict[str, WeightFile] = field(default_factory=dict, repr=False, compare=False)

    def array(self, value: Value) -> np.ndarray | str | tuple[str, ...]:
        """The value of a constant: tensors in their stored dtype, weights as read-only views.

        Raises BundleError as WeightFile does, bundle.path for a weight file outside the package,
        and bundle.model for a list or dictionary.
        """
        if value.blob is None:
            if value.data is None:
                raise _bad(self.path, f"a constant of type {value.type} is not supported")
            return value.data
        return self._open(value.blob.file).array(value.type, value.blob.offset)

    def check(self, value: Value) -> None:
        """Raise the errors of `array` without reading the value."""
        if value.blob is not None:
            self._open(value.blob.file).check(value.type, value.blob.offset)
        elif value.data is None:
            raise _bad(self.path, f"a constant of type {value.type} is not supported")

    def _open(self, name: str) -> WeightFile:
        if name not in self._weights:
            self._weights[name] = WeightFile(self.weight_file(name), name)
        return self._weights[name]

    def weight_file(self, name: str) -> Path:
        """The path of a weight file that values name; BundleError (bundle.path) for one outside."""
        if not name.startswith(_MODEL_PATH):
            raise BundleError(
                "bundle.path", f"weight file {name!r} does not start with {_MODEL_PATH}."
            )
        return _inside(self.path, self.model_file.parent, name.removeprefix(_MODEL_PATH))


def open_package(path: str | Path) -> Package:
    """Read a .mlpackage directory.

    Raises BundleError: bundle.missing (no such directory), bundle.missing_file, bundle.json,
    bundle.path (a name that leads out of the package), bundle.oversized, and bundle.model for
    anything but an ML program of a known specification version.
    """
    root = Path(path)
    if not root.is_dir():
        what = "is a file, not a package directory" if root.exists() else "does not exist"
        raise BundleError("bundle.missing", f"{root} {what}.")
    model_file = _model_file(root)
    size = model_file.stat().st_size
    if size > MAX_MODEL_BYTES:
        raise BundleError("bundle.oversized", f"{model_file} has {size} bytes.")
    try:
        model = decode(model_file.read_bytes(), MODEL)
        _check_version(root, model["specificationVersion"])
        if model["mlProgram"] is None:
            raise _bad(root, "the model is not an ML program")
        description = model["description"] or Record(MODEL.fields[2].kind)  # type: ignore[arg-type]
        functions = functions_of(model["mlProgram"], description)
    except (WireError, MalformedModel) as error:
        raise _bad(root, str(error)) from None
    default = description["defaultFunctionName"] or "main"
    return Package(
        root,
        model_file,
        model["specificationVersion"],
        _metadata(description["metadata"]),
        default if default in functions else next(iter(functions)),
        functions,
    )


def _model_file(root: Path) -> Path:
    """The root model that Manifest.json names."""
    manifest = root / MANIFEST
    if not manifest.is_file():
        raise BundleError("bundle.missing_file", f"{root} has no {MANIFEST}: not a .mlpackage.")
    table = read_json(manifest, f"{root.name}/{MANIFEST}")
    try:
        name = table["itemInfoEntries"][table["rootModelIdentifier"]]["path"]
        text = str(PurePosixPath(name))
    except (KeyError, TypeError):
        raise _bad(root, f"{MANIFEST} names no root model") from None
    found = _inside(root, root / "Data", text)
    if not found.is_file():
        raise BundleError("bundle.missing_file", f"{root} has no Data/{text}.")
    return found


def _inside(root: Path, start: Path, name: str) -> Path:
    """start/name with links resolved; BundleError unless it is below `root`."""
    try:
        found = (start / name).resolve()
    except (OSError, ValueError):  # too many links, a NUL in the name
        found = Path("/")
    if not found.is_relative_to(root.resolve()):
        raise BundleError("bundle.path", f"{name!r} leads out of {root}.")
    return found


def _check_version(root: Path, version: int) -> None:
    if version not in SPEC_VERSIONS:
        first, last = min(SPEC_VERSIONS), max(SPEC_VERSIONS)
        raise _bad(
            root,
            f"specification version {version} is unknown; this edgecap reads ML programs of "
            f"versions {first} to {last} ({SPEC_VERSIONS[first]} to {SPEC_VERSIONS[last]})",
        )


def _metadata(record: Record | None) -> Metadata:
    found: Mapping[str, Any] = record if record is not None else {}
    return Metadata(
        found.get("shortDescription", ""),
        found.get("versionString", ""),
        found.get("author", ""),
        found.get("license", ""),
        dict(found.get("userDefined", {})),
    )


def _bad(root: Path, message: str) -> BundleError:
    return BundleError("bundle.model", f"{root}: {message}.")
