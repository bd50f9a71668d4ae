"""From a request to verified bundles.

    once            1 check     refuse what cannot work, before any work       checks
                    2 open      the weights, and themselves as the reference    opened
                    3 plan      of int8: given, calibrated or searched for      planning
                    4 ask       PyTorch about the gate's scenes                 parity.collect
    for each format 5 convert   and write the model's files                     <format>.convert
                    6 describe  tokenizer, calibration of confidences, golden files, manifest
                    7 compare   with PyTorch, in a process without torch        parity.gate
                    8 certify   certificate and card
                    9 rename    the directory gets its name                     core.atomic

Every bundle is made in a hidden directory beside its place; an exception, a failed gate or a kill
leaves nothing under the final name. No option of the request changes on the way: `int8` is a
request for the first of two precisions that passes step 7, and steps 5 to 7 are done for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import edgecap
from edgecap.bundle.certificate import Certificate, certificate_to_json
from edgecap.bundle.confidence_spec import CONFIDENCE
from edgecap.bundle.golden import Golden, write_golden
from edgecap.bundle.io import finalize, is_bundle, open_bundle
from edgecap.bundle.manifest import CARD, CERTIFICATE
from edgecap.bundle.schema2 import Function, Manifest
from edgecap.core.atomic import atomic_dir
from edgecap.core.errors import GateError
from edgecap.core.formats import FORMATS, Format, load_object
from edgecap.core.scratch import scratch_dir
from edgecap.core.typed import dump
from edgecap.exporters.card import card
from edgecap.exporters.checks import check
from edgecap.exporters.failed import keeping_failed
from edgecap.exporters.opened import OpenModel, open_model
from edgecap.exporters.parity.run import run_gate
from edgecap.exporters.planning import Chosen, Planner
from edgecap.exporters.quiet import quiet
from edgecap.exporters.spec import ExportRequest, ExportSpec
from edgecap.reference.manifest import build_manifest
from edgecap.reference.shipped import calibration_for, write_tokenizer

Say = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """A finished bundle."""

    path: Path
    manifest: Manifest
    size: int  # bytes of the model files
    certificate: Certificate | None  # None: not verified
    seconds: float  # since the bundle before it, the first one's with all that is done once


@dataclass(frozen=True)
class ReferenceData:
    """PyTorch's outputs, made once for all formats."""

    folder: Path  # of parity.outputs.ReferenceOutputs, for the gate's process
    golden: Golden  # with tolerances of no precision yet
    spread: float  # of its logits
    scenes: int


def export(request: ExportRequest, say: Say = lambda _: None) -> Exported:
    """The one bundle of a request for one format; raises as `run`."""
    (exported,) = run(request, say)
    return exported


def run(request: ExportRequest, say: Say = lambda _: None) -> Iterator[Exported]:
    """The bundles of a request, each when it is finished; `say` receives a line about every stage.

    Raises InputError, UnsupportedError and MissingPackageError at once, before any work. A bundle
    that is not good enough raises GateError, and those after it are not made.
    """
    outputs = check(request)  # 1
    return _run(request, outputs, say)


def _run(request: ExportRequest, outputs: dict[str, Path], say: Say) -> Iterator[Exported]:
    from edgecap.reference.model import weights

    begun = time.monotonic()
    name, path = weights.resolve(request.model)
    with scratch_dir("edgecap-export-") as scratch:
        say(f"loading {path.name}")
        model = open_model(name, path)  # 2
        planner = Planner(request, path, model, scratch, say)
        planner.choose(request.candidates(FORMATS[request.formats[0]])[0])  # 3
        say("running PyTorch")
        reference = _reference_data(request, model, scratch / "reference")  # 4
        for format_, output in outputs.items():
            path_, manifest, size, certificate = _bundle(
                request, FORMATS[format_], output, model, planner, reference, say
            )
            yield Exported(path_, manifest, size, certificate, time.monotonic() - begun)
            begun = time.monotonic()


def _reference_data(request: ExportRequest, model: OpenModel, folder: Path) -> ReferenceData:
    """Step 4. A bundle that is not compared needs few scenes: for its golden files' spread."""
    from edgecap.exporters.parity import collect

    folder.mkdir()
    scenes = collect.gate_inputs(model.reference, request.scenes)  # uint8 [N,S,S,3]
    golden = collect.golden(model.reference, scenes)
    few = scenes if request.verify else scenes[: len(golden.index.cases)]
    outputs = collect.collect(model.reference, few, request.verify and request.attention)
    outputs.write(folder)
    return ReferenceData(folder, golden, outputs.spread, len(few))


