"""Captioners that read an image as a grid of crops, inside a prompt that says where each lies.

How many crops there are depends on the image's shape, and with it the length of the prompt. All
prompts are tables of one graph, one row per grid, filled up to the longest: encode picks the row,
and returns how many rows of it are an image (`image_length`); decode masks the rest and counts its
positions from there. Crops go through the image encoder one by one (encode_crop), so that a wide
image costs no more than its own crops.

Letters: B batch, g grids, n crops of an image at most, F rows of a crop, D width, P image rows,
h and w a crop's height and width in px.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from edgecap.bundle.interface import (
    DECODE,
    ENCODE,
    ENCODE_CROP,
    IMAGE_LENGTH,
    Interface,
    StateEntry,
    captioner,
)
from edgecap.core.errors import UnsupportedError
from edgecap.models.base import Normalize
from edgecap.models.captioner import Decode, flat
from edgecap.models.prompted import PrefixBase
from edgecap.models.rows import Pair, causal_mask

Grid = tuple[int, int]  # rows and columns; (0, 0): the image is one crop


class CropsBase(PrefixBase):
    """A prompt for every grid that the image processor makes, a single one where it cuts nothing.

    A family defines `features` and `language`, and calls `lay_out` with its prompts.
    """

    prompts: Mapping[Grid, list[int]]
    image_token: int

    def features(self, pixels: Tensor) -> Tensor:
        """The image's rows [B,F,D] in the language model, for crops [B,3,h,w]."""
        raise NotImplementedError

    def language(self) -> nn.Module:
        """The language model, without its head."""
        raise NotImplementedError

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Those that an image can have; the whole image alone where it is never cut."""
        return self.image.grids or ((0, 0),)

    def lay_out(self, prompts: Mapping[Grid, list[int]], image_token: int, rows: int) -> None:
        """Take the prompt of every grid, in which `image_token` stands for one of `rows` rows."""
        self.prompts, self.image_token, self.crop_rows = prompts, image_token, rows
        longest = max(prompts.values(), key=len)
        if not self.image.grids:
            self.set_prompt(longest, [token == image_token for token in longest])
            self.begin()
            return
        for (down, across), ids in prompts.items():
            if ids.count(image_token) != (down * across + 1) * rows or ids[-1] == image_token:
                raise UnsupportedError(
                    "model.prompt",
                    f"the prompt {self.prompt!r} must hold one image, and have a word behind it.",
                )
        self.image_rows, self.first_token = len(longest) - 1, longest[-1]

    @property
    def before(self) -> list[int]:
        """Those of the grid with the most crops: what repeats is looked for in the longest."""
        return max(self.prompts.values(), key=len)[:-1]

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """The prompt's rows, but for its last token, through the language model."""
        embed = self.language().get_input_embeddings()
        return self.read(self.spliced(embed, self.features(pixels), self.image_rows))

    def read(self, x: Tensor) -> list[Pair]:
        """The rows of a prompt as embeddings [B,P,D] in every layer."""
        return self.prefix(self.language(), x, causal_mask(self.image_rows))

    def _modules(self) -> dict[str, nn.Module]:
        if not self.image.grids:
            return super()._modules()
        return {ENCODE_CROP: EncodeCrop(self), ENCODE: EncodeGrid(self), DECODE: Decode(self)}

    def _interface(self) -> Interface:
        plain = super()._interface()
        if not self.image.grids:
            return plain
        width = self.language().get_input_embeddings().weight.shape[1]
        dims = {**plain.dims, "n": self.image.most_crops, "F": self.crop_rows, "D": width}
        length = StateEntry(IMAGE_LENGTH, "image", "length", 0, ("B",), "int32")
        return captioner(dims, [*plain.state, length], crops=True)


class EncodeCrop(nn.Module):
    """image uint8 [B,h,w,3], of a crop each, to features [B,F,D]."""

    def __init__(self, adapter: CropsBase) -> None:
        super().__init__()
        self.model = adapter.model
        self.normalize = Normalize(adapter.scaling)
        self.adapter = adapter

    def forward(self, image: Tensor) -> Tensor:
        """The crop's rows in the language model."""
        with self.adapter.attention.own():
            return self.adapter.features(self.normalize(image))


class EncodeGrid(nn.Module):
    """features [B,n,F,D] and grid [B,2] to the image rows of every layer, and image_length [B]."""

    def __init__(self, adapter: CropsBase) -> None:
        super().__init__()
        self.model = adapter.model
        self.prompts = Prompts(adapter.prompts, adapter.image_token)
        self.adapter = adapter

    def forward(self, features: Tensor, grid: Tensor) -> tuple[Tensor, ...]:
        """The state of role image."""
        with self.adapter.attention.own():
            embed = self.adapter.language().get_input_embeddings()
            x, length = self.prompts(embed, features, grid)
            return (*flat(self.adapter.read(x)), length)


class Prompts(nn.Module):
    """The prompt of every grid but for its last token, as tables of g rows."""

    number: Tensor  # [side²] of a grid, at rows * side + columns
    ids: Tensor  # [g,P]
    place: Tensor  # [g,P] of an image token among those of its prompt
    length: Tensor  # [g]

    def __init__(self, prompts: Mapping[Grid, list[int]], image_token: int) -> None:
        super().__init__()
        self.image_token = image_token
        self.side = max(max(grid) for grid in prompts) + 1
        number = torch.zeros(self.side**2, dtype=torch.int64)
        for i, (rows, columns) in enumerate(prompts):
            number[rows * self.side + columns] = i
        length = torch.tensor([len(ids) - 1 for ids in prompts.values()])
        P = int(length.max())
        ids = torch.full((len(prompts), P), next(iter(prompts.values()))[0])
        for row, prompt in zip(ids, prompts.values(), strict=True):
            row[: len(prompt) - 1] = torch.tensor(prompt[:-1])
        is_image = ids == image_token
        self.register_buffer("number", number)
        self.register_buffer("ids", ids)
        self.register_buffer("place", (is_image.cumsum(1) - 1) * is_image)
        self.register_buffer("length", length.to(torch.int32))

    def forward(
        self, embed: Callable[[Tensor], Tensor], features: Tensor, grid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embeddings [B,P,D] with features [B,n,F,D] in their places, and their length [B]."""
        number = self.number.index_select(0, grid[:, 0] * self.side + grid[:, 1])  # [B]
        ids, place, length = (
            table.index_select(0, number) for table in (self.ids, self.place, self.length)
        )  # [B,P], [B,P], [B]
        rows = features.flatten(1, 2)  # [B,n*F,D]
        image = torch.gather(rows, 1, place[..., None].expand(-1, -1, rows.shape[2]))  # [B,P,D]
        is_image = (ids == self.image_token)[..., None]
        return torch.where(is_image, image, embed(ids)), length
