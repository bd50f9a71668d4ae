"""What all adapters of transformers' models share: loading, scaling, paths for the quantiser.

Letters: B batch, h and w the image's height and width in px.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoImageProcessor, PreTrainedModel

from edgecap.bundle.image_spec import ImageSpec
from edgecap.bundle.interface import Interface
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.models import rows, translate
from edgecap.models.adapter import GraphFunction, QuantSpec
from edgecap.models.checkpoint import Checkpoint
from edgecap.models.images import PixelScaling
from edgecap.models.rows import Attention

Build = Callable[[type[PreTrainedModel], Checkpoint], PreTrainedModel]


def from_weights(model: type[PreTrainedModel], checkpoint: Checkpoint) -> PreTrainedModel:
    """The model with its weights, float32.

    Raises InputError where the files lack a parameter: transformers would draw it at random.
    """
    loaded, loading_info = model.from_pretrained(
        checkpoint.directory,
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # found below, and reported in one line
        output_loading_info=True,
    )
    missing = sorted(
        {*loading_info["missing_keys"], *(entry[0] for entry in loading_info["mismatched_keys"])}
    )
    if missing:
        raise InputError(
            "model.parameter",
            f"{checkpoint.directory} holds no {missing[0]} of the shape that its config defines"
            + (f", nor {len(missing) - 1} others." if missing[1:] else "."),
        )
    return loaded


def up_to(tokens: int, build: Build) -> Build:
    """A build whose model writes up to `tokens` tokens, whatever its files say."""

    def built(model: type[PreTrainedModel], checkpoint: Checkpoint) -> PreTrainedModel:
        made = build(model, checkpoint)
        for part in made.modules():  # in some families a part generates
            settings = getattr(part, "generation_config", None)
            if settings is not None:
                settings.max_new_tokens, settings.max_length = tokens, None
        return made

    return built


class Normalize(nn.Module):
    """uint8 [B,h,w,3] to float32 [B,3,h,w], scaled as the model wants it."""

    scale: Tensor
    offset: Tensor

    def __init__(self, scaling: PixelScaling) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scaling.factor))  # [3]
        self.register_buffer("offset", torch.tensor(scaling.offset))  # [3]

    def forward(self, image: Tensor) -> Tensor:
        """Scale bytes and put the channels first."""
        pixels = image.to(torch.float32) * self.scale + self.offset  # [B,h,w,3]
        return pixels.permute(0, 3, 1, 2)  # [B,3,h,w]


class Base:
    """A model of transformers with its image processor; see `Adapter` for the attributes."""

    name: ClassVar[str]
    written_out: ClassVar[str | None] = None  # suffix of layers whose attention is written out
    # What runs in its place.
    attention_instead: ClassVar[Callable[..., Any]] = staticmethod(rows.written_out)
    quant: QuantSpec = QuantSpec()
    note: str = ""  # what a bundle does otherwise than transformers, for its card
    regions: str | None = None  # codec of the boxes that the family writes for this prompt
    image_size: tuple[int, int]  # h, w; set by `describe`
    interface: Interface  # set by a subclass

    def __init__(self, checkpoint: Checkpoint, build: Build = from_weights) -> None:
        self.checkpoint = checkpoint
        self.source = checkpoint.source
        self.license = checkpoint.license
        self.model = build(getattr(transformers, checkpoint.architecture), checkpoint).eval()
        # Pillow's resizing is the one that a host without torch can repeat to the bit.
        self.processor = AutoImageProcessor.from_pretrained(
            checkpoint.directory, backend="pil", local_files_only=True
        )
        self.image, self.scaling = self.processing(translate.Checkpoint(checkpoint.directory))
        self.describe()
        self._check_image()
        self.attention = Attention(
            self.model,
            [
                layer
                for path, layer in self.model.named_modules()
                if self.written_out is not None and path.endswith(self.written_out)
            ],
            self.attention_instead,
        )

    def processing(self, files: translate.Checkpoint) -> tuple[ImageSpec, PixelScaling]:
        """How images are processed; called before `describe`."""
        return translate.image_spec(files)

    def describe(self) -> None:
        """Set what the family knows from `self.model.config`."""
        raise NotImplementedError

    def check_part(self, given: str, known: Sequence[str], part: str = "") -> None:
        """UnsupportedError where a part of the model is of no kind that is `known`."""
        if given not in known:
            raise UnsupportedError(
                "model.part",
                f"{part} {given} inside {self.name} is not exported; ".lstrip()
                + f"known: {', '.join(known)}.",
            )

    def _check_image(self) -> None:
        """UnsupportedError where images have another size than the model takes."""
        if self.image.input_size != self.image_size:
            (made_h, made_w), (h, w) = self.image.input_size, self.image_size
            raise UnsupportedError(
                "model.image_size",
                f"the image processor makes {made_h}x{made_w} px, and the model takes {h}x{w}.",
            )

    def functions(self) -> tuple[GraphFunction, ...]:
        """Those of the interface, as modules to export."""
        modules = self._modules()
        return tuple(
            GraphFunction(spec.name, modules[spec.name].eval(), spec.inputs, spec.outputs)
            for spec in self.interface.functions
        )

    def _modules(self) -> dict[str, nn.Module]:
        """The modules of `functions`, by name."""
        raise NotImplementedError

    def pixels(self, images: np.ndarray) -> Tensor:
        """The model's input from uint8 [N,h,w,3]: [N,3,h,w]."""
        return Normalize(self.scaling)(torch.from_numpy(images))


def norm_pairs(
    model: nn.Module, rules: Mapping[str, tuple[str, ...]], prefix: str = ""
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Norms and their readers for `QuantSpec.smoothing`, in every block that has both.

    `rules` names, within a block, a norm and the linears that alone read it; `prefix` is the path
    of `model` in the whole.
    """
    modules = dict(model.named_modules())
    return tuple(
        (f"{prefix}{path}.{norm}", tuple(f"{prefix}{path}.{linear}" for linear in linears))
        for path in modules
        for norm, linears in rules.items()
        if all(f"{path}.{part}" in modules for part in (norm, *linears))
    )


def tied(model: nn.Module) -> tuple[tuple[str, str], ...]:
    """Pairs of layers with one weight, the embedding first, for `QuantSpec.tied`."""
    first: dict[int, str] = {}
    pairs = []
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, nn.Parameter):
            continue
        other = first.setdefault(id(weight), path)
        if other != path:
            embeds = isinstance(module, nn.Embedding)
            pairs.append((path, other) if embeds else (other, path))
    return tuple(pairs)
