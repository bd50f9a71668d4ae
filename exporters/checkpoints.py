"""From a Hugging Face checkpoint to verified bundles of schema 2.

Stages, the same for every family: open and refuse → translate its files into data → ask PyTorch
once → per format: convert, compare every function with PyTorch, write, gate without torch, rename.
Nothing here knows a family: adapters do (edgecap.models).

Letters: N images, n tokens of a caption, B batch, h and w the input's size in px, V vocabulary.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
from edgecap.core.formats import FORMATS
from edgecap.core.lazy import require
from edgecap.core.progress import progress, working
from edgecap.core.scratch import scratch_dir
from edgecap.exporters.card import checkpoint_card
from edgecap.exporters.estimate import estimate
from edgecap.exporters.parity.run import run_gate
from edgecap.exporters.parity.words import ModelOutputs
from edgecap.exporters.quiet import quiet
from edgecap.exporters.room import check_room
from edgecap.models import checkpoint as checkpoints
from edgecap.models import registry, translate
from edgecap.runtime.expected import FOLDER
from edgecap.runtime.image_processing import process

if TYPE_CHECKING:
    from edgecap.models.adapter import Adapter
    from edgecap.models.checkpoint import Checkpoint

PRECISIONS = ("fp32", "fp16", "w8")
GATE_SECONDS = 3600
WORDS = "edgecap.exporters.parity.words"
CLOSE = 1e-3  # spreads of an output: a converted function is the same function
Say = Callable[[str], None]


@dataclass(frozen=True)
class CheckpointSpec:
    """What is asked for; the only home of these defaults."""

    model: str  # a directory, or a hub id in the local cache
    formats: tuple[str, ...] = ("onnx",)
    precision: str = "fp32"
    output: Path | None = None  # of one format; None: <name>-<format>-<precision> here
    overwrite: bool = False
    verify: bool = True
    images: Path | None = None  # a directory that the gate looks at; None: what ships
    count: int = 8  # images of the gate
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
    wanted = None
    if spec.verify:
        images = _images(spec, draft)
        say(f"asking PyTorch about {len(images)} images")
        wanted = _ask(adapter, draft, images)
    made = []
    for name, output in places.items():
        begun = time.monotonic()
        with atomic_dir(output, spec.overwrite, marker=is_bundle) as directory:
            manifest, certificate = _one(
                spec, name, adapter, opened, draft, wanted, directory, output.name, say
            )
        size = sum(e.size for n, e in manifest.files.items() if _is_model(manifest, n))
        seconds = time.monotonic() - begun
        made.append(Exported(output, manifest, size, certificate, seconds))
    return made


def outputs(spec: CheckpointSpec, opened: Checkpoint | None = None) -> dict[str, Path]:
    """Format -> output directory, after refusing what cannot work; nothing is loaded."""
    opened = opened or checkpoints.open_checkpoint(spec.model, spec.revision)
    if spec.precision not in PRECISIONS:
        raise UnsupportedError(
            "export.combination",
            f"{opened.model_type} is exported as {', '.join(PRECISIONS)}, "
            f"and {spec.precision} is asked for.",
            "Run with: --precision fp16",
        )
    if not 1 <= spec.count <= 128:
        raise InputError("export.scenes", f"images must be in 1 … 128, got {spec.count}.")
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
    check_room(
        need
        for name, place in places.items()
        for need in estimate(opened, name, spec.precision).places(place)
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
    """The checkpoint's files as data; raises where one of its settings cannot be said."""
    files = translate.Checkpoint(opened.directory)
    image, _ = translate.image_spec(files)
    if image.crops is not None and image.crops.split:
        raise UnsupportedError(
            "image.crops",
            f"{opened.directory} splits an image into crops, and one image is encoded at a time.",
            "Set do_image_splitting to false in its preprocessor_config.json.",
        )
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
            said = translate.generation_spec(files, begin=begin, ids=ids)
            most = min(said.max_new_tokens, T - len(begin) + 1)
            least = min(said.min_new_tokens, most)
            prompts[name] = replace(said, max_new_tokens=most, min_new_tokens=least)
        codec = getattr(adapter, "regions", None)
        regions = None if codec is None else translate.regions_spec(text, codec)
    encoder = None
    if adapter.interface.has(ENCODE_TEXT):
        encoder = (opened.directory / "tokenizer.json").read_bytes()
    return _Draft(image, text, prompts, regions, encoder)


def _images(spec: CheckpointSpec, draft: _Draft) -> np.ndarray:
    """What the gate looks at: uint8 [N,h,w,3]."""
    sources: Sequence[Any]
    if spec.images is not None:
        from edgecap.runtime.folders import walk

        sources = [spec.images / name for name in walk(spec.images)][: spec.count]
        if not sources:
            raise InputError("export.images", f"{spec.images} has no image.")
    else:
        from edgecap.reference.scenes.shipped import load_set

        sources = [pixels for pixels, _ in load_set("gate", spec.count)]
    crops = [process(source, draft.image).pixels for source in sources]  # each [n,h,w,3]
    if any(len(each) != 1 for each in crops):
        raise UnsupportedError("image.crops", "an image makes several crops; encode takes one.")
    return np.concatenate(crops)


