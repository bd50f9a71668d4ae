"""From images to captions, embeddings and attention maps, on any backend.

A Captioner is thread-safe: calls share no state, and sessions lock where their engine needs it.

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
from edgecap.runtime.batches import BATCH, in_batches, in_batches_past_errors, numbered
from edgecap.runtime.cache import Cache, buffer
from edgecap.runtime.captions import Attention, Caption, read_caption
from edgecap.runtime.confidence import Rating
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

# A model input, uint8 [S,S,3], and the placement of the image in it.
Placed: TypeAlias = "tuple[np.ndarray, Letterbox]"
OnError: TypeAlias = Literal["fail", "skip"]


@dataclass(frozen=True)
class _Request:
    """The checked options of a call, which apply to all its images."""

    lang: str
    style: str
    prompt: list[int]
    limits: Limits
    beams: int
    sampling: Sampling | None

    def choose(self, places: Sequence[int]) -> Choose:
        """The token choice for the images at these places of the call."""
        return Sampler(self.sampling, places) if self.sampling else most_probable


class Captioner(Rating):
    """A schema 1 model with its tokenizer and vocabulary. Created by `edgecap.runtime.load`."""

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
        """`free`: returns the free bytes of the engine's memory; `most`: images per batch at most;
        `weights`: hex SHA-256 of the weights file that the model came from, if known."""
        self.session, self.manifest, self.backend = session, manifest, backend
        self.tokenizer, self._free, self._most = tokenizer, free, most
        self.weights = weights
        self.vocabulary = Vocabulary(manifest, tokenizer)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that this model captions in."""
        return self.manifest.languages

    def caption(
        self,
        images: Iterable[ImageLike] | ImageLike,
        lang: str = "en",
        grounded: bool = True,
        style: str | None = None,
        beams: int = 1,
        max_length: int | None = None,
        constrained: bool = True,
        sampling: Sampling | None = None,
    ) -> list[Caption]:
        """Caption images.

        Args:
            images: images (paths, bytes, Pillow images, arrays), or a single one.
            lang: one of `languages`, or a BCP 47 tag that matches one: "pt-BR" matches "pt".
            grounded: generate boxes; without it, as in style "plain", none are generated.
            style: one of the manifest's styles; by default "grounded" or "plain".
            beams: beam width; 1 is greedy decoding.
            max_length: maximum number of tokens, <eos> included; by default the model's limit.
            constrained: allow only well-formed boxes (see bundle/grammar.py).
            sampling: sample tokens at random; cannot be combined with beams.

        Returns:
            One caption per image, in order.

        Raises:
            InputError for an invalid image, language, style or number, and UnsupportedError for
            beams with sampling or an image that does not fit in memory.
        """
        request = self._request(lang, grounded, style, beams, max_length, constrained, sampling)
        captions = self._captions(request, images, "fail", None)
        return [caption for caption in captions if isinstance(caption, Caption)]

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

        `images` is read one batch at a time, so a generator may yield more images than fit in
        memory. If memory runs out, the batch is halved and retried.

        Args:
            images, lang, grounded, style, beams, max_length, sampling: as in `caption`.
            on_error: "fail" raises at an image that cannot be read, after the captions of the
                images before it; "skip" yields the error in its place and continues.
            batch: images per batch at most; by default as many as fit in the free memory, and at
                most 8 on a CPU, because larger batches are not faster.

        Yields:
            In the order of `images`, a Caption each, or with "skip" the InputError of an image.

        Raises:
            As `caption`; invalid options raise at the call, before any image is read.
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
        """Yield the caption of one image piece by piece, as soon as text is final.

        Without boxes unless `grounded` is set, since location tokens are not readable. The joined
        pieces equal `Caption.raw`. A piece is the text of one token; several byte tokens that form
        one character are one piece.
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
        """Caption one image greedily and map, per word, the attention over the image.

        A map is the mean over layers and heads, of the steps that generated the word's tokens.
        Attention is not an explanation.

        Args:
            image, lang, grounded, style, max_length: as in `caption`.
            layer: index from 0; maps of this layer only, mean over its heads.
            head: index from 0; maps of this head of the layer only.

        Raises:
            As `caption`; InputError for a layer or head out of range, and UnsupportedError for a
            layer of a bundle that was exported without --attention.
        """
        request = self._request(lang, grounded, style, 1, max_length, True, None)
        select = selection(self.manifest.contract, layer, head)
        model_input, placement = preprocess(image, self.manifest.preprocessing)
        session = self.session if select is None else PerHeadAttention(self.session)
        (generated,) = self._decode(request, model_input[None], session=session)
        chosen = generated.chosen
        if select is not None:
            chosen = [c._replace(attention=select(c.attention)) for c in chosen]
        return Attention(
            self._read(generated, placement, request),
            word_maps(chosen, self.tokenizer, self.vocabulary.locations),
            placement,
        )

    def embed_images(self, images: Iterable[ImageLike] | ImageLike) -> np.ndarray:
        """Embeddings of images in the shared space: f32 [N,E] of norm 1; rank by dot product.

        Raises BundleError (bundle.not_finite) if the model returns NaN or infinity.
        """
        model_inputs = (preprocess(p, self.manifest.preprocessing)[0] for p in _images(images))

        def work(batch: Sequence[np.ndarray]) -> list[np.ndarray]:
            return list(self.session.encode_image(np.stack(batch)).embedding)  # b of [E]

        return self._stacked(in_batches(model_inputs, self.batch_size(), work))

    def embed_texts(self, texts: str | Sequence[str]) -> np.ndarray:
        """Embeddings of one or several texts in the shared space: f32 [N,E] of norm 1.

        Raises InputError for an empty text or one that is too long, and as `embed_images`.
        """
        tokens, length = self.vocabulary.frame(texts)

        def work(batch: Sequence[int]) -> list[np.ndarray]:
            rows = list(batch)
            return list(self.session.encode_text(tokens[rows], length[rows]))  # b of [E]

        return self._stacked(in_batches(range(len(length)), self.batch_size(), work))

    def _stacked(self, rows: Iterable[np.ndarray]) -> np.ndarray:
        """N embeddings [E] as f32 [N,E]."""
        embeddings = list(rows)
        if not embeddings:
            return np.zeros((0, self.manifest.contract.embedding), np.float32)
        stacked = np.stack(embeddings)
        if not np.isfinite(stacked).all():
            raise BundleError("bundle.not_finite", "the model's embeddings hold NaN or infinity.")
        return stacked

    def cache(self, model_inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """k, v [L,B,H,Tmax,Dh] of model_inputs uint8 [B,S,S,3] with zero text rows, to call a
        session directly.
        """
        code = self.session.encode_image(model_inputs)
        text_length = self.manifest.contract.text_length
        return buffer(code.k, text_length), buffer(code.v, text_length)

    def batch_size(self, beams: int = 1) -> int:
        """Images per batch: as many as fit in the memory that is free now."""
        return min(self._most, images_that_fit(self.manifest.contract, self._free(), beams))

    def _request(
        self,
        lang: str,
        grounded: bool,
        style: str | None,
        beams: int,
        max_length: int | None,
        constrained: bool,
        sampling: Sampling | None,
    ) -> _Request:
        style = style or ("grounded" if grounded else "plain")
        lang = self.vocabulary.language(lang)
        prompt = self.vocabulary.prompt(lang, style)
        boxes = grounded and style != "plain"  # style "plain" implies it too
        limits = self.vocabulary.limits(max_length, boxes=boxes, constrained=constrained)
        if not 1 <= beams <= 32:
            raise InputError("caption.beams", f"beams must be in 1 … 32, got {beams}.")
        if beams > 1 and sampling is not None:
            raise UnsupportedError(
                "caption.beams_sampled",
                f"beam search ({beams} beams) and sampling cannot be combined.",
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
        def work(batch: Sequence[tuple[int, Placed]]) -> list[Caption]:
            return self._caption_batch(request, [p for _, p in batch], [i for i, _ in batch])

        size = batch or self.batch_size(request.beams)
        for result in in_batches_past_errors(numbered(self.placed(images)), size, work):
            if isinstance(result, InputError) and on_error == "fail":
                raise result
            yield self.rated(result)

    def placed(self, images: Iterable[ImageLike] | ImageLike) -> Iterator[Placed | InputError]:
        """The model input uint8 [S,S,3] of each image and its placement, or its error."""
        for image in _images(images):
            try:
                yield preprocess(image, self.manifest.preprocessing)
            except InputError as error:
                yield error

    def _caption_batch(
        self, request: _Request, placed: Sequence[Placed], places: Sequence[int]
    ) -> list[Caption]:
        model_inputs = np.stack([model_input for model_input, _ in placed])  # [B,S,S,3]
        return [
            self._read(generated, placement, request)
            for generated, (_, placement) in zip(
                self._decode(request, model_inputs, places), placed, strict=True
            )
        ]

    def _decode(
        self,
        request: _Request,
        model_inputs: np.ndarray,
        places: Sequence[int] = (0,),
        session: Session | None = None,
    ) -> list[Generated]:
        session = session or self.session
        code = session.encode_image(model_inputs)
        text_length = self.manifest.contract.text_length
        prompt, limits = request.prompt, request.limits
        if request.beams == 1:
            cache = Cache(session, code, text_length)
            return generate(cache, prompt, limits, request.choose(places))
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
        for choices in walk(cache, request.prompt, request.limits, request.choose([0])):
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
