"""From a Hugging Face checkpoint to verified bundles of schema 2.

Stages, the same for every family: open and refuse → translate its files into data → ask PyTorch
once → plan int8 once → per format: convert, compare every function with PyTorch, write, gate
without torch, rename. `int8` is a request for the first of two precisions that passes the gate.
Nothing here knows a family: adapters do (edgecap.models).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgecap
from edgecap.bundle.certificate import Certificate, certificate_to_json
from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.interface import DECODE, ENCODE_TEXT
from edgecap.bundle.io import finalize, is_bundle, open_bundle
from edgecap.bundle.manifest import CARD, CERTIFICATE
from edgecap.bundle.schema2 import ENCODER, SCHEMA, TOKENIZER, Manifest, ModelInfo
from edgecap.bundle.text_spec import text_spec_to_json
from edgecap.core.atomic import atomic_dir, refuse_existing
from edgecap.core.digest import file_sha256
from edgecap.core.errors import GateError, InputError, UnsupportedError
from edgecap.core.formats import FORMATS, INT8, INT8_CANDIDATES
from edgecap.core.lazy import require
from edgecap.core.progress import working
from edgecap.core.scratch import scratch_dir
from edgecap.exporters.card import checkpoint_card
from edgecap.exporters.checkpoint_images import ask, gate_images
from edgecap.exporters.checkpoint_plan import Planner, read_plan_of
from edgecap.exporters.compare_functions import compare_functions
from edgecap.exporters.estimate import estimate
from edgecap.exporters.parity.run import run_gate
from edgecap.exporters.parity.words import ModelOutputs
from edgecap.exporters.quiet import quiet
from edgecap.exporters.room import check_room
from edgecap.models import checkpoint as checkpoints
from edgecap.models import registry, translate
from edgecap.quant.plan import FILE as PLAN_FILE
from edgecap.quant.plan import write_plan
from edgecap.quant.samples import CalibrationSpec
from edgecap.runtime.expected import FOLDER
from edgecap.runtime.memory import free_bytes

if TYPE_CHECKING:
    from edgecap.exporters.rounded import Rounded
    from edgecap.models.adapter import Adapter
    from edgecap.models.checkpoint import Checkpoint

PRECISIONS = ("fp32", "fp16", "w8", "w8a8")
GATE_SECONDS = 3600
WORDS = "edgecap.exporters.parity.words"
GIB = 1 << 30
Say = Callable[[str], None]


@dataclass(frozen=True)
class CheckpointSpec:
    """A request; the only home of these defaults."""

    model: str  # a directory, or a hub id in the local cache
    formats: tuple[str, ...] = ("onnx",)
    precision: str = "fp32"
    output: Path | None = None  # of one format; None: <name>-<format>-<precision> here
    overwrite: bool = False
    verify: bool = True
    count: int = 8  # images of the gate, of the directory that calibration has
    calibration: CalibrationSpec = CalibrationSpec()
    plan: Path | None = None  # of w8a8; None: calibration makes one
    text_rows: int | None = None  # T; None: the checkpoint's own longest caption
    revision: str | None = None


@dataclass(frozen=True)
class Exported:
    """A finished bundle."""

    path: Path
    manifest: Manifest
    size: int  # bytes of the model files
    certificate: Certificate | None
    seconds: float


def is_checkpoint(model: str) -> bool:
    """Whether `model` names a checkpoint directory, and not weights of our own captioner."""
    return (Path(model) / checkpoints.CONFIG).is_file()


def export(spec: CheckpointSpec, say: Say = lambda _: None) -> list[Exported]:
    """A bundle for every format of `spec`.

    Raises InputError, UnsupportedError and MissingPackageError before work starts, and GateError
    where a conversion is not the same function or a bundle not the same captioner.
    """
    opened = checkpoints.open_checkpoint(spec.model, spec.revision)
    places = outputs(spec, opened)
    say(f"loading {opened.source} ({opened.model_type})")
    with working("loading"), quiet():
        adapter = registry.load(opened, spec.text_rows)
    draft = describe(adapter, opened)
    precisions, why = candidates(spec, opened)
    if why:
        say(f"{precisions[0]}, because {why}")
    reference = None
    if spec.verify:
        images = gate_images(spec.calibration, spec.count, draft.image)
        say(f"running PyTorch on {len(images)} images")
        reference = ask(adapter, draft.prompts, images)
    planner = Planner(adapter, opened, draft.image, draft.prompts, spec.calibration, spec.plan, say)
    job = _Job(spec, adapter, opened, draft, reference, planner, say)
    return [job.bundle(name, output, precisions) for name, output in places.items()]


def candidates(spec: CheckpointSpec, opened: Checkpoint) -> tuple[tuple[str, ...], str | None]:
    """The precisions to try in turn, and why w8a8 is not among them where int8 was requested."""
    if spec.precision not in (INT8, "w8a8"):
        return (spec.precision,), None
    why = None
    if not registry.find(opened.model_type, opened.architecture).captions:
        why = f"{opened.source} writes no captions, which grids of activations are calibrated on"
    else:
        needed = max(estimate(opened, name, "w8a8").memory for name in spec.formats)
        if needed > free_bytes():
            why = (
                f"calibration needs the model in memory, {needed / GIB:.1f} GiB with what "
                f"converts it, and {free_bytes() / GIB:.1f} GiB are free"
            )
    if why is None:
        return (INT8_CANDIDATES if spec.precision == INT8 else ("w8a8",)), None
    if spec.precision == INT8 and spec.plan is None:
        return ("w8",), why
    raise UnsupportedError("export.w8a8", f"{why}.", "Run with: --precision w8")


def outputs(spec: CheckpointSpec, opened: Checkpoint | None = None) -> dict[str, Path]:
    """Format -> output directory, after refusing what cannot work; nothing is loaded."""
    opened = opened or checkpoints.open_checkpoint(spec.model, spec.revision)
    if spec.precision not in (*PRECISIONS, INT8):
        raise UnsupportedError(
            "export.combination",
            f"{opened.model_type} is exported as {', '.join(PRECISIONS)}, "
            f"and {spec.precision} was requested.",
            "Run with: --precision fp16",
        )
    if not 1 <= spec.count <= 128:
        raise InputError("export.scenes", f"images must be in 1 … 128, got {spec.count}.")
    _check_plan(spec, opened)
    candidates(spec, opened)
    places = {}
    for name in spec.formats:
        exporter = FORMATS[name]
        with quiet():
            for module in (*exporter.needs, "transformers"):
                require(module, "export")
            if spec.verify and exporter.engine is not None:
                require(exporter.engine, "export")
        base = f"{opened.name}-{name}-{spec.precision}"
        several = len(spec.formats) > 1  # then the output is the directory they are made in
        parent = spec.output if several and spec.output is not None else Path()
        places[name] = parent / base if several or spec.output is None else spec.output
        refuse_existing(places[name], spec.overwrite, is_bundle)
    stored = "w8a8" if spec.precision == INT8 else spec.precision
    check_room(
        need
        for name, place in places.items()
        for need in estimate(opened, name, stored).places(place)
    )
    return places


@dataclass(frozen=True)
class _Draft:
    """The data of a manifest that no format changes."""

    image: Any
    text: Any  # TextSpec, or None
    prompts: dict[str, GenerationSpec]
    regions: Any
    encoder: bytes | None


def describe(adapter: Adapter, opened: Checkpoint) -> _Draft:
    """The checkpoint's files as data; raises where one of its settings cannot be expressed."""
    files = translate.Checkpoint(opened.directory)
    image, _ = translate.image_spec(files)
    prompts: dict[str, GenerationSpec] = {}
    text, regions = None, None
    if adapter.interface.has(DECODE):
        assert adapter.generation is not None
        text = translate.text_spec(files)
        T = adapter.interface.dims["T"]
        for name, begin in adapter.generation.prompts.items():
            ids = {
                "eos_token_id": list(adapter.generation.end),
                "pad_token_id": adapter.generation.pad,
            }
            settings = translate.generation_spec(files, begin=begin, ids=ids)
            most = min(settings.max_new_tokens, T - len(begin) + 1)
            least = min(settings.min_new_tokens, most)
            prompts[name] = replace(settings, max_new_tokens=most, min_new_tokens=least)
        codec = getattr(adapter, "regions", None)
        regions = None if codec is None else translate.regions_spec(text, codec)
    encoder = None
    if adapter.interface.has(ENCODE_TEXT):
        encoder = (opened.directory / "tokenizer.json").read_bytes()
    return _Draft(image, text, prompts, regions, encoder)


