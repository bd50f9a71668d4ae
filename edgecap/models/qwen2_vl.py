"""Qwen2-VL (arXiv 2409.12191): a ViT that takes any size, a Qwen2 whose positions have three axes.

transformers' image encoder reads all images as one sequence, which it splits again for attention;
here images have an axis of their own.

Letters: B batch, p patches of an image, N rows of image features (patches merged four by four),
H attention heads, Dh head width, D width, h and w the image's height and width in px.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_position_ids

from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs, tied
from edgecap.models.idefics3 import DECODER_SMOOTHING
from edgecap.models.rows import attend
from edgecap.models.sized import SizedBase


def _attention(
    layer: Any,
    hidden_states: Tensor,
    cu_seqlens: int,
    position_embeddings: tuple[Tensor, Tensor],
    **kwargs: Any,
) -> Tensor:
    """The attention of an image layer: [B,p,D].

    In the place of the bounds `cu_seqlens`: how many patches, from the first on, see each other.
    """
    B, p, D = hidden_states.shape
    heads = layer.qkv(hidden_states).view(B, p, 3, layer.num_heads, -1)
    query, key, value = heads.permute(2, 0, 1, 3, 4).unbind(0)  # [B,p,H,Dh]
    query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
    query, key, value = (
        part.reshape(-1, cu_seqlens, *part.shape[2:]).transpose(1, 2)  # [B*windows,H,seen,Dh]
        for part in (query, key, value)
    )
    attended, _ = attend(layer, query, key, value, None)  # [B*windows,seen,H,Dh]
    return layer.proj(attended.view(B, p, D))


class Qwen2VL(SizedBase):
    """Qwen2VLForConditionalGeneration."""

    name = "qwen2_vl"
    default_prompt = "Describe this image."
    written_out = ".attn"
    attention_instead = staticmethod(_attention)
    smoothing: ClassVar[dict[str, tuple[str, ...]]] = {
        "norm1": ("attn.qkv",),
        "norm2": ("mlp.fc1",),
        **DECODER_SMOOTHING,
    }

    def describe(self) -> None:
        """Sizes, prompt and what to keep from rounding."""
        config = self.model.config
        text, vision = config.text_config, config.vision_config
        self.image_size = self.image.input_size
        side = self.image_size[0] // vision.patch_size
        self.grid = torch.tensor([[1, side, side]])  # of one image: frames, rows, columns
        self.lay_out(side)
        self._write(side**2 // vision.spatial_merge_size**2)
        self.layers, self.kv_heads = text.num_hidden_layers, text.num_key_value_heads
        width = text.hidden_size // text.num_attention_heads
        self.head_width = getattr(text, "head_dim", None) or width
        self.vocabulary = text.vocab_size
        # A window that covers everything is none.
        reach = getattr(text, "sliding_window", None) or text.max_position_embeddings
        self.positions = min(text.max_position_embeddings, reach) - self.image_rows
        self.generation = self.continued(self.model.generation_config, text)
        self.quant = QuantSpec(
            keep={"*.patch_embed.proj": Keep("float", "sees raw pixels")},
            smoothing=norm_pairs(self.model, self.smoothing),
            tied=tied(self.model),
        )

    def lay_out(self, side: int) -> None:
        """Patches in the order in which they are merged, and how their places turn them."""
        merge = self.model.config.vision_config.spatial_merge_size
        place = get_vision_position_ids(self.grid, merge)  # [p,2], row and column
        self.order = place[:, 0] * side + place[:, 1]  # [p]
        self.turns = self.model.model.visual.rotary_pos_emb(self.order, place)  # cos, sin [p,Dh]

    def _write(self, rows: int) -> None:
        """The chat template around one image of `rows` rows, and the positions of its tokens."""
        image_token = self.model.config.image_token_id
        tokenizer, text = self.chat()
        mark = tokenizer.convert_ids_to_tokens(image_token)
        words = text.replace(mark, mark * rows)
        ids = torch.tensor([tokenizer(words, add_special_tokens=False)["input_ids"]])  # [1,P+1]
        is_image = ids == image_token
        self.set_prompt(ids[0].tolist(), is_image[0].tolist())
        self.begin()
        # An image takes as many positions as its longest side has rows, so text comes earlier.
        self.axes, earlier = self.model.model.get_rope_index(
            ids, mm_token_type_ids=is_image.int(), image_grid_thw=self.grid
        )  # [3,1,P+1], [1,1]
        self.first_position = int(earlier)

    def places(self, rows: int) -> Tensor:
        """Frame, row and column of each token: [3,1,n]."""
        return self.axes[:, :, :rows]

    def features(self, pixels: Tensor) -> Tensor:
        """The image's rows [B,N,D] in the language model, for pixels [B,3,h,w]."""
        *_, last = self.image_layers(pixels)
        return self.merged(self.model.model.visual.merger, last)

    def image_layers(self, pixels: Tensor) -> Iterator[Tensor]:
        """What each layer of the image encoder makes of pixels [B,3,h,w]: [B,p,D]."""
        x = self.patches(pixels)
        for i, block in enumerate(self.model.model.visual.blocks):
            x = block(x, cu_seqlens=self.seen(i), position_embeddings=self.turns)
            yield x

    def seen(self, layer: int) -> int:
        """How many patches see each other in a layer of the image encoder."""
        return len(self.order)

    def merged(self, merger: Any, x: Tensor) -> Tensor:
        """Patches [B,p,D] as rows [B,N,D] of the language model."""
        return merger(x).view(x.shape[0], self.count, -1)

    def patches(self, pixels: Tensor) -> Tensor:
        """Patches as vectors [B,p,D], of an image that stands still for as long as a patch is."""
        embed = self.model.model.visual.patch_embed
        frames = pixels[:, :, None].expand(-1, -1, embed.temporal_patch_size, -1, -1)
        return embed.proj(frames).flatten(2).transpose(1, 2)[:, self.order]

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """The prompt goes on where the fixed one ends."""
        ids, vision = self.whole(prompt), self.model.config.vision_config  # [1,n]
        patches, _, _ = self.processor.patchify(
            pixels[0].numpy(),
            vision.patch_size,
            vision.spatial_merge_size,
            vision.temporal_patch_size,
        )
        made = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == self.model.config.image_token_id).int(),
            pixel_values=torch.from_numpy(patches),
            image_grid_thw=self.grid,
            **settings,
        )
        return made[:, ids.shape[1] :]
