"""The images that calibration looks at: scenes of the package, or a directory of one's own.

Letters: N images, S model_input side in px.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecap.bundle.image_spec import letterboxed
from edgecap.core.choices import pick
from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.reference.scenes.shipped import SETS, load_set
from edgecap.runtime.folders import walk
from edgecap.runtime.preprocess import preprocess

LEAST = 16  # one for each language in each style
SHIPPED = "shipped"
OBSERVER_NAMES = ("minmax", "percentile", "mse")
OBSERVER = "mse"  # half the divergence of minmax (LOG.md)


@dataclass(frozen=True)
class CalibrationSpec:
    """What to calibrate on, and how. The only home of these defaults."""

    data: Path | None = None  # a directory of images; None: the scenes of the package
    images: int = 128  # with 64 a step in two thousand came out too far off, twice (LOG.md)
    seed: int = 0  # which of the images, where there are more
    observer: str | None = None  # one of OBSERVER_NAMES; None: OBSERVER

    @property
    def ranges(self) -> str:
        """The observer that chooses the ranges of activations."""
        return OBSERVER if self.observer is None else self.observer

    def check(self) -> None:
        """Raise InputError for what cannot work, before anything is loaded."""
        pick("observer", self.ranges, OBSERVER_NAMES)
        if self.images < LEAST or self.seed < 0:
            raise InputError(
                "calibration.number",
                f"calibration wants {LEAST} images or more and a seed of 0 or more, got "
                f"{self.images} and {self.seed}.",
            )
        available = SETS["calibration"][1] if self.data is None else len(_files(self.data))
        if available < self.images:
            where = "the shipped set" if self.data is None else str(self.data)
            raise InputError(
                "calibration.too_few",
                f"{where} has {available} images, and {self.images} were requested.",
                f"Give more images, or a smaller --num-calib (at least {LEAST}).",
            )

    def shuffled(self) -> list[np.ndarray | Path]:
        """All images there are, the chosen ones first: arrays uint8 [h,w,3], or files."""
        images: list[np.ndarray | Path]
        if self.data is None:
            images = [pixels for pixels, _ in load_set("calibration")]
        else:
            images = [*_files(self.data)]
        order = np.random.default_rng(self.seed).permutation(len(images))
        return [images[i] for i in order]

    def model_inputs(self, size: int) -> np.ndarray:
        """The chosen images as model_inputs uint8 [N,S,S,3].

        Raises InputError, code image.*, for the first file that is no readable image.
        """
        self.check()
        spec = letterboxed(size)
        shown = progress(self.shuffled()[: self.images], "reading images")
        return np.stack([preprocess(image, spec)[0] for image in shown])


def _files(directory: Path) -> list[Path]:
    """The images that `walk` finds below the directory."""
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise InputError(
            "calibration.data", f"{directory} {what}; a directory of images is needed."
        )
    return [directory / name for name in walk(directory)]
