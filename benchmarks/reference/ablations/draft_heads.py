"""Heads that draft the tokens after the next one, on frozen weights: how many would be accepted.

    python -m edgecap.benchmarks.reference.ablations.draft_heads --train 400 --n 40

A head sees the hidden state that chooses the next token and guesses the token `ahead` further on:
logits = E(x + W silu(V x)), with the model's own token table E (Medusa, arXiv 2401.10774). They are
trained on captions that the grammars write about scenes of the split train, and counted on scenes
of the split test: with how many steps would their captions have been written, if a step verified
all drafts? Captions of the grammars stand in for the model's own.

Letters: N tokens of all captions, D width, V vocabulary.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.scenes.dataset import caption_rows
from edgecap.reference.scenes.grammar import picked_languages
from edgecap.reference.scenes.splits import scenes
from edgecap.reference.shipped import tokenizer_data
from edgecap.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class Read:
    """One caption, and the hidden states behind which its tokens were chosen."""

    tokens: Tensor  # int64 [T], with prompt and end
    hidden: Tensor  # f32 [T,D], after the last norm


class Head(nn.Module):
    """Guesses a token further on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """x [N,D] and the token table [V,D] to logits [N,V]."""
        return F.linear(x + self.outer(F.silu(self.inner(x))), table)


def read(model: CaptionModel, split: str, n: int, languages: Sequence[str]) -> Iterator[Read]:
    """The grammars' captions of the first n scenes of a split, teacher forced."""
    tokenizer = Tokenizer(tokenizer_data(), "tokenizer.json")
    for index, (image, scene) in enumerate(islice(scenes(split, n), n)):
        keys, values, _ = model.forward_image(torch.from_numpy(image)[None])
        for row in caption_rows("", scene, split, index, languages=languages):
            words = tokenizer.encode(row["grounded"], allow_special=True)
            begin = [tokenizer.id_of(f"<{row['lang']}>"), tokenizer.id_of("<grounded>")]
            tokens = torch.tensor([*begin, *words, tokenizer.id_of("<eos>")])
            x = model.forward_text(tokens[None], keys, values)[0]  # [T,D]
            yield Read(tokens, model.final_norm(x))


def train(model: CaptionModel, found: Sequence[Read], ahead: int, epochs: int) -> Head:
    """A head for the token `ahead` behind the next one."""
    x = torch.cat([r.hidden[1 : -ahead - 1] for r in found])  # [N,D]
    y = torch.cat([r.tokens[ahead + 2 :] for r in found])  # [N]
    head, table = Head(x.shape[1]), model.token.weight.detach()
    batch, total = 512, epochs * -(-len(x) // 512)
    optimiser = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=total)
    with torch.enable_grad():
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(batch):
                loss = F.cross_entropy(head(x[rows], table), y[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return head.requires_grad_(False)


def report(model: CaptionModel, heads: Sequence[Head], found: Sequence[Read], places: range) -> str:
    """Tokens per step by number of heads, and how often each is right."""
    table = model.token.weight
    guesses = [[head(r.hidden, table).argmax(-1) for head in heads] for r in found]
    lines = []
    for a in range(len(heads)):
        right = [
            (g[a][1 : -a - 2] == r.tokens[a + 3 :], r.tokens[a + 3 :])
            for g, r in zip(guesses, found, strict=True)
        ]
        hit = torch.cat([r for r, _ in right])
        box = torch.cat([(t >= places.start) & (t < places.stop) for _, t in right])
        lines.append(
            f"head {a + 1}: right {hit.float().mean():.2f}, of words "
            f"{hit[~box].float().mean():.2f}, of boxes {hit[box].float().mean():.2f}"
        )
    for width in range(1, len(heads) + 1):
        tokens = steps = 0
        for g, r in zip(guesses, found, strict=True):
            at = 1  # the last token fed; the next one is chosen exactly
            while at < len(r.tokens) - 1:
                kept = 0
                while (
                    kept < width
                    and at + kept + 2 < len(r.tokens)
                    and g[kept][at] == r.tokens[at + kept + 2]
                ):
                    kept += 1
                at += kept + 1
                steps += 1
            tokens += len(r.tokens) - 2
        lines.append(f"{width} heads: {tokens / steps:.2f} tokens per step")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="edgecap.benchmarks.reference.ablations.draft_heads")
    parser.add_argument("--train", type=int, default=400, help="scenes to train on")
    parser.add_argument("--n", type=int, default=40, help="scenes to count on")
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lang", default="en,de,es,zh")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    languages = picked_languages(options.lang)
    with torch.no_grad():
        model = weights.load(weights.resolve("S")[1])
        tokenizer = Tokenizer(tokenizer_data(), "tokenizer.json")
        first = tokenizer.id_of("<loc_00>")
        begun = time.monotonic()
        taught = list(read(model, "train", options.train, languages))
        heads = [train(model, taught, a + 1, options.epochs) for a in range(options.heads)]
        print(f"{sum(len(r.tokens) for r in taught)} tokens, {time.monotonic() - begun:.0f} s")
        tested = list(read(model, "test", options.n, languages))
        print(report(model, heads, tested, range(first, first + 57)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
