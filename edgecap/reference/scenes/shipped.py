"""The sets of scenes shipped with the package; using them needs no font.

A set is a zip archive of lossless WebP images and `truth.jsonl`, one scene a line:
`{"image": "000.webp", "size": 224, "things": [{"noun": …, "color": …, "box": [x0, y0, x1, y1]}]}`.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgecap.core.errors import InputError
from edgecap.reference.scenes.graph import Name, Scene, Thing

# Name of a set -> split and number of its scenes; written by
# `python -m edgecap.reference.scenes.shipped [NAME…]`. The evaluation set is for reported
# figures only; decisions (a gate, a comparison, the cost of fine-tuning) use the gate's set.
SETS: dict[str, tuple[str, int]] = {
    "calibration": ("calibration", 128),
    "evaluation": ("test", 512),
    "gate": ("gate", 128),
}
_TRUTH = "truth.jsonl"
_DATA = Path(__file__).resolve().parents[1] / "data"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that the bytes do not depend on the time


def load_set(name: str, limit: int | None = None) -> list[tuple[np.ndarray, Scene]]:
    """The images, uint8 [224, 224, 3], and scenes of a shipped set; the first `limit` of them.

    Raises InputError for an unknown name and for a file that is missing or damaged.
    """
    if name not in SETS:
        raise InputError(
            "scenes.set", f"There is no shipped set {name!r}.", f"Sets: {', '.join(SETS)}."
        )
    return read_set(_DATA / f"{name}.zip", limit)


def read_set(path: Path, limit: int | None = None) -> list[tuple[np.ndarray, Scene]]:
    """The images and scenes of a file that `write_set` wrote."""
    try:
        with zipfile.ZipFile(path) as archive:
            lines = archive.read(_TRUTH).decode("utf-8").splitlines()[:limit]
            rows = [json.loads(line) for line in lines]
            return [(_pixels(archive.read(row["image"])), scene_from_json(row)) for row in rows]
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise InputError(
            "scenes.set.damaged",
            f"{path.name} is missing or damaged: {error}.",
            "Run in a checkout, which has all sets, or install edgecap again.",
        ) from error


def write_set(path: Path, scenes: Iterable[tuple[np.ndarray, Scene]]) -> None:
    """Write images and scenes as one file, the same bytes for the same scenes."""
    lines = []
    with zipfile.ZipFile(path, "w") as archive:
        for i, (pixels, scene) in enumerate(scenes):
            image = f"{i:03d}.webp"
            lines.append(json.dumps({"image": image, **scene_to_json(scene)}))
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, "WEBP", lossless=True, quality=75, method=6)
            archive.writestr(zipfile.ZipInfo(image, _EPOCH), encoded.getvalue())
        archive.writestr(zipfile.ZipInfo(_TRUTH, _EPOCH), "\n".join(lines) + "\n")


def scene_to_json(scene: Scene) -> dict[str, Any]:
    """A scene as JSON values; boxes in px."""
    things = [
        {"noun": thing.name.noun, "color": thing.name.color, "box": list(thing.box)}
        for thing in scene.things
    ]
    return {"size": scene.size, "things": things}


def scene_from_json(row: dict[str, Any]) -> Scene:
    """The inverse of `scene_to_json`; KeyError or ValueError where something is missing."""
    things = []
    for thing in row["things"]:
        x0, y0, x1, y1 = (float(edge) for edge in thing["box"])
        things.append(Thing(Name(thing["noun"], thing["color"]), (x0, y0, x1, y1)))
    return Scene(tuple(things), int(row["size"]))


def _pixels(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def _write(names: Sequence[str]) -> None:
    from edgecap.reference.scenes.splits import scenes

    for name in names or SETS:
        split, n = SETS[name]
        write_set(_DATA / f"{name}.zip", scenes(split, n))


if __name__ == "__main__":
    _write(sys.argv[1:])
