"""How alike captions are in the browser and in Python, and across engines, on the same bundles.

    python tests/embed_js/agreement.py BUNDLE... [--scenes N]

Captions N scenes of the shipped evaluation and examples/captioned.png in Chromium, by
onnxruntime-web or LiteRT.js, and in Python, after comparing the decoded pixels.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "support"))
FIGURE = REPO / "examples" / "captioned.png"


class Told(NamedTuple):
    """What one engine says of one image."""

    tokens: tuple[int, ...]
    text: str
    confidence: float
    declined: bool


def main() -> None:
    from built_page import build, in_browser, served

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--scenes", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        site = build(Path(temporary) / "site", arguments.bundles)
        files = _images(site, arguments.scenes)
        names = [bundle.resolve().name for bundle in arguments.bundles]
        with served(site) as address:
            seen = in_browser(address, files, names)
        for file in files:
            with Image.open(site / file) as image:
                same = crc32(np.asarray(image.convert("RGBA"))) == seen["pixels"][file]["crc32"]
            assert same, f"{file} has other pixels in the browser"
        told: dict[str, list[Told]] = {}
        for name, bundle in zip(names, arguments.bundles, strict=True):
            told[f"{name}, browser"] = [_from_page(one) for one in seen["captions"][name]]
            told[f"{name}, Python"] = _in_python(bundle, [site / file for file in files])
    print(f"{len(files)} images, all with the same pixels; {FIGURE.name} is the last\n")
    for name, answers in told.items():
        last = answers[-1]
        declined = sum(one.declined for one in answers[:-1])
        print(f"{name}: {declined} of {len(files) - 1} scenes declined")
        print(f"  {FIGURE.name}: {last.confidence:.2f}{', declined' if last.declined else ''}")
    for (a, first), (b, second) in combinations(told.items(), 2):
        pairs = list(zip(first[:-1], second[:-1], strict=True))
        same = sum(one.tokens == other.tokens for one, other in pairs)
        words = sum(one.text == other.text for one, other in pairs)
        apart = max(abs(one.confidence - other.confidence) for one, other in pairs)
        print(f"\n{a}\n{b}")
        print(f"  same tokens {same}, same words {words} of {len(pairs)}; confidences {apart:.3f}")


def _images(site: Path, scenes: int) -> list[str]:
    """Names of the scenes and of the figure, written into the page."""
    from edgecap.reference.scenes.shipped import load_set

    names = []
    for number, (pixels, _) in enumerate(load_set("evaluation", scenes)):  # uint8 [224,224,3]
        names.append(f"agreement-{number:03d}.png")
        Image.fromarray(pixels).save(site / names[-1])
    shutil.copy(FIGURE, site / FIGURE.name)
    return [*names, FIGURE.name]


def _from_page(one: dict[str, Any]) -> Told:
    assert one.get("message") is None, one
    return Told(tuple(one["tokens"]), one["text"], one["confidence"], one["declined"])


def _in_python(bundle: Path, images: list[Path]) -> list[Told]:
    from edgecap.runtime import load

    captions = load(bundle, min_confidence="auto").caption(images)
    return [Told(c.tokens, c.text, c.confidence or 0.0, c.declined) for c in captions]


if __name__ == "__main__":
    main()
