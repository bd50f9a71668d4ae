"""Image specifications of schema 2: noise to the model's input.

Letters: n crops, h, w size of the model's input in px.
"""

from __future__ import annotations

from typing import Any

from files import Topic, crc32, noise

from edgecap.bundle.image_spec import image_spec_from_json
from edgecap.runtime.image_processing import process

KEPT = 1024  # bytes of an output that is kept whole; of longer ones the CRC-32 alone

FITS: list[dict[str, Any]] = [
    {"size": [24, 24], "fit": "stretch"},
    {"size": [20, 28], "fit": "stretch", "crop": [17, 31]},
    {"size": [24, 18], "fit": "contain", "fill": 77},
    {"size": [20, 20], "fit": "cover", "crop": [20, 20]},
    {"size": [21, 21], "fit": "cover", "crop": [16, 19], "channels": "BGR"},
    {"size": [15, 15], "fit": "cover", "crop": [19, 24], "fill": 3},
    {"size": [30, 22], "fit": "thumbnail", "fill": 255},
    {"size": [32, 32], "fit": "longest_edge", "crops": {"side": 24, "split": False}},
    {"size": [20, 20], "fit": "longest_edge", "crops": {"side": 24, "split": True}},
    {"size": [40, 40], "fit": "longest_edge", "crops": {"side": 20, "split": True}},
    {
        "size": [33, 33],
        "fit": "longest_edge",
        "crops": {"side": 12, "split": True},
        "channels": "BGR",
    },
]
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
SIZES = [(1, 1), (24, 24), (61, 17), (13, 70), (40, 33), (7, 5)]


def image_specs() -> Topic:
    """Images of noise (alpha where `channels` is 4) to inputs, and where they lie in the last."""
    topic = Topic("image_specs", cases=(cases := []))
    for n, (w, h) in enumerate(SIZES):
        for m, fit in enumerate(FITS):
            spec = {**fit, "filter": FILTERS[(n + m) % len(FILTERS)]}
            channels = 4 if (n + m) % 4 == 3 else 3
            if channels == 4 and m % 2:
                spec["background"] = 100
            seed = 1000 + n * 50 + m
            done = process(noise(w, h, channels, seed), image_spec_from_json(spec))
            pixels = done.pixels  # [n,h,w,3]
            kept = topic.keep(pixels) if pixels.size <= KEPT else None
            crc = {"crc32": crc32(pixels)} if kept is None else kept
            p = done.placement
            place = [p.left, p.top, p.scaled_width, p.scaled_height]
            image = {"width": w, "height": h, "channels": channels, "seed": seed}
            grid = [*done.grid, len(pixels)]
            cases.append({"spec": spec, **image, "placement": place, "grid": grid, **crc})
    return topic
