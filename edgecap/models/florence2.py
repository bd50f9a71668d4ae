"""Florence-2 (arXiv 2311.06242): a DaViT and a BART whose encoder reads image and task together.

transformers' own classes only (florence-community); the first checkpoints bring code of their own
and name their weights differently.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgecap.models import bart
from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import tied
from edgecap.models.generation import generation, start_of
from edgecap.models.prompted import PromptedBase
from edgecap.models.rows import Pair, alone, crossed, new_rows, recording, step_mask

# Tasks that write corners of quadrilaterals and polygons, which are not boxes.
OUTLINES = (
    "<OCR_WITH_REGION>",
    "<REFERRING_EXPRESSION_SEGMENTATION>",
    "<REGION_TO_SEGMENTATION>",
)


class Florence2(PromptedBase):
    """Florence2ForConditionalGeneration, one task per export."""

    name = "florence2"
    regions: str | None = "loc1000"
    default_prompt = "<CAPTION>"

    def describe(self) -> None:
        """Sizes, task and what to keep from rounding."""
        config = self.model.config
        text, settings = config.text_config, self.model.generation_config
        size = self.processor.crop_size if self.processor.do_center_crop else self.processor.size
        self.image_size = (size["height"], size["width"])
        self.write(config.image_token_id)
        if any(task in self.prompt for task in OUTLINES):
            self.regions = None  # their text keeps the places as the model writes them
        self.layers, self.kv_heads = text.decoder_layers, text.decoder_attention_heads
        self.head_width = text.d_model // text.decoder_attention_heads
        self.image_rows = len(self.ids)
        self.vocabulary, self.positions = text.vocab_size, text.max_position_embeddings
        self.generation = generation(
            settings.to_dict(),
            {"caption": start_of(settings, text.decoder_start_token_id)},
            end=(text.eos_token_id,),
            pad=text.pad_token_id,
        )
        self.quant = QuantSpec(
            keep={
                "model.vision_tower.convs.0.conv": Keep("weights", "sees raw pixels"),
                "*.embed_positions": Keep("float", "a small table"),
            },
            tied=tied(self.model),
        )

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """What cross-attention makes of the encoder's rows of image and task."""
        model = self.model.model
        features = model.get_image_features(pixel_values=pixels).pooler_output  # [B,N,D]
        x = self.spliced(model.get_input_embeddings(), features, len(self.ids))  # [B,P,D]
        encoded = model.language_model.encoder(inputs_embeds=x).last_hidden_state  # [B,P,D]
        rows = recording(self.layers)
        token = torch.zeros_like(encoded[:, :1, 0], dtype=torch.int32)  # [B,1]
        model.language_model.decoder(
            input_ids=token,
            attention_mask=alone(encoded),
            encoder_hidden_states=encoded,
            past_key_values=rows,
        )
        return new_rows(rows.cross_attention_cache)

    def step(
        self, token: Tensor, position: Tensor, image: list[Pair], text: list[Pair]
    ) -> tuple[Tensor, list[Pair]]:
        """One forward of the decoder."""
        rows, decoder = crossed(text, image), self.model.model.language_model.decoder
        mask = step_mask(position, self.text_rows)
        x = bart.decode(decoder, token, position, mask, image[0][0][:, 0], rows)  # [B,1,D]
        return self.model.lm_head(x)[:, 0], new_rows(rows.self_attention_cache)

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """The prompt is what the decoder starts with; the task is the encoder's."""
        ids = self.model.generate(
            input_ids=torch.tensor([self.ids]),
            pixel_values=pixels,
            decoder_input_ids=torch.tensor([prompt]),
            **settings,
        )
        return ids[:, len(prompt) :]
