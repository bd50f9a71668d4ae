"""Fits the calibration of a captioner's confidence, to captions that are right and that are not.

Logistic regression by Newton's method, with Platt's targets: (n + 1) / (n + 2) for n right ones,
not 1, so that data that a line separates gives finite weights. Both sides count alike, however many
there are of each: the confidence is that of a picture that is as likely to be of the kind as not.

Letters: N captions or boxes, F figures of each, the constant 1 first.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgecap.bundle.confidence_spec import (
    CONFIDENCE,
    SCHEMA,
    Calibration,
    CaptionWeights,
    RegionWeights,
    SecondStyle,
)
from edgecap.bundle.io import finalize, is_bundle, open_bundle
from edgecap.core.atomic import atomic_dir
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.progress import progress
from edgecap.core.typed import dump
from edgecap.runtime.captions import Caption
from edgecap.runtime.confidence import AUTO, features, rated
from edgecap.runtime.folders import walk
from edgecap.runtime.loading import load

LEAST = 20  # captions of each side
KEPT = 0.99  # of the right captions that are fitted; 0.98 is what others are to reach
_STEPS = 100

# A caption of an image, and that in the second style, where there is one.
Opinions: TypeAlias = "tuple[Caption, Caption | None]"


def fit_captions(right: Sequence[Opinions], wrong: Sequence[Opinions]) -> CaptionWeights:
    """The weights for one style or prompt; InputError for fewer than LEAST captions of a side.

    With second captions, all of one style, these count as well.
    """
    good, bad = _rows(right, "right"), _rows(wrong, "wrong")  # float64 [N,F]
    values, labels = np.concatenate([good, bad]), np.repeat([1, 0], [len(good), len(bad)])
    weights = fit(values, labels)
    confidences = 1 / (1 + np.exp(-(good @ weights)))  # [N]
    threshold = float(np.quantile(confidences, 1 - KEPT, method="lower"))
    bias, mean, least, *others = weights
    if not others:
        return CaptionWeights(bias, mean, least, threshold)
    (style,) = {second.style for _, second in (*right, *wrong) if second is not None}
    return CaptionWeights(bias, mean, least, threshold, SecondStyle(style, *others))


def fit_regions(rows: Sequence[tuple[float, float]], right: Sequence[bool]) -> RegionWeights:
    """The weights of boxes, from (log score, mean log-probability of the caption) of each."""
    values = np.array([(1.0, *row) for row in rows])  # [N,3]
    return RegionWeights(*fit(values, np.array(right, np.int64)))


def fit(values: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    """Weights of values [N,F] that predict labels 0 or 1 [N]; none but the first is negative.

    A figure that would count against the caption although the model thought it likelier is left
    out: its weight is 0.
    """
    used = list(range(values.shape[1]))
    while True:
        solved = _newton(values[:, used], labels)
        against = [i for i, weight in zip(used, solved, strict=True) if i and weight < 0]
        if not against:
            break
        used = [i for i in used if i not in against]
    weights = np.zeros(values.shape[1])
    weights[used] = solved
    return tuple(float(weight) for weight in weights)


def _newton(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Float64 [F] that maximises the balanced likelihood of labels [N]."""
    ones = int(labels.sum())
    zeros = len(labels) - ones
    targets = np.where(labels, (ones + 1) / (ones + 2), 1 / (zeros + 2))  # [N]
    shares = np.where(labels, 0.5 / max(ones, 1), 0.5 / max(zeros, 1))  # [N]
    weights = np.zeros(values.shape[1])  # [F]
    tiny = 1e-9 * np.eye(values.shape[1])  # [F,F]

    def loss(at: np.ndarray) -> float:
        logits = values @ at  # [N]
        return float((shares * (np.logaddexp(0, logits) - targets * logits)).sum())

    for _ in range(_STEPS):
        guess = 1 / (1 + np.exp(-np.clip(values @ weights, -500, 500)))  # [N]
        slope = values.T @ (shares * (targets - guess))  # [F]
        curve = (values.T * (shares * guess * (1 - guess))) @ values + tiny  # [F,F]
        step, before = np.linalg.solve(curve, slope), loss(weights)
        while loss(weights + step) > before and np.abs(step).max() > 1e-12:
            step = step / 2
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _rows(captions: Sequence[Opinions], what: str) -> np.ndarray:
    """1, mean and lowest log-probability, and the second caption's mean: float64 [N,3 or 4]."""
    rows = [
        (1.0, *features(caption), *([] if second is None else features(second)[:1]))
        for caption, second in captions
        if caption.scores
    ]
    if len(rows) < LEAST:
        raise InputError(
            "confidence.few",
            f"{len(rows)} {what} captions are too few to fit a confidence to; at least {LEAST}.",
            "Give more images; edgecap calibrate fits every second one of a directory.",
        )
    return np.array(rows)


