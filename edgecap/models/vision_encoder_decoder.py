"""VisionEncoderDecoder: an image encoder and a text decoder of other families, cross-attending.

ViT-GPT2 captions; TrOCR (arXiv 2109.10282) and Donut (arXiv 2111.15664) read text.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgecap.core.errors import UnsupportedError
from edgecap.models import bart
from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs, tied
from edgecap.models.captioner import CaptionerBase
from edgecap.models.generation import generation, ids_of, start_of
from edgecap.models.rows import Pair, alone, crossed, new_rows, recording, step_mask

# Rows besides the patches: a class token, and DeiT's distillation token.
ENCODERS = {"vit": 1, "deit": 2, "donut-swin": 0, "swin": 0}
ENCODER_SMOOTHING = {
    "layernorm_before": tuple(f"attention.{x}_proj" for x in "qkv"),
    "layernorm_after": ("mlp.fc1",),
}
# Of each decoder that is known. TrOCR's norms stand behind the sums that others read too.
SMOOTHING: dict[str, dict[str, tuple[str, ...]]] = {
    "gpt2": {
        "ln_1": ("attn.c_attn",),
        "ln_2": ("mlp.c_fc",),
        "ln_cross_attn": ("crossattention.q_attn",),
    },
    "mbart": {
        "self_attn_layer_norm": tuple(f"self_attn.{x}_proj" for x in "qkv"),
        "encoder_attn_layer_norm": ("encoder_attn.q_proj",),
        "final_layer_norm": ("fc1",),
    },
    "trocr": {},
}


class VisionEncoderDecoder(CaptionerBase):
    """VisionEncoderDecoderModel of an encoder and a decoder above."""

    name = "vision-encoder-decoder"

    def describe(self) -> None:
        """Sizes of both parts; UnsupportedError for parts that are not known."""
        model = self.model
        seeing, text = model.config.encoder, model.config.decoder
        self.check_part(seeing.model_type, tuple(ENCODERS))
        self.check_part(text.model_type, tuple(SMOOTHING))
        # mBART's plain names speak of its encoder, which is not here.
        self.layers = getattr(text, "decoder_layers", text.num_hidden_layers)
        self.kv_heads = getattr(text, "decoder_attention_heads", text.num_attention_heads)
        self.head_width = text.hidden_size // self.kv_heads
        self.vocabulary, self.positions = text.vocab_size, text.max_position_embeddings
        self.image_size, self.image_rows = _rows(seeing)
        # TrOCR writes its attention out, and its text rows are few enough to copy.
        self.joined = text.model_type == "trocr"
        if self.joined and not text.use_learned_position_embeddings:
            # transformers makes this table while loading without memory, and forgets to fill it.
            table = model.decoder.model.decoder.embed_positions
            rows = text.max_position_embeddings + text.pad_token_id + 1
            table.weights = table.get_embedding(rows, text.hidden_size, text.pad_token_id)
        settings = model.generation_config
        # TrOCR's config.json on the hub names none of its own.
        named = getattr(model.config, "decoder_start_token_id", None)
        end = ids_of(settings.eos_token_id, text.eos_token_id)
        self.generation = generation(
            settings.to_dict(),
            {"caption": start_of(settings, named, text.bos_token_id)},
            end=end,
            pad=ids_of(settings.pad_token_id, text.pad_token_id, end)[0],
        )
        self.quant = QuantSpec(
            keep={
                "*.patch_embeddings.projection": Keep("weights", "sees raw pixels"),
                "*.wpe" if text.model_type == "gpt2" else "*.embed_positions": Keep(
                    "float", "a small table"
                ),
            },
            smoothing=(
                *norm_pairs(model.encoder, ENCODER_SMOOTHING, "encoder."),
                *norm_pairs(model.decoder, SMOOTHING[text.model_type], "decoder."),
            ),
            tied=tied(model),
        )

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """What cross-attention makes of the encoder's rows, recorded in a step on unused words."""
        model = self.model
        features = model.encoder(pixel_values=pixels).last_hidden_state  # [B,P,D]
        if hasattr(model, "enc_to_dec_proj"):
            features = model.enc_to_dec_proj(features)
        rows = recording(self.layers)
        token = torch.zeros_like(features[:, :1, 0], dtype=torch.int32)  # [B,1]
        model.decoder(
            input_ids=token,
            attention_mask=alone(features),
            encoder_hidden_states=features,
            past_key_values=rows,
        )
        return new_rows(rows.cross_attention_cache)

    def step(
        self, token: Tensor, position: Tensor, image: list[Pair], text: list[Pair]
    ) -> tuple[Tensor, list[Pair]]:
        """One forward of the decoder."""
        decoder = self.model.decoder
        rows = crossed(text, image, joined=self.joined)
        mask = step_mask(position, self.text_rows)
        # Asks for cross-attention; its rows are there already, so only the shape is looked at.
        features = image[0][0][:, 0]  # [B,P,Dh]
        if decoder.config.model_type == "gpt2":
            x = decoder.transformer(
                input_ids=token,
                attention_mask=mask,
                position_ids=position[:, None],
                encoder_hidden_states=features,
                past_key_values=rows,
            ).last_hidden_state
            logits = decoder.lm_head(x)
        else:
            x = bart.decode(decoder.model.decoder, token, position, mask, features, rows)
            logits = decoder.get_output_embeddings()(x)
        return logits[:, 0], new_rows(rows.self_attention_cache)

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """The prompt is what the decoder starts with."""
        ids = torch.tensor([prompt])  # [1,N]
        return self.model.generate(pixel_values=pixels, decoder_input_ids=ids, **settings)[
            :, len(prompt) :
        ]


def _rows(config: Any) -> tuple[tuple[int, int], int]:
    """Height and width in px, and how many rows the encoder gives."""
    size, patch = config.image_size, config.patch_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    if config.model_type.endswith("swin"):  # every stage but the first halves both sides
        patch *= 2 ** (len(config.depths) - 1)
    if height % patch or width % patch:
        raise UnsupportedError(
            "model.image_size", f"{height}x{width} px are not whole patches of {patch} px."
        )
    return (height, width), (height // patch) * (width // patch) + ENCODERS[config.model_type]
