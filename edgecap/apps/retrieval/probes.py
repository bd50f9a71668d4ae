"""Checks that a model is the one that made an index, by its weights or by probe images.

An index stores the SHA-256 of its model's weights file, if known (older float bundles lack it). If
both are known, they are compared. Otherwise the embeddings of a few fixed probe images are
compared: they agree for the same weights in another format or precision.

Letters: K probe images, S side of the model input in px, E embedding width.
"""

from __future__ import annotations

import numpy as np

from edgecap.apps.retrieval.manifest import Maker
from edgecap.core.errors import BundleError
from edgecap.runtime.captioner import Captioner

# Int8 versions of the same weights agree to 0.9999, two stages of one training run to 0.99.
CLOSE = 0.998  # cosine
_GREY = 127
# Per probe, rectangles on grey: x0 y0 x1 y1 in sixteenths of the model input, and the colour.
_PROBES = (
    ((2, 3, 7, 8, (220, 40, 40)), (9, 9, 13, 13, (40, 70, 220))),
    ((5, 1, 10, 6, (250, 220, 60)), (1, 9, 6, 15, (20, 20, 20)), (10, 10, 14, 12, (40, 160, 70))),
    ((0, 0, 16, 16, (235, 235, 225)), (3, 5, 13, 11, (240, 140, 30))),
)


def images(size: int) -> np.ndarray:
    """The probe images, uint8 [K,S,S,3]; identical on every machine."""
    drawn = np.full((len(_PROBES), size, size, 3), _GREY, np.uint8)  # [K,S,S,3]
    for model_input, rectangles in zip(drawn, _PROBES, strict=True):
        for *edges, colour in rectangles:
            x0, y0, x1, y1 = (edge * size // 16 for edge in edges)
            model_input[y0:y1, x0:x1] = colour
    return drawn


def probe(captioner: Captioner) -> np.ndarray:
    """The embeddings of the probe images: f32 [K,E], norm 1."""
    return captioner.embed_images(list(images(captioner.manifest.image.input_size[0])))


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
    """Raise BundleError (index.other_model) unless `made_by` describes this model."""
    about = captioner.manifest
    hint = f"Pass --bundle {made_by.source}, or recreate the index with --overwrite."
    embedding = about.interface.dims["E"]
    if embedding != width:
        raise BundleError(
            "index.other_model",
            f"{about.name} makes vectors of {embedding} numbers; the index holds "
            f"{width}, made by {made_by.name}.",
            hint,
        )
    if captioner.weights is not None and made_by.weights is not None:
        if captioner.weights != made_by.weights:
            raise BundleError(
                "index.other_model",
                f"the index was made by other weights ({made_by.name}, SHA-256 "
                f"{made_by.weights[:12]}…) than those of {about.name}.",
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
            f"the index was made by other weights ({made_by.name}): embeddings of probe images by "
            f"{about.name} have a cosine of only {cosine:.4f} to them.",
            hint,
        )
