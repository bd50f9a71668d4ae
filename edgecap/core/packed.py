"""A file inside an archive that is mapped into memory, used by readers as a path is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias


@dataclass(frozen=True)
class PackedFile:
    """A file, existing or not, at `path` inside the archive `archive`."""

    archive: Path
    contents: Mapping[str, memoryview]  # of all files of the archive, by name
    path: PurePosixPath

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def parent(self) -> PackedFile:
        return PackedFile(self.archive, self.contents, self.path.parent)

    def __truediv__(self, other: str | PurePosixPath) -> PackedFile:
        return PackedFile(self.archive, self.contents, self.path / other)

    def __str__(self) -> str:
        return f"{self.archive}:{self.path}"

    def data(self) -> memoryview | None:
        """The bytes of the file, not copied; None if there is no such file."""
        return self.contents.get(str(self.path))

    def read_bytes(self) -> bytes:
        """A copy of the bytes; FileNotFoundError if there is no such file."""
        data = self.data()
        if data is None:
            raise FileNotFoundError(str(self))
        return bytes(data)


AnyFile: TypeAlias = Path | PackedFile