def calibrate(
    bundle: Path, images: Path, others: Path, threads: int = 1, **options: str
) -> dict[str, float]:
    """Fit the confidence of one style or prompt of a bundle, and write it into the bundle.

    Args:
        bundle: a bundle directory; replaced as a whole, complete or not at all.
        images, others: directories of images that are captioned well, and of images that should be
            declined. Every second image of each is fitted, the others are measured.
        options: lang and style, or prompt, as of the captioner's `caption_many`.

    Returns:
        images, others: how many were measured; kept, declined: the shares (0-1) of them that are
        captioned and declined at the fitted threshold.

    Raises:
        BundleError, InputError (too few images), UnsupportedError (a model without captions).
    """
    if bundle.is_file():
        raise UnsupportedError(
            "confidence.packed",
            f"{bundle} is packed, and cannot be changed in place.",
            f"Unpack it first: edgecap unpack {bundle}",
        )
    captioner = load(bundle, threads=threads)
    right, wrong = (_opinions(captioner, folder, options) for folder in (images, others))
    weights = fit_captions(right[::2], wrong[::2])
    style = right[0][0].style
    before = captioner.calibration
    calibration = Calibration(
        SCHEMA,
        "the image is of the kind that the calibration was fitted to",
        f"{len(right[::2])} images and {len(wrong[::2])} others, by edgecap calibrate",
        before.weights if before else None,
        {**(before.captions if before else {}), style: weights},
        dict(before.regions) if before else {},
    )
    kept, declined = (
        [rated(one, calibration, AUTO, second).declined for one, second in half]
        for half in (right[1::2], wrong[1::2])
    )
    _write(bundle, calibration)
    return {
        "images": len(kept),
        "others": len(declined),
        "kept": 1 - float(np.mean(kept)),
        "declined": float(np.mean(declined)),
    }


def _opinions(captioner: Any, folder: Path, options: dict[str, str]) -> list[Opinions]:
    """Captions of the images of a folder that can be read and give words.

    With second ones where the calibration so far has them for this style.
    """
    files = [folder / name for name in walk(folder)]
    found = progress(
        captioner.caption_many(files, **options, on_error="skip"), folder.name, len(files)
    )
    captions = {
        file: one
        for file, one in zip(files, found, strict=True)
        if isinstance(one, Caption) and one.scores
    }
    before = captioner.calibration.captions if captioner.calibration else {}
    styles = {one.style for one in captions.values()}
    seconds = [before[style].second for style in styles if style in before]
    if not seconds or seconds[0] is None:
        return [(one, None) for one in captions.values()]
    kind = "style" if captioner.languages else "prompt"
    again = captioner.caption_many(list(captions), **{**options, kind: seconds[0].style})
    return list(zip(captions.values(), again, strict=True))


def _write(bundle: Path, calibration: Calibration) -> None:
    """Replace the bundle by a copy that holds the calibration."""
    opened = open_bundle(bundle, "full")
    with atomic_dir(bundle, True, marker=is_bundle) as directory:
        shutil.copytree(bundle, directory, dirs_exist_ok=True)
        (directory / CONFIDENCE).write_bytes(dump(calibration))
        known = {name: entry for name, entry in opened.manifest.files.items() if name != CONFIDENCE}
        finalize(directory, opened.manifest, hashed=known)
