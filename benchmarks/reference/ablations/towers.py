"""One tower against two: does a text need blocks of its own, and what do they cost?

B texts   T tokens   D width   W width of the text tower   E embedding

The two-tower arms caption with their image tower as the one-tower arm does with its only one, on
the same losses: they differ in what embeds a text.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.benchmarks.reference.ablations.experiment import SMALL_RUN, Ablation, Arm, Row
from edgecap.reference.config import SIZES, CaptionerConfig
from edgecap.reference.model.captioner import Block, CaptionModel, initialise, text_mask

# Every image has texts, and they weigh five times as much: with less a tiny budget ends near
# chance, where no tower can be distinguished from another.
MATCHED_RUN = replace(
    SMALL_RUN,
    contrast_weight=1.0,
    stages=tuple(replace(s, texts=s.batch) for s in SMALL_RUN.stages),
)


class TwoTowers(CaptionModel):
    """A captioner whose texts are embedded by blocks of their own; the token table is shared."""

    def __init__(
        self,
        config: CaptionerConfig,
        image_layers: int,
        text_layers: int,
        narrower: int = 1,
    ) -> None:
        """`narrower`: how many times less wide the text tower is."""
        super().__init__(replace(config, layers=image_layers))
        W = config.width // narrower
        tower = replace(config, width=W, heads=config.heads // narrower)
        D, E = config.width, config.embedding
        self.text_in = nn.Linear(D, W, bias=False) if narrower > 1 else nn.Identity()
        self.text_blocks = nn.ModuleList(Block(tower) for _ in range(text_layers))
        self.text_norm = nn.LayerNorm(W)
        self.text_embedding = nn.Linear(W, E, bias=False)
        for part in (self.text_in, self.text_blocks, self.text_embedding):
            initialise(part, 2 * text_layers)

    def encode_text(self, tokens: Tensor, length: Tensor) -> Tensor:
        """As of CaptionModel: int [B,T] and int [B] to [B,E]."""
        x = self.text_in(self.embed_words(tokens))  # [B,T,W]
        mask = text_mask(tokens)  # [T,T]
        for block in self.text_blocks:
            q, k, v = block.project(x)  # each [B,H,T,K]
            x = block.finish(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
        last = x[torch.arange(len(x), device=x.device), length - 1]  # [B,W]
        return F.normalize(self.text_embedding(self.text_norm(last)), dim=-1)  # [B,E]


def equal(config: CaptionerConfig) -> TwoTowers:
    """A text tower like the image tower."""
    return TwoTowers(config, config.layers, config.layers)


def narrow(config: CaptionerConfig) -> TwoTowers:
    """A text tower of half the width and all the depth."""
    return TwoTowers(config, config.layers, config.layers, narrower=2)


def matched(config: CaptionerConfig) -> TwoTowers:
    """Two towers of half the depth: as many parameters as one tower, but for one LayerNorm."""
    return TwoTowers(config, config.layers // 2, config.layers - config.layers // 2)


def parameters(model: nn.Module) -> int:
    """How many numbers a model has."""
    return sum(parameter.numel() for parameter in model.parameters())


def facts() -> list[Row]:
    """Sizes by each rule, and how much smaller one tower is than them."""
    rows = []
    for size, config in SIZES.items():
        with torch.device("meta"):
            one = parameters(CaptionModel(config))
            two = {
                f"{size}, two: equal towers": parameters(equal(config)),
                f"{size}, two: text tower of half the width": parameters(narrow(config)),
                f"{size}, two: half the depth each": parameters(matched(config)),
            }
        for name, count in {f"{size}, one": one, **two}.items():
            saved = round(100 * (one / count - 1), 1) + 0.0  # no "-0.0"
            rows.append({"name": name, "parameters": count, "one tower is, %": saved})
    return rows


ABLATION = Ablation(
    name="towers",
    claim="One tower for images and words is about 40 % smaller than two and retrieves as well.",
    rule="Equal images, in the same order, and losses; all arms caption. Equal towers: the text's "
    "is like the image's. Half the depth each: equal parameters.",
    images=8_000,
    arms=(
        Arm("one", run=MATCHED_RUN),
        Arm("two: equal towers", run=MATCHED_RUN, build=equal),
        Arm("two: text tower of half the width", run=MATCHED_RUN, build=narrow),
        Arm("two: half the depth each", run=MATCHED_RUN, build=matched),
    ),
    keys=("retrieval_r1_i2t", "retrieval_r1_t2i", "loss", "name"),
    contrasts=(
        ("one", "two: equal towers"),
        ("one", "two: text tower of half the width"),
        ("one", "two: half the depth each"),
    ),
    facts=facts,
    facts_about="Parameters of the named sizes, all of them counted.",
    drawn=("parameters",),
)