def _bundle(
    request: ExportRequest,
    row: Format,
    output: Path,
    model: OpenModel,
    planner: Planner,
    reference: ReferenceData,
    say: Say,
) -> tuple[Path, Manifest, int, Certificate | None]:
    """Steps 5 to 9: the first precision that is close enough, each in a directory of its own."""
    precisions = request.candidates(row)
    for precision, instead in zip(precisions, (*precisions[1:], None), strict=True):
        chosen = planner.choose(precision)
        spec = request.spec(row, chosen.precision)
        try:
            with atomic_dir(output, request.overwrite, marker=is_bundle) as directory:  # 9
                kept, name = request.keep_failed, model.bundle_name(spec)
                with keeping_failed(directory, kept, name, request.overwrite) as log:
                    made = _make(request, row, spec, chosen, directory, model, reference, log, say)
                manifest, size, certificate = made
                text = card(manifest, output.name, size, certificate, model.facts)
                (directory / CARD).write_text(text, encoding="utf-8")
                manifest = finalize(directory, manifest, hashed=manifest.files)
                open_bundle(directory)
            return output, manifest, size, certificate
        except GateError as error:
            if instead is None or error.code != "parity.failed":
                raise
            say(f"{row.name}: {instead}, because {error.message}")
    raise AssertionError("the last precision returns or raises")


def _make(
    request: ExportRequest,
    row: Format,
    spec: ExportSpec,
    chosen: Chosen,
    directory: Path,
    model: OpenModel,
    reference: ReferenceData,
    log: Path | None,
    say: Say,
) -> tuple[Manifest, int, Certificate | None]:
    """Steps 5 to 8 but for the card; GateError with everything in `directory` where 7 fails."""
    from edgecap.exporters.parity import collect

    say(f"converting to {spec.format} {spec.precision}")
    with quiet(log):
        functions = load_object(row.converter)(chosen.network, spec, directory, chosen.plan)  # 5
    size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    chosen.bring(directory)  # 6
    write_tokenizer(directory, model.extension)
    calibration = calibration_for(model.weights)
    if calibration is not None:
        (directory / CONFIDENCE).write_bytes(dump(calibration))
    write_golden(directory, collect.tolerating(reference.golden, spec.precision, reference.spread))
    manifest = finalize(directory, manifest_of(spec, row, model, functions, chosen.summary))
    if not request.verify:
        return manifest, size, None
    say(f"comparing on {reference.scenes} scenes, without torch")
    certificate = run_gate(directory, reference.folder)  # 7
    (directory / CERTIFICATE).write_bytes(certificate_to_json(certificate))  # 8
    manifest = finalize(directory, manifest, hashed=manifest.files)  # of each file once
    if certificate.failures:
        raise _not_close(certificate, request.keep_failed)
    return manifest, size, certificate


def manifest_of(
    spec: ExportSpec,
    row: Format,
    model: OpenModel,
    functions: dict[str, Function],
    plan: dict[str, Any] | None = None,
) -> Manifest:
    """The manifest of a bundle, before its files are known."""
    return build_manifest(
        model.network.config,
        name=model.bundle_name(spec),
        model=model.name,
        format=spec.format,
        precision=spec.precision,
        functions=functions,
        cache="float16" if spec.precision in row.half_cache else "float32",
        batch=1 if spec.precision in row.dynamic else row.batch,
        plan=plan,
        tools={"edgecap": edgecap.__version__} | {t.name: version(t.name) for t in row.tools},
        extend=spec.extend,
        extension=model.extension,
        weights=model.weights,
    )


def _not_close(certificate: Certificate, kept: Path | None) -> GateError:
    what = "Nothing was saved; --keep-failed DIR keeps such a bundle to be looked at, "
    return GateError(
        "parity.failed",
        f"{certificate.target} is not close enough to {certificate.reference}: "
        + "; ".join(certificate.failures)
        + ".",
        (what if kept is None else f"The bundle is kept in {kept}; ")
        + "--no-verify saves it all the same.",
    )
