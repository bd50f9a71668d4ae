"""Which images a folder holds, and what else was passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from edgecap.core.errors import InputError
from edgecap.core.litter import is_litter
from edgecap.runtime.image_kinds import (
    HEIC_SUFFIXES,
    IMAGE_KINDS,
    SUFFIXES,
    VIDEO_SUFFIXES,
    kind_of_file,
)

_NO_MEDIA = ".nomedia"  # an Android folder that galleries leave out


@dataclass(frozen=True)
class Found:
    """The images below a folder."""

    images: list[str]  # parts joined by "/", sorted
    passed: dict[str, int]  # what was passed over: its kind, and how many

    def summary(self) -> str:
        """One line about what was passed over, "" where nothing was."""
        if not self.passed:
            return ""
        kinds = sorted(self.passed.items(), key=lambda item: (-item[1], item[0]))
        counts = ", ".join(f"{count} {_plural(kind, count)}" for kind, count in kinds)
        hint = " (HEIC: pip install 'edgecap[heic]')" if "HEIC" in self.passed else ""
        return f"{sum(self.passed.values())} passed over: {counts}{hint}"


def images(folder: Path, skip: Path) -> list[str]:
    """`walk` of a folder to be indexed; `skip` is the index, which may lie in it.

    Raises InputError where the folder is missing or holds no image.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise InputError("index.folder", f"{folder} {what}.")
    found = scan(folder, skip)
    if not found.images:
        passed = found.summary()
        raise InputError(
            "index.empty",
            f"{folder} holds no image{f'; {passed}' if passed else ''}.",
            f"Names end in {', '.join(sorted(SUFFIXES))}.",
        )
    return found.images


def walk(folder: Path, skip: Path | None = None) -> list[str]:
    """The images of `scan`."""
    return scan(folder, skip).images


def scan(folder: Path, skip: Path | None = None) -> Found:
    """The images below `folder`, by their names or, without an ending, by their first bytes.

    Left out are hidden files and folders, what file managers leave, folders that hold .nomedia, all
    below `skip`, and names that are not text in the system's encoding: nothing could name them.
    Links are followed, each folder and each linked image once. A folder in it that cannot be read
    stands in the list itself, to be refused like an image.

    Raises InputError where `folder` cannot be read.
    """
    walker = _Walker(folder, skip and skip.resolve())
    found = sorted(walker.walk())
    return Found(found, dict(walker.passed))


@dataclass
class _Walker:
    folder: Path
    skip: Path | None
    passed: Counter[str] = field(default_factory=Counter)
    # (device, inode) of folders that were entered, and of images
    _entered: set[tuple[int, int]] = field(default_factory=set)
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _links: list[str] = field(default_factory=list)

    def walk(self) -> Iterator[str]:
        yield from self._below("")
        # Links come last: what they lead to may lie in the folder itself.
        while self._links:
            yield from self._follow(self._links.pop(0))

    def _below(self, start: str) -> Iterator[str]:
        waiting = [start]  # not recursion: folders may lie deeper than Python recurses
        while waiting:
            prefix = waiting.pop()
            try:
                entered = self._enter(prefix)
            except InputError:
                if not prefix:
                    raise
                yield prefix.removesuffix("/")
                continue
            if entered is None:
                continue
            device, entries = entered
            for entry in entries:
                name = prefix + entry.name
                if entry.is_symlink():
                    self._links.append(name)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif self._is_image(name, entry.is_file(follow_symlinks=False)):
                    self._seen.add((device, entry.inode()))
                    yield name

    def _enter(self, prefix: str) -> tuple[int, list[os.DirEntry[str]]] | None:
        """(device, entries) of a folder that is entered for the first time."""
        place = self.folder / prefix
        try:
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in self._entered:
                self.passed["link"] += 1
                return None
            if prefix and self.skip is not None and place.resolve() == self.skip:
                return None
            with os.scandir(place) as scanned:
                entries = list(scanned)
        except OSError as error:
            raise InputError("index.folder", f"{place} cannot be read: {error.strerror}.") from None
        self._entered.add((status.st_dev, status.st_ino))
        if prefix and any(entry.name == _NO_MEDIA for entry in entries):
            self.passed[f"folder marked {_NO_MEDIA}"] += 1
            return None
        kept = []
        for entry in entries:
            if is_litter(entry.name):  # not even counted
                continue
            if _is_text(entry.name):
                kept.append(entry)
            else:
                self.passed["name that is no text"] += 1
        return status.st_dev, sorted(kept, key=lambda entry: entry.name)

    def _follow(self, name: str) -> Iterator[str]:
        """What lies behind a link, unless it was met before."""
        try:
            status = os.stat(self.folder / name)
        except OSError:  # a link to itself, or into a folder that may not be read
            self.passed["link that leads nowhere"] += 1
            return
        where = (status.st_dev, status.st_ino)
        if os.path.isdir(self.folder / name):
            yield from self._below(f"{name}/")
        elif where in self._seen:
            self.passed["link"] += 1
        elif self._is_image(name, os.path.isfile(self.folder / name)):
            self._seen.add(where)
            yield name

    def _is_image(self, name: str, is_file: bool) -> bool:
        """Whether it is; counts what it is otherwise."""
        suffix = os.path.splitext(name)[1].lower()
        if not is_file:
            self.passed["device or pipe"] += 1
        elif suffix in SUFFIXES or (not suffix and self._looks_like_one(name)):
            return True
        elif suffix in HEIC_SUFFIXES:
            if find_spec("pillow_heif") is not None:
                return True
            self.passed["HEIC"] += 1
        else:
            self.passed["video" if suffix in VIDEO_SUFFIXES else suffix or "other file"] += 1
        return False

    def _looks_like_one(self, name: str) -> bool:
        return kind_of_file(self.folder / name) in IMAGE_KINDS


def _plural(kind: str, count: int) -> str:
    first, _, rest = kind.partition(" ")
    if count == 1 or kind.startswith(".") or kind == "HEIC":
        return kind
    if first in ("link", "folder", "name", "device"):
        for one, several in (("leads", "lead"), ("is no text", "are no text"), ("pipe", "pipes")):
            rest = rest.replace(one, several)
        return f"{first}s{' ' + rest if rest else ''}"
    return f"{kind}s"


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
