"""Agreement of the attention maps of bundles with the reference's.

    python -m edgecap.benchmarks.reference.maps BUNDLE... --reference S --n 16 --lang en,ja --json

The reference captions scenes, and every model is fed these captions token by token. The two maps of
a step are compared by their cosine over the patches:

    mean     of the default map, over all steps
    least    the smallest of any step
    alike    the share of steps in which it is at least 0.99
    by_head  mean, all heads of all layers as one row; of bundles exported with --attention

L layers, H heads, P patches, t tokens of a caption.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgecap.apps.explain import CaptionTrace, layers, trace_caption
from edgecap.bundle.cosines import cosines
from edgecap.bundle.interface import DECODE_ATTENTION
from edgecap.core.command import check_numbers, run_command
from edgecap.core.progress import progress
from edgecap.models.loading import load
from edgecap.reference.scenes.grammar import picked_languages
from edgecap.reference.scenes.shipped import SETS, load_set
from edgecap.runtime import Captioner
from edgecap.runtime.replay import force

AIM = 0.99  # cosine
SCENES = range(1, SETS["evaluation"][1] + 1)


def measure(
    reference: Captioner,
    captioners: Mapping[str, Captioner],
    images: Sequence[np.ndarray],
    languages: Sequence[str],
) -> list[dict[str, Any]]:
    """A row of the figures above for each captioner; languages alternate over images."""
    plain: dict[str, list[np.ndarray]] = {name: [] for name in captioners}
    heads: dict[str, list[np.ndarray]] = {name: [] for name in captioners}
    by_head = {name: one for name, one in captioners.items() if _has_heads(one)}
    for i, image in enumerate(progress(images, "maps")):
        trace = trace_caption(reference, image, languages[i % len(languages)])
        if not trace.tokens:
            continue
        reference_maps = _default_maps(reference, trace)  # [t,P]
        for name, captioner in captioners.items():
            plain[name].append(cosines(_default_maps(captioner, trace), reference_maps))  # [t]
        if by_head and _has_heads(reference):
            reference_maps = _all_maps(reference, trace)  # [t,LHP]
            for name, captioner in by_head.items():
                heads[name].append(cosines(_all_maps(captioner, trace), reference_maps))  # [t]
    return [_row(name, plain[name], heads[name]) for name in captioners]


def _has_heads(captioner: Captioner) -> bool:
    return captioner.manifest.interface.has(DECODE_ATTENTION)


def _default_maps(captioner: Captioner, trace: CaptionTrace) -> np.ndarray:
    caption = trace.attention.caption
    steps = len(trace.tokens)
    return force(
        captioner, trace.model_input, caption.lang, caption.style, trace.tokens, steps
    ).attention  # [t,P]


def _all_maps(captioner: Captioner, trace: CaptionTrace) -> np.ndarray:
    maps = layers(captioner, trace)  # [L,H,t,G,G]
    return np.moveaxis(maps, 2, 0).reshape(maps.shape[2], -1)  # [t,LHP]


def _row(name: str, plain: Sequence[np.ndarray], heads: Sequence[np.ndarray]) -> dict[str, Any]:
    found = np.concatenate([np.zeros(0), *plain])  # [steps]
    row: dict[str, Any] = {"bundle": name, "steps": len(found)}
    if len(found):
        row |= {"mean": float(found.mean()), "least": float(found.min())}
        row["alike"] = float((found >= AIM).mean())
    return row | {"by_head": float(np.concatenate(heads).mean()) if heads else None}


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = ArgumentParser(prog="python -m edgecap.benchmarks.reference.maps")
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE")
    parser.add_argument("--reference", default="S", help="weights or an fp32 bundle")
    parser.add_argument(
        "--n", type=int, default=16, choices=SCENES, metavar="N", help="scenes, 1 … 512"
    )
    parser.add_argument("--lang", default="all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", choices=["-"], help="print JSON instead of a table")
    args = parser.parse_args(arguments)
    return run_command("maps", lambda: _run(args))


def _run(args: Namespace) -> None:
    check_numbers(args, "maps", threads=1)
    languages = picked_languages(args.lang)
    images = [image for image, _ in load_set("evaluation", args.n)]
    reference = load(args.reference, threads=args.threads)
    captioners = {name: load(name, threads=args.threads) for name in args.bundles}
    rows = measure(reference, captioners, images, languages)
    about = {"reference": reference.manifest.name, "scenes": args.n, "languages": languages}
    if args.json:
        print(json.dumps(about | {"bundles": rows}, ensure_ascii=False, indent=1))
        return
    print(f"cosine to {about['reference']}'s maps, {args.n} scenes, {', '.join(languages)}")
    for row in rows:
        keys = ("mean", "least", "alike", "by_head")
        shown = "  ".join(f"{k} {row[k]:.4f}" for k in keys if row.get(k) is not None)
        print(f"{row['bundle']}: {shown}  ({row['steps']} steps)")


if __name__ == "__main__":
    sys.exit(main())
