"""Qwen3-VL (arXiv 2511.21631): as Qwen2-VL, with learned positions of patches, and features of
several image layers, which are added behind the first layers of the language model.

Letters: B batch, p patches of an image, N rows of image features, P image rows, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn.functional import pad
from transformers.vision_utils import get_vision_interpolation_indices_and_weights

from edgecap.models.idefics3 import DECODER_SMOOTHING
from edgecap.models.qwen2_vl import Qwen2VL
from edgecap.models.rows import Pair, causal_mask


class Qwen3VL(Qwen2VL):
    """Qwen3VLForConditionalGeneration."""

    name = "qwen3_vl"
    smoothing = {
        "norm1": ("attn.qkv",),
        "norm2": ("mlp.linear_fc1",),
        **DECODER_SMOOTHING,
    }

    def lay_out(self, side: int) -> None:
        """Each patch has a weighted sum of learned positions besides."""
        super().lay_out(side)
        visual = self.model.model.visual
        self.taps, self.shares = get_vision_interpolation_indices_and_weights(
            self.grid,
            num_grid_per_side=visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=visual.spatial_merge_size,
        )  # [p,4]

    def patches(self, pixels: Tensor) -> Tensor:
        """Patches as vectors [B,p,D]."""
        place = self.model.model.visual.pos_embed(self.taps) * self.shares[:, :, None]  # [p,4,D]
        return super().patches(pixels) + place.sum(1)

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """The prompt's rows, but for its last token, through the language model."""
        visual, language = self.model.model.visual, self.model.model.language_model
        places = list(visual.deepstack_visual_indexes)
        deep = []
        for i, x in enumerate(self.image_layers(pixels)):
            if i in places:
                rows = self.merged(visual.deepstack_merger_list[places.index(i)], x)  # [B,N,D]
                behind = self.image_rows - self.first - self.count
                deep.append(pad(rows, (0, 0, self.first, behind)))  # [B,P,D]
        features = self.merged(visual.merger, x)
        x = self.spliced(language.get_input_embeddings(), features, self.image_rows)
        with _added(language.layers, deep):
            return self.prefix(language, x, causal_mask(self.image_rows))


@contextmanager
def _added(layers: Any, parts: list[Tensor]) -> Iterator[None]:
    """What the first layers make, each with one of `parts` added.

    transformers adds to the image's rows alone, which it looks for in the data.
    """
    hooks = [
        layer.register_forward_hook(lambda _, __, x, part=part: x + part)
        for layer, part in zip(layers, parts, strict=False)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
