"""Images that commands write."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.cli._output import check_destinations
from edgecap.core.atomic import write_file
from edgecap.core.errors import InputError, one_line

if TYPE_CHECKING:
    from PIL import Image


def check_image(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse, before any work, an image that could not be written after it; InputError.

    `inputs` are images that must not be overwritten.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError("draw.format", f"{path} must end in .png, .jpg or .webp.")
    check_destinations(str(path))
    for given in inputs:
        if path.exists() and given.exists() and path.samefile(given):
            raise InputError(
                "draw.overwrites", f"{path} is the image itself.", "Name another file."
            )


def save_image(image: Image.Image, path: Path) -> None:
    """Write it; the name's ending chooses the format. InputError where that fails."""
    from PIL import Image

    data = io.BytesIO()
    try:
        image.save(data, Image.registered_extensions()[path.suffix.lower()])
    except (OSError, ValueError) as error:  # of a format: too large, or not in these colours
        raise InputError(
            "output.unwritable", f"{path} cannot be written: {one_line(error)}"
        ) from None
    write_file(path, data.getvalue())
