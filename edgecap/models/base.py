"""What all families share: loading, the modules to export, and transformers' own answers.

A captioner says two things: which rows its encoder makes of an image (`see`), and what one token
makes of these and of the rows before it (`step`). `Encode` and `Decode` turn that into the flat
lists of tensors of contract 2.

Letters: B batch, P image rows, T text rows, L layers, G key/value heads, Dh head width,
V vocabulary, h and w the image's height and width in px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoImageProcessor, GenerationConfig, PreTrainedModel

from edgecap.bundle.interface import (
    DECODE,
    ENCODE,
    AttentionGrid,
    Interface,
    StateEntry,
    captioner,
)
from edgecap.core.errors import UnsupportedError
from edgecap.models.adapter import GraphFunction, Limits, QuantSpec
from edgecap.models.checkpoint import Checkpoint
from edgecap.models.generation import Generation
from edgecap.models.images import Scaling, scaling_of
from edgecap.models.rows import Attention, Pair

Build = Callable[[type[PreTrainedModel], Checkpoint], PreTrainedModel]


def from_weights(model: type[PreTrainedModel], checkpoint: Checkpoint) -> PreTrainedModel:
    """The model with its weights, float32."""
    return model.from_pretrained(
        checkpoint.directory,
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )


class Normalize(nn.Module):
    """uint8 [B,h,w,3] to float32 [B,3,h,w], scaled as the model wants it."""

    scale: Tensor
    offset: Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scaling.scale))  # [3]
        self.register_buffer("offset", torch.tensor(scaling.offset))  # [3]

    def forward(self, image: Tensor) -> Tensor:
        """Scale bytes and put the channels first."""
        pixels = image.to(torch.float32) * self.scale + self.offset  # [B,h,w,3]
        return pixels.permute(0, 3, 1, 2)  # [B,3,h,w]


class CaptionerBase:
    """An adapter of a model of transformers; see `Adapter` for what its attributes mean."""

    name: ClassVar[str]
    written_out: ClassVar[str | None] = None  # suffix of layers whose attention is written out
    quant: QuantSpec = QuantSpec()

    # Set by `describe`.
    layers: int
    kv_heads: int  # G
    head_width: int  # Dh
    image_rows: int  # P
    vocabulary: int  # V
    positions: int  # what the text may reach
    image_size: tuple[int, int]  # h, w
    generation: Generation
    grid: AttentionGrid | None = None

    def __init__(
        self, checkpoint: Checkpoint, text_rows: int | None = None, build: Build = from_weights
    ) -> None:
        self.checkpoint = checkpoint
        self.source = checkpoint.source
        self.license = str(checkpoint.config.get("license") or "unknown")
        assert checkpoint.architecture is not None
        self.model = build(getattr(transformers, checkpoint.architecture), checkpoint).eval()
        self.processor = AutoImageProcessor.from_pretrained(
            checkpoint.directory, backend="pil", local_files_only=True
        )
        self.describe()
        self.scaling = scaling_of(self.processor, *self.image_size)
        self.attention = Attention(
            self.model,
            [
                layer
                for path, layer in self.model.named_modules()
                if self.written_out is not None and path.endswith(self.written_out)
            ],
        )
        self.text_rows = self._text_rows(text_rows)
        self.interface = self._interface()

    # ------------------------------------------------------- what a family says

    def describe(self) -> None:
        """Set the attributes above from `self.model.config`."""
        raise NotImplementedError

    def see(self, pixels: Tensor) -> list[Pair]:
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

    def generator(self) -> Any:
        """The part of the model whose generation_config `generate` reads."""
        return self.model

    # --------------------------------------------------------------- the adapter

    def functions(self) -> tuple[GraphFunction, ...]:
        """encode and decode."""
        modules: dict[str, nn.Module] = {ENCODE: Encode(self), DECODE: Decode(self)}
        return tuple(
            GraphFunction(spec.name, modules[spec.name].eval(), spec.inputs, spec.outputs)
            for spec in self.interface.functions
        )

    def reference(
        self, images: np.ndarray, prompt: tuple[int, ...], limits: Limits
    ) -> list[list[int]]:
        """What transformers' own generate answers for uint8 images [N,h,w,3]."""
        settings: dict[str, Any] = {"max_new_tokens": limits.new_tokens, "use_cache": limits.cache}
        if limits.banned:
            settings["suppress_tokens"] = list(limits.banned)
        answers = []
        with torch.no_grad(), self._settings(limits.shipped):
            for image in images:
                pixels = self.pixels(image[None])
                ids = self.generate(pixels, list(prompt), **settings)[0].tolist()
                ends = [i for i, token in enumerate(ids) if token in self.generation.end]
                answers.append(ids[: ends[0] + 1] if ends else ids)
        return answers

    def pixels(self, images: np.ndarray) -> Tensor:
        """What the model sees of uint8 [N,h,w,3]: [N,3,h,w]."""
        return Normalize(self.scaling)(torch.from_numpy(images))

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

    def _text_rows(self, asked: int | None) -> int:
        longest = max(len(prompt) for prompt in self.generation.prompts.values())
        rows = asked or min(longest + self.generation.max_tokens, self.positions)
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
        return captioner(dims, state, attention=None)


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
            return tuple(flat(self.adapter.see(self.normalize(image))))


class Decode(nn.Module):
    """token [B,1], position [B], state to logits [B,V] and a new row for every text entry."""

    def __init__(self, adapter: CaptionerBase) -> None:
        super().__init__()
        self.model = adapter.model
        self.adapter = adapter

    def forward(self, token: Tensor, position: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """One step."""
        middle = 2 * self.adapter.layers
        image, text = paired(state[:middle]), paired(state[middle:])
        with self.adapter.attention.own():
            logits, new = self.adapter.step(token, position, image, text)
        return (logits, *flat(new))
