"""Strict reading of bundles, and finalisation of new ones.

Bundles are untrusted input. Files that are run or compared must be listed, present, of the listed
size and hash, and plain files or links to them (as in hub caches). Documents (the card, a licence,
images of a card) are optional and not checked; files of file managers, git and hubs are ignored. An
app may omit files that only verify or describe; omitted files are not in `Bundle.manifest.files`. A
file that changes after the bundle was opened is refused when it is used. New bundles are written
into the directory of edgecap.core.atomic.atomic_dir; `finalize` is the last step before its rename.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgecap.bundle import manifest as schema2
from edgecap.bundle.checks import (
    VERIFY,
    State,
    check_file,
    check_packed,
    is_lfs_pointer,
    lfs_pointer,
    state_of,
)
from edgecap.bundle.confidence_spec import CONFIDENCE
from edgecap.bundle.container import Container, is_container, open_container
from edgecap.bundle.files import (
    CARD,
    CERTIFICATE,
    FRONT,
    MANIFEST,
    MAX_FOLDERS,
    PACKAGE,
    PLAN,
    SEARCH,
    FileEntry,
    is_listed,
)
from edgecap.bundle.foreign import not_a_bundle
from edgecap.bundle.schemas import AnyManifest, manifest_from_json
from edgecap.core.choices import pick
from edgecap.core.digest import file_sha256
from edgecap.core.errors import BundleError
from edgecap.core.litter import is_litter
from edgecap.core.packed import AnyFile
from edgecap.core.typed import dump, parse, read_json

if TYPE_CHECKING:
    from edgecap.bundle import schema1

_GOLDEN = "golden/"
_ONLY_CHECKS = frozenset((CARD, CERTIFICATE, FRONT, PLAN, SEARCH))
# As is the whole of _GOLDEN.
_OPTIONAL = _ONLY_CHECKS | {CONFIDENCE}
_DOCUMENT_SUFFIXES = frozenset(
    (".md", ".txt", ".rst", ".pdf", ".html", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")
)
_DOCUMENT_NAMES = frozenset(("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS", "CITATION"))
_AGAIN = "Copy the bundle again, or export it again."

Written = TypeVar("Written", "schema1.Manifest", schema2.Manifest)


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, whose files match its manifest."""

    path: Path
    manifest: Any  # a Manifest of schema 1 or 2
    # The state of each file when verified; None if the bundle was not opened by open_bundle.
    states: dict[str, State] | None = field(default=None, repr=False, compare=False)
    container: Container | None = field(default=None, repr=False, compare=False)

    def content(self, name: str) -> AnyFile:
        """A listed file or *.mlpackage, verified for immediate use; not unpacked.

        A file that may have changed since the bundle was opened, or that open_bundle does not
        check, is hashed first. Raises BundleError: bundle.missing_file, and as open_bundle.
        """
        if not is_listed(self.manifest.files, name):
            raise BundleError("bundle.missing_file", f"{self.path} has no {name}.")
        if self.states is not None:
            for each in self._parts(name):
                self._check_again(self.states, each, self.manifest.files[each])
        return self.container.file(name) if self.container is not None else self.path / name

    def file(self, name: str) -> Path:
        """As `content`, as a path: a packed file is unpacked into a temporary directory first."""
        content = self.content(name)
        if self.container is None:
            assert isinstance(content, Path)
            return content
        return self.container.extract(self._parts(name)) / name

    def _parts(self, name: str) -> list[str]:
        """The listed files that `name` stands for: itself, or those of an *.mlpackage."""
        return [n for n in self.manifest.files if n == name or n.startswith(f"{name}/")]

    def _check_again(self, states: dict[str, State], name: str, entry: FileEntry) -> None:
        path = self.path / name
        known = states.get(name)
        if self.container is not None:
            now = self.container.state()
            if known is None or not known.is_still(now):
                check_packed(self.container.contents[name], name, entry, "full")
                states[name] = now
            return
        try:
            if known is None or not known.is_still(state_of(path)):
                states[name] = check_file(path, name, entry, "full")
        except FileNotFoundError:
            raise BundleError(
                "bundle.missing_file", f"{name} was deleted after the bundle was opened.", _AGAIN
            ) from None

    def json(self, name: str) -> Any:
        """The parsed contents of a listed JSON file."""
        return parse(self.content(name).read_bytes(), name)


def bundles_in(folder: Path) -> list[Path]:
    """The directories below `folder` that are bundles, sorted by name; their files are not checked.

    Web apps have a manifest.json too, so a manifest without contract or interface is ignored. An
    unreadable one counts as a bundle, so that opening it reports the reason.
    """
    manifests = folder.glob(f"*/{MANIFEST}")
    return sorted(file.parent for file in manifests if _has_contract(file, unreadable=True))


def is_bundle(folder: Path) -> bool:
    """Whether a directory may be replaced as a bundle: its manifest must be readable."""
    return _has_contract(folder / MANIFEST, unreadable=False)


def _has_contract(manifest: Path, unreadable: bool) -> bool:
    """Whether this is a bundle's manifest; `unreadable` is the result if it cannot be read."""
    if not manifest.is_file():  # reading a pipe would block
        return False
    try:
        value = read_json(manifest, manifest.name)
    except (BundleError, OSError):
        return unreadable
    return isinstance(value, dict) and not {"contract", "interface"}.isdisjoint(value)


