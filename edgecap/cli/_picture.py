"""Pictures that commands write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.core.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


def check_picture(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse, before any work, a picture that could not be written after it; InputError.

    `inputs` are pictures that must not be drawn over.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError("draw.format", f"{path} must end in .png, .jpg or .webp.")
    if not path.parent.is_dir() or path.is_dir():
        raise InputError("output.unwritable", f"{path} cannot be written: no such directory.")
    for given in inputs:
        if path.exists() and given.exists() and path.samefile(given):
            raise InputError(
                "draw.overwrites", f"{path} is the picture itself.", "Name another file."
            )


def save_picture(image: Image.Image, path: Path) -> None:
    """Write it; the name's ending chooses the format. InputError where that fails."""
    try:
        image.save(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError("output.unwritable", f"{path} cannot be written: {reason}.") from None
