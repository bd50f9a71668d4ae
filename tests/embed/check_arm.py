"""`make check-arm`: captions of the C command line on emulated ARM boards against Python's here.

    python tests/embed/check_arm.py BUNDLE...

Every golden image of a bundle is captioned, each in another language. Same words and boxes within
one bin are required: engines of two processors round differently. Exact equality is counted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import boards

from edgecap.runtime import load

LANGUAGES = ("en", "de", "zh", "es")


def check(bundle: Path) -> bool:
    """Caption on every board and print one line each; false where a caption differs."""
    python = load(bundle)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    bin_px = python.manifest.regions.bin_px
    images = sorted((bundle / "golden").glob("image_*.png"))
    cases = []
    for n, path in enumerate(images):
        image = np.asarray(Image.open(path).convert("RGB"))  # [h,w,3]
        lang = LANGUAGES[n % len(LANGUAGES)]
        (expected,) = python.caption(image, lang=lang)
        cases.append((path.stem, image, lang, expected))
    good = True
    narrow = [boards.NARROW] if manifest["format"] == "tflite" else []
    for board in [*boards.BOARDS.values(), *narrow]:
        program = boards.command_line(board)
        exact = near = 0
        for name, image, lang, expected in cases:
            said = boards.caption(board, program, bundle, image, "--lang", lang)
            exact += said["tokens"] == list(expected.tokens)
            same = boards.agrees(said, expected, bin_px)
            near += same
            if not same:
                print(f"  {name} {lang}: {said['raw']}\n  expected: {expected.raw}")
        print(
            f"{bundle.name} on {board.cpu} ({board.known_as}): {near}/{len(cases)} captions agree,"
            f" {exact} token for token",
            flush=True,
        )
        good &= near == len(cases)
    return good


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    if not given:
        sys.exit("usage: check_arm.py BUNDLE...")
    sys.exit(0 if all([check(bundle) for bundle in given]) else 1)
