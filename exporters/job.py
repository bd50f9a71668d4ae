"""From a request to verified bundles: of the reference model, and of any checkpoint.

    once            1 check     refuse what cannot work, before any work       checks, sources
                    2 open      the model                                       <kind>_model
                    3 plan      of int8: given, calibrated or searched for      planning
                    4 reference PyTorch's outputs for the gate's images
    for each format 5 convert   and write the model's files                     <format>.convert
                    6 describe  tokenizer, plan, golden files, manifest
                    7 compare   with PyTorch; captions in a process without it  parity
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
from pathlib import Path

from edgecap.bundle.certificate import Certificate, certificate_to_json
from edgecap.bundle.files import CARD, CERTIFICATE
from edgecap.bundle.io import finalize, is_bundle, open_bundle
from edgecap.bundle.manifest import Manifest
from edgecap.core.atomic import atomic_dir
from edgecap.core.errors import GateError
from edgecap.core.formats import FORMATS, Format
from edgecap.core.progress import working
from edgecap.core.scratch import scratch_dir
from edgecap.exporters.card import card
from edgecap.exporters.checks import check
from edgecap.exporters.failed import keeping_failed
from edgecap.exporters.parity.run import run_gate
from edgecap.exporters.planning import Chosen
from edgecap.exporters.quiet import quiet
from edgecap.exporters.sources import Model, Source, source_of
from edgecap.exporters.spec import Candidates, ExportRequest, ExportSpec

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
class PreparedExport:
    """An export that has been checked and not begun."""

    request: ExportRequest
    source: Source
    outputs: dict[str, Path]  # format -> the directory that is written
    candidates: dict[str, Candidates]  # of each format

    def run(self, say: Say = lambda _: None) -> Iterator[Exported]:
        """The bundles, each when it is finished; `say` receives a line about every stage.

        A bundle that is not good enough raises GateError, and those after it are not made.
        """
        begun = time.monotonic()
        with scratch_dir("edgecap-export-") as folder:
            job = self._begin(folder, say)
            for name, output in self.outputs.items():
                path, manifest, size, certificate = job.bundle(
                    FORMATS[name], output, self.candidates[name].precisions
                )
                yield Exported(path, manifest, size, certificate, time.monotonic() - begun)
                begun = time.monotonic()

    def _begin(self, folder: Path, say: Say) -> _Job:
        """Steps 2 to 4."""
        model = self.source.open(self.request, say)  # 2
        first = self.candidates[self.request.formats[0]]
        if first.why is not None:
            say(f"{first.precisions[0]}, because {first.why}")
        model.choose(first.precisions[0])  # 3
        return _Job(self.request, model, folder, model.write_reference(folder, say), say)  # 4


def prepare(request: ExportRequest) -> PreparedExport:
    """Step 1: refuse what cannot work.

    Raises InputError, UnsupportedError and MissingPackageError.
    """
    source = source_of(request.model)
    return PreparedExport(request, source, *check(request, source))


def run(request: ExportRequest, say: Say = lambda _: None) -> Iterator[Exported]:
    """The bundles of a request; raises as `prepare` at once, and as `PreparedExport.run`."""
    return prepare(request).run(say)


def export(request: ExportRequest, say: Say = lambda _: None) -> Exported:
    """The one bundle of a request for one format; raises as `run`."""
    (exported,) = run(request, say)
    return exported


@dataclass(frozen=True)
class _Job:
    """What all bundles of one export share."""

    request: ExportRequest
    model: Model
    reference: Path  # folder of PyTorch's outputs, for the gate's process
    images: int  # of these outputs
    say: Say

    def bundle(
        self, row: Format, output: Path, precisions: tuple[str, ...]
    ) -> tuple[Path, Manifest, int, Certificate | None]:
        """Steps 5 to 9: the first precision that is close enough, in a directory of its own."""
        request = self.request
        for precision, instead in zip(precisions, (*precisions[1:], None), strict=True):
            chosen = self.model.choose(precision)
            spec = request.spec(row, chosen.precision)
            name = spec.bundle_name(self.model.name)
            try:
                with atomic_dir(output, request.overwrite, marker=is_bundle) as directory:  # 9
                    with keeping_failed(
                        directory, request.keep_failed, name, request.overwrite
                    ) as log:
                        manifest, size = self._convert(row, spec, chosen, directory, log)
                        certificate = self._compare(chosen, directory, manifest)
                    text = card(
                        manifest, output.name, size, certificate, self.model.about(manifest)
                    )
                    (directory / CARD).write_text(text, encoding="utf-8")
                    manifest = finalize(directory, manifest, hashed=manifest.files)
                    open_bundle(directory)
                return output, manifest, size, certificate
            except GateError as error:
                if instead is None or error.code != "parity.failed":
                    raise
                self.say(f"{row.name}: {instead}, because {error.message}")
        raise AssertionError("the last precision returns or raises")

    def _convert(
        self, row: Format, spec: ExportSpec, chosen: Chosen, directory: Path, log: Path | None
    ) -> tuple[Manifest, int]:
        """Steps 5 and 6: the manifest, and the bytes of the model files."""
        self.say(f"converting to {spec.format} {spec.precision}")
        with working(f"converting to {spec.format}"), quiet(log):
            functions = self.model.convert(row, spec, chosen, directory)
        size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
        chosen.write(directory)
        manifest = self.model.describe(row, spec, chosen, functions, directory)
        return finalize(directory, manifest), size

    def _compare(self, chosen: Chosen, directory: Path, manifest: Manifest) -> Certificate | None:
        """Steps 7 and 8; GateError with everything in `directory` where captions are not close."""
        self.model.compare(chosen, directory)
        if not self.request.verify:
            return None
        self.say(f"comparing on {self.images} images, without torch")
        with working("comparing captions"):
            certificate = run_gate(directory, self.reference, self.model.gate)
        (directory / CERTIFICATE).write_bytes(certificate_to_json(certificate))
        if certificate.failures:
            finalize(directory, manifest, hashed=manifest.files)  # it may be kept
            raise _not_close(certificate, self.request.keep_failed)
        return certificate


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
