"""LLaVA 1.5 (arXiv 2310.03744) and LLaVA-OneVision (arXiv 2408.03326): an image tower, a projector
of two layers, a Llama, Mistral or Qwen2 behind it.

LLaVA-OneVision reads the whole image, and behind it the crops of a grid that depends on the image's
shape. Here the image is one square, the smallest grid: its one crop is the image itself.

Letters: B batch, S patches along an edge, N rows of image features, Dv width of the tower, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgecap.core.errors import UnsupportedError
from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs, tied
from edgecap.models.clip import SMOOTHING
from edgecap.models.idefics3 import DECODER_SMOOTHING
from edgecap.models.prompted import PrefixBase

DECODERS = ("llama", "mistral", "qwen2")
TOWERS = ("clip_vision_model", "siglip_vision_model")
ROTATIONS = ("default", "linear", "llama3", "yarn")  # that do not depend on the text's length


class Llava(PrefixBase):
    """LlavaForConditionalGeneration."""

    name = "llava"
    default_prompt = "Describe this image."

    def describe(self) -> None:
        """Sizes, prompt and what to keep from rounding."""
        config = self.model.config
        text, vision = config.text_config, config.vision_config
        self.check_part(text.model_type, DECODERS, "the model")
        self.check_part(vision.model_type, TOWERS, "the image tower")
        rotation = text.rope_parameters.get("rope_type", "default")
        self.check_part(rotation, ROTATIONS, "the rope_type")
        self.image_size = (vision.image_size, vision.image_size)
        self.side = vision.image_size // vision.patch_size
        self._template(self.feature_rows())
        self.layers, self.kv_heads = text.num_hidden_layers, text.num_key_value_heads
        self.head_width = self.model.model.language_model.layers[0].self_attn.head_dim
        self.vocabulary = text.vocab_size
        reach = text.max_position_embeddings
        # A window that covers everything is none.
        reach = min(reach, getattr(text, "sliding_window", None) or reach)
        self.positions = reach - self.image_rows
        self.generation = self.continued(self.model.generation_config, text)
        self.quant = QuantSpec(
            keep={"*.patch_embedding": Keep("weights", "sees raw pixels")},
            smoothing=norm_pairs(self.model, {**SMOOTHING, **DECODER_SMOOTHING}),
            tied=tied(self.model),
        )

    def _template(self, rows: int) -> None:
        """The chat template around one image, whose token stands for `rows` rows."""
        tokenizer, text = self.chat()
        # Some templates write the token that a text begins with, others leave it to the tokenizer.
        framed = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
        ids = list(tokenizer(text, add_special_tokens=not framed)["input_ids"])
        image = self.model.config.image_token_id
        if ids.count(image) != 1:
            raise UnsupportedError(
                "model.prompt",
                f"the prompt {self.prompt!r} must hold one image: in the chat template around it, "
                f"its token {image} stands {ids.count(image)} times.",
            )
        place = ids.index(image)
        ids[place : place + 1] = [image] * rows
        self.set_prompt(ids, [token == image for token in ids])
        self.begin()

    def feature_rows(self) -> int:
        """N: the patches; CLIP puts one row before them, and "default" leaves the first out."""
        config = self.model.config
        before = config.vision_config.model_type == "clip_vision_model"
        return self.side**2 + before - (config.vision_feature_select_strategy == "default")

    def features(self, pixels: Tensor) -> Tensor:
        """The image's rows [B,N,D] in the language model."""
        model, config = self.model.model, self.model.config
        states = model.vision_tower(pixels, output_hidden_states=True).hidden_states
        layer = config.vision_feature_layer
        chosen = [layer] if isinstance(layer, int) else layer
        seen = torch.cat([states[i] for i in chosen], -1)  # [B,N,Dv * layers]
        if config.vision_feature_select_strategy == "default":
            seen = seen[:, 1:]
        return model.multi_modal_projector(seen)

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """The prompt goes on where the fixed one ends."""
        ids = self.whole(prompt)  # [1,n]
        made = self.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), **self.seen(pixels), **settings
        )
        return made[:, ids.shape[1] :]

    def seen(self, pixels: Tensor) -> dict[str, Tensor]:
        """The image as the model takes it, of pixels [1,3,h,w]."""
        return {"pixel_values": pixels}


class LlavaOnevision(Llava):
    """LlavaOnevisionForConditionalGeneration."""

    name = "llava_onevision"
    note = (
        "Images are stretched to one square. transformers reads crops in their own shape, too, of "
        "images that are larger or no square."
    )

    def feature_rows(self) -> int:
        """N: the image's patches, then the same as lines that a row of their own ends."""
        config, (height, width) = self.model.config, self.image_size
        if [height, width] not in [list(grid) for grid in config.image_grid_pinpoints]:
            raise UnsupportedError(
                "model.part",
                f"image_grid_pinpoints of {self.name} without {height}x{width}, where an image is "
                "one crop, are not exported.",
            )
        patches = super().feature_rows()
        if patches != self.side**2:
            raise UnsupportedError(
                "model.part",
                f"vision_feature_select_strategy {config.vision_feature_select_strategy!r} of "
                f"{config.vision_config.model_type} leaves {patches} of {self.side**2} patches.",
            )
        return 2 * patches + self.side

    def features(self, pixels: Tensor) -> Tensor:
        """The patches once as they are, and once in lines."""
        whole = super().features(pixels)  # [B,S*S,D]
        lines = whole.unflatten(1, (self.side, self.side))  # [B,S,S,D]
        end = self.model.model.image_newline.expand(*lines.shape[:2], 1, -1)  # [B,S,1,D]
        return torch.cat((whole, torch.cat((lines, end), 2).flatten(1, 2)), 1)

    def seen(self, pixels: Tensor) -> dict[str, Tensor]:
        """The image and its crop [1,2,3,h,w], as the family's image processor gives them."""
        return {
            "pixel_values": torch.stack((pixels, pixels), 1),
            "image_sizes": torch.tensor([self.image_size]),
        }
