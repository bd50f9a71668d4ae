"""Scenes as a directory for other tools: PNG images, COCO annotations, captions.

OUT/images/000000.png
OUT/annotations.json   COCO: images, annotations (bbox is x, y, width, height in px), categories
OUT/captions.jsonl     one line per image and language: image, lang, text, grounded
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgecap.core.atomic import atomic_dir
from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.reference.scenes.describe import statement
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import COLORS, SHAPES, Name, Scene
from edgecap.reference.scenes.nouns import NOUNS
from edgecap.reference.scenes.splits import generator, scenes, split
from edgecap.reference.tokens import LANGUAGES

ANNOTATIONS = "annotations.json"
# COCO category ids count from 1: every noun, then every colour of every shape.
CATEGORIES: dict[Name, int] = {
    name: i
    for i, name in enumerate(
        [Name(noun) for noun in NOUNS]
        + [Name(shape, color) for shape in SHAPES for color in COLORS],
        start=1,
    )
}


def write_dataset(
    out: str | Path,
    n: int,
    seed: int | None = None,
    split: str = "train",
    overwrite: bool = False,
    languages: Sequence[str] = LANGUAGES,
) -> None:
    """Write the first n scenes of a split to the directory `out`, atomically.

    `seed` 0 or None gives the split's standard scenes. Raises InputError for an unknown split or
    language, for n < 1 or a negative seed, and where `out` exists and `overwrite` is False.
    """
    for language in languages:
        for_language(language)
    seed = seed or 0
    if n < 1 or seed < 0:
        raise InputError("scenes.number", f"n is {n}, seed {seed}; at least 1 and 0 are needed.")
    drawn = scenes(split, n, seed)
    with atomic_dir(out, overwrite, marker=ANNOTATIONS) as folder:
        (folder / "images").mkdir()
        truths = []
        with (folder / "captions.jsonl").open("w", encoding="utf-8") as captions:
            for i, (pixels, scene) in enumerate(progress(drawn, "Scenes", n)):
                image = f"images/{i:06d}.png"
                Image.fromarray(pixels).save(folder / image)
                truths.append((image, scene))
                for row in caption_rows(image, scene, split, i, seed, languages):
                    captions.write(json.dumps(row, ensure_ascii=False) + "\n")
        text = json.dumps(coco(truths), ensure_ascii=False)
        (folder / ANNOTATIONS).write_text(text, encoding="utf-8")


def caption_rows(
    image: str,
    scene: Scene,
    split_name: str,
    index: int,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
) -> Iterator[dict[str, str]]:
    """One caption per language, all of the same statement; phrasings differ by language."""
    # The scene's random stream, jumped ahead past every number that drawing the scene used.
    rng = np.random.Generator(generator(split_name, index, seed).bit_generator.jumped())  # type: ignore[attr-defined]
    described = statement(scene, rng, "grounded")
    held_out = split(split_name).held_out_phrasing
    for language in languages:
        grammar = for_language(language)
        template = (
            grammar.held_out_templates[0] if held_out else int(rng.integers(grammar.templates))
        )
        yield {
            "image": image,
            "lang": language,
            "text": grammar.render(described, template),
            "grounded": grammar.render(described, template, grounded=True),
        }


def coco(truths: list[tuple[str, Scene]]) -> dict[str, Any]:
    """Images and their scenes as one COCO detection document."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (image, scene) in enumerate(truths, start=1):
        images.append(
            {"id": image_id, "file_name": image, "width": scene.size, "height": scene.size}
        )
        for thing in scene.things:
            x0, y0, x1, y1 = thing.box
            width, height = x1 - x0, y1 - y0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORIES[thing.name],
                    "bbox": [x0, y0, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    categories = [
        {
            "id": id_,
            "name": f"{name.color} {name.noun}".strip().replace("_", " "),
            "supercategory": "shape" if name.color else "object",
        }
        for name, id_ in CATEGORIES.items()
    ]
    return {"images": images, "annotations": annotations, "categories": categories}
