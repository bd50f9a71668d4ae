"""Captioners that know the answers, or see nothing: what metrics must tell apart.

An image is a model_input whose first pixel holds the number of its scene.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.reference.scenes.describe import statement
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Name, Scene, Thing
from edgecap.reference.tokens import LANGUAGES

WIDTH = 4096  # E: wide enough that two random directions are nearly at right angles


@dataclass(frozen=True)
class CaptionDataset:
    raw: str
    complete: bool = True

    @property
    def text(self) -> str:
        return self.raw

    @property
    def tokens(self) -> tuple[int, ...]:
        """Its length in tokens, whatever they are."""
        return (0,) * len(self.raw.split())


def gallery() -> list[tuple[np.ndarray, Scene]]:
    """Sixteen scenes, no two with the same things."""
    dog, cat, car, owl = (Name(noun) for noun in ("dog", "cat", "car", "owl"))
    red, blue = Name("circle", "red"), Name("square", "blue")
    groups = [
        [dog],
        [dog, cat],
        [red, blue],
        [red, dog, blue],
        [cat, cat, red],
        [owl, owl, owl],
        [car, owl],
        [car, car, dog, red],
        [blue],
        [blue, blue, red],
        [owl, red],
        [cat, car, owl, dog],
        [red, red, red, red, red],
        [owl, blue, red],
        [car],
        [cat, dog, dog],
    ]
    return [
        (image(i), Scene(tuple(Thing(name, _box(k)) for k, name in enumerate(names))))
        for i, names in enumerate(groups)
    ]


def image(number: int) -> np.ndarray:
    model_input = np.zeros((224, 224, 3), np.uint8)
    model_input[0, 0] = number
    return model_input


def _box(k: int) -> tuple[float, float, float, float]:
    """Growing squares in a row, so that every pair has a clear order and size."""
    left, side = 4.0 + 44 * k, 20.0 + 4 * k
    return left, 60.0, left + side, 60.0 + side


class Perfect:
    """Says everything as it is, in the words of the grammar, and embeds a text where it is true."""

    backend = "scripted"

    def __init__(self, scenes: Sequence[tuple[np.ndarray, Scene]]) -> None:
        self.scenes = [scene for _, scene in scenes]

    def caption(self, images: Sequence[np.ndarray], lang: str) -> list[CaptionDataset]:
        return [CaptionDataset(self.say(int(image[0, 0, 0]), lang)) for image in images]

    def say(self, number: int, lang: str) -> str:
        if number >= len(self.scenes):  # a grey image shows nothing
            return ""
        said = statement(self.scenes[number], np.random.default_rng(0), "grounded")
        return for_language(lang).render(said, 1, grounded=True)

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self.plain(int(image[0, 0, 0]), "en") for image in images])  # [N,E]

    def plain(self, number: int, lang: str) -> np.ndarray:
        said = statement(self.scenes[number], np.random.default_rng(number), "plain")
        return direction(for_language(lang).render(said))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        known = {
            for_language(lang).render(
                statement(scene, np.random.default_rng(i), "plain"), template
            ): self.plain(i, "en")
            for lang in LANGUAGES
            for template in (0, for_language(lang).held_out_templates[0])
            for i, scene in enumerate(self.scenes)
        }
        return np.stack([known.get(text, direction(text)) for text in texts])  # [Q,E]


class Blind(Perfect):
    """Says the same of every image, and embeds all images and texts alike."""

    def say(self, number: int, lang: str) -> str:
        return super().say(6, lang)

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([direction("") for _ in images])

    embed_texts = embed_images  # type: ignore[assignment]


def direction(text: str) -> np.ndarray:
    """A vector of norm 1 that stands for the text, float [E]."""
    vector = np.random.default_rng(zlib.crc32(text.encode())).normal(size=WIDTH)
    return vector / np.linalg.norm(vector)
