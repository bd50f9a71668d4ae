"""Captioners whose image stands inside a prompt of tokens, fixed when they are exported.

The family's own processor writes the prompt; its tokens before and behind the image are constants
of encode. Where the prompt goes on into the caption, its last token is not among them: it is the
first one fed to decode, so that encode needs no logits.

Letters: B batch, N rows of image features, D width, n tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoProcessor

from edgecap.core.errors import UnsupportedError
from edgecap.models.base import Build, from_weights
from edgecap.models.captioner import CaptionerBase
from edgecap.models.checkpoint import Checkpoint


class PromptedBase(CaptionerBase):
    """A captioner with a prompt around its image."""

    default_prompt: ClassVar[str]  # as its users write it
    ids: list[int]  # the whole prompt, image tokens included; set by `write`
    first: int  # where the image tokens begin
    count: int  # N

    def __init__(
        self,
        checkpoint: Checkpoint,
        text_rows: int | None = None,
        prompt: str | None = None,
        build: Build = from_weights,
    ) -> None:
        self.prompt = self.default_prompt if prompt is None else prompt
        self.writer = AutoProcessor.from_pretrained(checkpoint.directory, local_files_only=True)
        super().__init__(checkpoint, text_rows, build)

    def write(self, image_token: int, **settings: Any) -> None:
        """Let the family's processor write the prompt for an image of the size that is exported."""
        height, width = self.image_size
        blank = Image.new("RGB", (width, height))
        self.ids = list(self.writer(images=blank, text=self.prompt, **settings)["input_ids"][0])
        places = [place for place, token in enumerate(self.ids) if token == image_token]
        if not places or places != list(range(places[0], places[-1] + 1)):
            raise UnsupportedError(
                "model.prompt",
                f"the prompt {self.prompt!r} must hold the image once, in one piece.",
            )
        self.first, self.count = places[0], len(places)

    def spliced(self, embed: Callable[[Tensor], Tensor], features: Tensor, end: int) -> Tensor:
        """The prompt up to token `end` as embeddings [B,n,D], features [B,N,D] in their place."""

        def constant(ids: list[int]) -> Tensor:
            return embed(torch.tensor(ids)[None]).expand(features.shape[0], -1, -1)  # [B,n,D]

        behind = self.first + self.count
        parts = [constant(self.ids[: self.first])] if self.first else []
        parts += [features]
        parts += [constant(self.ids[behind:end])] if behind < end else []
        return torch.cat(parts, 1)
