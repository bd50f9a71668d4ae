"""Reading a bundle strictly, and sealing one that was written.

Nothing is believed before it is checked. What runs or is compared must be listed, present, of the
stated size and hash, and a plain file, or a link to one, as hubs' caches have it. What people read
(the card, a licence, images of a card) is neither needed nor checked, and what file managers, git
and hubs leave is passed over. An app may leave out what only checks and tells; what is left out is
in no `Bundle.manifest.files`. A file that changes after its bundle was opened is refused when it is
used. Writing happens in the directory that edgecap.core.atomic.atomic_dir gives; `finalize` is the
last step before it is renamed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from edgecap.bundle import schema2
from edgecap.bundle.checks import (
    VERIFY,
    State,
    check_file,
    is_lfs_pointer,
    lfs_pointer,
    state_of,
)
from edgecap.bundle.foreign import not_a_bundle
from edgecap.bundle.manifest import (
    CARD,
    CERTIFICATE,
    FRONT,
    MANIFEST,
    MAX_FOLDERS,
    PACKAGE,
    PLAN,
    SEARCH,
    AnyManifest,
    FileEntry,
    Manifest,
    is_listed,
    manifest_from_json,
)
from edgecap.core.choices import pick
from edgecap.core.digest import file_sha256
from edgecap.core.errors import BundleError
from edgecap.core.typed import dump, read_json

_GOLDEN = "golden/"
_TELLS = frozenset((CARD, CERTIFICATE, PLAN, SEARCH, FRONT))  # and what lies in _GOLDEN checks
# What file managers, network storage and archives leave; never read. So is all that begins with a
# dot: .git, .gitattributes, .cache of a hub, .DS_Store, ._model.tflite of a Mac.
_LITTER = frozenset(
    ("Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r", "@eaDir", "#recycle", "__MACOSX")
)
_PEOPLE_READ = frozenset(
    (".md", ".txt", ".rst", ".pdf", ".html", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")
)
_PAPERS = frozenset(("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS", "CITATION"))
_AGAIN = "Copy the bundle again, or export it again."

Written = TypeVar("Written", Manifest, schema2.Manifest)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every file was found as its manifest says."""

    path: Path
    manifest: Any  # of schema 1 or 2: whoever reads it knows which one it takes
    # How each file was found; None where the bundle was not opened by open_bundle.
    states: dict[str, State] | None = field(default=None, repr=False, compare=False)

    def file(self, name: str) -> Path:
        """The path of a listed file or *.mlpackage, to be opened now.

        What changed since the bundle was opened is hashed first, and so is what open_bundle does
        not check. Raises BundleError: bundle.missing_file, or bundle.altered and others of
        open_bundle.
        """
        if not is_listed(self.manifest, name):
            raise BundleError("bundle.missing_file", f"{self.path} has no {name}.")
        if self.states is not None:
            for each, entry in self.manifest.files.items():
                if each == name or each.startswith(f"{name}/"):
                    self._check_again(self.states, each, entry)
        return self.path / name

    def _check_again(self, states: dict[str, State], name: str, entry: FileEntry) -> None:
        path = self.path / name
        try:
            known = states.get(name)
            if known is None or not known.is_still(state_of(path)):
                states[name] = check_file(path, name, entry, "full")
        except FileNotFoundError:
            raise BundleError(
                "bundle.missing_file", f"{name} went away after the bundle was opened.", _AGAIN
            ) from None

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
    return isinstance(value, dict) and not {"contract", "interface"}.isdisjoint(value)


def open_bundle(path: str | Path, verify: str = "sizes") -> Bundle:
    """Check a bundle directory and return it.

    Args:
        verify: "sizes" hashes files of up to checks.SMALL bytes and compares the sizes of larger
            ones; "full" hashes all.

    Raises BundleError, code bundle.*, and InputError for another `verify`.
    """
    pick("verify", verify, VERIFY)
    root = Path(path)
    if not (root / MANIFEST).is_file():  # first, or any directory would be told of its first oddity
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
        if not _people_read(name)
    }
    return Bundle(root, replace(manifest, files=files), states)


def _people_read(name: str) -> bool:
    """Whether a file is for people: no host needs it, and it may be edited, added or left out."""
    if name.startswith(_GOLDEN) or PACKAGE in name:
        return False
    last = name.rsplit("/", 1)[-1]
    return os.path.splitext(last)[1].lower() in _PEOPLE_READ or last.split(".")[0] in _PAPERS


def finalize(
    directory: str | Path, manifest: Written, hashed: Mapping[str, FileEntry] | None = None
) -> Written:
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
    sealed = manifest.with_files(files)
    (root / MANIFEST).write_bytes(dump(sealed))
    return sealed


def _walk(root: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """(name, size) of every file below `root`; an empty directory counts as a file named "…/".

    Links are followed. Refuses those that lead nowhere, devices, and folders deeper than any name
    may lie: a stranger's directory can be deeper than Python recurses, and lead back into itself.
    """
    with os.scandir(root / prefix) as found:
        kept = (e for e in found if e.name not in _LITTER and not e.name.startswith("."))
        entries = sorted(kept, key=lambda entry: entry.name)
    if prefix and not entries:
        yield prefix, 0
    for entry in entries:
        name = f"{prefix}{entry.name}"
        try:
            status = entry.stat()
        except OSError:
            raise BundleError(
                "bundle.not_a_file", f"{name} is a link that leads nowhere.", _AGAIN
            ) from None
        if stat.S_ISDIR(status.st_mode):
            if name.count("/") >= MAX_FOLDERS:
                raise BundleError(
                    "bundle.path", f"{name} is a folder too deep; {MAX_FOLDERS} are allowed."
                )
            yield from _walk(root, f"{name}/")
        elif stat.S_ISREG(status.st_mode):
            yield name, status.st_size
        else:
            raise BundleError("bundle.not_a_file", f"{name} is a device or a pipe, not a file.")


def _compare_names(manifest: AnyManifest, present: dict[str, int]) -> None:
    checks = any(name.startswith(_GOLDEN) for name in present)  # all of it or nothing
    missing = sorted(
        name
        for name in manifest.files.keys() - present.keys()
        if name not in _TELLS
        and not _people_read(name)
        and (checks or not name.startswith(_GOLDEN))
    )
    if missing:
        raise BundleError("bundle.missing_file", f"{missing[0]} is listed and not there.", _AGAIN)
    unlisted = present.keys() - manifest.files.keys() - {MANIFEST}
    extra = sorted(name for name in unlisted if not _people_read(name))
    if extra:
        what = ", an empty directory," if extra[0].endswith("/") else ""
        raise BundleError(
            "bundle.extra_file",
            f"{extra[0]} is there{what} and not listed.",
            "Remove it, or copy the bundle again.",
        )
