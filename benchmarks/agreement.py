"""How far captioners say the same: any bundles, or weights, pair by pair.

    python -m edgecap.benchmarks.agreement S A-onnx-w8a8 A-tflite-w8a8 [--scenes 64]

All are fed the first one's greedy captions (teacher forcing) and asked for the next token at every
step; and each captions by itself. Scenes are the shipped evaluation set, in all languages in turn.

Letters: N scenes, S canvas side, M steps of all captions.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from edgecap.core.progress import progress
from edgecap.runtime.cache import Cache
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.decode import generate
from edgecap.runtime.loading import load
from edgecap.scenes.shipped import load_set

STYLE = "grounded"


@dataclass(frozen=True)
class Said:
    """What one captioner makes of N scenes."""

    name: str
    captions: list[list[int]]  # its own greedy captions, without <eos>
    forced: np.ndarray  # int [M], its best next token at every step of the first one's captions


@dataclass(frozen=True)
class Pair:
    """How far two captioners agree."""

    names: tuple[str, str]
    top1: float  # 0-1, steps whose best next token is the same
    captions: float  # 0-1, scenes whose greedy caption is the same to the last token


def ask(
    captioner: Captioner,
    name: str,
    canvases: np.ndarray,
    forced: Sequence[Sequence[int]] | None = None,
) -> Said:
    """Caption canvases uint8 [N,S,S,3]; `forced` are the captions to be fed, its own by default."""
    T = captioner.manifest.contract.text_length
    limits = captioner.vocabulary.limits(None, boxes=True, ruled=True)
    captions, best = [], []
    for i, canvas in enumerate(progress(canvases, name)):
        lang = captioner.languages[i % len(captioner.languages)]
        prompt = captioner.vocabulary.prompt(lang, STYLE)
        code = captioner.session.encode_image(canvas[None])
        said = generate(Cache(captioner.session, code, T), prompt, limits)[0].tokens
        fed = [*prompt, *(said if forced is None else forced[i])][:T]
        cache = Cache(captioner.session, code, T)
        steps = [int(cache.step([token]).logits[0].argmax()) for token in fed]
        captions.append(said)
        best += steps[len(prompt) - 1 :]
    return Said(name, captions, np.array(best))


def pairs(said: Sequence[Said]) -> list[Pair]:
    """Every two of them."""
    return [
        Pair(
            (a.name, b.name),
            float((a.forced == b.forced).mean()),
            float(np.mean([x == y for x, y in zip(a.captions, b.captions, strict=True)])),
        )
        for a, b in combinations(said, 2)
    ]


def main() -> None:
    """Print one line per pair."""
    parser = argparse.ArgumentParser(prog="python -m edgecap.benchmarks.agreement")
    parser.add_argument("targets", nargs="+", help="bundles or models, the reference first")
    parser.add_argument("--scenes", type=int, default=64)
    options = parser.parse_args()
    canvases = np.stack([pixels for pixels, _ in load_set("evaluation", options.scenes)])
    said: list[Said] = []
    for target in options.targets:
        fed = said[0].captions if said else None
        said.append(ask(load(target), target, canvases, fed))
    print(f"{len(said[0].forced)} steps of {len(canvases)} scenes")
    for pair in pairs(said):
        print(f"top1 {pair.top1:.4f}  captions {pair.captions:.3f}  {' | '.join(pair.names)}")


if __name__ == "__main__":
    main()