def open_bundle(path: str | Path, verify: str = "sizes") -> Bundle:
    """Verify a bundle, a directory or a packed file (container.py), and open it.

    Args:
        verify: "sizes" hashes files of up to checks.SMALL bytes and compares the sizes of larger
            ones; "full" hashes all.

    Raises BundleError, code bundle.*, and InputError for another `verify`.
    """
    pick("verify", verify, VERIFY)
    root = Path(path)
    if is_container(root):
        return _open_packed(root, verify)
    if not (root / MANIFEST).is_file():  # first, since errors about other files would mislead
        raise not_a_bundle(root)
    if is_lfs_pointer(root / MANIFEST):
        raise lfs_pointer(str(root / MANIFEST))
    present = dict(_walk(root))
    manifest = manifest_from_json(read_json(root / MANIFEST, MANIFEST))
    _compare_names(manifest, present)
    files = {name: entry for name, entry in manifest.files.items() if name in present}
    states = {
        name: check_file(root / name, name, entry, verify)
        for name, entry in files.items()
        if not _is_document(name)
    }
    return Bundle(root, replace(manifest, files=files), states)


def _open_packed(path: Path, verify: str) -> Bundle:
    container = open_container(path)
    contents = container.contents
    manifest = manifest_from_json(parse(bytes(contents[MANIFEST]), MANIFEST))
    _compare_names(manifest, {name: len(data) for name, data in contents.items()})
    files = {name: entry for name, entry in manifest.files.items() if name in contents}
    state = container.state()
    states = {}
    for name, entry in files.items():
        if not _is_document(name):
            check_packed(contents[name], name, entry, verify)
            states[name] = state
    return Bundle(path, replace(manifest, files=files), states, container)


def needed_files(bundle: Bundle) -> list[str]:
    """The files that an app needs beside the manifest: not those that only check or describe."""
    return [
        name
        for name in bundle.manifest.files
        if name not in _ONLY_CHECKS and not _is_document(name) and not name.startswith(_GOLDEN)
    ]


def _is_document(name: str) -> bool:
    """Whether a file is documentation: hosts do not need it; it may be edited, added or omitted."""
    if name.startswith(_GOLDEN) or PACKAGE in name:
        return False
    last = name.rsplit("/", 1)[-1]
    return (
        os.path.splitext(last)[1].lower() in _DOCUMENT_SUFFIXES
        or last.split(".")[0] in _DOCUMENT_NAMES
    )


def finalize(
    directory: str | Path, manifest: Written, hashed: Mapping[str, FileEntry] | None = None
) -> Written:
    """Write manifest.json for the files in `directory`; returns the written manifest.

    `manifest.files` and `manifest.tokenizer.sha256` are recomputed. May be called again after files
    were added: `hashed` then holds the entries of unchanged files, which are not hashed again.
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
    final = manifest.with_files(files)
    plain = schema2.manifest_to_json(final) if isinstance(final, schema2.Manifest) else final
    (root / MANIFEST).write_bytes(dump(plain))
    return final


def _walk(root: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """(name, size) of every file below `root`; an empty directory counts as a file named "…/".

    Links are followed. Raises BundleError for broken links, devices, and folders nested deeper than
    MAX_FOLDERS: an untrusted directory can be deeper than Python recurses, or contain itself.
    """
    with os.scandir(root / prefix) as found:
        kept = (e for e in found if not is_litter(e.name))
        entries = sorted(kept, key=lambda entry: entry.name)
    if prefix and not entries:
        yield prefix, 0
    for entry in entries:
        name = f"{prefix}{entry.name}"
        try:
            status = entry.stat()
        except OSError:
            raise BundleError("bundle.not_a_file", f"{name} is a broken link.", _AGAIN) from None
        if stat.S_ISDIR(status.st_mode):
            if name.count("/") >= MAX_FOLDERS:
                raise BundleError(
                    "bundle.path", f"{name} is nested too deeply; at most {MAX_FOLDERS} folders."
                )
            yield from _walk(root, f"{name}/")
        elif stat.S_ISREG(status.st_mode):
            yield name, status.st_size
        else:
            raise BundleError("bundle.not_a_file", f"{name} is a device or a pipe, not a file.")


def _compare_names(manifest: AnyManifest, present: dict[str, int]) -> None:
    has_golden = any(name.startswith(_GOLDEN) for name in present)  # all of it or nothing
    missing = sorted(
        name
        for name in manifest.files.keys() - present.keys()
        if name not in _OPTIONAL
        and not _is_document(name)
        and (has_golden or not name.startswith(_GOLDEN))
    )
    if missing:
        raise BundleError("bundle.missing_file", f"{missing[0]} is listed but missing.", _AGAIN)
    unlisted = present.keys() - manifest.files.keys() - {MANIFEST}
    extra = sorted(name for name in unlisted if not _is_document(name))
    if extra:
        what = " (an empty directory)" if extra[0].endswith("/") else ""
        raise BundleError(
            "bundle.extra_file",
            f"{extra[0]}{what} is not listed.",
            "Remove it, or copy the bundle again.",
        )
