"""Images that a command is given: files, directories, patterns, URLs, videos, standard input."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgecap.core.errors import InputError
from edgecap.core.printable import printable

if TYPE_CHECKING:
    from edgecap.runtime.video import Sampling


@dataclass(frozen=True)
class GivenImage:
    """An image as it was named, and where to take it from."""

    name: str
    source: Any  # what edgecap.runtime.image_files.load_image takes

    @property
    def path(self) -> Path | None:
        """Its file; None for standard input and frames."""
        return self.source if isinstance(self.source, Path) else None


class GivenImages:
    """Images on their way through a captioner, which takes several before it gives one back.

    Frames of videos and cameras are read as they are taken.
    """

    def __init__(
        self, given: Iterable[str], urls: bool = False, sampling: Sampling | None = None
    ) -> None:
        """What a directory holds besides images is counted on standard error.

        Raises InputError for a directory that cannot be read or holds no images, a pattern that
        fits nothing, a URL that was not allowed, and standard input given twice.
        """
        from edgecap.runtime.sources import Sources

        self._sources = Sources(given, urls, sampling)
        self._waiting: deque[GivenImage] = deque()
        for line in self._sources.passed:
            typer.echo(f"edgecap: {printable(line)}", err=True)

    @property
    def count(self) -> int | None:
        """How many there are; None where a video or camera is among them."""
        return self._sources.count

    def alone(self) -> GivenImage | None:
        """The only image, which may be read several times; None where there are others."""
        if self.count != 1:
            return None
        (item,) = self._sources
        return GivenImage(item.name, item.image() if callable(item.image) else item.image)

    def take(self) -> Iterator[Any]:
        """What the captioner is given, one by one."""
        for item in self._sources:
            self._waiting.append(GivenImage(item.name, item.image))
            yield item.image

    def done(self) -> GivenImage:
        """The image that was taken before all others that are not done yet."""
        return self._waiting.popleft()


def one_image(given: str) -> GivenImage:
    """An image file, or what standard input holds; InputError for what can be neither."""
    if Path(given).is_dir():
        return GivenImage(given, Path(given))  # refused when it is read
    image = GivenImages([given]).alone()
    if image is None:
        raise InputError("image.several", f"{given} is more than one image.", "Give one IMAGE.")
    return image


def all_images(given: Iterable[str]) -> list[GivenImage]:
    """All images given, without frames; errors as of GivenImages."""
    images = GivenImages(given)
    if images.count is None:
        raise InputError("image.several", "a video is many images.", "Run: edgecap caption VIDEO")
    for _ in images.take():
        pass
    return [images.done() for _ in range(images.count)]


def report_failure(image: GivenImage, error: InputError) -> dict[str, Any]:
    """Say on standard error what is wrong with one image among others; its row for --json."""
    typer.echo(f"edgecap: {printable(with_name(image.name, error))}", err=True)
    return {"image": image.name, "error": {"code": error.code, "text": error.message}}


def with_name(name: str, error: InputError) -> str:
    """The line about one image among others, which says which one it is."""
    return str(error) if name in error.message else f"{name}: {error}"
