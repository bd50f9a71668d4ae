"""Images from wherever a user names them: files, folders, patterns, standard input, URLs, videos.

Names are checked when Sources is made; images are read one by one as they are needed.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgecap.core.errors import InputError
from edgecap.runtime.fetch import MAX_BYTES, fetch
from edgecap.runtime.folders import scan
from edgecap.runtime.image_files import ImageSource, nameless
from edgecap.runtime.image_kinds import SUFFIXES, VIDEO_SUFFIXES, kind_of_file
from edgecap.runtime.urls import check_url, is_url
from edgecap.runtime.video import Frame, Sampling, camera_index, frames, opencv

STANDARD_INPUT = "-"
# A pipe of the shell: /dev/stdin, or <(cat photo.jpg). Others are refused, not waited for.
_STREAM = re.compile(r"/dev/stdin|/(dev|proc/self)/fd/[0-9]+")


@dataclass(frozen=True)
class Item:
    """One image: what to call it, and what load_image takes."""

    name: str
    image: ImageSource


class Sources:
    """The images that a list of names stands for, in order.

    Iterating gives an Item each. An image that cannot be read is still an Item: load_image raises
    the error, so that whoever reads many can go on.
    """

    def __init__(
        self,
        given: Iterable[str | os.PathLike[str]],
        urls: bool = False,
        sampling: Sampling | None = None,
        stdin: BinaryIO | None = None,
    ) -> None:
        """
        Args:
            given: names of image files, of folders (all images below them), of videos; patterns
                with * ? [ ] and ** for folders at any depth; "-" for an image on standard input;
                "camera" or "camera:1"; and URLs.
            urls: whether http and https URLs may be fetched. Nothing is by default.
            sampling: which frames of videos and cameras are taken.
            stdin: in place of the process's standard input.

        Raises:
            InputError: image.url for a URL without `urls`, and of another kind than http and
                https; image.missing for an empty name and a pattern that fits nothing, image.stdin
                for "-" given twice, image.none for a folder without images, index.folder for one
                that cannot be read.
            MissingPackageError: for a video without OpenCV.
        """
        self._urls, self._sampling, self._stdin = urls, sampling or Sampling(), stdin
        self._parts: list[
            Item | str | int
        ] = []  # a video's path and a camera's number are opened late
        self.passed: list[str] = []  # a line for each folder in which something was passed over
        for each in given:
            self._add(os.fspath(each))

    @property
    def count(self) -> int | None:
        """How many images there are; None where a video or camera is among them."""
        return len(self._parts) if all(isinstance(p, Item) for p in self._parts) else None

    def __iter__(self) -> Iterator[Item]:
        for part in self._parts:
            if isinstance(part, Item):
                yield part
            else:
                yield from self._frames(part)

    def _add(self, name: str) -> None:
        if not name:
            raise nameless()
        if name == STANDARD_INPUT:
            if any(isinstance(p, Item) and p.name == STANDARD_INPUT for p in self._parts):
                raise InputError(
                    "image.stdin", "standard input holds one image, and - stands twice."
                )
            self._parts.append(Item(STANDARD_INPUT, functools.partial(self._read_stdin)))
        elif is_url(name):
            check_url(name, self._urls)
            self._parts.append(Item(name, functools.partial(fetch, name)))
        elif (camera := camera_index(name)) is not None and not os.path.lexists(name):
            opencv()
            self._parts.append(camera)
        elif _is_pattern(name) and not os.path.lexists(name):
            self._add_pattern(name)
        else:
            self._add_path(name)

    def _add_path(self, name: str) -> None:
        if os.path.isdir(name):
            self._add_folder(name)
        elif _is_video(name):
            opencv()
            self._parts.append(name)
        elif _STREAM.fullmatch(name):
            self._parts.append(Item(name, functools.partial(_read_stream, name)))
        else:
            self._parts.append(Item(name, Path(name)))

    def _add_folder(self, name: str) -> None:
        found = scan(Path(name))
        summary = found.summary()
        if not found.images:
            raise InputError(
                "image.none",
                f"{name} holds no images{f'; {summary}' if summary else ''}.",
                f"Endings that are looked for: {' '.join(sorted(SUFFIXES))}",
            )
        if summary:
            self.passed.append(f"{name}: {summary}")
        self._parts += [Item(str(Path(name, each)), Path(name, each)) for each in found.images]

    def _add_pattern(self, pattern: str) -> None:
        found = sorted(glob.glob(pattern, recursive=True))
        kept = [name for name in found if os.path.isdir(name) or _looks_like_image(name)]
        if "**" in pattern:  # what is in the folders is found as well
            kept = [name for name in kept if not os.path.isdir(name)]
        if not kept:
            others = f"; {len(found)} that are no images do" if found else ""
            raise InputError("image.missing", f"no image fits the pattern {pattern}{others}.")
        files = sum(not os.path.isdir(name) for name in found)
        if passed := files - sum(not os.path.isdir(name) for name in kept):
            self.passed.append(f"{pattern}: {passed} passed over: no images by their names")
        for name in kept:
            self._add_path(name)

    def _frames(self, source: str | int) -> Iterator[Item]:
        title = f"camera:{source}" if isinstance(source, int) else source
        try:
            for frame in frames(source, self._sampling):
                yield Item(_frame_name(title, frame), frame.pixels)
        except InputError as error:
            yield Item(title, functools.partial(_raise, error))

    def _read_stdin(self) -> bytes:
        piped = sys.stdin.buffer if sys.stdin is not None else None
        stream = self._stdin or piped
        if stream is None or stream.isatty():
            raise InputError(
                "image.stdin",
                "- reads an image from standard input, and nothing is piped in.",
                "Write: cat photo.jpg | edgecap caption -",
            )
        return _limited(stream, "standard input")


def _frame_name(title: str, frame: Frame) -> str:
    """As of W3C's Media Fragments: clip.mp4#t=1.5"""
    return f"{title}#t={frame.seconds:.3f}".rstrip("0").rstrip(".")


def _is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[")


def _is_video(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    if suffix in SUFFIXES:
        return False
    return (suffix in VIDEO_SUFFIXES and os.path.isfile(name)) or kind_of_file(name) == "video"


def _looks_like_image(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    return suffix in SUFFIXES or suffix in VIDEO_SUFFIXES or bool(kind_of_file(name))


def _read_stream(name: str) -> bytes:
    try:
        with open(name, "rb") as stream:
            return _limited(stream, name)
    except OSError as error:
        raise InputError("image.missing", f"{name} cannot be read: {error.strerror}.") from None


def _limited(stream: BinaryIO, name: str) -> bytes:
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(
            "image.too_large", f"{name} gives more than the {MAX_BYTES:,} bytes that are read."
        )
    if not data:
        raise InputError("image.empty", f"{name} is empty.")
    return data


def _raise(error: InputError) -> bytes:
    raise error
