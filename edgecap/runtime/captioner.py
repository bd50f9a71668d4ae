"""From images to captions, embeddings and attention maps, for any bundle on any engine.

A Captioner is thread-safe: calls share no state, and sessions lock where their engine needs it.

Letters: B images of one batch, N images or texts of a call, h and w the model input's size in px,
E embedding, P patches, G patches along one side of the model input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from edgecap.bundle.interface import DECODE, DECODE_ATTENTION, ENCODE, ENCODE_TEXT
from edgecap.bundle.manifest import Manifest
from edgecap.core.choices import pick
from edgecap.core.errors import BundleError, InputError, UnsupportedError
from edgecap.runtime.attention import selection
from edgecap.runtime.batches import BATCH, in_batches, in_batches_past_errors, numbered
from edgecap.runtime.captions import Attention, Caption, read_caption
from edgecap.runtime.confidence import Rating
from edgecap.runtime.decode import Generated, generate, walk
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.image_processing import ModelInput, ProcessedImage, process
from edgecap.runtime.memory import free_bytes, images_that_fit
from edgecap.runtime.preprocess import ImageLike, Letterbox
from edgecap.runtime.requests import Request, images_of, is_alone, request_of
from edgecap.runtime.sampling import Sampling
from edgecap.runtime.state import State
from edgecap.runtime.text import TextCodec
from edgecap.runtime.text.prompts import PromptEncoder
from edgecap.runtime.threads import map_in_threads, split
from edgecap.runtime.tokenizer import Tokenizer
from edgecap.runtime.vocabulary import Vocabulary, frame
from edgecap.runtime.words import word_maps

OnError: TypeAlias = Literal["fail", "skip"]


class Captioner(Rating):
    """A model on an engine. Created by `edgecap.runtime.load`."""

    def __init__(
        self,
        graphs: Graphs,
        manifest: Manifest,
        codec: TextCodec | None,
        backend: str,
        *,
        encoder: Callable[[], PromptEncoder] | None = None,
        tokenizer: Callable[[], Tokenizer] | None = None,
        free: Callable[[], int] = free_bytes,
        most: int = BATCH,
    ) -> None:
        """
        Args:
            codec: turns ids into text; None for a model without captions.
            encoder: opens what turns texts into ids, if the bundle has it.
            tokenizer: the same for a model with languages, in plain Python. Captions need neither.
            free: returns the free bytes of the engine's memory.
            most: images per batch at most.
        """
        self.graphs, self.manifest, self.backend = graphs, manifest, backend
        self._codec, self._encoder, self._tokenizer = codec, encoder, tokenizer
        self._free, self._most = free, most
        known = manifest.languages and codec
        self._vocabulary = Vocabulary(manifest, len(known)) if known else None
        self._request = partial(request_of, manifest, self._vocabulary)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that this model captions in; none if it has other prompts."""
        return self.manifest.languages

    @property
    def prompts(self) -> tuple[str, ...]:
        """The names of the prompts; the first is the default."""
        return tuple(self.manifest.prompts)

    @property
    def weights(self) -> str | None:
        """Hex SHA-256 of the weights that the model came from, if known."""
        return self.manifest.model.weights

    @property
    def codec(self) -> TextCodec:
        """Ids to text; UnsupportedError for a model that does not generate captions."""
        if self._codec is None:
            raise self._lacks("captions; it embeds images and texts")
        return self._codec

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to ids, of a model with languages; UnsupportedError for others."""
        if self._tokenizer is None:
            raise self._lacks("languages")
        return self._tokenizer()

    @property
    def vocabulary(self) -> Vocabulary:
        """Prompts and rules by language and style; UnsupportedError for a model without them."""
        if self._vocabulary is None:
            raise self._lacks("languages")
        return self._vocabulary

    def caption(
        self,
        images: Iterable[ImageLike] | ImageLike,
        lang: str | None = None,
        grounded: bool = True,
        style: str | None = None,
        beams: int | None = None,
        max_length: int | None = None,
        constrained: bool = True,
        sampling: Sampling | None = None,
        prompt: str | None = None,
    ) -> list[Caption]:
        """Caption images.

        Args:
            images: images (paths, bytes, Pillow images, arrays), or a single one.
            lang: one of `languages`, or a BCP 47 tag that matches one: "pt-BR" matches "pt"; "en"
                by default.
            grounded: generate boxes; without it, as in style "plain", none are generated.
            style: one of the manifest's styles; by default "grounded" or "plain".
            beams: beam width; 1 is greedy decoding; by default the model's.
            max_length: maximum number of tokens, the end included; by default the model's limit.
            constrained: allow only well-formed boxes (see bundle/grammar.py).
            sampling: sample tokens at random; cannot be combined with beams.
            prompt: for a model without languages: one of `prompts`; by default the first.

        Returns:
            One caption per image, in order.

        Raises:
            InputError for an invalid image, language, style, prompt or number, and UnsupportedError
            for what the model cannot do, beams with sampling, or an image that does not fit in
            memory.
        """
        request = self._request(
            lang, grounded, style, beams, max_length, constrained, sampling, prompt
        )
        self.check_style(request.style)
        captions = self._captions(request, images, "fail", None)
        return [caption for caption in captions if isinstance(caption, Caption)]

    def caption_many(
        self,
        images: Iterable[ImageLike] | ImageLike,
        lang: str | None = None,
        grounded: bool = True,
        style: str | None = None,
        beams: int | None = None,
        max_length: int | None = None,
        sampling: Sampling | None = None,
        on_error: OnError = "fail",
        batch: int | None = None,
        prompt: str | None = None,
    ) -> Iterator[Caption | InputError]:
        """Caption any number of images of any sizes and modes, in batches that fit in memory.

        `images` is read one batch at a time, so a generator may yield more images than fit in
        memory. If memory runs out, the batch is halved and retried.

        Args:
            images, lang, grounded, style, beams, max_length, sampling, prompt: as in `caption`.
            on_error: "fail" raises at an image that cannot be read, after the captions of the
                images before it; "skip" yields the error in its place and continues.
            batch: images per batch at most; by default as many as fit in the free memory, and at
                most 8 on a CPU, because larger batches are not faster.

        Yields a Caption per image, in order, or with "skip" the InputError of an image. Raises as
        `caption`; invalid options raise at the call, before any image is read.
        """
        pick("on_error", on_error, ("fail", "skip"))
        if batch is not None and batch < 1:
            raise InputError("batch.number", f"batch must be at least 1, got {batch}.")
        request = self._request(lang, grounded, style, beams, max_length, True, sampling, prompt)
        self.check_style(request.style)
        return self._captions(request, images, on_error, batch)

    def stream(
        self,
        image: ImageLike,
        lang: str | None = None,
        grounded: bool = False,
        style: str | None = None,
        max_length: int | None = None,
        sampling: Sampling | None = None,
        prompt: str | None = None,
    ) -> Iterator[str]:
        """Yield the caption of one image piece by piece, as soon as text is final.

        Without boxes unless `grounded` is set, since location tokens are not readable. The joined
        pieces equal `Caption.raw`, without special tokens unless `grounded` is set. A piece is the
        text of one token; several byte tokens that form one character are one piece.
        """
        request = self._request(lang, grounded, style, 1, max_length, True, sampling, prompt)
        return self._pieces(request, process(image, self.manifest.image), grounded)

    def attention(
        self,
        image: ImageLike,
        lang: str | None = None,
        grounded: bool = True,
        style: str | None = None,
        max_length: int | None = None,
        layer: int | None = None,
        head: int | None = None,
        prompt: str | None = None,
    ) -> Attention:
        """Caption one image greedily and map, per word, the attention over the image.

        A map is the mean over layers and heads, of the steps that generated the word's tokens.
        Attention is not an explanation.

        Args:
            image, lang, grounded, style, max_length, prompt: as in `caption`.
            layer: index from 0; maps of this layer only, mean over its heads.
            head: index from 0; maps of this head of the layer only.

        Raises:
            As `caption`; InputError for a layer or head out of range, and UnsupportedError for a
            model that gives no attention, or a layer of one that was exported without --attention.
        """
        request = self._request(lang, grounded, style, 1, max_length, True, None, prompt)
        if self.manifest.interface.attention is None:
            raise self._lacks("attention maps")
        select = selection(self.manifest.interface, layer, head)
        processed = process(image, self.manifest.image)
        function = DECODE if select is None else DECODE_ATTENTION
        state = State(self.graphs, [processed], function)
        (generated,) = generate(state, request.rules)
        chosen = generated.chosen
        if select is not None:
            chosen = [c._replace(attention=select(c.attention)) for c in chosen]
        return Attention(
            self._read(generated, processed.placement, request),
            word_maps(chosen, self.codec, self.manifest.regions),
            processed.placement,
        )

    def embed_images(self, images: Iterable[ImageLike] | ImageLike) -> np.ndarray:
        """Embeddings of images in the shared space: f32 [N,E] of norm 1; rank by dot product.

        Raises BundleError (bundle.not_finite) if the model returns NaN or infinity, and
        UnsupportedError if it has no such space.
        """
        self._require_output(ENCODE, "image_embedding", "embeddings of images")
        inputs = (process(image, self.manifest.image) for image in images_of(images))

        def work(batch: Sequence[ModelInput]) -> list[np.ndarray]:
            return list(self.graphs.encode_inputs(batch)["image_embedding"])  # b of [E]

        return self._stacked(in_batches(inputs, self.batch_size(), work))

    def embed_texts(self, texts: str | Sequence[str]) -> np.ndarray:
        """Embeddings of one or several texts in the shared space: f32 [N,E] of norm 1.

        Raises InputError for an empty text or one that is too long, MissingPackageError where the
        bundle's tokenizer needs the tokenizers package, and as `embed_images`.
        """
        self._require_output(ENCODE_TEXT, "text_embedding", "embeddings of texts")
        tokens, length = self._framed([texts] if isinstance(texts, str) else list(texts))

        def work(batch: Sequence[int]) -> list[np.ndarray]:
            rows = list(batch)
            return list(self.graphs.encode_text(tokens[rows], length[rows]))  # b of [E]

        return self._stacked(in_batches(range(len(length)), self.batch_size(), work))

    def batch_size(self, beams: int = 1) -> int:
        """Images per batch: as many as fit in the memory that is free now."""
        return min(self._most, self._room(beams))

    def _room(self, beams: int = 1) -> int:
        """Images that fit in the memory that is free now."""
        return images_that_fit(self.manifest.interface, self._free(), beams)

    def preprocess_images(
        self, images: Iterable[ImageLike] | ImageLike
    ) -> Iterator[ProcessedImage | InputError]:
        """What the model sees of each image, or its error."""
        for image in images_of(images):
            try:
                yield process(image, self.manifest.image)
            except InputError as error:
                yield error

    def _captions(
        self,
        request: Request,
        images: Iterable[ImageLike] | ImageLike,
        on_error: OnError,
        batch: int | None,
    ) -> Iterator[Caption | InputError]:
        size, workers = 1, [self.graphs]
        if not is_alone(images):  # asking for the free memory takes as long as a step
            room = batch or self._room(request.rules.spec.beams)
            workers = self.graphs.for_threads(min(self.graphs.session.threads, room))
            size = batch or min(room, self._most * len(workers))

        def work(batch: Sequence[tuple[int, ProcessedImage]]) -> list[Caption]:
            parts = split(batch, len(batch) if self.graphs.batch == 1 else len(workers))
            done = map_in_threads(
                workers, parts, lambda one, part: self._caption_batch(one, request, part)
            )
            return [caption for part in done for caption in part]

        for result in in_batches_past_errors(numbered(self.preprocess_images(images)), size, work):
            if isinstance(result, InputError) and on_error == "fail":
                raise result
            yield result

    def _caption_batch(
        self, graphs: Graphs, request: Request, batch: Sequence[tuple[int, ProcessedImage]]
    ) -> list[Caption]:
        """The captions of images, each with its place in the call."""
        images = [image for _, image in batch]
        second = self.second_style(request.style)
        if second is None:
            state = State(graphs, images)
            return [self.rated(caption) for caption in self._decoded(state, request, batch)]
        encoded = graphs.encode_inputs(images)
        requests = (request, self._in_style(request, second))
        both = [self._decoded(State(graphs, encoded), each, batch) for each in requests]
        return [self.rated(*pair) for pair in zip(*both, strict=True)]

    def _decoded(
        self, state: State, request: Request, batch: Sequence[tuple[int, ProcessedImage]]
    ) -> list[Caption]:
        """The captions of encoded images; `batch` as above."""
        generated = generate(state, request.rules, request.choose([place for place, _ in batch]))
        return [
            self._read(one, image.placement, request)
            for one, (_, image) in zip(generated, batch, strict=True)
        ]

    def _in_style(self, request: Request, style: str) -> Request:
        """The same language in another style, or another prompt; greedy, to its end."""
        lang, prompt = (request.lang, None) if request.lang else (None, style)
        named = style if request.lang else None
        return self._request(lang, True, named, 1, None, True, None, prompt)

    def _read(self, generated: Generated, placement: Letterbox, request: Request) -> Caption:
        return read_caption(
            generated, placement, request.lang, request.style, self.codec, self.manifest
        )

    def _pieces(self, request: Request, image: ModelInput, with_special: bool) -> Iterator[str]:
        state = State(self.graphs, [image])
        text = self.codec.stream(skip_special=not with_special)
        for (picked,) in walk(state, request.rules, request.choose([0])):
            if picked.token in request.rules.spec.eos:
                break
            if piece := text.push(picked.token):
                yield piece
        if rest := text.finish():
            yield rest

    def _framed(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Texts as ids int32 [n,N], padded, and their lengths int32 [n]."""
        N = self.manifest.interface.dims["N"]
        if self.manifest.texts is not None:
            return frame(self.tokenizer, self.manifest.texts, N, texts)
        if self._encoder is None:
            raise UnsupportedError(
                "prompts.none", "this bundle has no tokenizer for texts.", "Export it again."
            )
        return self._encoder().framed(texts, N)

    def _stacked(self, rows: Iterable[np.ndarray]) -> np.ndarray:
        """N embeddings [E] as f32 [N,E]."""
        embeddings = list(rows)
        if not embeddings:
            return np.zeros((0, self.manifest.interface.dims["E"]), np.float32)
        stacked = np.stack(embeddings)
        if not np.isfinite(stacked).all():
            raise BundleError("bundle.not_finite", "the model's embeddings hold NaN or infinity.")
        return stacked

    def _require_output(self, function: str, output: str, what: str) -> None:
        interface = self.manifest.interface
        if not interface.has(function) or output not in interface.function(function).outputs:
            raise self._lacks(what)

    def _lacks(self, what: str) -> UnsupportedError:
        names = ", ".join(spec.name for spec in self.manifest.interface.functions)
        message = f"{self.manifest.name} has no {what}."
        return UnsupportedError("model.capability", message, f"It has: {names}.")
