"""Is this the model that made the index? Asked of its weights, else of what it does.

An index keeps which weights file its model came from, if that was known: PyTorch and bundles know
it, but for older float bundles. Where both sides do, that decides. Elsewhere it is where the model
puts a few fixed images: the same weights in another format or precision put them in the same
place.

Letters: K probe images, S model_input side in px, E embedding width.
"""

from __future__ import annotations

import numpy as np

from edgecap.apps.retrieval.manifest import Maker
from edgecap.core.errors import BundleError
from edgecap.runtime.captioner import Captioner

# Int8 forms of the same weights agree to 0.9999, two stages of one training to 0.99.
CLOSE = 0.998  # cosine
_GREY = 127
# Per probe the rectangles drawn on grey: x0 y0 x1 y1 in sixteenths of the model_input, and the
# colour.
_PROBES = (
    ((2, 3, 7, 8, (220, 40, 40)), (9, 9, 13, 13, (40, 70, 220))),
    ((5, 1, 10, 6, (250, 220, 60)), (1, 9, 6, 15, (20, 20, 20)), (10, 10, 14, 12, (40, 160, 70))),
    ((0, 0, 16, 16, (235, 235, 225)), (3, 5, 13, 11, (240, 140, 30))),
)


def images(size: int) -> np.ndarray:
    """The probe images, uint8 [K,S,S,3]; the same everywhere and always."""
    drawn = np.full((len(_PROBES), size, size, 3), _GREY, np.uint8)  # [K,S,S,3]
    for model_input, rectangles in zip(drawn, _PROBES, strict=True):
        for *edges, colour in rectangles:
            x0, y0, x1, y1 = (edge * size // 16 for edge in edges)
            model_input[y0:y1, x0:x1] = colour
    return drawn


def probe(captioner: Captioner) -> np.ndarray:
    """Where a model puts the probe images: f32 [K,E], norm 1."""
    return captioner.embed_images(list(images(captioner.manifest.preprocessing.size)))


def maker(captioner: Captioner, source: str) -> Maker:
    """The entry of a model in an index's manifest."""
    about = captioner.manifest
    rows = probe(captioner).round(5).tolist()
    return Maker(
        about.name,
        source,
        about.format,
        about.precision,
        tuple(map(tuple, rows)),
        captioner.weights,
    )


def check(captioner: Captioner, made_by: Maker, width: int) -> None:
    """Raise BundleError (index.other_model) unless `made_by` says that it was this model."""
    about = captioner.manifest
    hint = f"Pass --bundle {made_by.source}, or make the index anew with --overwrite."
    if about.contract.embedding != width:
        raise BundleError(
            "index.other_model",
            f"{about.name} makes vectors of {about.contract.embedding} numbers; the index holds "
            f"{width}, made by {made_by.name}.",
            hint,
        )
    if captioner.weights is not None and made_by.weights is not None:
        if captioner.weights != made_by.weights:
            raise BundleError(
                "index.other_model",
                f"the index was made by other weights ({made_by.name}, SHA-256 "
                f"{made_by.weights[:12]}…) than {about.name}'s.",
                hint,
            )
        return
    kept = np.array(made_by.probes, np.float32)  # [K,E]
    now = probe(captioner)  # [K,E]
    if len(kept) != len(now):
        raise BundleError("index.manifest", f"index.json: {len(now)} probes are needed.")
    cosine = float(np.einsum("ke,ke->k", kept, now).min())
    if not cosine >= CLOSE:
        raise BundleError(
            "index.other_model",
            f"the index was made by other weights ({made_by.name}): on images that both know, "
            f"{about.name} agrees with them to a cosine of {cosine:.4f} only.",
            hint,
        )