def _ask(adapter: Adapter, draft: _Draft, images: np.ndarray) -> ModelOutputs:
    """What PyTorch says: captions as transformers generates them, and the logits along them."""
    import torch

    from edgecap.exporters.eager import Eager
    from edgecap.exporters.parity.words import forced_logits
    from edgecap.models.adapter import Limits
    from edgecap.runtime.graphs import Graphs

    graphs = Graphs(Eager(adapter.functions()), adapter.interface)
    captions: list[list[int]] = []
    rows: list[np.ndarray] = []
    embeddings: list[np.ndarray] = []
    prompt = next(iter(draft.prompts), None)
    for image in progress(images, "captioning with PyTorch"):
        if prompt is not None:
            said = draft.prompts[prompt]
            limits = Limits(said.max_new_tokens, shipped=True)
            (ids,) = adapter.reference(image[None], said.begin, limits)
            captions.append(ids)
            rows.append(forced_logits(graphs, image[None], said, ids))  # [n,V]
        if "image_embedding" in adapter.interface.function("encode").outputs:
            embeddings.append(graphs.encode(image[None])["image_embedding"])
    return ModelOutputs(
        f"torch {torch.__version__} fp32",
        prompt,
        images,
        captions,
        np.concatenate(rows) if rows else np.zeros((0, 1), np.float32),
        np.concatenate(embeddings) if embeddings else None,
    )


def _one(
    spec: CheckpointSpec,
    name: str,
    adapter: Adapter,
    opened: Checkpoint,
    draft: _Draft,
    wanted: ModelOutputs | None,
    directory: Path,
    title: str,
    say: Say,
) -> tuple[Manifest, Certificate | None]:
    """Convert, compare, write and gate one format in `directory`."""
    functions = ", ".join(function.name for function in adapter.functions())
    say(f"converting {functions} to {name} {spec.precision}")
    writer = import_module(f"edgecap.exporters.{name}.functions")
    with working(f"converting to {name}"), quiet():
        places = writer.export(adapter, directory, spec.precision)
    files: dict[str, str | None] = {"tokenizer": None, "encoder": None}
    if draft.text is not None:
        files["tokenizer"] = TOKENIZER
        (directory / TOKENIZER).write_bytes(
            json.dumps(text_spec_to_json(draft.text), ensure_ascii=False).encode()
        )
    if draft.encoder is not None:
        files["encoder"] = ENCODER
        (directory / ENCODER).write_bytes(draft.encoder)
    weights = file_sha256(opened.weights[0]) if len(opened.weights) == 1 else None
    manifest = Manifest(
        schema=SCHEMA,
        name=f"{opened.name}-{name}-{spec.precision}",
        model=ModelInfo(opened.model_type, adapter.source, adapter.license, weights),
        format=name,
        precision=spec.precision,
        interface=replace(adapter.interface, batch=_batch(writer.BATCH, name, spec.precision)),
        functions=places,
        image=draft.image,
        prompts=draft.prompts,
        regions=draft.regions,
        plan={},
        tools={"edgecap": edgecap.__version__}
        | {t: version(t) for t in (*(one.name for one in FORMATS[name].tools), "transformers")},
        files={},
        tokenizer=files["tokenizer"],
        encoder=files["encoder"],
    )
    manifest = finalize(directory, manifest)
    say(f"comparing {', '.join(places)} with PyTorch")
    with working("comparing"):
        compare_functions(adapter, directory)
    certificate = None if wanted is None else _gate(directory, wanted, say)
    if certificate is not None:
        (directory / CERTIFICATE).write_bytes(certificate_to_json(certificate))
    (directory / CARD).write_text(checkpoint_card(manifest, title, certificate), encoding="utf-8")
    manifest = finalize(directory, manifest)
    open_bundle(directory)
    return manifest, certificate


def compare_functions(adapter: Adapter, directory: Path, allowed: float | None = None) -> None:
    """Run every function of a bundle and of PyTorch on the same random inputs of all its tensors.

    Converters lie: litert-torch 0.10 converts attention with one key/value head wrongly, and says
    nothing. GateError names the function, the output and its worst element.
    """
    from edgecap.exporters.eager import Eager
    from edgecap.exporters.examples import example_inputs
    from edgecap.exporters.parity.words import BOUNDS
    from edgecap.runtime.backends import open_functions

    opened = open_bundle(directory)
    session = open_functions(opened, FORMATS[opened.manifest.format].gate)
    eager = Eager(adapter.functions())
    precision = opened.manifest.precision
    allowed = allowed or (CLOSE if precision == "fp32" else BOUNDS[precision].logits)
    for function in adapter.functions():
        inputs = {
            name: value.numpy()
            for name, value in example_inputs(function, adapter.interface, 1).items()
        }
        expected, found = eager.run(function.name, inputs), session.run(function.name, inputs)
        for name, value in expected.items():
            distance = np.abs(value - found[name].astype(np.float32))
            limit = allowed * max(float(value.std()), 1e-9)
            if not distance.max() <= limit:  # nan too
                worst = np.unravel_index(int(np.nanargmax(distance)), distance.shape)
                raise GateError(
                    "parity.converter",
                    f"{function.name} gives another {name} than PyTorch: "
                    f"{float(distance.max()):.3g} off at {[int(i) for i in worst]}, "
                    f"{limit:.3g} allowed.",
                    "The converter changed the model: report it, or try another format.",
                )


def _gate(directory: Path, wanted: ModelOutputs, say: Say) -> Certificate:
    """Run the gate in a process of its own; GateError unless it passes."""
    with scratch_dir("edgecap-parity-") as scratch:
        wanted.write(scratch)
        say(f"comparing captions of {len(wanted.images)} images, without torch")
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
    told = {manifest.tokenizer, manifest.encoder, CARD, CERTIFICATE}
    return name not in told
