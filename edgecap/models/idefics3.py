"""Idefics3 (arXiv 2408.12637) and SmolVLM (arXiv 2504.05299): a SigLIP ViT, a Llama behind it.

The image is cut into crops as its image processor does, or is one with `do_image_splitting` off.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs, tied
from edgecap.models.clip import SMOOTHING
from edgecap.models.crops import CropsBase
from edgecap.models.rows import Pair, step_mask
from edgecap.runtime.image_processing import ModelInput

# Of Llama's and Gemma's layers.
DECODER_SMOOTHING = {
    "input_layernorm": tuple(f"self_attn.{x}_proj" for x in "qkv"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}


class Idefics3(CropsBase):
    """Idefics3ForConditionalGeneration and SmolVLMForConditionalGeneration."""

    name = "idefics3"
    default_prompt = "Describe this image."

    def describe(self) -> None:
        """Sizes, prompt and what to keep from rounding."""
        config = self.model.config
        text, vision, settings = (
            config.text_config,
            config.vision_config,
            self.model.generation_config,
        )
        self.image_size = (vision.image_size, vision.image_size)
        side = vision.image_size // vision.patch_size
        self._template(side * side // config.scale_factor**2)
        self.layers, self.kv_heads = text.num_hidden_layers, text.num_key_value_heads
        self.head_width = text.head_dim
        self.vocabulary = text.vocab_size
        self.positions = text.max_position_embeddings - self.image_rows
        self.generation = self.continued(settings, text)
        self.patches = _patch_places(side)
        self.quant = QuantSpec(
            keep={"*.patch_embedding": Keep("weights", "sees raw pixels")},
            smoothing=norm_pairs(self.model, {**SMOOTHING, **DECODER_SMOOTHING}),
            tied=tied(self.model),
        )

    def _template(self, rows: int) -> None:
        """The chat template around one image, as the processor writes it for every grid."""
        tokenizer, text = self.chat()
        marks = ("<fake_token_around_image>", "<image>", "<global-img>")
        prompts = {}
        for grid in self.grids:
            image = get_image_prompt_string(*grid, rows, *marks)
            words = text.replace("<image>", image)
            prompts[grid] = list(tokenizer(words, add_special_tokens=False)["input_ids"])
        self.lay_out(prompts, self.model.config.image_token_id, rows)

    def language(self) -> Any:
        """A Llama."""
        return self.model.model.text_model

    def features(self, pixels: Tensor) -> Tensor:
        """A crop's patches, several at a time folded into one row."""
        model = self.model.model
        vision, parts = model.vision_model, model.vision_model.embeddings
        x = parts.patch_embedding(pixels).flatten(2).transpose(1, 2)  # [B,patches,Dv]
        x = x + parts.position_embedding(self.patches)
        x = vision.post_layernorm(vision.encoder(inputs_embeds=x).last_hidden_state)
        return model.connector(x)  # [B,F,D]

    def step(
        self,
        token: Tensor,
        position: Tensor,
        image: list[Pair],
        text: list[Pair],
        length: Tensor | None = None,
    ) -> tuple[Tensor, list[Pair]]:
        """One token behind image and text."""
        mask = step_mask(position, self.text_rows, self.image_rows, length)
        language = self.language()
        x, rows = self.follow(language, token, position, mask, image, text, length=length)
        return self.model.lm_head(x)[:, 0], rows

    def answer(self, image: ModelInput, prompt: list[int], **settings: Any) -> Tensor:
        """The prompt goes on where the one of the image's grid ends."""
        ids = torch.tensor([[*self.prompts[image.grid][:-1], *prompt]])  # [1,n]
        made = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=self.pixels(image.pixels)[None],  # [1,crops,3,h,w]
            **settings,
        )
        return made[:, ids.shape[1] :]


def _patch_places(side: int) -> Tensor:
    """Rows of the position table for a crop without padding: int [side * side].

    The model finds them by fractions of the image (`bucketize`), which rounding keeps from being
    0, 1, 2, … for some sizes; coremltools cannot convert it, and for whole crops it is constant.
    """
    place = torch.clamp(torch.arange(side, dtype=torch.float32) * (1.0 / side), max=1 - 1e-6)
    edges = torch.arange(1 / side, 1.0, 1 / side)
    place = torch.bucketize(place, edges, right=True)  # [side]
    return (place[:, None] * side + place).flatten()
