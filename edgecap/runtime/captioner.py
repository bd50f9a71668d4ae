"""From pictures to captions, embeddings and attention maps, on any backend.

A Captioner may be used from several threads: calls keep their state to themselves, and sessions
take turns where their engine needs it.

Letters as in session.py; N pictures or texts of a call, G patches along one side of the canvas.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from edgecap.bundle.manifest import Manifest
from edgecap.core.errors import InputError
from edgecap.runtime.cache import Cache, buffer
from edgecap.runtime.decode import Generated, Limits, beam_search, greedy, repeat, walk
from edgecap.runtime.mentions import read
from edgecap.runtime.preprocess import Box, Picture, Placement, prepare
from edgecap.runtime.session import ImageCode, Session
from edgecap.runtime.tokenizer import Tokenizer
from edgecap.runtime.vocabulary import Vocabulary
from edgecap.runtime.words import WordMap, word_maps

BATCH = 8  # pictures per call of the engine; more gains little on a CPU and costs memory


@dataclass(frozen=True)
class Mention:
    """A phrase of a caption and where the picture shows it."""

    phrase: str
    span: tuple[int, int]  # of the phrase in the caption's text
    boxes: tuple[Box, ...]  # x0, y0, x1, y1 in px of the given picture, upright as EXIF says
    scores: tuple[float, ...]  # 0-1 per box: geometric mean probability of its four tokens


@dataclass(frozen=True)
class Caption:
    """What the model said about one picture."""

    text: str  # words only
    raw: str  # with the location tokens
    lang: str
    style: str
    mentions: tuple[Mention, ...]
    tokens: tuple[int, ...]  # without <eos>
    scores: tuple[float, ...]  # log-probability per token
    score: float  # mean log-probability, the end included
    complete: bool  # False where the length limit cut it
    malformed: int  # location runs that made no box; always 0 under the rule


@dataclass(frozen=True)
class Attention:
    """A caption and what each of its words looked at."""

    caption: Caption
    words: tuple[WordMap, ...]
    placement: Placement  # of the picture on the canvas that the maps cover


class Captioner:
    """A model, its tokenizer and its constants. Made by `edgecap.runtime.load`."""

    def __init__(
        self, session: Session, manifest: Manifest, tokenizer: Tokenizer, backend: str
    ) -> None:
        self.session, self.manifest, self.backend = session, manifest, backend
        self.tokenizer = tokenizer
        self.vocabulary = Vocabulary(manifest, tokenizer)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages this model captions in."""
        return self.manifest.languages

    def caption(
        self,
        images: Sequence[Picture] | Picture,
        lang: str = "en",
        grounded: bool = True,
        style: str | None = None,
        beams: int = 1,
        max_length: int | None = None,
        rule: bool = True,
    ) -> list[Caption]:
        """Caption pictures.

        Args:
            images: pictures (paths, bytes, Pillow images, arrays), or a single one.
            lang: one of `languages`.
            grounded: say where things are; without it no box is written.
            style: one of the manifest's styles; by default "grounded" or "plain".
            beams: 1 decodes greedily, more by beam search.
            max_length: tokens at most, the end included; by default all that the model can.
            rule: allow only well-formed boxes (see grammar.py). Without it the model is unhelped.

        Returns:
            One caption per picture, in order.

        Raises:
            InputError for a picture, language, style or number that cannot be used.
        """
        style = style or ("grounded" if grounded else "plain")
        prompt = self.vocabulary.prompt(lang, style)
        limits = self.vocabulary.limits(max_length, boxes=grounded, ruled=rule)
        if not 1 <= beams <= 32:
            raise InputError("caption.beams", f"beams must be in 1 … 32, got {beams}.")
        captions: list[Caption] = []
        for canvases, placements in self._batches(images):
            code = self.session.encode_image(canvases)
            said = self._decode(code, prompt, limits, beams)
            captions += [
                self._caption(generated, placement, lang, style)
                for generated, placement in zip(said, placements, strict=True)
            ]
        return captions

    def stream(
        self,
        image: Picture,
        lang: str = "en",
        grounded: bool = False,
        style: str | None = None,
        max_length: int | None = None,
    ) -> Iterator[str]:
        """Yield the greedy caption of one picture piece by piece, as soon as text is certain.

        The pieces joined are `Caption.raw`. A piece is one token's text; several byte tokens that
        make one character come as one piece.
        """
        style = style or ("grounded" if grounded else "plain")
        prompt = self.vocabulary.prompt(lang, style)
        limits = self.vocabulary.limits(max_length, boxes=grounded, ruled=True)
        canvas, _ = prepare(image, self.manifest.preprocessing)
        code = self.session.encode_image(canvas[None])
        return self._pieces(code, prompt, limits)

    def attention(
        self,
        image: Picture,
        lang: str = "en",
        grounded: bool = True,
        style: str | None = None,
        max_length: int | None = None,
    ) -> Attention:
        """Caption one picture greedily and map, per word, what the model looked at.

        Maps show attention, not explanation: mean over layers and heads, of the steps that chose
        the word's tokens.
        """
        style = style or ("grounded" if grounded else "plain")
        prompt = self.vocabulary.prompt(lang, style)
        limits = self.vocabulary.limits(max_length, boxes=grounded, ruled=True)
        canvas, placement = prepare(image, self.manifest.preprocessing)
        code = self.session.encode_image(canvas[None])
        generated = self._decode(code, prompt, limits, beams=1)[0]
        return Attention(
            self._caption(generated, placement, lang, style),
            word_maps(generated.chosen, self.tokenizer, self.vocabulary.rule),
            placement,
        )

    def embed_images(self, images: Sequence[Picture] | Picture) -> np.ndarray:
        """Pictures in the shared space: f32 [N,E] of norm 1. The dot product ranks."""
        parts = [
            self.session.encode_image(canvases).embedding for canvases, _ in self._batches(images)
        ]
        return np.concatenate([np.zeros((0, self.manifest.contract.embedding), np.float32), *parts])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts in the shared space: f32 [N,E] of norm 1.

        Raises InputError for an empty text or one over the limit, which it states.
        """
        tokens, length = self.vocabulary.frame(texts)
        parts = [
            self.session.encode_text(tokens[i : i + BATCH], length[i : i + BATCH])
            for i in range(0, len(length), BATCH)
        ]
        return np.concatenate([np.zeros((0, self.manifest.contract.embedding), np.float32), *parts])

    def cache(self, canvases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """k, v [L,B,H,Tmax,Dh] of canvases uint8 [B,S,S,3], text rows empty: to drive a session."""
        code = self.session.encode_image(canvases)
        text_length = self.manifest.contract.text_length
        return buffer(code.k, text_length), buffer(code.v, text_length)

    def _batches(
        self, images: Sequence[Picture] | Picture
    ) -> Iterator[tuple[np.ndarray, list[Placement]]]:
        """Canvases uint8 [b,S,S,3] and their placements, at most BATCH at a time."""
        pictures = _as_list(images)
        for start in range(0, len(pictures), BATCH):
            batch = pictures[start : start + BATCH]
            prepared = [prepare(picture, self.manifest.preprocessing) for picture in batch]
            yield np.stack([canvas for canvas, _ in prepared]), [place for _, place in prepared]

    def _decode(
        self, code: ImageCode, prompt: list[int], limits: Limits, beams: int
    ) -> list[Generated]:
        text_length = self.manifest.contract.text_length
        if beams == 1:
            return greedy(Cache(self.session, code, text_length), prompt, limits)
        results = []
        for b in range(code.k.shape[1]):
            one = ImageCode(code.k[:, b : b + 1], code.v[:, b : b + 1], code.embedding[b : b + 1])
            cache = Cache(self.session, repeat(one, beams), text_length)
            results.append(beam_search(cache, prompt, limits))
        return results

    def _pieces(self, code: ImageCode, prompt: list[int], limits: Limits) -> Iterator[str]:
        cache = Cache(self.session, code, self.manifest.contract.text_length)
        tokens: list[int] = []
        shown = 0
        for choices in walk(cache, prompt, limits):
            token = choices[0][1].token
            if token == limits.eos:
                break
            tokens.append(token)
            text = self.tokenizer.decode(tokens)
            if not self.tokenizer.is_byte(token) and len(text) > shown:
                yield text[shown:]
                shown = len(text)
        rest = self.tokenizer.decode(tokens)[shown:]
        if rest:
            yield rest

    def _caption(
        self, generated: Generated, placement: Placement, lang: str, style: str
    ) -> Caption:
        tokens = generated.tokens
        scores = [chosen.score for chosen in generated.chosen]
        bin_px = self.manifest.coordinates.bin_px
        reading = read(tokens, scores, self.tokenizer, self.vocabulary.rule, bin_px, lang)
        mentions = tuple(
            Mention(
                reading.text[group.start : group.end],
                (group.start, group.end),
                tuple(placement.to_picture(box) for box in group.boxes),
                group.scores,
            )
            for group in reading.groups
        )
        return Caption(
            text=reading.text,
            raw=self.tokenizer.decode(tokens),
            lang=lang,
            style=style,
            mentions=mentions,
            tokens=tuple(tokens),
            scores=tuple(scores),
            score=generated.score,
            complete=generated.complete,
            malformed=reading.malformed,
        )


def _as_list(images: Any) -> list[Any]:
    if isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)) or (
        isinstance(images, np.ndarray) and images.ndim < 4
    ):
        return [images]
    return list(images)
