"""Qwen2.5-VL (arXiv 2502.13923): as Qwen2-VL, but most image layers look into windows alone.

An image has whole windows, so that all are equal: patches are put in the order of windows once,
and a layer reads them as more images. At the edge of another size windows would be smaller.

Letters: B batch, p patches of an image, N rows of image features, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.vision_utils import get_vision_window_index

from edgecap.core.errors import UnsupportedError
from edgecap.models.idefics3 import DECODER_SMOOTHING
from edgecap.models.qwen2_vl import Qwen2VL


class Qwen25VL(Qwen2VL):
    """Qwen2_5_VLForConditionalGeneration."""

    name = "qwen2_5_vl"
    smoothing = {
        "norm1": ("attn.qkv",),
        "norm2": ("mlp.gate_proj", "mlp.up_proj"),
        **DECODER_SMOOTHING,
    }

    def sides(self, processed: range) -> range:
        """Those of whole windows."""
        window = self.model.config.vision_config.window_size
        first = -(-processed[0] // window) * window
        whole = range(first, processed[-1] + 1, window)
        if window % processed.step or not whole:
            raise UnsupportedError(
                "model.image_size",
                f"no image has whole windows of {window} px and a side of {processed[0]} to "
                f"{processed[-1]} px in steps of {processed.step} px.",
            )
        return whole

    def lay_out(self, side: int) -> None:
        """Window by window."""
        super().lay_out(side)
        vision = self.model.config.vision_config
        windows, _ = get_vision_window_index(
            self.grid, vision.spatial_merge_size, vision.window_size, vision.patch_size
        )  # [N]
        patches = torch.arange(len(self.order)).view(len(windows), -1)[windows].flatten()  # [p]
        self.order = self.order[patches]
        self.turns = tuple(turn[patches] for turn in self.turns)
        self.back = torch.argsort(windows)  # [N]
        self.window = (vision.window_size // vision.patch_size) ** 2  # patches

    def seen(self, layer: int) -> int:
        """Few layers look at the whole image."""
        everywhere = layer in self.model.config.vision_config.fullatt_block_indexes
        return len(self.order) if everywhere else self.window

    def features(self, pixels: Tensor) -> Tensor:
        """Rows [B,N,D], back in the order of the image."""
        return super().features(pixels)[:, self.back]
