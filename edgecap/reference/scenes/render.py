"""Render a drawing to pixels."""

from __future__ import annotations

import numpy as np

from edgecap.reference.scenes.backgrounds import background, noise
from edgecap.reference.scenes.sample import Drawing
from edgecap.reference.scenes.sprites import sprite


def render(drawing: Drawing) -> np.ndarray:
    """uint8 [size, size, 3], RGB; deterministic in the drawing."""
    image = background(drawing.background, drawing.size, drawing.background_seed)
    for thing in drawing.things:
        glyph = sprite(thing.name.noun, thing.angle, thing.width, thing.height)
        if thing.name.color:
            image.paste(thing.rgb, (thing.x, thing.y), glyph)
        else:
            image.paste(glyph, (thing.x, thing.y), glyph)
    flat = np.frombuffer(image.tobytes(), np.uint8)  # read-only; the sum below is the copy
    pixels = flat.reshape(drawing.size, drawing.size, 3)
    return pixels + noise(drawing.noise, drawing.size, *drawing.noise_at)
