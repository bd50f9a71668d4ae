"""Captions, regions and embeddings of schema 2 models, which have named prompts, not languages.

Letters: B batch, N images or texts of a call, E embedding, h and w the input's size in px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.interface import DECODE, ENCODE, ENCODE_TEXT
from edgecap.bundle.schema2 import Manifest
from edgecap.core.choices import pick
from edgecap.core.errors import BundleError, InputError, UnsupportedError
from edgecap.runtime.batches import BATCH, in_batches, in_batches_past_errors, numbered
from edgecap.runtime.captions import Caption, Mention
from edgecap.runtime.confidence import Rating
from edgecap.runtime.generation import Choose, Generated, generate, limited, most_probable, steps
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.image_files import is_image
from edgecap.runtime.image_processing import ProcessedImage, process
from edgecap.runtime.memory import SHARE, free_bytes
from edgecap.runtime.regions import Input, read_regions
from edgecap.runtime.sampling import Sampler, Sampling
from edgecap.runtime.text import TextCodec
from edgecap.runtime.text.prompts import PromptEncoder

ImageLike: TypeAlias = Any  # a path, bytes, a Pillow image or an array


@dataclass(frozen=True)
class _Request:
    """The checked options of a call, which apply to all its images."""

    prompt: str
    spec: GenerationSpec
    sampling: Sampling | None

    def choose(self, places: Sequence[int]) -> Choose:
        """The token choice for the images at these places of the call."""
        return Sampler(self.sampling, places) if self.sampling else most_probable


class PromptCaptioner(Rating):
    """A schema 2 model on an engine. Created by `edgecap.runtime.load`."""

    def __init__(
        self,
        graphs: Graphs,
        manifest: Manifest,
        codec: TextCodec | None,
        backend: str,
        encoder: Callable[[], PromptEncoder] | None = None,
        free: Callable[[], int] = free_bytes,
    ) -> None:
        """`encoder`: opens the tokenizer that encodes texts, if the bundle has one."""
        self.graphs, self.manifest, self.backend = graphs, manifest, backend
        self.codec, self._encoder, self._free = codec, encoder, free

    languages: tuple[str, ...] = ()  # the prompt determines the language of a caption

    @property
    def prompts(self) -> tuple[str, ...]:
        """The names of the prompts; the first is the default."""
        return tuple(self.manifest.prompts)

    def caption(
        self,
        images: Iterable[ImageLike] | ImageLike,
        prompt: str | None = None,
        beams: int | None = None,
        max_length: int | None = None,
        sampling: Sampling | None = None,
    ) -> list[Caption]:
        """Caption images.

        Args:
            images: images (paths, bytes, Pillow images, arrays), or a single one.
            prompt: one of `prompts`; by default the first.
            beams: beam width; by default that of the checkpoint's generation settings.
            max_length: maximum number of tokens; by default that of the checkpoint.
            sampling: sample tokens at random; cannot be combined with beams.

        Returns:
            One caption per image, in order.

        Raises:
            InputError for an invalid image, prompt or number, UnsupportedError if the model does
            not generate captions.
        """
        results = self.caption_many(images, prompt, beams, max_length, sampling)
        return [caption for caption in results if isinstance(caption, Caption)]

    def caption_many(
        self,
        images: Iterable[ImageLike] | ImageLike,
        prompt: str | None = None,
        beams: int | None = None,
        max_length: int | None = None,
        sampling: Sampling | None = None,
        on_error: str = "fail",
        batch: int | None = None,
    ) -> Iterator[Caption | InputError]:
        """Caption any number of images in batches that fit in memory; arguments as in `caption`.

        `on_error`: "fail" raises at an image that cannot be read, "skip" yields its error.
        """
        pick("on_error", on_error, ("fail", "skip"))
        request = self._request(prompt, beams, max_length, sampling)
        return self._captions(request, images, on_error, batch)

    def stream(
        self,
        image: ImageLike,
        prompt: str | None = None,
        max_length: int | None = None,
        sampling: Sampling | None = None,
    ) -> Iterator[str]:
        """Yield the caption of one image piece by piece, as soon as text is final."""
        request = self._request(prompt, 1, max_length, sampling)
        assert self.codec is not None  # models with prompts have one
        pixels = self._pixels([process(image, self.manifest.image)])
        text = self.codec.stream()
        encoded = self.graphs.encode(pixels)
        for chosen in steps(self.graphs, encoded, request.spec, request.choose([0])):
            token = chosen[0][1]
            if token in request.spec.eos:
                break
            if piece := text.push(token):
                yield piece
        if rest := text.finish():
            yield rest

    def embed_images(self, images: Iterable[ImageLike] | ImageLike) -> np.ndarray:
        """Embeddings of images in the shared space: f32 [N,E] of norm 1.

        Raises UnsupportedError if the model has no such space.
        """
        self._require_output(ENCODE, "image_embedding", "embeddings of images")

        def work(batch: Sequence[ProcessedImage]) -> list[np.ndarray]:
            return list(self.graphs.encode(self._pixels(batch))["image_embedding"])  # b of [E]

        processed = (process(image, self.manifest.image) for image in _as_images(images))
        return self._stacked(in_batches(processed, self.batch_size(), work))

    def embed_texts(self, texts: str | Sequence[str]) -> np.ndarray:
        """Embeddings of one or several texts in the shared space: f32 [N,E] of norm 1.

        Raises UnsupportedError if the model has no such space or the bundle no tokenizer for it,
        MissingPackageError without the tokenizers package, InputError for a text that is too long.
        """
        self._require_output(ENCODE_TEXT, "text_embedding", "embeddings of texts")
        if self._encoder is None:
            raise UnsupportedError(
                "prompts.none", "this bundle has no tokenizer for texts.", "Export it again."
            )
        encoder = self._encoder()
        listed = [texts] if isinstance(texts, str) else list(texts)
        N = self.manifest.interface.dims["N"]
        tokens = np.zeros((len(listed), N), np.int32)  # [n,N]
        length = np.zeros(len(listed), np.int32)  # [n]
        for row, text in enumerate(listed):
            ids = encoder.encode(text, framing=True)
            if not 0 < len(ids) <= N:
                raise InputError(
                    "text.too_long", f"a text has {len(ids)} tokens; allowed: 1 to {N}."
                )
            tokens[row, : len(ids)], length[row] = ids, len(ids)

        def work(rows: Sequence[int]) -> list[np.ndarray]:
            return list(self.graphs.encode_text(tokens[list(rows)], length[list(rows)]))

        return self._stacked(in_batches(range(len(listed)), self.batch_size(), work))

    def batch_size(self, beams: int = 1) -> int:
        """Images per batch: as many as fit in the memory that is free now."""
        each = 3 * self.manifest.interface.state_bytes() * beams + (1 << 20)
        return max(1, min(BATCH, int(SHARE * self._free()) // each))

    def _require_output(self, function: str, output: str, what: str) -> None:
        interface = self.manifest.interface
        if not interface.has(function) or output not in interface.function(function).outputs:
            raise UnsupportedError(
                "model.capability", f"{self.manifest.name} has no {what}.", _functions(interface)
            )

    def _request(
        self,
        prompt: str | None,
        beams: int | None,
        max_length: int | None,
        sampling: Sampling | None,
    ) -> _Request:
        if not self.manifest.interface.has(DECODE):
            raise UnsupportedError(
                "model.capability",
                f"{self.manifest.name} embeds images and texts; it does not generate captions.",
                "Use it with: edgecap index, edgecap search",
            )
        name = self.manifest.default_prompt if prompt is None else prompt
        spec = self.manifest.prompts[pick("prompt", name, self.manifest.prompts)]
        if sampling is not None and beams is None:
            beams = 1
        if beams is not None and not 1 <= beams <= 32:
            raise InputError("caption.beams", f"beams must be in 1 … 32, got {beams}.")
        if max_length is not None and not 1 <= max_length <= spec.max_new_tokens:
            raise InputError(
                "caption.length",
                f"max_length must be 1 to {spec.max_new_tokens}, got {max_length}.",
            )
        spec = limited(spec, max_length, beams)
        if spec.beams > 1 and sampling is not None:
            raise UnsupportedError(
                "caption.beams_sampled",
                f"beam search ({spec.beams} beams) and sampling cannot be combined.",
                "Leave out the beams or the sampling.",
            )
        return _Request(name, spec, sampling)

    def _captions(
        self,
        request: _Request,
        images: Iterable[ImageLike] | ImageLike,
        on_error: str,
        batch: int | None,
    ) -> Iterator[Caption | InputError]:
        def work(batch: Sequence[tuple[int, ProcessedImage]]) -> list[Caption]:
            processed, choose = [p for _, p in batch], request.choose([i for i, _ in batch])
            pixels = self._pixels(processed)  # [B,h,w,3]
            encoded = self.graphs.encode(pixels)
            results = generate(self.graphs, encoded, request.spec, choose)
            pairs = zip(results, processed, strict=True)
            return [self._read(result, one, request) for result, one in pairs]

        size = batch or self.batch_size(request.spec.beams)
        for result in in_batches_past_errors(numbered(self._processed(images)), size, work):
            if isinstance(result, InputError) and on_error == "fail":
                raise result
            yield self.rated(result)

    def _processed(
        self, images: Iterable[ImageLike] | ImageLike
    ) -> Iterator[ProcessedImage | InputError]:
        for image in _as_images(images):
            try:
                yield process(image, self.manifest.image)
            except InputError as error:
                yield error

    def _pixels(self, processed: Sequence[ProcessedImage]) -> np.ndarray:
        """One crop of each image, uint8 [B,h,w,3]."""
        for one in processed:
            if len(one.pixels) != 1:
                raise UnsupportedError(
                    "image.crops", f"an image has {len(one.pixels)} crops; encode takes one."
                )
        return np.concatenate([one.pixels for one in processed])

    def _read(self, generated: Generated, processed: ProcessedImage, request: _Request) -> Caption:
        assert self.codec is not None
        tokens, scores = generated.tokens, generated.scores
        mentions: tuple[Mention, ...] = ()
        text, malformed = self.codec.decode(tokens), 0
        if self.manifest.regions is not None:
            view = Input(self.manifest.image.input_size, processed.placement)
            reading = read_regions(tokens, self.codec, self.manifest.regions, view, scores)
            text, malformed = reading.text, reading.malformed
            mentions = tuple(
                Mention(
                    reading.phrase(region), (region.start, region.end), region.boxes, region.scores
                )
                for region in reading.regions
            )
        return Caption(
            text=text.strip(),
            raw=self.codec.decode(tokens, skip_special=False),
            lang="",
            style=request.prompt,
            mentions=mentions,
            tokens=tokens,
            scores=scores,
            score=generated.score,
            complete=generated.complete,
            malformed=malformed,
            notes=processed.placement.notes,
        )

    def _stacked(self, rows: Iterable[np.ndarray]) -> np.ndarray:
        """N embeddings [E] as f32 [N,E]."""
        embeddings = list(rows)
        if not embeddings:
            return np.zeros((0, self.manifest.interface.dims["E"]), np.float32)
        stacked = np.stack(embeddings).astype(np.float32, copy=False)
        if not np.isfinite(stacked).all():
            raise BundleError("bundle.not_finite", "the model's embeddings hold NaN or infinity.")
        return stacked


def _functions(interface: Any) -> str:
    return f"It has: {', '.join(spec.name for spec in interface.functions)}."


def _as_images(images: Iterable[ImageLike] | ImageLike) -> Iterable[ImageLike]:
    """The images of a call; a single image becomes a list, an array of four axes is a batch."""
    return [images] if is_image(images) else images
