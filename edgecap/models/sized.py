"""Captioners that take images of any size: a bundle has one, a square chosen when it is exported.

transformers would keep the shape of each image; here all are stretched to the square. Of an image
that has its size already, the pixels are the same.
"""

from __future__ import annotations

from typing import ClassVar

from edgecap.bundle.image_spec import ImageSpec
from edgecap.core.errors import UnsupportedError
from edgecap.models import translate
from edgecap.models.base import Build, from_weights
from edgecap.models.checkpoint import Checkpoint
from edgecap.models.images import PixelScaling
from edgecap.models.prompted import PrefixBase


class SizedBase(PrefixBase):
    """A captioner whose images have one of several sizes."""

    default_side: ClassVar[int] = 448  # px, or what is possible next to it

    def __init__(
        self,
        checkpoint: Checkpoint,
        text_rows: int | None = None,
        prompt: str | None = None,
        build: Build = from_weights,
        image_size: int | None = None,
    ) -> None:
        self.side = image_size
        super().__init__(checkpoint, text_rows, prompt, build)

    def processing(self, files: translate.Checkpoint) -> tuple[ImageSpec, PixelScaling]:
        """Images are stretched to a square, of the requested size or near the default."""
        sides = self.sides(translate.square_sides(files))
        wanted = self.default_side if self.side is None else self.side
        nearest = min(sides, key=lambda side: abs(side - wanted))
        if self.side not in (None, nearest):
            raise UnsupportedError(
                "model.image_size",
                f"images of {wanted}x{wanted} px are not possible: {self.source} and its image "
                f"processor take multiples of {sides.step} px from {sides[0]} to {sides[-1]}.",
                f"The nearest is: --image-size {nearest}",
            )
        self.note = (
            f"Images are stretched to {nearest}x{nearest} px, where transformers keeps the shape "
            "of each; another size is another export, with --image-size."
        )
        return translate.image_spec(files, nearest)

    def sides(self, processed: range) -> range:
        """Sides of images, in px, that the model takes, out of those that can be `processed`."""
        return processed
