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
from transformers import AutoProcessor, AutoTokenizer

from edgecap.core.errors import UnsupportedError, one_line
from edgecap.models import translate
from edgecap.models.base import Build, from_weights
from edgecap.models.captioner import CaptionerBase
from edgecap.models.checkpoint import Checkpoint
from edgecap.models.generation import Generation, generation, ids_of
from edgecap.models.rows import Pair, cache, causal_mask, new_rows, step_mask


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
        super().__init__(checkpoint, text_rows, build)

    def chat(self) -> tuple[Any, str]:
        """The tokenizer, and its chat template around one image and the prompt."""
        directory = self.checkpoint.directory
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        template, files = tokenizer.chat_template, translate.Checkpoint(directory)
        # Where processors kept theirs before they shared chat_template.jinja with tokenizers; they
        # still look there first.
        for name in ("chat_template.json", "processor_config.json"):
            template = (files.optional(name) or {}).get("chat_template") or template
        if not isinstance(template, str):
            raise UnsupportedError("model.prompt", f"{directory} has no chat template.")
        content = [{"type": "image"}, {"type": "text", "text": self.prompt}]
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=template,
            add_generation_prompt=True,
            tokenize=False,
        )
        return tokenizer, text

    def write(self, image_token: int | None, text: str | None = None, **settings: Any) -> None:
        """Let the family's processor write the prompt for an image of the size that is exported.

        `image_token` stands for rows of the image; None: the processor places them. `text`: what
        stands around the image; None: the prompt itself.
        """
        height, width = self.image_size
        blank = Image.new("RGB", (width, height))
        writer = AutoProcessor.from_pretrained(self.checkpoint.directory, local_files_only=True)
        try:
            written = writer(images=[blank], text=[text or self.prompt], **settings)
        except ValueError as error:
            raise UnsupportedError(
                "model.prompt", f"the prompt {self.prompt!r} is not possible: {one_line(error)}"
            ) from None
        ids = list(written["input_ids"][0])
        if image_token is None:
            self.set_prompt(
                ids, [bool(image) for image in written["image_embeds_position_mask"][0]]
            )
        else:
            self.set_prompt(ids, [token == image_token for token in ids])

    def set_prompt(self, ids: list[int], is_image: list[bool]) -> None:
        """Take `ids` as the prompt; `is_image` marks those that stand for rows of the image."""
        self.ids = ids
        self.first, self.count = (is_image.index(True), sum(is_image)) if any(is_image) else (0, 0)
        if not self.count or not all(is_image[self.first : self.first + self.count]):
            raise UnsupportedError(
                "model.prompt", f"the prompt {self.prompt!r} must hold one image, in one piece."
            )

    def spliced(self, embed: Callable[[Tensor], Tensor], features: Tensor, end: int) -> Tensor:
        """The prompt up to token `end` as embeddings [B,n,D], features [B,N,D] in their place."""

        def constant(ids: list[int]) -> Tensor:
            return embed(torch.tensor(ids)[None]).expand(features.shape[0], -1, -1)  # [B,n,D]

        behind = self.first + self.count
        parts = [constant(self.ids[: self.first])] if self.first else []
        parts += [features]
        parts += [constant(self.ids[behind:end])] if behind < end else []
        return torch.cat(parts, 1)


class PrefixBase(PromptedBase):
    """A language model that reads image and prompt before the caption, in one sequence.

    A family whose tokens look back alone defines `features`; others encode and step on their own.
    """

    first_position = 0  # of the sequence, as the model counts

    def features(self, pixels: Tensor) -> Tensor:
        """The image's rows [B,N,D] in the language model, for pixels [B,3,h,w]."""
        raise NotImplementedError

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """The prompt's rows, but for its last token's, through the language model."""
        language = self.model.model.language_model
        x = self.spliced(language.get_input_embeddings(), self.features(pixels), self.image_rows)
        return self.prefix(language, x, causal_mask(self.image_rows))

    def step(
        self, token: Tensor, position: Tensor, image: list[Pair], text: list[Pair]
    ) -> tuple[Tensor, list[Pair]]:
        """One token behind image and text."""
        mask = step_mask(position, self.text_rows, self.image_rows)
        x, rows = self.follow(self.model.model.language_model, token, position, mask, image, text)
        return self.model.lm_head(x)[:, 0], rows

    def begin(self) -> None:
        """Rows and first token, once the prompt is written."""
        self.image_rows = len(self.ids) - 1
        self.first_token = self.ids[-1]
        if self.first + self.count > self.image_rows:
            raise UnsupportedError(
                "model.prompt", f"the prompt {self.prompt!r} must have a word behind the image."
            )

    @property
    def before(self) -> list[int]:
        """The ids of the prompt but for its last, one per row of the image."""
        return self.ids[:-1]

    def continued(self, settings: Any, text: Any) -> Generation:
        """How a caption is generated behind the prompt, by a GenerationConfig.

        `text` is the configuration of the language model, for the ids that `settings` leaves out.
        """
        end = ids_of(settings.eos_token_id, text.eos_token_id)
        return generation(
            settings.to_dict(),
            {"caption": (self.first_token,)},
            end=end,
            pad=ids_of(settings.pad_token_id, text.pad_token_id, end)[0],
            prefix=tuple(self.before),
        )

    def whole(self, prompt: list[int]) -> Tensor:
        """The ids [1,n] that transformers' generate wants for `prompt`."""
        return torch.tensor([[*self.ids[:-1], *prompt]])

    def prefix(self, language: Any, x: Tensor, mask: Any) -> list[Pair]:
        """The rows of embeddings x [B,n,D] in every layer of a model like Llama's."""
        rows = cache(self.layers)
        language(
            inputs_embeds=x,
            attention_mask=mask,
            position_ids=self.places(x.shape[1]).to(x.device),
            past_key_values=rows,
        )
        return new_rows(rows)

    def places(self, rows: int) -> Tensor:
        """Where the first `rows` of the prefix stand, as the model counts: [1,n]."""
        return (torch.arange(rows) + self.first_position)[None]

    def follow(
        self,
        language: Any,
        token: Tensor,
        position: Tensor,
        mask: Any,
        *past: list[Pair],
        length: Tensor | None = None,
    ) -> tuple[Tensor, list[Pair]]:
        """The last state [B,1,D] of token [B,1] behind `past`, and its rows.

        `length` [B]: how many of the image's rows count; None: all of them.
        """
        rows = cache(self.layers, *past)
        before = self.image_rows if length is None else length
        places = (position + before + self.first_position)[:, None]  # [B,1]
        x = language(
            input_ids=token, attention_mask=mask, position_ids=places, past_key_values=rows
        )
        return x.last_hidden_state, new_rows(rows)
