"""Make the vectors that every language of the runtime replays: `python conformance/make.py`.

What is written lies in `conformance/vectors/`; README.md beside this file explains them. The
Python package is the reference: a vector is what it does today. No model is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import containers
import generation2
import images
import images2
import manifests
import manifests2
import regions
import regions2
import rules
import search
import texts
import texts2

VECTORS = Path(__file__).parent / "vectors"
TOPICS = (
    images.resizing,
    images.letterboxes,
    images.pixels,
    texts.normal,
    texts.words,
    texts.refused,
    rules.grammars,
    rules.sampler,
    search.searching,
    regions.regions,
    manifests.manifests,
    containers.containers,
    images2.image_specs,
    texts2.codecs,
    generation2.logits_rules,
    generation2.beams,
    regions2.regions2,
    manifests2.manifests2,
    manifests2.manifests_cached,
    manifests2.manifests_crops,
)


def everything() -> dict[str, bytes]:
    """File name -> content of all vectors."""
    made = {texts.TOKENIZER: texts.tokenizer_bytes()}
    for topic in TOPICS:
        made |= topic().files()
    return made


def main() -> None:
    VECTORS.mkdir(exist_ok=True)
    made = everything()
    for file in VECTORS.iterdir():
        if file.name not in made:
            file.unlink()
    for name, data in made.items():
        (VECTORS / name).write_bytes(data)
    print(f"{len(made)} files, {sum(map(len, made.values())):,} bytes in {VECTORS.name}/")


if __name__ == "__main__":
    sys.exit(main())
