"""A Hugging Face checkpoint in PyTorch, behind the verbs of a bundle: what bundles are held
against.

Captions come from transformers' own `generate`, with its cache; images are processed as bundles do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecap.core.choices import pick
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.models import registry, translate
from edgecap.models.adapter import Limits
from edgecap.models.checkpoint import open_checkpoint
from edgecap.runtime.captions import Caption
from edgecap.runtime.image_files import is_image
from edgecap.runtime.image_processing import process
from edgecap.runtime.text import TextCodec

if TYPE_CHECKING:
    from edgecap.models.adapter import Adapter


class CheckpointCaptioner:
    """One checkpoint, loaded; greedy or with its own beams."""

    backend = "transformers"
    languages: tuple[str, ...] = ()

    def __init__(self, model: str | os.PathLike[str], threads: int = 1) -> None:
        """Errors as of `open_checkpoint` and `registry.load`."""
        opened = open_checkpoint(os.fspath(model))
        self.adapter: Adapter = registry.load(opened)
        import torch

        torch.set_num_threads(threads)
        files = translate.Checkpoint(opened.directory)
        self._codec = None
        if self.adapter.generation is not None:
            self._codec = TextCodec(translate.text_spec(files))

    @property
    def prompts(self) -> tuple[str, ...]:
        """The names of its prompts; the first is the default."""
        return () if self.adapter.generation is None else tuple(self.adapter.generation.prompts)

    def caption(
        self, images: Iterable[Any] | Any, prompt: str | None = None, max_length: int | None = None
    ) -> list[Caption]:
        """One caption per image; UnsupportedError where the model writes none."""
        found = self.caption_many(images, prompt, max_length)
        return [caption for caption in found if isinstance(caption, Caption)]

    def caption_many(
        self,
        images: Iterable[Any] | Any,
        prompt: str | None = None,
        max_length: int | None = None,
        beams: int | None = None,
        sampling: Any = None,
        on_error: str = "fail",
    ) -> Iterator[Caption | InputError]:
        """Captions one by one; with on_error "skip" the error of an image that cannot be read."""
        if self._codec is None or self.adapter.generation is None:
            raise UnsupportedError(
                "model.capability", f"{self.adapter.source} embeds and writes no captions."
            )
        if beams is not None or sampling is not None:
            raise UnsupportedError(
                "caption.checkpoint",
                "a checkpoint in PyTorch generates as it ships; beams and sampling are a bundle's.",
                "Export it, and caption with the bundle.",
            )
        generation = self.adapter.generation
        name = prompt or self.prompts[0]
        begin = generation.prompts[pick("prompt", name, generation.prompts)]
        limits = Limits(max_length or generation.max_tokens, shipped=True)
        for image in [images] if is_image(images) else images:
            try:
                processed = process(image, self.adapter.image)
            except InputError as error:
                if on_error == "fail":
                    raise
                yield error
                continue
            (ids,) = self.adapter.reference([processed], begin, limits)
            complete = bool(ids) and ids[-1] in generation.end
            tokens = tuple(ids[:-1] if complete else ids)
            yield Caption(
                text=self._codec.decode(tokens).strip(),
                raw=self._codec.decode(tokens, skip_special=False),
                lang="",
                style=name,
                mentions=(),
                tokens=tokens,
                scores=(),
                score=0.0,
                complete=complete,
                malformed=0,
            )

    def encode(self, image: np.ndarray) -> None:
        """The image's side alone, for timing: uint8 [1,h,w,3]."""
        import torch

        function = self.adapter.functions()[0]
        with torch.no_grad():
            function.module(torch.from_numpy(image))
