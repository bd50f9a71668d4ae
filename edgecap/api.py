"""The commands as functions: export, verify, load, caption and bench.

Each takes what its command takes, under the same names, and raises what the command would print
(edgecap.EdgecapError: a stable code, a message, a hint). Nothing is printed; `say` receives the
lines that the command shows while it works.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edgecap.core import hub
from edgecap.core.formats import resolve_formats, resolve_precision

if TYPE_CHECKING:
    from edgecap.benchmarks.report import Report
    from edgecap.bundle.certificate import Certificate
    from edgecap.exporters.job import Exported
    from edgecap.runtime import Caption
    from edgecap.runtime.confidence import Minimum
    from edgecap.runtime.preprocess import ImageLike

PathLike: TypeAlias = "str | os.PathLike[str]"
Say: TypeAlias = Callable[[str], None]


def _silent(_: str) -> None:
    """The default of `say`."""


def load(
    source: PathLike,
    backend: str = "auto",
    threads: int = 1,
    device: str = "cpu",
    min_confidence: Minimum = None,
) -> Any:
    """Open a captioner.

    Args:
        source: a bundle, a directory or .edgecap; or, for PyTorch,
            a shipped model ("S"), a .safetensors file of
            the reference model or the directory of a Hugging Face checkpoint. Bundles and
            checkpoints of a hub are taken from the local cache by their id, org/name or
            org/name@revision; `edgecap pull` downloads them.
        backend: "auto", or onnx, tflite, coreml, mlprogram (CoreML evaluated anywhere), torch.
        threads: CPU threads of the engine.
        device: "cpu", or "cuda" for PyTorch.
        min_confidence: captions of a lower confidence are declined: 0 … 1, or "auto" for the
            limit that the model's calibration recommends. By default none is declined, and a style
            that needs a second caption of the image (SPEC.md, Confidence) has no confidence.

    Returns:
        A `Captioner`; or a `CheckpointCaptioner` for a checkpoint on PyTorch.

    Raises:
        BundleError, InputError, UnsupportedError or MissingPackageError.
    """
    from edgecap.models import loading

    return loading.load(source, backend, threads, device, min_confidence)


def caption(
    images: Iterable[ImageLike] | ImageLike,
    bundle: PathLike = "S",
    threads: int = 1,
    min_confidence: Minimum = None,
    **options: Any,
) -> list[Caption]:
    """Caption images once; to caption repeatedly, keep the captioner that `load` returns.

    Args:
        images: paths, bytes, Pillow images or arrays [h,w,3], or a single one.
        bundle: as `source` of `load`.
        threads: CPU threads of the engine.
        min_confidence: as of `load`.
        options: as of the captioner's `caption`: lang (a BCP 47 tag) and style, or prompt; beams,
            sampling, max_length.

    Raises:
        As `load`, and InputError for an image, language or number that cannot be used.
    """
    return load(bundle, threads=threads, min_confidence=min_confidence).caption(images, **options)


def export(
    model: str = "S",
    *,
    format: str | Sequence[str] = "tflite",
    precision: str | None = None,
    fp16: bool = False,
    int8: bool = False,
    output: PathLike | None = None,
    overwrite: bool = False,
    verify: bool = True,
    say: Say = _silent,
    **options: Any,
) -> Exported | list[Exported]:
    """Convert a captioner, and compare the result with PyTorch before it is saved.

    Args:
        model: a shipped model ("S"), the path of a .safetensors file of the reference model,
            or the directory or the cached hub id of a Hugging Face checkpoint.
        format: "onnx", "tflite" or "coreml"; several as a list or with commas; "all".
        precision: "fp32" (the default), "fp16", "w8", "w8a8", "mixed" or "int8": w8a8 if that is
            close enough to PyTorch, otherwise w8. `fp16` and `int8` are short forms.
        output: the bundle's directory; with several formats the directory that the bundles are
            made in. By default <model>-<format>-<precision> in the working directory.
        overwrite: replace an older bundle.
        verify: False saves without the comparison.
        say: receives a line at every stage.
        options: as of `edgecap.exporters.prepare.export_request`.

    Returns:
        The bundle; a list of them where `format` names several or is a list.

    Raises:
        InputError, UnsupportedError, MissingPackageError before any work, and GateError if the
        bundle is not close enough to PyTorch; nothing is saved then.
    """
    from edgecap.exporters.prepare import prepare_export

    names = format if isinstance(format, str) else ",".join(format)
    prepared = prepare_export(
        model,
        formats=resolve_formats(names),
        precision=resolve_precision(
            precision, fp16=fp16, int8=int8, searched=options.get("max_drop") is not None
        ).name,
        output=output,
        overwrite=overwrite,
        verify=verify,
        **options,
    )
    exported = list(prepared.run(say))
    return exported[0] if isinstance(format, str) and len(exported) == 1 else exported


@dataclass(frozen=True)
class Verification:
    """How close a bundle is to the reference here, and how close it was at export."""

    here: Certificate
    at_export: Certificate | None  # None: exported without verification

    @property
    def failures(self) -> list[str]:
        """What is outside its tolerance; empty if the bundle is verified."""
        at_export = () if self.at_export is None else self.at_export.failures
        return [
            *(f"here: {line}" for line in self.here.failures),
            *(f"at export: {line}" for line in at_export),
        ]


def verify(bundle: PathLike, backend: str = "auto", threads: int = 1) -> Verification:
    """Check every file of a bundle, then replay its golden cases on this machine's engine.

    Raises BundleError if the files are not those of the manifest. Outputs outside their tolerance
    raise nothing: they are `failures` of the result.
    """
    from edgecap.bundle.certificate import certificate_from_json
    from edgecap.bundle.files import CERTIFICATE
    from edgecap.bundle.golden import read_golden
    from edgecap.bundle.io import open_bundle
    from edgecap.runtime.expected import replay_expected
    from edgecap.runtime.loading import as_schema2
    from edgecap.runtime.replay import replay

    bundle = hub.resolve(bundle)
    opened = open_bundle(bundle, verify="full")
    at_export = None
    if CERTIFICATE in opened.manifest.files:
        at_export = certificate_from_json(opened.json(CERTIFICATE))
    captioner = load(bundle, backend=backend, threads=threads)
    if captioner.languages:
        certificate = replay(captioner, read_golden(as_schema2(opened)))
    else:
        certificate = replay_expected(captioner, opened)
    return Verification(certificate, at_export)


def bench(
    bundles: Sequence[PathLike] | PathLike = (),
    *,
    output: PathLike | None = None,
    overwrite: bool = False,
    quick: bool = False,
    n: int | None = None,
    lang: str = "en",
    threads: int = 1,
    model: str | None = None,
    duration: float | None = None,
    target: str = "python",
    peers: bool = False,
    remote: str | None = None,
    remote_python: str = "python3",
    profile: bool = False,
    limits: bool = False,
    baseline: PathLike | None = None,
    max_regression: float = 0.05,
    say: Say = _silent,
) -> Report:
    """Measure bundles, each in its own process and interleaved with PyTorch as the reference.

    Args:
        bundles: bundle directories, or one; by default those in the working directory.
        output: directory for report.html, .md, .json and .csv; None: no files.
        overwrite: replace an older report.
        quick: a minute instead of ten.
        n: scenes for the accuracy, 0 to 128; 0: none.
        lang: languages of the accuracy, comma-separated, or "all".
        threads: CPU threads of each engine.
        model: the PyTorch reference; a checkpoint directory for the bundles of one. By default the
            weights of the first bundle, if it is one of S.
        duration: seconds to measure; None: a fixed number of rounds.
        target: "python"; or "c", which measures the C core as well.
        peers: measure other engines and runtimes as well, if they are installed.
        remote: "user@host" that runs the bundles, over ssh.
        remote_python: the Python of that machine, with numpy, Pillow and the engine.
        profile: add the time per operation.
        limits: compare with the peak speed of this machine.
        baseline: the JSON of an earlier run; `changes` of the result compares this run with it.
        max_regression: how much worse a figure may be, 0.05 for 5 %.
        say: receives notes, for example that there is nothing to compare with.

    Raises:
        BundleError and InputError for what cannot be measured, UnsupportedError for options that
        exclude each other. If a target fails while it is measured, its row has `error` set.
    """
    from edgecap.benchmarks.measure import Options, measure

    given = [bundles] if isinstance(bundles, str | os.PathLike) else list(bundles)
    options = Options(
        output=None if output is None else Path(output),
        overwrite=overwrite,
        quick=quick,
        scenes=n,
        lang=lang,
        threads=threads,
        model=model,
        duration_s=duration,
        target=target,
        peers=peers,
        remote=remote,
        remote_python=remote_python,
        profile=profile,
        limits=limits,
        baseline=None if baseline is None else Path(baseline),
        max_regression=max_regression,
    )
    return measure([hub.resolve(one) for one in given], options, say)
