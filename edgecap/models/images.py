"""From the bytes of an image to the numbers a model sees: one multiplication and one addition.

transformers rescales by a factor, subtracts a mean and divides by a deviation; folded into the
graph, an app hands over bytes. What comes before (size, fit, filter, crop) is a host's work.
"""

from __future__ import annotations

from dataclasses import dataclass

Channels = tuple[float, float, float]  # R, G, B


@dataclass(frozen=True)
class PixelScaling:
    """From the uint8 pixels of an ImageSpec to what the model was trained on, inside the graph."""

    scale: float
    mean: Channels  # after scaling
    std: Channels  # value = (pixel * scale - mean) / std

    @property
    def factor(self) -> Channels:
        """value = pixel * factor + offset."""
        r, g, b = (self.scale / s for s in self.std)
        return r, g, b

    @property
    def offset(self) -> Channels:
        """See `factor`."""
        r, g, b = (-m / s for m, s in zip(self.mean, self.std, strict=True))
        return r, g, b
