"""Reading a bundle strictly, and sealing one that was written.

Nothing is believed before it is checked: every file must be listed, present, of the stated size and
hash, and a plain file inside the directory. An app may leave out what only checks and tells; what
is left out is in no `Bundle.manifest.files`. Writing happens in the directory that
edgecap.core.atomic.atomic_dir gives; `finalize` is the last step before it is renamed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecap.bundle.manifest import (
    CARD,
    CERTIFICATE,
    FRONT,
    MANIFEST,
    MAX_FOLDERS,
    PLAN,
    SEARCH,
    FileEntry,
    Manifest,
    check_manifest,
    is_listed,
    manifest_from_json,
)
from edgecap.core.choices import pick
from edgecap.core.digest import file_sha256
from edgecap.core.errors import BundleError
from edgecap.core.typed import dump, read_json

_GOLDEN = "golden/"
_TELLS = frozenset((CARD, CERTIFICATE, PLAN, SEARCH, FRONT))  # and what lies in _GOLDEN checks
# What file managers leave everywhere; never read.
_LITTER = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
_AGAIN = "Copy the bundle again, or export it again."


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every file was found as its manifest says."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """The path of a listed file or *.mlpackage; BundleError (bundle.missing_file) otherwise."""
        if not is_listed(self.manifest, name):
            raise BundleError("bundle.missing_file", f"{self.path} has no {name}.")
        return self.path / name

    def json(self, name: str) -> Any:
        """The plain values of a listed JSON file."""
        return read_json(self.file(name), name)


def bundles_in(folder: Path) -> list[Path]:
    """The directories below `folder` that are bundles, by name; nothing in them is checked.

    A web app has a manifest.json too, so those that tell of no contract are passed over. One that
    cannot be read counts: whoever uses it is told why not.
    """
    manifests = folder.glob(f"*/{MANIFEST}")
    return sorted(file.parent for file in manifests if _tells_contract(file, unreadable=True))


def is_bundle(folder: Path) -> bool:
    """Whether a directory may be replaced as a bundle: what its manifest cannot say, it is not."""
    return _tells_contract(folder / MANIFEST, unreadable=False)


def _tells_contract(manifest: Path, unreadable: bool) -> bool:
    """Whether this is a bundle's manifest; `unreadable` is the answer where it cannot be read."""
    if not manifest.is_file():  # a pipe would be waited for
        return False
    try:
        value = read_json(manifest, manifest.name)
    except (BundleError, OSError):
        return unreadable
    return isinstance(value, dict) and "contract" in value


def open_bundle(path: str | Path, verify: str = "full") -> Bundle:
    """Check a bundle directory completely and return it; raises BundleError, code bundle.*.

    `verify`: "full", or "sizes" where files are not hashed because their bytes are known.
    """
    pick("verify", verify, ("full", "sizes"))
    root = Path(path)
    if not root.is_dir():
        what = "is a file, not a bundle directory" if root.exists() else "does not exist"
        raise BundleError(
            "bundle.missing",
            f"{root} {what}.",
            "Make a bundle with: edgecap export --format tflite --int8",
        )
    if not (root / MANIFEST).is_file():  # first, or any directory would be told of its first oddity
        raise BundleError("bundle.missing_file", f"{root} has no {MANIFEST}: not a bundle.")
    present = dict(_walk(root))
    manifest = manifest_from_json(read_json(root / MANIFEST, MANIFEST))
    _compare_names(manifest, present)
    files = {name: entry for name, entry in manifest.files.items() if name in present}
    for name, entry in files.items():
        _check_size(name, entry, present[name])
        if verify == "full":
            _check_bytes(root, name, entry)
    return Bundle(root, replace(manifest, files=files))


def finalize(
    directory: str | Path, manifest: Manifest, hashed: Mapping[str, FileEntry] | None = None
) -> Manifest:
    """Write manifest.json over the files that lie in `directory`; returns what was written.

    `manifest.files` and `manifest.tokenizer.sha256` are computed here, whatever they were. May be
    called again after more files were added: `hashed` are then the entries of those that have not
    changed since, and are not hashed again.
    """
    known = hashed or {}
    root = Path(directory)
    present = sorted(_walk(root))
    for name, _ in present:
        if name.endswith("/"):
            raise BundleError("bundle.extra_file", f"{name} is an empty directory.")
    files = {
        name: known[name] if name in known else FileEntry(file_sha256(root / name), size)
        for name, size in present
        if name != MANIFEST
    }
    tokenizer = manifest.tokenizer
    if tokenizer.file not in files:
        raise BundleError("bundle.missing_file", f"{root} has no {tokenizer.file}.")
    tokenizer = replace(tokenizer, sha256=files[tokenizer.file].sha256)
    sealed = replace(manifest, files=files, tokenizer=tokenizer)
    check_manifest(sealed)
    (root / MANIFEST).write_bytes(dump(sealed))
    return sealed


def _walk(root: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """(name, size) of every file below `root`; an empty directory counts as a file named "…/".

    Refuses links, devices, and folders deeper than any name may lie: a stranger's directory can be
    deeper than Python recurses.
    """
    with os.scandir(root / prefix) as found:
        kept = (entry for entry in found if entry.name not in _LITTER)
        entries = sorted(kept, key=lambda entry: entry.name)
    if prefix and not entries:
        yield prefix, 0
    for entry in entries:
        name = f"{prefix}{entry.name}"
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            if name.count("/") >= MAX_FOLDERS:
                raise BundleError(
                    "bundle.path", f"{name} is a folder too deep; {MAX_FOLDERS} are allowed."
                )
            yield from _walk(root, f"{name}/")
        elif stat.S_ISREG(status.st_mode):
            yield name, status.st_size
        else:
            raise BundleError("bundle.not_a_file", f"{name} is a link or a device, not a file.")


def _compare_names(manifest: Manifest, present: dict[str, int]) -> None:
    checks = any(name.startswith(_GOLDEN) for name in present)  # all of it or nothing
    missing = sorted(
        name
        for name in manifest.files.keys() - present.keys()
        if name not in _TELLS and (checks or not name.startswith(_GOLDEN))
    )
    if missing:
        raise BundleError("bundle.missing_file", f"{missing[0]} is listed and not there.", _AGAIN)
    extra = sorted(present.keys() - manifest.files.keys() - {MANIFEST})
    if extra:
        what = ", an empty directory," if extra[0].endswith("/") else ""
        raise BundleError(
            "bundle.extra_file",
            f"{extra[0]} is there{what} and not listed.",
            "Remove it, or copy the bundle again.",
        )


def _check_size(name: str, entry: FileEntry, size: int) -> None:
    if size != entry.size:
        code = "bundle.truncated" if size < entry.size else "bundle.oversized"
        raise BundleError(code, f"{name} has {size} bytes; the manifest says {entry.size}.", _AGAIN)


def _check_bytes(root: Path, name: str, entry: FileEntry) -> None:
    if file_sha256(root / name) != entry.sha256:
        raise BundleError(
            "bundle.altered", f"{name} is not the file the manifest was written for.", _AGAIN
        )
