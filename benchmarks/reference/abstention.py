"""Fits the reference's confidence on validation scenes, and measures it on test scenes.

    python -m edgecap.benchmarks.reference.abstention BUNDLE --fit FILE
    python -m edgecap.benchmarks.reference.abstention BUNDLE --others photographs=DIR

`--fit` captions scenes of the val split and the gate's set, in all languages in turn, and images
that are no scene (not_scenes.py, other seeds than those measured), and writes the calibration.
Without it, the calibration of the captioner is measured, per style:

    kept       test scenes whose confidence is at least the calibration's threshold
    declined   images below it, per kind; no fit sees those of HELD_OUT, nor the folders of images
               that `--others NAME=DIR` adds
    languages  the same by language: kept of the test scenes, and declined of all other images
    ece        expected calibration error: over ten bins of confidence, the mean distance between
               the confidence and the share that is right, scenes and others counting alike; the
               same for boxes

Every style but the one with boxes takes that one as its second opinion (bundle/SPEC.md).

A caption is right if it names exactly the things of the scene (colours or shapes only, or a true
relation, where its style asks for that), a box if a thing of its name is there with IoU >= 0.5;
nothing is right about an image that is no scene.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.apps.calibration import Opinions, fit_captions, fit_regions
from edgecap.benchmarks.reference.not_scenes import HELD_OUT, KINDS, not_scenes
from edgecap.benchmarks.reference.sets import evaluation_scenes
from edgecap.bundle.confidence_spec import SCHEMA, Calibration, RegionWeights
from edgecap.core.atomic import write_file
from edgecap.core.boxes import iou
from edgecap.core.command import check_numbers, run_command
from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.core.typed import dump
from edgecap.models.loading import load
from edgecap.reference.scenes.describe import mentions
from edgecap.reference.scenes.graph import Scene
from edgecap.reference.scenes.hard_negatives import names_of
from edgecap.reference.scenes.parse import parse
from edgecap.reference.scenes.relations import holds
from edgecap.reference.shipped import calibration_for
from edgecap.runtime import Caption, Captioner
from edgecap.runtime.confidence import features, rated

FIT_SEED, TEST_SEED = 1, 2
BINS = 10
RIGHT = "the caption names exactly the things that are in the image"
SECOND = "grounded"  # boxes are unsure where nothing is
HARDER = ("counts", "backgrounds", "cooccurrence", "quadrant")  # splits with what was withheld


def caption_in_turns(
    captioner: Captioner, images: Sequence[Any], style: str, before: int = 0
) -> list[tuple[str, Caption]]:
    """(language, caption) of each image; the languages take turns, as after `before` others."""
    languages = captioner.languages
    found: list[tuple[str, Caption] | None] = [None] * len(images)
    for place, lang in enumerate(progress(languages, f"{style}: languages")):
        indices = range((place - before) % len(languages), len(images), len(languages))
        captions = captioner.caption_many([images[i] for i in indices], lang=lang, style=style)
        for i, caption in zip(indices, captions, strict=True):
            if isinstance(caption, Caption):
                found[i] = (lang, caption)
    return [one for one in found if one is not None]


def is_right(scene: Scene, caption: Caption, lang: str) -> bool:
    """Whether the caption says of the scene what its style asks for, and all of it is true."""
    parsed = parse(caption.raw, lang)
    stated = parsed.statement
    if parsed.unknown:
        return False
    if caption.style == "relate" and stated.relation is not None and not stated.mentions:
        return holds(scene, stated.relation)
    return names_of(stated) == Counter({m.name: m.count for m in mentions(scene, caption.style)})


def right_boxes(scene: Scene | None, caption: Caption, lang: str) -> list[bool]:
    """For every box, whether a thing of its name is there; False for an image that is no scene."""
    if scene is None:
        return [False for mention in caption.mentions for _ in mention.boxes]
    true_boxes = {group.name: group.boxes for group in mentions(scene, caption.style)}
    parsed = parse(caption.raw, lang)
    named = {box: m.name for m in parsed.statement.mentions for box in m.boxes}
    return [
        box in named and any(iou(box, true) >= 0.5 for true in true_boxes.get(named[box], ()))
        for mention in caption.mentions
        for box in mention.boxes
    ]


def fit(captioner: Captioner, styles: Sequence[str], n: int, others: int) -> Calibration:
    """The calibration from n scenes and as many images of each of KINDS as `others`."""
    gate = evaluation_scenes("gate", n // 3)
    shown = [*gate, *evaluation_scenes("val", n - len(gate))]
    unlike = [image for kind in KINDS for image in not_scenes(kind, others, FIT_SEED)]
    images = [*(image for image, _ in shown), *unlike]
    second_turn = caption_in_turns(captioner, images, SECOND)
    captions, regions = {}, {}
    for style in styles:
        is_second = style == SECOND
        outputs = second_turn if is_second else caption_in_turns(captioner, images, style)
        pairs: list[Opinions] = [
            (caption, None if is_second else second)
            for (_, caption), (_, second) in zip(outputs, second_turn, strict=True)
        ]
        right: list[Opinions] = []
        wrong = pairs[len(shown) :]
        boxes: list[tuple[float, float]] = []
        true: list[bool] = []
        for (lang, caption), pair, (_, scene) in zip(outputs, pairs, shown, strict=False):
            (right if is_right(scene, caption, lang) else wrong).append(pair)
            boxes += box_rows(caption)
            true += right_boxes(scene, caption, lang)
        for _, caption in outputs[len(shown) :]:
            boxes += box_rows(caption)
            true += right_boxes(None, caption, "")
        captions[style] = fit_captions(right, wrong)
        if any(true):
            regions[style] = fit_regions(boxes, true)
    on = (
        f"{n} scenes of val and gate in {len(captioner.languages)} languages, "
        f"{len(unlike)} images of {', '.join(KINDS)}, captioned by {captioner.manifest.name}"
    )
    return Calibration(SCHEMA, RIGHT, on, captioner.weights, captions, regions)


def box_rows(caption: Caption) -> list[tuple[float, float]]:
    """(log score, mean log-probability of the caption) of every box."""
    mean = features(caption)[0]
    return [
        (float(np.log(max(score, 1e-20))), mean)
        for mention in caption.mentions
        for score in mention.scores
    ]


def measure(
    captioner: Captioner,
    calibration: Calibration,
    styles: Sequence[str],
    n: int,
    others: int,
    folders: dict[str, list[Path]],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The keys above, style by style; the captioner's confidences become those of `calibration`."""
    captioner.set_confidence(calibration, None)
    scenes_ = {"test": evaluation_scenes("test", n)}
    scenes_ |= {name: evaluation_scenes(name, n // 4) for name in HARDER}
    sets: dict[str, list[Any]] = {
        name: [image for image, _ in shown] for name, shown in scenes_.items()
    }
    sets |= {kind: not_scenes(kind, others, TEST_SEED) for kind in KINDS | HELD_OUT} | folders
    # Few of a kind, and yet every language sees some: turns go on from one to the next.
    sizes = [len(images) for images in sets.values()]
    before = dict(zip(sets, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))

    def captioned(style: str) -> dict[str, list[tuple[str, Caption]]]:
        return {
            name: caption_in_turns(captioner, images, style, before[name])
            for name, images in sets.items()
        }

    seconds = captioned(SECOND)  # every style hears them, and so they are captioned once
    for style in styles:
        found = seconds if style == SECOND else captioned(style)
        if style != SECOND:
            found = {
                name: _with_confidence(calibration, captions, seconds[name])
                for name, captions in found.items()
            }
        row = _row(calibration, style, scenes_, found)
        yield style, row | {"images": {name: len(images) for name, images in sets.items()}}


def _with_confidence(
    calibration: Calibration,
    captions: list[tuple[str, Caption]],
    seconds: list[tuple[str, Caption]],
) -> list[tuple[str, Caption]]:
    """The captions with the confidence that their second opinions give; none is declined."""
    return [
        (lang, rated(caption, calibration, 0.0, second))
        for (lang, caption), (_, second) in zip(captions, seconds, strict=True)
    ]


def _row(
    calibration: Calibration,
    style: str,
    scenes_: dict[str, list[tuple[Any, Scene]]],
    found: dict[str, list[tuple[str, Caption]]],
) -> dict[str, Any]:
    """The figures of one style; `scenes_`: which of what was found are scenes, and their truth."""
    threshold = calibration.captions[style].threshold
    weights = calibration.regions.get(style)
    row: dict[str, Any] = {"threshold": threshold, "kept": {}, "right": {}, "declined": {}}
    points: dict[bool, list[tuple[float, bool]]] = {True: [], False: []}
    boxes: dict[bool, list[tuple[float, bool]]] = {True: [], False: []}
    spoken: dict[str, dict[str, list[bool]]] = {}  # of each language
    for name, captions in found.items():
        truths = [scene for _, scene in scenes_[name]] if name in scenes_ else None
        sure, right = [], []
        for i, (lang, caption) in enumerate(captions):
            scene = truths[i] if truths else None
            sure.append(caption.confidence or 0.0)
            right.append(scene is not None and is_right(scene, caption, lang))
            boxes[scene is not None] += _box_points(
                caption, weights, right_boxes(scene, caption, lang)
            )
            if scene is None or name == "test":
                kept = sure[-1] >= threshold
                both = spoken.setdefault(lang, {"kept": [], "declined": []})
                both["declined" if scene is None else "kept"].append(kept is not (scene is None))
        points[truths is not None] += zip(sure, right, strict=True)
        share = float(np.mean(np.array(sure) >= threshold))
        if truths is None:
            row["declined"][name] = 1 - share
        else:
            row["kept"][name], row["right"][name] = share, float(np.mean(right))
    row["ece"] = calibration_error(points[True], points[False])
    row["ece_boxes"] = calibration_error(boxes[True], boxes[False]) if weights else None
    row["languages"] = {
        lang: {key: float(np.mean(values)) for key, values in both.items()}
        for lang, both in spoken.items()
    }
    return row


def _box_points(
    caption: Caption, weights: RegionWeights | None, right: Sequence[bool]
) -> list[tuple[float, bool]]:
    if weights is None:
        return []
    logits = [
        weights.bias + weights.box * log + weights.mean * mean for log, mean in box_rows(caption)
    ]
    return [(1 / (1 + float(np.exp(-x))), r) for x, r in zip(logits, right, strict=True)]


def calibration_error(
    scenes: Iterable[tuple[float, bool]], others: Iterable[tuple[float, bool]]
) -> float:
    """Expected calibration error of (confidence, right), both sides counting alike."""
    sides = [np.array(list(side), np.float64).reshape(-1, 2) for side in (scenes, others)]
    values = np.concatenate(sides)  # [N,2]
    shares = np.concatenate([np.full(len(side), 0.5 / max(len(side), 1)) for side in sides])  # [N]
    place = np.minimum((values[:, 0] * BINS).astype(int), BINS - 1)  # [N]
    gaps = np.bincount(place, shares * (values[:, 0] - values[:, 1]), BINS)  # [BINS]
    return float(np.abs(gaps).sum())


def _folders(given: Sequence[str]) -> dict[str, list[Path]]:
    from edgecap.runtime.folders import walk

    folders = {}
    for one in given:
        name, equals, folder = one.partition("=")
        if not equals or not name:
            raise InputError("abstention.others", f"--others {one!r} is not NAME=DIR.")
        folders[name] = [Path(folder) / file for file in walk(Path(folder))]
    return folders


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = ArgumentParser(prog="python -m edgecap.benchmarks.reference.abstention")
    parser.add_argument("captioner", nargs="?", default="S", help="bundle or weights")
    parser.add_argument("--fit", metavar="FILE", type=Path, help="fit, and write the calibration")
    parser.add_argument("--styles", default="grounded,plain,relate,color,shape")
    parser.add_argument("--n", type=int, default=384, help="scenes")
    parser.add_argument("--kind", type=int, default=64, help="images of each kind")
    parser.add_argument("--others", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", choices=["-"], help="print JSON instead of a table")
    args = parser.parse_args(arguments)
    return run_command("abstention", lambda: _run(args))


def _run(args: Namespace) -> None:
    check_numbers(args, "abstention", n=8, kind=1, threads=1)
    styles = args.styles.split(",")
    captioner: Captioner = load(args.captioner, threads=args.threads)
    if args.fit is not None:
        fitted = fit(captioner, styles, args.n, args.kind)
        write_file(args.fit, dump(fitted))
        print(f"{args.fit}: {fitted.fitted_on}")
        return
    # Bundles that were exported before the fit have none of their own.
    calibration = captioner.calibration or calibration_for(captioner.weights)
    if calibration is None:
        raise InputError("confidence.none", f"{args.captioner} carries no calibration.")
    folders = _folders(args.others)
    rows = measure(captioner, calibration, styles, args.n, args.kind, folders)
    if args.json:
        print(json.dumps({"captioner": captioner.manifest.name, "styles": dict(rows)}, indent=1))
        return
    print(f"{captioner.manifest.name}: {calibration.fitted_on}")
    for style, row in rows:
        _show(style, row)
    print("images: " + "  ".join(f"{name} {n}" for name, n in row["images"].items()))


def _show(style: str, row: dict[str, Any]) -> None:
    print(f"{style}: threshold {row['threshold']:.3f}, ece {row['ece']:.3f}", end="")
    print("" if row["ece_boxes"] is None else f", of boxes {row['ece_boxes']:.3f}")
    for key in ("kept", "right", "declined"):
        shown = "  ".join(f"{name} {100 * v:.1f}" for name, v in row[key].items())
        print(f"  {key} %: {shown}")
    shown = "  ".join(
        f"{lang} {100 * both['kept']:.1f} / {100 * both['declined']:.1f}"
        for lang, both in sorted(row["languages"].items())
    )
    print(f"  kept of test / declined, by language: {shown}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
