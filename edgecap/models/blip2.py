"""BLIP-2 (arXiv 2301.12597) with OPT: a ViT, a Q-Former's queries, a causal language model.

The queries' rows stand before the first token, which is OPT's `</s>` where there is no prompt.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs, tied
from edgecap.models.prompted import PrefixBase
from edgecap.models.rows import Pair, causal_mask, step_mask

VISION = {"layer_norm1": ("self_attn.qkv",), "layer_norm2": ("mlp.fc1",)}
OPT = {
    "self_attn_layer_norm": tuple(f"self_attn.{x}_proj" for x in "qkv"),
    "final_layer_norm": ("fc1",),
}


class Blip2(PrefixBase):
    """Blip2ForConditionalGeneration."""

    name = "blip-2"
    default_prompt = ""

    def describe(self) -> None:
        """Sizes, prompt and what to keep from rounding."""
        config = self.model.config
        text, vision = config.text_config, config.vision_config
        self.check_part(text.model_type, ("opt",))
        self.image_size = (vision.image_size, vision.image_size)
        if self.prompt:
            self.write(config.image_token_id)
        else:  # what `generate` begins with where it is given no words
            ids = [config.image_token_id] * config.num_query_tokens + [text.bos_token_id]
            self.set_prompt(ids, [token == config.image_token_id for token in ids])
        self.begin()
        self.layers, self.kv_heads = text.num_hidden_layers, text.num_attention_heads
        self.head_width = text.hidden_size // text.num_attention_heads
        self.vocabulary = text.vocab_size
        self.positions = text.max_position_embeddings - self.image_rows
        settings = self.generator().generation_config
        self.generation = self.continued(settings, text)
        self.quant = QuantSpec(
            keep={"*.patch_embedding": Keep("weights", "sees raw pixels")},
            # OPT can put its norms behind its layers; then nobody reads them alone.
            smoothing=norm_pairs(self.model, VISION | (OPT if text.do_layer_norm_before else {})),
            tied=tied(self.model),
        )

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """The queries' and the prompt's rows, but for its last token, through OPT."""
        model, language = self.model, self.model.language_model.model.decoder
        patches = model.vision_model(pixels).last_hidden_state  # [B,patches,Dv]
        # Without the mask that `get_image_features` gives: nothing is padded.
        queries = model.qformer(
            query_embeds=model.query_tokens.expand(pixels.shape[0], -1, -1),
            encoder_hidden_states=patches,
        ).last_hidden_state
        features = model.language_projection(queries)  # [B,N,D]
        x = self.spliced(language.embed_tokens, features, self.image_rows)  # [B,P,D]
        return self.prefix(language, x, causal_mask(self.image_rows))

    def step(
        self, token: Tensor, position: Tensor, image: list[Pair], text: list[Pair]
    ) -> tuple[Tensor, list[Pair]]:
        """One token behind image and text."""
        language, mask = (
            self.model.language_model,
            step_mask(position, self.text_rows, self.image_rows),
        )
        x, rows = self.follow(language.model.decoder, token, position, mask, image, text)
        return language.lm_head(x)[:, 0], rows

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """The prompt goes on where the fixed one ends."""
        ids = self.whole(prompt)  # [1,n]
        made = self.model.generate(
            pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids), **settings
        )
        return made[:, ids.shape[1] :]

    def generator(self) -> Any:
        """BLIP-2's generate calls that of its language model."""
        return self.model.language_model
