"""From images to captions, embeddings and attention maps, on any backend.

A Captioner may be used from several threads: calls keep their state to themselves, and sessions
take turns where their engine needs it.

Letters as in session.py; N images or texts of a call, G patches along one side of the model_input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from edgecap.bundle.manifest import Manifest
from edgecap.core.choices import pick
from edgecap.core.errors import BundleError, InputError, UnsupportedError
from edgecap.runtime.batches import BATCH, in_batches, in_batches_past_errors
from edgecap.runtime.cache import Cache, buffer
from edgecap.runtime.captions import Attention, Caption, read_caption
from edgecap.runtime.decode import (
    Choose,
    Generated,
    Limits,
    beam_search,
    generate,
    most_probable,
    repeat,
    walk,
)
from edgecap.runtime.image_files import is_image
from edgecap.runtime.memory import free_bytes, images_that_fit
from edgecap.runtime.per_head import PerHeadAttention, selection
from edgecap.runtime.preprocess import ImageLike, Letterbox, preprocess
from edgecap.runtime.sampling import Sampler, Sampling
from edgecap.runtime.session import ImageCode, Session
from edgecap.runtime.tokenizer import Tokenizer
from edgecap.runtime.vocabulary import Vocabulary
from edgecap.runtime.words import word_maps

# An image on the model_input, uint8 [S,S,3], and where it lies there.
Placed: TypeAlias = "tuple[np.ndarray, Letterbox]"
OnError: TypeAlias = Literal["fail", "skip"]


@dataclass(frozen=True)
class _Request:
    """What is asked of every image of a call, checked."""

    lang: str
    style: str
    prompt: list[int]
    limits: Limits
    beams: int
    sampling: Sampling | None

    def choose(self, model_inputs: np.ndarray) -> Choose:
        """How to choose tokens for model_inputs uint8 [B,S,S,3]."""
        return Sampler(self.sampling, model_inputs) if self.sampling else most_probable


class Captioner:
    """A model, its tokenizer and its constants. Made by `edgecap.runtime.load`."""

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        tokenizer: Tokenizer,
        backend: str,
        free: Callable[[], int] = free_bytes,
        most: int = BATCH,
        weights: str | None = None,
    ) -> None:
        """`free`: bytes that are free where the engine computes; `most`: images of a batch;
        `weights`: hex SHA-256 of the weights file that the model came from, where it is known."""
        self.session, self.manifest, self.backend = session, manifest, backend
        self.tokenizer, self._free, self._most = tokenizer, free, most
        self.weights = weights
        self.vocabulary = Vocabulary(manifest, tokenizer)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages this model captions in."""
        return self.manifest.languages

    def caption(
        self,
        images: Iterable[ImageLike] | ImageLike,
        lang: str = "en",
        grounded: bool = True,
        style: str | None = None,
        beams: int = 1,
        max_length: int | None = None,
        rule: bool = True,
        sampling: Sampling | None = None,
    ) -> list[Caption]:
        """Caption images.

        Args:
            images: images (paths, bytes, Pillow images, arrays), or a single one.
            lang: one of `languages`, or a BCP 47 tag that asks for one: "pt-BR" for "pt".
            grounded: say where things are; without it, as in style "plain", no box is written.
            style: one of the manifest's styles; by default "grounded" or "plain".
            beams: 1 takes the most probable token each time, more search among that many captions.
            max_length: tokens at most, the end included; by default all that the model can.
            rule: allow only well-formed boxes (see bundle/grammar.py). Without it the model is
                unhelped.
            sampling: draw tokens at random; not with beams.

        Returns:
            One caption per image, in order.

        Raises:
            InputError for an image, language, style or number that cannot be used, and
            UnsupportedError for beams that are drawn or an image that does not fit in memory.
        """
        request = self._request(lang, grounded, style, beams, max_length, rule, sampling)
        said = self._captions(request, images, "fail", None)
        return [caption for caption in said if isinstance(caption, Caption)]

    def caption_many(
        self,
        images: Iterable[ImageLike] | ImageLike,
        lang: str = "en",
        grounded: bool = True,
        style: str | None = None,
        beams: int = 1,
        max_length: int | None = None,
        sampling: Sampling | None = None,
        on_error: OnError = "fail",
        batch: int | None = None,
    ) -> Iterator[Caption | InputError]:
        """Caption any number of images of any sizes and modes, in batches that fit in memory.

        Images are taken from `images` a batch at a time, so a generator may give more than memory
        could hold. A batch for which memory runs out is halved and tried again.

        Args:
            images, lang, grounded, style, beams, max_length, sampling: as of `caption`.
            on_error: "fail" raises at an image that cannot be read, after the captions of those
                before it; "skip" yields its error in its place and goes on.
            batch: images at a time at most; by default what the free memory is measured to hold,
                and no more than gains speed: 8 on a CPU.

        Yields:
            In the order of `images`, a Caption each, or with "skip" the InputError of a bad one.

        Raises:
            As `caption`; options are refused at the call, before any image is read.
        """
        pick("on_error", on_error, ("fail", "skip"))
        if batch is not None and batch < 1:
            raise InputError("batch.number", f"batch must be at least 1, got {batch}.")
        request = self._request(lang, grounded, style, beams, max_length, True, sampling)
        return self._captions(request, images, on_error, batch)

    def stream(
        self,
        image: ImageLike,
        lang: str = "en",
        grounded: bool = False,
        style: str | None = None,
        max_length: int | None = None,
        sampling: Sampling | None = None,
    ) -> Iterator[str]:
        """Yield the caption of one image piece by piece, as soon as text is certain.

        Without boxes unless `grounded` is set: pieces are for people, location tokens are not.
        The pieces joined are `Caption.raw`. A piece is one token's text; several byte tokens that
        make one character come as one piece.
        """
        request = self._request(lang, grounded, style, 1, max_length, True, sampling)
        model_input, _ = preprocess(image, self.manifest.preprocessing)
        return self._pieces(request, model_input[None])

    def attention(
        self,
        image: ImageLike,
        lang: str = "en",
        grounded: bool = True,
        style: str | None = None,
        max_length: int | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> Attention:
        """Caption one image greedily and map, per word, what the model looked at.

        Maps show attention, not explanation: of the steps that chose the word's tokens, the mean
        over layers and heads.

        Args:
            image, lang, grounded, style, max_length: as of `caption`.
            layer: the maps of this layer, counted from 0, mean over its heads.
            head: of this head of the layer, counted from 0.

        Raises:
            As `caption`; InputError for a layer or head that there is not, and UnsupportedError
            for a layer of a bundle that was exported without --attention.
        """
        request = self._request(lang, grounded, style, 1, max_length, True, None)
        select = selection(self.manifest.contract, layer, head)
        model_input, placement = preprocess(image, self.manifest.preprocessing)
        session = self.session if select is None else PerHeadAttention(self.session)
        (generated,) = self._decode(request, model_input[None], session)
        chosen = generated.chosen
        if select is not None:
            chosen = [c._replace(attention=select(c.attention)) for c in chosen]
        return Attention(
            self._read(generated, placement, request),
            word_maps(chosen, self.tokenizer, self.vocabulary.locations),
            placement,
        )

    def embed_images(self, images: Iterable[ImageLike] | ImageLike) -> np.ndarray:
        """Images in the shared space: f32 [N,E] of norm 1. The dot product ranks.

        Raises BundleError (bundle.not_finite) where the model's numbers are none, as for texts.
        """
        model_inputs = (preprocess(p, self.manifest.preprocessing)[0] for p in _images(images))

        def work(batch: Sequence[np.ndarray]) -> list[np.ndarray]:
            return list(self.session.encode_image(np.stack(batch)).embedding)  # b of [E]

        return self._stacked(in_batches(model_inputs, self.batch_size(), work))

    def embed_texts(self, texts: str | Sequence[str]) -> np.ndarray:
        """Texts, or one, in the shared space: f32 [N,E] of norm 1.

        Raises InputError for an empty text or one over the limit, which it states.
        """
        tokens, length = self.vocabulary.frame(texts)

        def work(batch: Sequence[int]) -> list[np.ndarray]:
            rows = list(batch)
            return list(self.session.encode_text(tokens[rows], length[rows]))  # b of [E]

        return self._stacked(in_batches(range(len(length)), self.batch_size(), work))

    def _stacked(self, rows: Iterable[np.ndarray]) -> np.ndarray:
        """N embeddings [E] as f32 [N,E]."""
        found = list(rows)
        if not found:
            return np.zeros((0, self.manifest.contract.embedding), np.float32)
        stacked = np.stack(found)
        if not np.isfinite(stacked).all():
            raise BundleError("bundle.not_finite", "the model's vectors hold NaN or infinity.")
        return stacked

    def cache(self, model_inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """k, v [L,B,H,Tmax,Dh] of model_inputs uint8 [B,S,S,3], text rows empty: to drive a
        session.
        """
        code = self.session.encode_image(model_inputs)
        text_length = self.manifest.contract.text_length
        return buffer(code.k, text_length), buffer(code.v, text_length)

    def batch_size(self, beams: int = 1) -> int:
        """Images that are captioned at a time: what fits in the memory that is free now."""
        return min(self._most, images_that_fit(self.manifest.contract, self._free(), beams))

    def _request(
        self,
        lang: str,
        grounded: bool,
        style: str | None,
        beams: int,
        max_length: int | None,
        rule: bool,
        sampling: Sampling | None,
    ) -> _Request:
        style = style or ("grounded" if grounded else "plain")
        lang = self.vocabulary.language(lang)
        prompt = self.vocabulary.prompt(lang, style)
        boxes = grounded and style != "plain"  # a style that is asked for alone says so too
        limits = self.vocabulary.limits(max_length, boxes=boxes, constrained=rule)
        if not 1 <= beams <= 32:
            raise InputError("caption.beams", f"beams must be in 1 … 32, got {beams}.")
        if beams > 1 and sampling is not None:
            raise UnsupportedError(
                "caption.beams_sampled",
                f"{beams} beams look for the best caption, sampling draws one: not both.",
                "Leave out the beams or the sampling.",
            )
        return _Request(lang, style, prompt, limits, beams, sampling)

    def _captions(
        self,
        request: _Request,
        images: Iterable[ImageLike] | ImageLike,
        on_error: OnError,
        batch: int | None,
    ) -> Iterator[Caption | InputError]:
        def work(placed: Sequence[Placed]) -> list[Caption]:
            return self._caption_batch(request, placed)

        size = batch or self.batch_size(request.beams)
        for result in in_batches_past_errors(self.placed(images), size, work):
            if isinstance(result, InputError) and on_error == "fail":
                raise result
            yield result

    def placed(self, images: Iterable[ImageLike] | ImageLike) -> Iterator[Placed | InputError]:
        """The model_input uint8 [S,S,3] of each image and where it lies there, or its error."""
        for image in _images(images):
            try:
                yield preprocess(image, self.manifest.preprocessing)
            except InputError as error:
                yield error

    def _caption_batch(self, request: _Request, placed: Sequence[Placed]) -> list[Caption]:
        model_inputs = np.stack([model_input for model_input, _ in placed])  # [B,S,S,3]
        return [
            self._read(generated, placement, request)
            for generated, (_, placement) in zip(
                self._decode(request, model_inputs), placed, strict=True
            )
        ]

    def _decode(
        self, request: _Request, model_inputs: np.ndarray, session: Session | None = None
    ) -> list[Generated]:
        session = session or self.session
        code = session.encode_image(model_inputs)
        text_length = self.manifest.contract.text_length
        prompt, limits = request.prompt, request.limits
        if request.beams == 1:
            cache = Cache(session, code, text_length)
            return generate(cache, prompt, limits, request.choose(model_inputs))
        results = []
        for b in range(code.k.shape[1]):
            one = ImageCode(code.k[:, b : b + 1], code.v[:, b : b + 1], code.embedding[b : b + 1])
            cache = Cache(session, repeat(one, request.beams), text_length)
            results.append(beam_search(cache, prompt, limits))
        return results

    def _read(self, generated: Generated, placement: Letterbox, request: _Request) -> Caption:
        return read_caption(
            generated, placement, request.lang, request.style, self.vocabulary, self.manifest
        )

    def _pieces(self, request: _Request, model_input: np.ndarray) -> Iterator[str]:
        """The texts of model_input uint8 [1,S,S,3]."""
        code = self.session.encode_image(model_input)
        cache = Cache(self.session, code, self.manifest.contract.text_length)
        tokens: list[int] = []
        shown = 0
        for choices in walk(cache, request.prompt, request.limits, request.choose(model_input)):
            token = choices[0][1].token
            if token == request.limits.eos:
                break
            tokens.append(token)
            text = self.tokenizer.decode(tokens)
            if not self.tokenizer.is_byte(token) and len(text) > shown:
                yield text[shown:]
                shown = len(text)
        rest = self.tokenizer.decode(tokens)[shown:]
        if rest:
            yield rest


def _images(images: Any) -> Iterable[Any]:
    """The images of a call; a single one needs no list."""
    return [images] if is_image(images) else images
