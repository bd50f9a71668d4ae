"""Retrieval of images by the name of a thing in them.

    python -m edgecap.benchmarks.reference.name_search S --n 200 --json

N scenes are indexed twice, as whole images and with their things, and searched for every name that
exactly one thing of a scene has. R-precision: with R such scenes, the share of them among the first
R hits; mean over names. Chance: the same for random hits.
"""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgecap.apps.retrieval import open_index, update
from edgecap.benchmarks.reference.options import scene_options
from edgecap.benchmarks.reference.sets import evaluation_scenes
from edgecap.benchmarks.reference.similarity import Scened
from edgecap.benchmarks.reference.zero_shot import WAYS, label
from edgecap.core.command import check_numbers, run_command
from edgecap.core.errors import InputError
from edgecap.models.loading import load
from edgecap.reference.scenes.grammar import picked_languages
from edgecap.reference.scenes.graph import Name
from edgecap.reference.scenes.hard_negatives import names_in
from edgecap.runtime import Captioner
from edgecap.runtime.preprocess import to_rgb


def measure(
    captioner: Captioner, scenes: Sequence[Scened], languages: Sequence[str], threads: int = 1
) -> dict[str, dict[str, float]]:
    """R-precision by language for each of WAYS, and of chance."""
    shows: dict[Name, list[int]] = defaultdict(list)  # which scenes
    for number, (_, scene) in enumerate(scenes):
        for name, count in names_in(scene).items():
            if count == 1:
                shows[name].append(number)
    if not shows:
        raise InputError(
            "name_search.n", f"no scene of {len(scenes)} shows one thing of a name; take more."
        )
    chance = float(np.mean([len(numbers) / len(scenes) for numbers in shows.values()]))
    row = {"chance": dict.fromkeys(languages, chance)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        folder.mkdir()
        for number, (image, _) in enumerate(scenes):
            to_rgb(image).save(folder / f"{number}.png")
        for way, whole in WAYS.items():
            out = Path(place) / way
            update(folder, out, captioner, "benchmark", threads, whole)
            row[way] = {lang: _precision(captioner, out, shows, lang) for lang in languages}
    return row


def _precision(captioner: Captioner, out: Path, shows: dict[Name, list[int]], lang: str) -> float:
    index, shares = open_index(out), []
    for name, numbers in shows.items():
        query = captioner.embed_texts([label(name, 1, lang)])[0]
        hits = index.search(query, len(numbers))
        shares.append(len({int(hit.path.stem) for hit in hits} & set(numbers)) / len(numbers))
    return float(np.mean(shares))


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    args = scene_options("name_search", n=200, lang="en").parse_args(arguments)
    return run_command("name_search", lambda: _run(args))


def _run(args: Namespace) -> None:
    check_numbers(args, "name_search", n=1, threads=1)
    languages = picked_languages(args.lang)
    captioner = load(args.captioner, threads=args.threads)
    scenes = evaluation_scenes(args.split, args.n)
    row = measure(captioner, scenes, languages, args.threads)
    if args.json:
        print(json.dumps({"n": len(scenes), "split": args.split, **row}, indent=1))
        return
    print(f"{captioner.manifest.name}, {len(scenes)} scenes of {args.split}, R-precision")
    for way, shares in row.items():
        print(f"{way:>7}  " + "  ".join(f"{lang} {share:.3f}" for lang, share in shares.items()))


if __name__ == "__main__":
    sys.exit(main())
