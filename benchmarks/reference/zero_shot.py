"""Zero-shot classification: accuracy with one true label of ten.

    python -m edgecap.benchmarks.reference.zero_shot S --n 160 --lang en,ja --json

N scenes with ten labels each: one of its names with the true number, the same name with a number
one off, and eight absent names with the same number. Accuracy with labels compared with the image
and its things, and with the whole image only (apps/retrieval/classify.py):

    alone    the label describes everything in the image
    part     it names one thing of several
    number   it names two to five things of several
    all      all questions; chance is 0.1
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecap.apps.retrieval.classify import ZeroShotClassifier
from edgecap.benchmarks.reference.options import percent, scene_options
from edgecap.benchmarks.reference.sets import evaluation_scenes
from edgecap.benchmarks.reference.similarity import Scened
from edgecap.core.command import check_numbers, run_command
from edgecap.core.progress import progress
from edgecap.models.loading import load
from edgecap.reference.scenes.grammar import for_language, picked_languages
from edgecap.reference.scenes.graph import Mention, Name, Scene, Statement
from edgecap.reference.scenes.hard_negatives import names_in
from edgecap.reference.scenes.sample import draw_name
from edgecap.runtime import Captioner

ABSENT = 8  # names of the ten labels
KEYS = ("alone", "part", "number", "all")
WAYS = {"things": False, "whole": True}


def measure(captioner: Captioner, scenes: Sequence[Scened], lang: str) -> dict[str, Any]:
    """The keys above for each of WAYS, and the number of questions of each."""
    right: dict[str, dict[str, list[bool]]] = {way: defaultdict(list) for way in WAYS}
    rng = np.random.default_rng(0)
    for image, scene in progress(scenes, f"{lang}: labels"):
        kind, labels = question(scene, lang, rng)
        for way, found in right.items():
            (ranked,) = ZeroShotClassifier(captioner, sorted(labels), WAYS[way]).rank([image])
            found[kind].append(ranked[0].label == labels[0])
            found["all"].append(ranked[0].label == labels[0])
    shares = {
        way: {key: float(np.mean(found[key])) if found[key] else None for key in KEYS}
        for way, found in right.items()
    }
    return {**shares, "asked": {key: len(right["whole"][key]) for key in KEYS}}


def question(scene: Scene, lang: str, rng: np.random.Generator) -> tuple[str, list[str]]:
    """The kind of question, one of KEYS, and its labels, the true one first."""
    shown = names_in(scene)
    true = sorted(shown)[rng.integers(len(shown))]
    others: list[Name] = []
    while len(others) < ABSENT:
        name = draw_name(rng)
        if name not in shown and name not in others:
            others.append(name)
    count = shown[true]
    near = 2 if count == 1 else count - 1
    counted = [(true, count), (true, near), *((name, count) for name in others)]
    kind = "alone" if len(shown) == 1 else "part" if count == 1 else "number"
    return kind, [label(name, count, lang) for name, count in counted]


def label(name: Name, count: int, lang: str) -> str:
    """The label for a number of things of one name: "two red circles"."""
    text = for_language(lang).render(Statement((Mention(name, count),)), 0).rstrip(".。")
    return text[0].lower() + text[1:]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    args = scene_options("zero_shot", n=160, lang="en").parse_args(arguments)
    return run_command("zero_shot", lambda: _run(args))


def _run(args: Namespace) -> None:
    check_numbers(args, "zero_shot", n=1, threads=1)
    languages = picked_languages(args.lang)
    captioner = load(args.captioner, threads=args.threads)
    scenes = evaluation_scenes(args.split, args.n)
    rows = {lang: measure(captioner, scenes, lang) for lang in languages}
    if args.json:
        report = {"n": len(scenes), "split": args.split, "languages": rows}
        print(json.dumps(report, ensure_ascii=False, indent=1))
        return
    print(f"{captioner.manifest.name}, {len(scenes)} scenes of {args.split}, % right")
    for lang, row in rows.items():
        for way in WAYS:
            shown = "  ".join(f"{key} {percent(row[way][key])}" for key in KEYS)
            print(f"{lang}, {way}: {shown}  (of {row['asked']})")


if __name__ == "__main__":
    sys.exit(main())
