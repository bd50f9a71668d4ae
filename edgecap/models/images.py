"""From the bytes of an image to the numbers a model sees: one multiplication and one addition.

transformers rescales by a factor, subtracts a mean and divides by a deviation; folded into the
graph, an app hands over bytes. What comes before (size, fit, filter, crop) is a host's work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecap.core.errors import UnsupportedError


@dataclass(frozen=True)
class Scaling:
    """pixel = byte * scale + offset, by channel R, G, B; and the size the model takes, in px."""

    height: int
    width: int
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]


def scaling_of(processor: Any, height: int, width: int) -> Scaling:
    """The scaling of an image processor of transformers, for a model that takes height x width.

    Raises UnsupportedError where the processor makes another size or no colours.
    """
    cropped = getattr(processor, "do_center_crop", False)
    size = processor.crop_size if cropped else processor.size
    made = (size.get("height"), size.get("width"))
    if None not in made and made != (height, width):
        raise UnsupportedError(
            "model.image_size",
            f"the image processor makes {made[0]}x{made[1]} px, and the model takes "
            f"{height}x{width}.",
        )
    factor = float(processor.rescale_factor) if processor.do_rescale else 1.0
    mean, deviation = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if processor.do_normalize:
        mean, deviation = tuple(processor.image_mean), tuple(processor.image_std)
    if len(mean) != 3 or len(deviation) != 3:
        raise UnsupportedError(
            "model.channels", f"the image processor has {len(mean)} channels; 3 are supported."
        )
    r, g, b = ((factor / d, -m / d) for m, d in zip(mean, deviation, strict=True))
    return Scaling(height, width, (r[0], g[0], b[0]), (r[1], g[1], b[1]))
