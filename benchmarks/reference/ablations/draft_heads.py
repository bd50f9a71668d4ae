"""Heads that draft the tokens after the next one, on frozen weights: how many would be accepted.

    python -m edgecap.benchmarks.reference.ablations.draft_heads --train 2500 --n 300 --epochs 6

When a step has chosen the next token, head a guesses the token a places further on:
logits_a = E(x + W_a silu(V z)), with the model's own token table E, the hidden state x that chose
the token, and one V for all heads (Medusa, arXiv 2401.10774). z joins the states of all layers, the
patches that the step attended to and the token that was chosen: what the last state alone says of
a box is its first edge (Hydra, arXiv 2402.05109, for the token).

They are trained on captions that the grammars write about scenes of the split train, to guess what
the model chooses after them, and counted on scenes of the split test: with how many steps would
their captions have been written, if a step verified all drafts?

Letters: T tokens of a caption, N of all captions, L layers, D width, P patches, V vocabulary, A
heads.
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
from edgecap.reference.model.captioner import CaptionModel, text_mask
from edgecap.reference.scenes.dataset import caption_rows
from edgecap.reference.scenes.grammar import picked_languages
from edgecap.reference.scenes.splits import scenes
from edgecap.reference.shipped import tokenizer_data
from edgecap.runtime.tokenizer import Tokenizer

PROMPT = 2  # tokens before a caption
BATCH = 256
NONE = -100  # no token to guess; what cross_entropy leaves out


@dataclass(frozen=True)
class Read:
    """What a step knows behind each token of one caption."""

    chosen: Tensor  # int64 [T], the next token by the model
    hidden: Tensor  # f16 [T,D], after the last norm
    known: Tensor  # f16 [T,(L+2)D], z


class Heads(nn.Module):
    """Guess the tokens after the next one."""

    def __init__(self, known: int, inner: int, width: int, count: int) -> None:
        super().__init__()
        self.inner = nn.Linear(known, inner)
        self.outer = nn.ModuleList(nn.Linear(inner, width) for _ in range(count))

    def forward(self, hidden: Tensor, known: Tensor, table: Tensor) -> list[Tensor]:
        """hidden [N,D], known [N,(L+2)D] and the token table [V,D] to A logits [N,V]."""
        inner = F.silu(self.inner(known))
        return [F.linear(hidden + outer(inner), table) for outer in self.outer]


def read(model: CaptionModel, split: str, n: int, languages: Sequence[str]) -> Iterator[Read]:
    """The grammars' captions of the first n scenes of a split, teacher forced.

    Each scene in one or two of the languages, in turn.
    """
    tokenizer = Tokenizer(tokenizer_data(), "tokenizer.json")
    for index, (image, scene) in enumerate(islice(scenes(split, n), n)):
        keys, values, states = model.forward_image(torch.from_numpy(image)[None])
        picked = {languages[(index + shift) % len(languages)] for shift in (0, 3)}
        for row in caption_rows("", scene, split, index, languages=sorted(picked)):
            words = tokenizer.encode(row["grounded"], allow_special=True)
            begin = [tokenizer.id_of(f"<{row['lang']}>"), tokenizer.id_of("<grounded>")]
            tokens = torch.tensor([[*begin, *words, tokenizer.id_of("<eos>")]])
            layers, looked = _states(model, tokens, keys, values)
            hidden = model.final_norm(layers[-1])  # [T,D]
            chosen = model.logits(layers[-1]).argmax(-1)  # [T]
            patches = looked @ states[-1][0]  # [T,D]
            width = hidden.shape[-1]
            parts = [F.layer_norm(part, (width,)) for part in (*layers, patches)]
            known = torch.cat([*parts, 16 * model.token(chosen)], -1)  # of about one size
            yield Read(chosen, hidden.half(), known.half())


def _states(
    model: CaptionModel, tokens: Tensor, keys: list[Tensor], values: list[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """The state after each layer, L of [T,D], and the mean attention to patches [T,P]."""
    P = keys[0].shape[2]
    x, layers, looked = model.embed_words(tokens), [], []
    mask = F.pad(text_mask(tokens), (P, 0), value=True)  # [T,P+T]
    for layer, block in enumerate(model.blocks):
        q, k, v = block.project(x)  # each [1,H,T,K]
        k, v = torch.cat([keys[layer], k], 2), torch.cat([values[layer], v], 2)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # [1,H,T,P+T]
        share = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        x = block.finish(x, share @ v)  # [1,T,D]
        layers.append(x[0])
        looked.append(share[0, :, :, :P].mean(0))
    return layers, torch.stack(looked).mean(0)


def targets(one: Read, heads: int) -> Tensor:
    """What the heads should guess after each token but the last, int64 [T-1,A]."""
    wanted = torch.full((len(one.chosen) - 1, heads), NONE)
    for a in range(heads):
        later = one.chosen[a + 1 : -1]
        wanted[: len(later), a] = later
    return wanted


def train(model: CaptionModel, found: Sequence[Read], count: int, inner: int, epochs: int) -> Heads:
    """`count` heads that share `inner` values, by AdamW on the sum of their cross-entropies."""
    hidden = torch.cat([one.hidden[PROMPT - 1 : -1] for one in found])  # [N,D]
    known = torch.cat([one.known[PROMPT - 1 : -1] for one in found])
    wanted = torch.cat([targets(one, count)[PROMPT - 1 :] for one in found])  # [N,A]
    heads, table = Heads(known.shape[1], inner, hidden.shape[1], count), model.token.weight.detach()
    total = epochs * -(-len(hidden) // BATCH)
    optimiser = torch.optim.AdamW(heads.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=total)
    with torch.enable_grad():
        for epoch in range(epochs):
            summed = 0.0
            for rows in torch.randperm(len(hidden)).split(BATCH):
                guessed = heads(hidden[rows].float(), known[rows].float(), table)
                losses = [
                    F.cross_entropy(logits, wanted[rows, a], ignore_index=NONE)
                    for a, logits in enumerate(guessed)
                ]
                loss = torch.stack(losses).sum()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                summed += loss.item() * len(rows)
            print(f"epoch {epoch + 1} of {epochs}: loss {summed / len(hidden):.2f}", flush=True)
    return heads.requires_grad_(False)


def report(model: CaptionModel, heads: Heads, found: Sequence[Read], places: range) -> str:
    """How often each head is right, and tokens per step by number of heads."""
    count, lines = len(heads.outer), []
    made = [
        torch.stack(heads(one.hidden.float(), one.known.float(), model.token.weight), 1).argmax(-1)
        for one in found
    ]  # of [T,A]
    guesses = torch.cat([g[PROMPT - 1 : -1] for g in made])  # [N,A]
    wanted = torch.cat([targets(one, count)[PROMPT - 1 :] for one in found])  # [N,A]
    for a in range(count):
        there = wanted[:, a] != NONE
        hit, token = (guesses[:, a] == wanted[:, a])[there], wanted[there, a]
        box = (token >= places.start) & (token < places.stop)
        lines.append(
            f"head {a + 1}: right {hit.float().mean():.2f}, of words "
            f"{hit[~box].float().mean():.2f}, of boxes {hit[box].float().mean():.2f}"
        )
    tokens = sum(len(one.chosen) - PROMPT for one in found)
    for width in range(1, count + 1):
        steps = sum(map(steps_of, found, made, [width] * len(found)))
        lines.append(f"{width} heads: {tokens / steps:.2f} tokens per step")
    return "\n".join(lines)


def steps_of(one: Read, guesses: Tensor, width: int) -> int:
    """Steps that write a caption if each verifies the guesses [T,A] of the first `width` heads."""
    at, steps, last = PROMPT - 1, 0, len(one.chosen) - 1
    wanted = targets(one, width)
    while at < last:
        kept = 0
        while kept < width and guesses[at, kept] == wanted[at, kept]:
            kept += 1
        at += kept + 1
        steps += 1
    return steps


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="edgecap.benchmarks.reference.ablations.draft_heads")
    parser.add_argument("--train", type=int, default=2500, help="scenes to train on")
    parser.add_argument("--n", type=int, default=300, help="scenes to count on")
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--inner", type=int, default=512, help="width of what the heads share")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lang", default="all")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    languages = picked_languages(options.lang)
    with torch.no_grad():
        model = weights.load(weights.resolve("S")[1])
        first = Tokenizer(tokenizer_data(), "tokenizer.json").id_of("<loc_00>")
        begun = time.monotonic()
        taught = list(read(model, "train", options.train, languages))
        heads = train(model, taught, options.heads, options.inner, options.epochs)
        print(f"{sum(len(one.chosen) for one in taught)} tokens, {time.monotonic() - begun:.0f} s")
        tested = list(read(model, "test", options.n, languages))
        print(report(model, heads, tested, range(first, first + 57)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
