"""Benchmark of referring expressions and relation questions.

    python -m edgecap.benchmarks.reference.referring S --n 64 --lang en,ja
    python -m edgecap.benchmarks.reference.referring S --n 256 --split namesakes --only ambiguous

N scenes. Shares are over all expressions or questions of a language:

    unique           expressions with a unique name, located with IoU >= 0.5
    seen             the same expressions, where the thing is reported as present
    unseen           names of absent things, where it is reported as absent
    ambiguous        expressions that need their relation, located with IoU >= 0.5
    ambiguous_named  the same, where any thing of that name counts
    ambiguous_floor  ambiguous_named divided by the number of things of that name: chance
    relation         questions whose true statement is ranked above the inverted one
    above_threshold  their true statements that score above the plausibility threshold
    implausible      their inverted statements that score below it

Test scenes have few phrases that need their relation: 5 in 64. The split `namesakes` has 50.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecap.apps.grounding import ground, rank_statements
from edgecap.benchmarks.reference.expressions import (
    absent_phrase,
    ambiguous_expressions,
    questions,
    unique_expressions,
)
from edgecap.benchmarks.reference.options import percent, scene_options
from edgecap.benchmarks.reference.sets import evaluation_scenes
from edgecap.benchmarks.reference.similarity import Scened
from edgecap.core.boxes import iou
from edgecap.core.choices import pick
from edgecap.core.command import check_numbers, run_command
from edgecap.core.progress import progress
from edgecap.models.loading import load
from edgecap.reference.scenes.grammar import picked_languages
from edgecap.reference.scenes.graph import Scene
from edgecap.runtime import Captioner

HIT = 0.5  # IoU
KEYS = (
    *("unique", "seen", "unseen", "ambiguous", "ambiguous_named", "ambiguous_floor"),
    *("relation", "above_threshold", "implausible"),
)
COUNTED = ("unique", "unseen", "ambiguous", "relation")
PARTS = ("unique", "ambiguous", "relations")  # parts that can be measured alone


def measure(
    captioner: Captioner, scenes: Sequence[Scened], lang: str, parts: Sequence[str] = PARTS
) -> dict[str, Any]:
    """The keys above, and the number of expressions and questions of each.

    Keys of other parts than `parts` are None and are not measured.
    """
    found: dict[str, list[float]] = defaultdict(list)
    rng = np.random.default_rng(0)
    for image, scene in progress(scenes, f"{lang}: phrases"):
        for expression in unique_expressions(scene, lang) if "unique" in parts else ():
            located = ground(captioner, image, expression.phrase, lang)
            found["unique"].append(iou(located.box, expression.box) >= HIT)
            found["seen"].append(located.is_supported)
        if "unique" in parts:
            absent = ground(captioner, image, absent_phrase(scene, lang, rng), lang)
            found["unseen"].append(not absent.is_supported)
        for expression in ambiguous_expressions(scene, lang) if "ambiguous" in parts else ():
            box = ground(captioner, image, expression.phrase, lang).box
            named = any(iou(box, other) >= HIT for other in _namesakes(scene, expression.box))
            found["ambiguous"].append(iou(box, expression.box) >= HIT)
            found["ambiguous_named"].append(named)
            found["ambiguous_floor"].append(named / expression.namesakes)
        for true, false in questions(scene, lang) if "relations" in parts else ():
            ranked = rank_statements(captioner, image, [false, true], lang)
            found["relation"].append(ranked[0].statement == true)
            for one in ranked:
                key = "above_threshold" if one.statement == true else "implausible"
                found[key].append(one.above_threshold == (one.statement == true))
    shares = {key: sum(found[key]) / len(found[key]) if found[key] else None for key in KEYS}
    return {
        **shares,
        "asked": {key: len(found[key]) for key in COUNTED},
    }


def _namesakes(scene: Scene, box: Sequence[float]) -> list[Sequence[float]]:
    (name,) = {thing.name for thing in scene.things if thing.box == box}
    return [thing.box for thing in scene.things if thing.name == name]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = scene_options("referring", n=64, lang="all")
    parser.add_argument("--only", help=" or ".join(PARTS))
    args = parser.parse_args(arguments)
    return run_command("referring", lambda: _run(args))


def _run(args: Namespace) -> None:
    check_numbers(args, "referring", n=1, threads=1)
    languages = picked_languages(args.lang)
    parts = PARTS if args.only is None else (pick("part", args.only, PARTS),)
    captioner = load(args.captioner, threads=args.threads)
    scenes = evaluation_scenes(args.split, args.n)
    rows = {lang: measure(captioner, scenes, lang, parts) for lang in languages}
    if args.json:
        report = {"n": len(scenes), "split": args.split, "languages": rows}
        print(json.dumps(report, ensure_ascii=False, indent=1))
        return
    print(f"{captioner.manifest.name}, {len(scenes)} scenes of {args.split}, %")
    for lang, row in rows.items():
        shown = "  ".join(f"{key} {percent(row[key])}" for key in KEYS)
        print(f"{lang}: {shown}  (of {row['asked']})")


if __name__ == "__main__":
    sys.exit(main())
