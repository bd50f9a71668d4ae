"""Captioners of transformers in the terms of contract 2, and transformers' own answers.

A family defines two things: which rows its encoder makes of an image (`encode_image`), and what one
token makes of these and of the rows before it (`step`). `Encode` and `Decode` turn that into the
flat lists of tensors of the contract.

Letters: B batch, P image rows, T text rows, L layers, G key/value heads, Dh head width,
V vocabulary, h and w the image's height and width in px.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from edgecap.bundle.interface import (
    DECODE,
    ENCODE,
    Interface,
    StateEntry,
    captioner,
)
from edgecap.core.errors import UnsupportedError
from edgecap.models.adapter import Limits
from edgecap.models.base import Base, Build, Normalize, from_weights
from edgecap.models.checkpoint import Checkpoint
from edgecap.models.generation import Generation
from edgecap.models.rows import Pair
from edgecap.runtime.image_processing import ModelInput


class CaptionerBase(Base):
    """An adapter of a captioner: a family gives `describe`, `encode_image`, `step`, `generate`."""

    # Set by `describe`, besides `image_size`.
    layers: int
    kv_heads: int  # G
    head_width: int  # Dh
    image_rows: int  # P
    vocabulary: int  # V
    positions: int  # what the text may reach
    generation: Generation

    def __init__(
        self, checkpoint: Checkpoint, text_rows: int | None = None, build: Build = from_weights
    ) -> None:
        super().__init__(checkpoint, build)
        part = self.generator()
        if part is not self.model:  # which transformers leaves without generation_config.json
            settings = part.generation_config.to_dict()
            self.generation = replace(self.generation, settings=settings)
        self.text_rows = self._text_rows(text_rows)
        self.interface = self._interface()

    # ------------------------------------------------------- what a family defines

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """The image rows of every layer, for pixels [B,3,h,w]."""
        raise NotImplementedError

    def step(
        self, token: Tensor, position: Tensor, image: list[Pair], text: list[Pair]
    ) -> tuple[Tensor, list[Pair]]:
        """Logits [B,V] and the new rows of every layer, for token [B,1] at position [B]."""
        raise NotImplementedError

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """The ids [1,N] behind `prompt`, by the model's own generate."""
        raise NotImplementedError

    def answer(self, image: ModelInput, prompt: list[int], **settings: Any) -> Tensor:
        """`generate` for one image; a family of several crops looks at their grid."""
        return self.generate(self.pixels(image.pixels), prompt, **settings)

    def generator(self) -> Any:
        """The part of the model whose generation_config `generate` reads."""
        return self.model

    # --------------------------------------------------------------- the adapter

    def reference(
        self, images: Sequence[ModelInput], prompt: tuple[int, ...], limits: Limits
    ) -> list[list[int]]:
        """What transformers' own generate answers for images."""
        settings: dict[str, Any] = {"max_new_tokens": limits.new_tokens, "use_cache": limits.cache}
        if limits.banned:
            settings["suppress_tokens"] = list(limits.banned)
        answers = []
        with torch.no_grad(), self._settings(limits.shipped):
            for image in images:
                ids = self.answer(image, list(prompt), **settings)[0].tolist()
                ends = [i for i, token in enumerate(ids) if token in self.generation.end]
                answers.append(ids[: ends[0] + 1] if ends else ids)
        return answers

    @contextmanager
    def _settings(self, shipped: bool) -> Iterator[None]:
        """Generation as the checkpoint ships it, or plain: without its beams and forced tokens."""
        generator = self.generator()
        before = generator.generation_config
        if not shipped:
            generator.generation_config = GenerationConfig(
                bos_token_id=before.bos_token_id,
                eos_token_id=list(self.generation.end),
                pad_token_id=self.generation.pad,
                decoder_start_token_id=before.decoder_start_token_id,
            )
        try:
            yield
        finally:
            generator.generation_config = before

    def _modules(self) -> dict[str, nn.Module]:
        return {ENCODE: Encode(self), DECODE: Decode(self)}

    def _text_rows(self, requested: int | None) -> int:
        longest = max(len(prompt) for prompt in self.generation.prompts.values())
        most = min(longest + self.generation.max_tokens, self.positions)
        rows = most if requested is None else requested
        if not longest < rows <= self.positions:
            raise UnsupportedError(
                "model.text_rows",
                f"{rows} text rows are not possible: the longest prompt takes {longest}, "
                f"and {self.source} has positions for {self.positions}.",
            )
        return rows

    def _interface(self) -> Interface:
        height, width = self.image_size
        dims = {"h": height, "w": width, "P": self.image_rows, "T": self.text_rows}
        dims |= {"G": self.kv_heads, "Dh": self.head_width, "V": self.vocabulary}
        state = [
            StateEntry(f"{role}_{kind}_{i}", role, kind, i, ("B", "G", rows, "Dh"), "float32")
            for role, rows in (("image", "P"), ("text", "T"))
            for i in range(self.layers)
            for kind in ("key", "value")
        ]
        return captioner(dims, state)


def flat(rows: Sequence[Pair]) -> list[Tensor]:
    """Key and value of every layer, in the order of the interface."""
    return [tensor for pair in rows for tensor in pair]


def paired(tensors: Sequence[Tensor]) -> list[Pair]:
    """The inverse of `flat`."""
    return list(zip(tensors[0::2], tensors[1::2], strict=True))


class Encode(nn.Module):
    """image uint8 [B,h,w,3] to the image rows of every layer."""

    def __init__(self, adapter: CaptionerBase) -> None:
        super().__init__()
        self.model = adapter.model
        self.normalize = Normalize(adapter.scaling)
        self.adapter = adapter

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The state of role image."""
        with self.adapter.attention.own():
            return tuple(flat(self.adapter.encode_image(self.normalize(image))))


class Decode(nn.Module):
    """token [B,1], position [B], state to logits [B,V] and a new row for every text entry."""

    def __init__(self, adapter: CaptionerBase) -> None:
        super().__init__()
        self.model = adapter.model
        self.adapter = adapter

    def forward(self, token: Tensor, position: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """One step."""
        middle, end = 2 * self.adapter.layers, 4 * self.adapter.layers
        image, text = paired(state[:middle]), paired(state[middle:end])
        with self.adapter.attention.own():
            logits, new = self.adapter.step(token, position, image, text, *state[end:])
        return (logits, *flat(new))
