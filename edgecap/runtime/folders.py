"""Which images a folder holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edgecap.core.errors import InputError
from edgecap.runtime.preprocess import SUFFIXES


def images(folder: Path, skip: Path) -> list[str]:
    """`walk` of a folder to be indexed; `skip` is the index, which may lie in it.

    Raises InputError where the folder is missing or holds no image.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise InputError("index.folder", f"{folder} {what}.")
    found = walk(folder, skip)
    if not found:
        raise InputError(
            "index.empty",
            f"{folder} holds no image.",
            f"Names end in {', '.join(sorted(SUFFIXES))}.",
        )
    return found


def walk(folder: Path, skip: Path | None = None) -> list[str]:
    """Paths below `folder` of files named like images, parts joined by "/", sorted.

    Hidden files and folders, and links to folders, are left out; so is all below `skip`. Names
    that are not text in the system's encoding are left out as well: nothing could name them. A
    folder in it that cannot be read stands in the list itself, to be refused like an image.

    Raises InputError where `folder` cannot be read.
    """
    return sorted(_walk(folder, skip and skip.resolve()))


def _walk(folder: Path, skip: Path | None) -> Iterator[str]:
    waiting = [""]  # not recursion: folders may lie deeper than Python recurses
    while waiting:
        prefix = waiting.pop()
        try:
            entries = _entries(folder / prefix)
        except InputError:
            if not prefix:
                raise
            yield prefix.removesuffix("/")
            continue
        for entry in entries:
            name = prefix + entry.name
            if entry.name.startswith(".") or not _is_text(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                if Path(entry.path).resolve() != skip:
                    waiting.append(f"{name}/")
            elif os.path.splitext(name)[1].lower() in SUFFIXES and _is_file(entry):
                yield name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scanned:
            return list(scanned)
    except OSError as error:
        raise InputError("index.folder", f"{folder} cannot be read: {error.strerror}.") from None


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, or into a folder that may not be read
        return False


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
