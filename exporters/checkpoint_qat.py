"""Quantisation-aware training of a Hugging Face checkpoint: a checkpoint and a plan come out.

    caption with the float model → calibrate → smooth → distil under rounding → round the weights

The float model is the teacher, and the user's images are the data; no captions are needed. A part
of the images is not trained on: the agreement before and after is measured there. The result is a
checkpoint like the one given, with plan.json and log.jsonl beside its weights.

Letters: N images, h and w the input's size in px.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.core.atomic import atomic_dir, refuse_existing
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.formats import INT8
from edgecap.core.lazy import require
from edgecap.core.progress import progress, working
from edgecap.exporters import rounded
from edgecap.exporters.checkpoint_images import model_inputs
from edgecap.exporters.checkpoint_plan import fingerprint
from edgecap.exporters.described import describe
from edgecap.exporters.planning import read_plan
from edgecap.exporters.quiet import quiet
from edgecap.models import checkpoint as checkpoints
from edgecap.models import registry
from edgecap.quant import plan as plans
from edgecap.quant.agreement import Agreement, agree
from edgecap.quant.samples import CalibrationSpec
from edgecap.runtime.folders import walk

if TYPE_CHECKING:
    from edgecap.models.checkpoint import Checkpoint
    from edgecap.quant.captions import CaptionSet
    from edgecap.quant.plan import Plan
    from edgecap.quant.subject import FunctionSubject

LOG = "log.jsonl"
OBSERVER = "learned"  # name of the observer in the plan
HELD_OUT, MOST_HELD_OUT = 5, 64  # one image of so many is held out, at most so many
LEAST = 20  # images
Say = Callable[[str], None]


@dataclass(frozen=True)
class CheckpointQat:
    """What to train, on what and for how long. The only home of these defaults."""

    model: str  # a directory, or a hub id in the local cache
    data: Path  # a directory of images, or captions, whose images are taken
    out: Path
    images: int = 6_000  # to learn from, with repetition
    minutes: float | None = None  # instead of `images`: this time, all included
    plan: Path | None = None  # initial plan; None: from calibration
    seed: int = 0  # of the order of images, and which of them calibrate
    observer: str | None = None


@dataclass(frozen=True)
class Tuned:
    """A finished run; agreements are with the float model, on images that nothing learned from."""

    checkpoint: Path
    plan: Path
    images: int  # learned from, with repetition
    before: Agreement  # of the first plan on the weights as given
    after: Agreement  # of the learned plan on the learned weights
    unrounded: Agreement  # of the learned weights in float
    seconds: float


def tune(spec: CheckpointQat, say: Say = lambda _: None) -> Tuned:
    """Train, and write the checkpoint and its plan into `spec.out`.

    Raises InputError, UnsupportedError and MissingPackageError before any work.
    """
    begun = time.monotonic()
    opened, files = _checked(spec)
    say(f"loading {opened.source} ({opened.model_type})")
    with working("loading"), quiet():
        adapter = registry.load(opened)
    draft = describe(adapter, opened)
    prompt = next(iter(draft.prompts.values())).begin
    say(f"captioning {len(files)} images with the float model")
    shown = progress(files, "reading images")
    every = rounded.collect(adapter, model_inputs(list(shown), draft.image), prompt)
    held = min(len(every) // HELD_OUT, MOST_HELD_OUT)
    test, training = every.first(held), every.subset(range(held, len(every)))

    first = _first_plan(spec, opened, adapter, training, say)
    subject = rounded.subject(adapter)
    before = _agreement(subject, _simulated(subject, first), test)
    with atomic_dir(spec.out) as directory:
        say(f"training on {len(training)} images, {held} held out")
        tuned, learned, seen = _learn(spec, subject, first, training, directory / LOG, begun)
        after = _agreement(subject, _simulated(tuned, learned), test)
        unrounded = _agreement(subject, tuned.functions, test)
        _write(opened, tuned, learned, directory)
    seconds = time.monotonic() - begun
    return Tuned(spec.out, spec.out / plans.FILE, seen, before, after, unrounded, seconds)


def _checked(spec: CheckpointQat) -> tuple[Checkpoint, list[Path]]:
    """The checkpoint and the images, after refusing what cannot work."""
    opened = checkpoints.open_checkpoint(spec.model)
    if not registry.find(opened.model_type, opened.architecture).captions:
        raise UnsupportedError(
            "qat.captions",
            f"{opened.source} writes no captions, which training compares.",
            f"Export it without: edgecap export {spec.model} --int8",
        )
    refuse_existing(spec.out, overwrite=False, marker=None)
    if spec.plan is not None:
        read_plan(spec.plan, INT8, opened.source, fingerprint(opened))
    files = _images(spec)
    for module in ("torch", "transformers"):
        require(module, "train")
    return opened, files


def _images(spec: CheckpointQat) -> list[Path]:
    """The images of a directory, or of captions, in the order of the seed."""
    import numpy as np

    if spec.data.is_dir():
        files = [spec.data / name for name in walk(spec.data)]
    else:
        from edgecap.apps.pairs.examples import read_examples

        files = [example.image for example in read_examples(spec.data)]
    if len(files) < LEAST:
        raise InputError(
            "qat.data",
            f"{spec.data} has {len(files)} images, and {LEAST} are the least to learn from.",
            "Give more images.",
        )
    order = np.random.default_rng(spec.seed).permutation(len(files))
    return [files[i] for i in order]


def _first_plan(
    spec: CheckpointQat, opened: Checkpoint, adapter: Any, training: CaptionSet, say: Say
) -> Plan:
    """The plan to begin with: given, or calibrated on the first images of training."""
    if spec.plan is not None:
        return read_plan(spec.plan, INT8, opened.source, fingerprint(opened))
    few = training.first(CalibrationSpec().images)
    say(f"calibrating on {len(few)} images")
    calibration = CalibrationSpec(spec.data, len(few), spec.seed, spec.observer)
    return rounded.calibrated(adapter, few, calibration, fingerprint(opened)).plan


def _learn(
    spec: CheckpointQat,
    subject: FunctionSubject,
    first: Plan,
    training: CaptionSet,
    log: Path,
    begun: float,
) -> tuple[FunctionSubject, Plan, int]:
    """The learned model with int8 weights where rounding puts them, its plan, the images seen."""
    from edgecap.quant.distil import distil
    from edgecap.quant.learned import LearnedRounding, on_grid
    from edgecap.quant.smooth import smooth

    start = replace(first, smoothing={})
    smoothed = smooth(subject, first.smoothing)
    student = smoothed.with_own(name for name, _ in smoothed.model.named_modules())
    parameters = list(student.model.requires_grad_(True).parameters())
    learned = LearnedRounding(student, start)

    def share_done(seen: int) -> float:
        if spec.minutes is None:
            return seen / spec.images
        return (time.monotonic() - begun) / (60 * spec.minutes)

    seen = 0
    steps = distil(subject.functions, learned, parameters, training, share_done, spec.seed)
    with log.open("w", encoding="utf-8") as file:
        for step in progress(steps, "train"):
            seen = step.images
            file.write(json.dumps(asdict(step)) + "\n")
    student.model.requires_grad_(False)
    tuned = on_grid(student, start)
    assert isinstance(tuned, type(subject))  # as what was trained
    return tuned, learned.scales.settled(start), seen


def _simulated(subject: FunctionSubject, plan: Plan) -> Any:
    from edgecap.quant.simulate import simulate

    return simulate(subject, plan)


def _agreement(subject: FunctionSubject, functions: Sequence[Any], test: CaptionSet) -> Agreement:
    """Of `functions` with the float model's on images that nothing learned from."""
    reference, other = test.replay(subject.functions, "float"), test.replay(functions, "rounded")
    return agree(zip(reference, other, strict=True))


def _write(opened: Checkpoint, tuned: FunctionSubject, learned: Plan, directory: Path) -> None:
    """The checkpoint as it was given, with the learned weights and their plan."""
    with quiet():
        tuned.model.save_pretrained(directory)
    weights = {file.name for file in opened.weights} | {checkpoints.INDEX, plans.FILE, LOG}
    for file in (f for pattern in checkpoints.FILES for f in opened.directory.glob(pattern)):
        if file.name not in weights:
            shutil.copyfile(file, directory / file.name)
    written = checkpoints.open_checkpoint(directory)
    plan = replace(
        learned,
        weights=fingerprint(written),
        calibration=replace(learned.calibration, observer=OBSERVER),
    )
    plans.write_plan(plan, directory / plans.FILE)
