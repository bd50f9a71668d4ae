"""Quantisation-aware training: weights and a plan with less quantisation loss.

    calibrate → smooth → train weights and scales under fake quantisation → round weights to int8

Smoothing is applied to the weights before training, so the resulting plan has none. A run's
directory contains the initial plan (start.json), checkpoints and the log of training, and at the
end the matching weights and plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgecap.core.atomic import make_directory
from edgecap.core.errors import InputError
from edgecap.quant import plan as plans
from edgecap.quant.agreement import Agreement, compare
from edgecap.quant.calibration_set import collect_calibration
from edgecap.quant.plan import Plan, check_layers
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.extension import SHIPPED, Extension
from edgecap.reference.model import weights
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.reference.quant import calibrate, layer_widths, on_grid, simulate, smooth
from edgecap.reference.train import processes
from edgecap.reference.train.checkpoint import Checkpoint, check_place
from edgecap.reference.train.config import Stage, TrainConfig
from edgecap.reference.train.data import SceneBatches
from edgecap.reference.train.distil import Distillation, Teacher
from edgecap.reference.train.log import LOG
from edgecap.reference.train.loop import Losses, fit, learn, ready

START = "start.json"
BATCH, CAPTION_TOKENS, TEXTS, TEXT_TOKENS = 16, 64, 8, 40
OVERHEAD = 1.15  # step time over forward and backward time: drawing, the optimiser
PROBES, LEAST_STEPS = 4, 20
OBSERVER = "learned"  # name of the observer in the plan


@dataclass(frozen=True)
class QatSpec:
    """What to fine-tune and for how long. These defaults are defined here only."""

    out: Path
    model: str = "S"  # a shipped name, or the path of a .safetensors file
    images: int = 6_000  # scenes to learn from
    minutes: float | None = None  # instead of `images`: as many scenes as fit into this time
    plan: Path | None = None  # initial plan; None: from calibration
    seed: int = 0  # of the scenes
    calibration: CalibrationSpec = (
        CalibrationSpec()
    )  # also the images on which agreement is measured
    # Fused kernels are a quarter faster and take minutes to compile: for runs beyond half an hour.
    compile_: bool = False

    def config(self, model: str, extension: Extension = SHIPPED) -> TrainConfig:
        """The run: full scenes, a small rate with decay in the last part, AdamW only.

        Captions are in the languages of the weights, with their tokens.

        Muon updates all directions of a matrix equally, which is too much for converged weights,
        and it takes a quarter of the step time.
        """
        stage = Stage(224, self.images, BATCH, CAPTION_TOKENS, TEXTS, TEXT_TOKENS, claims=0)
        run = TrainConfig(
            size=model,
            stages=(stage,),
            seed=self.seed,
            muon_rate=0,
            adamw_rate=1e-5,  # at 1e-4 even unrounded words moved, by 2 % (benchmarks/LOG.md)
            warmup_steps=20,
            decay_share=0.6,
            slips=0,
            mean_steps=0,  # a mean of weights would not match the scales
        )
        return run.with_languages(extension)


@dataclass(frozen=True)
class Tuned:
    """A finished run; agreements are with the initial float weights."""

    weights: Path
    plan: Path
    before: Agreement  # of the first plan on the first weights
    after: Agreement  # of the learned plan on the learned weights
    unrounded: Agreement  # of the learned weights in float
    seconds: float


def tuned_weights(out: Path, name: str) -> Path:
    """Where a run in `out` leaves the weights of the model called `name`."""
    return out / f"{name}-qat{weights.SUFFIX}"


def tune(
    spec: QatSpec, resume: bool = False, notify: Callable[[str], None] = lambda _: None
) -> Tuned:
    """Fine-tune, or continue the run in `spec.out`; `notify` is called at every stage.

    Raises InputError before any work where a run exists already, where none exists to resume, and
    where a plan or a checkpoint is for other weights.
    """
    begun = time.monotonic()
    name, path = weights.resolve(spec.model)
    given = _resumed(spec, name, path) if resume else _begun(spec, name, path)
    saved = Checkpoint.load(spec.out) if resume else None
    network, extension = weights.load(path), weights.extension(path)
    config = spec.config(name, extension) if saved is None else saved.config
    if given is not None:
        check_layers(given, layer_widths(network))
    SceneBatches(config)[0]  # raises here where scenes cannot be drawn
    make_directory(spec.out)
    if config.untrained_languages:
        untrained = ", ".join(config.untrained_languages)
        notify(f"scenes cannot be described in {untrained}: kept, but without training captions")
    notify(f"calibrating: running the float model on {spec.calibration.images} images")
    model_inputs = spec.calibration.model_inputs(network.config.image_size)
    calibration_set = collect_calibration(
        reference_captioner(TorchSession(network), extension), model_inputs
    )
    first = given or calibrate(
        network,
        calibration_set,
        spec.calibration,
        model=name,
        weights=plans.fingerprint(path),
        precision="w8a8",
    )
    before = compare(network, simulate(network, first), calibration_set)
    plans.write_plan(first, spec.out / START)

    start = replace(first, smoothing={})
    student = smooth(network, first.smoothing).requires_grad_(True)
    objective = Distillation(student, start, Teacher(network.to(processes.device())))
    losses = ready(objective, spec.compile_)
    if spec.minutes is not None and saved is None:
        config = _fitted(config, objective, losses, spec.minutes, begun)
    notify(f"training on {config.steps * BATCH:,} scenes")
    fit(objective, losses, config, spec.out, saved)
    network.to("cpu")

    file, plan_file = tuned_weights(spec.out, name), spec.out / plans.FILE
    facts = weights.facts(path) | {"qat": config.to_dict()}
    weights.save(on_grid(student.cpu(), start), file, facts, extension)
    learned = replace(
        objective.scales.settled(start),
        model=file.stem,
        weights=plans.fingerprint(file),
        calibration=replace(first.calibration, observer=OBSERVER),
    )
    plans.write_plan(learned, plan_file)
    tuned = weights.load(file)
    after = compare(network, simulate(tuned, learned), calibration_set)
    unrounded = compare(network, tuned, calibration_set)
    return Tuned(file, plan_file, before, after, unrounded, time.monotonic() - begun)


def _begun(spec: QatSpec, name: str, path: Path) -> Plan | None:
    """The given initial plan, if any."""
    check_place(spec.out, begun=(START, LOG))
    if spec.plan is None:
        return None
    plan = plans.read_plan(spec.plan)
    plans.check_weights(plan, name, plans.fingerprint(path))
    return plan


def _resumed(spec: QatSpec, name: str, path: Path) -> Plan:
    """The initial plan of the run in `spec.out`."""
    file = spec.out / START
    if not file.is_file():
        raise InputError(
            "qat.resume", f"{spec.out} holds no run of edgecap qat.", "Run without --resume."
        )
    plan = plans.read_plan(file)
    if plan.weights != plans.fingerprint(path):
        raise InputError(
            "qat.resume",
            f"the run in {spec.out} started from other weights ({plan.model}), not from {name}.",
            "Give the same weights with --model.",
        )
    return plan


def _fitted(
    config: TrainConfig, objective: Distillation, losses: Losses, minutes: float, begun: float
) -> TrainConfig:
    """The run with as many scenes as fit into `minutes` since `begun`.

    A few steps are timed first and discarded.
    """
    batch = SceneBatches(config)[0].to(processes.device())
    for _ in range(PROBES):
        step_begun = time.monotonic()
        learn(objective, batch, 1, objective.terms(batch, config), losses)
    seconds = (time.monotonic() - step_begun) * OVERHEAD
    objective.zero_grad()
    steps = int((minutes * 60 - (time.monotonic() - begun)) / seconds)
    if steps < LEAST_STEPS:
        raise InputError(
            "qat.minutes",
            f"{minutes:g} minutes are too few: a step takes {seconds:.1f} s here, "
            f"and {LEAST_STEPS} are the least.",
            "Give more minutes, or a number of scenes with --n.",
        )
    return config.scaled(steps * BATCH)
