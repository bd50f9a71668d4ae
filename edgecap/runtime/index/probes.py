"""Is this the model that made the index? Asked of what it does, not of what it is called.

An index keeps where its model put a few fixed pictures. A model that puts them in the same place
may search it: the same weights in another format or precision do, other weights do not.

Letters: K probe pictures, S canvas side in px, E embedding width.
"""

from __future__ import annotations

import numpy as np

from edgecap.core.errors import BundleError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.index.manifest import Maker

# The int8 form of the same weights agrees to 0.9999; shipped weights and random ones to 0.2.
CLOSE = 0.97  # cosine
_GREY = 127
# Per probe the rectangles drawn on grey: x0 y0 x1 y1 in sixteenths of the canvas, and the colour.
_PROBES = (
    ((2, 3, 7, 8, (220, 40, 40)), (9, 9, 13, 13, (40, 70, 220))),
    ((5, 1, 10, 6, (250, 220, 60)), (1, 9, 6, 15, (20, 20, 20)), (10, 10, 14, 12, (40, 160, 70))),
    ((0, 0, 16, 16, (235, 235, 225)), (3, 5, 13, 11, (240, 140, 30))),
)


def pictures(size: int) -> np.ndarray:
    """The probe pictures, uint8 [K,S,S,3]; the same everywhere and always."""
    drawn = np.full((len(_PROBES), size, size, 3), _GREY, np.uint8)  # [K,S,S,3]
    for canvas, rectangles in zip(drawn, _PROBES, strict=True):
        for *edges, colour in rectangles:
            x0, y0, x1, y1 = (edge * size // 16 for edge in edges)
            canvas[y0:y1, x0:x1] = colour
    return drawn


def probe(captioner: Captioner) -> np.ndarray:
    """Where a model puts the probe pictures: f32 [K,E], norm 1."""
    return captioner.embed_images(list(pictures(captioner.manifest.preprocessing.size)))


def maker(captioner: Captioner, source: str) -> Maker:
    """The entry of a model in an index's manifest."""
    about = captioner.manifest
    rows = probe(captioner).round(5).tolist()
    return Maker(about.name, source, about.format, about.precision, tuple(map(tuple, rows)))


def check(captioner: Captioner, made_by: Maker, width: int) -> None:
    """Raise BundleError (index.other_model) unless the probes lie where `made_by` says."""
    about = captioner.manifest
    hint = f"Pass --bundle {made_by.source}, or make an index with this model in another place."
    if about.contract.embedding != width:
        raise BundleError(
            "index.other_model",
            f"{about.name} makes vectors of {about.contract.embedding} numbers; the index holds "
            f"{width}, made by {made_by.name}.",
            hint,
        )
    kept = np.array(made_by.probes, np.float32)  # [K,E]
    now = probe(captioner)  # [K,E]
    if len(kept) != len(now):
        raise BundleError("index.manifest", f"index.json: {len(now)} probes are needed.")
    cosine = float(np.einsum("ke,ke->k", kept, now).min())
    if not cosine >= CLOSE:
        raise BundleError(
            "index.other_model",
            f"the index was made by other weights ({made_by.name}): on pictures that both know, "
            f"{about.name} agrees with them to a cosine of {cosine:.2f} only.",
            hint,
        )