def _check_plan(spec: CheckpointSpec, opened: Checkpoint) -> None:
    """InputError for options of calibration and plan that cannot work with the precision."""
    changes_calibration = replace(spec.calibration, data=None) != CalibrationSpec()
    if spec.precision not in (INT8, "w8a8") and (changes_calibration or spec.plan is not None):
        raise InputError(
            "plan.conflict",
            f"{spec.precision} fixes no grids of activations and needs no plan.",
            "Leave those options out, or run with: --precision w8a8",
        )
    if spec.plan is not None:
        if changes_calibration:
            raise InputError(
                "plan.conflict",
                f"{spec.plan} is a finished plan, and calibration would make another.",
                "Give --plan or the options of calibration.",
            )
        read_plan_of(spec.plan, opened)
    if spec.precision in (INT8, "w8a8"):
        spec.calibration.check()


@dataclass(frozen=True)
class _Job:
    """What all bundles of one export share."""

    spec: CheckpointSpec
    adapter: Adapter
    opened: Checkpoint
    draft: _Draft
    reference: ModelOutputs | None
    planner: Planner
    say: Say

    def bundle(self, name: str, output: Path, precisions: tuple[str, ...]) -> Exported:
        """The first of `precisions` that is close enough, in a directory of its own."""
        begun = time.monotonic()
        for precision, instead in zip(precisions, (*precisions[1:], None), strict=True):
            rounded = self.planner.choose(precision)
            try:
                with atomic_dir(output, self.spec.overwrite, marker=is_bundle) as directory:
                    manifest, certificate = self._write(name, precision, rounded, directory, output)
            except GateError as error:
                if instead is None or error.code != "parity.failed":
                    raise
                self.say(f"{name}: {instead}, because {error.message}")
                continue
            size = sum(e.size for n, e in manifest.files.items() if _is_model(manifest, n))
            return Exported(output, manifest, size, certificate, time.monotonic() - begun)
        raise AssertionError("the last precision returns or raises")

    def _write(
        self, name: str, precision: str, rounded: Rounded | None, directory: Path, output: Path
    ) -> tuple[Manifest, Certificate | None]:
        """Convert, compare, write and gate one format in `directory`."""
        adapter, opened, draft = self.adapter, self.opened, self.draft
        functions = ", ".join(function.name for function in adapter.functions())
        self.say(f"converting {functions} to {name} {precision}")
        writer = import_module(f"edgecap.exporters.{name}.functions")
        with working(f"converting to {name}"), quiet():
            places = writer.export(adapter, directory, precision, rounded)
        files: dict[str, str | None] = {"tokenizer": None, "encoder": None}
        if draft.text is not None:
            files["tokenizer"] = TOKENIZER
            (directory / TOKENIZER).write_bytes(
                json.dumps(text_spec_to_json(draft.text), ensure_ascii=False).encode()
            )
        if draft.encoder is not None:
            files["encoder"] = ENCODER
            (directory / ENCODER).write_bytes(draft.encoder)
        if rounded is not None:
            write_plan(rounded.plan, directory / PLAN_FILE)
        weights = file_sha256(opened.weights[0]) if len(opened.weights) == 1 else None
        manifest = Manifest(
            schema=SCHEMA,
            name=f"{opened.name}-{name}-{precision}",
            model=ModelInfo(opened.model_type, adapter.source, adapter.license, weights),
            format=name,
            precision=precision,
            interface=replace(adapter.interface, batch=_batch(writer.BATCH, name, precision)),
            functions=places,
            image=draft.image,
            prompts=draft.prompts,
            regions=draft.regions,
            plan={} if rounded is None else rounded.plan.summary(),
            tools={"edgecap": edgecap.__version__}
            | {t: version(t) for t in (*(t.name for t in FORMATS[name].tools), "transformers")},
            files={},
            tokenizer=files["tokenizer"],
            encoder=files["encoder"],
        )
        manifest = finalize(directory, manifest)
        self.say(f"comparing {', '.join(places)} with PyTorch")
        with working("comparing"):
            compare_functions(adapter, directory, rounded=rounded)
        certificate = None if self.reference is None else _gate(directory, self.reference, self.say)
        if certificate is not None:
            (directory / CERTIFICATE).write_bytes(certificate_to_json(certificate))
        text = checkpoint_card(manifest, output.name, certificate)
        (directory / CARD).write_text(text, encoding="utf-8")
        manifest = finalize(directory, manifest)
        open_bundle(directory)
        return manifest, certificate


def _gate(directory: Path, reference: ModelOutputs, say: Say) -> Certificate:
    """Run the gate in a process of its own; GateError unless it passes."""
    with scratch_dir("edgecap-parity-") as scratch:
        reference.write(scratch)
        say(f"comparing captions of {len(reference.images)} images, without torch")
        with working("comparing captions"):
            certificate = run_gate(directory, scratch, WORDS, GATE_SECONDS)
        if not certificate.failures:
            shutil.copytree(scratch / FOLDER, directory / FOLDER)
    if certificate.failures:
        raise GateError(
            "parity.failed",
            f"{certificate.target} is not close enough to {certificate.reference}: "
            + "; ".join(certificate.failures)
            + ".",
            "Nothing was saved; --no-verify saves it all the same.",
        )
    return certificate


def _batch(written: int | None, format_: str, precision: str) -> int | None:
    """1 where a batch would change captions: layers that round by one scale over all of a call."""
    return 1 if precision in FORMATS[format_].dynamic else written


def _is_model(manifest: Manifest, name: str) -> bool:
    others = {manifest.tokenizer, manifest.encoder, PLAN_FILE, CARD, CERTIFICATE}
    return name not in others
