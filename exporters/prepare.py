"""A request of a user, checked before any work: which bundles it makes, and where.

Behind `edgecap export` and `edgecap.export`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from edgecap.bundle.manifest import MANIFEST
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.formats import INT8_PRECISIONS
from edgecap.exporters import checkpoints, job
from edgecap.exporters.spec import CoremlOptions, ExportSpec
from edgecap.models.checkpoint import CONFIG
from edgecap.quant.plan import FILE
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.shipped import SUFFIX

Say: TypeAlias = Callable[[str], None]
AnyExported: TypeAlias = job.Exported | checkpoints.Exported


@dataclass(frozen=True)
class PreparedExport:
    """An export that has been checked and not begun."""

    outputs: tuple[Path, ...]  # the directories that it writes
    run: Callable[[Say], Iterator[AnyExported]]  # makes the bundles one after the other


def prepare_export(
    model: str,
    *,
    formats: Sequence[str],
    precision: str,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    verify: bool = True,
    **options: Any,
) -> PreparedExport:
    """Refuse what cannot work, before any of the work.

    Args:
        model: a shipped model, a .safetensors file of the reference model, or the directory of a
            Hugging Face checkpoint.
        formats, precision: names of edgecap.core.formats.
        output, overwrite, verify: as of `edgecap.export`.
        options: as of `export_specs`. Of a checkpoint, only calib_data and num_calib: the images
            that it is compared on.

    Raises:
        InputError, UnsupportedError and MissingPackageError.
    """
    if _is_checkpoint(model):
        return _prepare_checkpoint(model, formats, precision, output, overwrite, verify, options)
    specs = export_specs(
        model,
        formats=formats,
        precision=precision,
        output=output,
        overwrite=overwrite,
        verify=verify,
        **options,
    )
    outputs = tuple(spec.output for spec in specs if spec.output is not None)
    return PreparedExport(outputs, lambda say: run_exports(specs, say))


def _is_checkpoint(model: str) -> bool:
    """Whether `model` is, or should have been, a checkpoint and not weights of the reference.

    Raises InputError for a bundle, and for a file that its directory should be given for.
    """
    path = Path(model)
    if (path / MANIFEST).is_file():
        raise InputError(
            "export.bundle",
            f"{model} is a bundle, which was exported already.",
            "Give the model that it was made from.",
        )
    if path.is_file():
        beside = (path.parent / CONFIG).is_file()
        if beside and path.suffix == SUFFIX:
            raise InputError(
                "model.file",
                f"{model} is one file of a checkpoint.",
                f"Give its directory: edgecap export {path.parent}",
            )
        return path.suffix != SUFFIX
    return path.is_dir() or (model.count("/") == 1 and path.suffix != SUFFIX)  # a hub id


def _prepare_checkpoint(
    model: str,
    formats: Sequence[str],
    precision: str,
    output: str | os.PathLike[str] | None,
    overwrite: bool,
    verify: bool,
    options: dict[str, Any],
) -> PreparedExport:
    images, count = options.pop("calib_data", None), options.pop("num_calib", None)
    given = [name for name, value in options.items() if value not in (None, False, "iOS18")]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UnsupportedError(
            "export.checkpoint",
            f"{flags}: of the reference model, and {model} is a Hugging Face checkpoint.",
            "Leave it out.",
        )
    spec = checkpoints.CheckpointSpec(
        model=model,
        formats=tuple(formats),
        precision=precision,
        output=None if output is None else Path(output),
        overwrite=overwrite,
        verify=verify,
        images=None if images is None else Path(images),
        **({} if count is None else {"count": count}),
    )
    outputs = tuple(checkpoints.outputs(spec).values())
    return PreparedExport(outputs, lambda say: iter(checkpoints.export(spec, say)))


def export_specs(
    model: str,
    *,
    formats: Sequence[str],
    precision: str,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    verify: bool = True,
    plan: str | os.PathLike[str] | None = None,
    max_drop: float | None = None,
    calib_data: str | os.PathLike[str] | None = None,
    num_calib: int | None = None,
    seed: int | None = None,
    observer: str | None = None,
    target: str = "iOS18",
    stateful: bool = False,
    attention: bool = False,
) -> list[ExportSpec]:
    """The bundles that a request makes, one per format, each with its directory.

    Args:
        model, output, overwrite, verify: as of `edgecap.export`.
        formats, precision: names of edgecap.core.formats.
        plan: a plan.json to quantise by.
        max_drop: accuracy budget in percentage points: search for the cheapest int8 plan.
        calib_data, num_calib, seed, observer: calibration images, their number (128), the seed of
            the subset, and the observer: "mse", "minmax" or "percentile".
        target, stateful: CoreML's oldest system, and a decode step with a state.
        attention: a decode step more, with attention by layer and head.

    Raises:
        InputError, UnsupportedError and MissingPackageError for what cannot work.
    """
    calibration: dict[str, Any] = {
        "data": None if calib_data is None else Path(calib_data),
        "images": num_calib,
        "seed": seed,
        "observer": observer,
    }
    base = ExportSpec(
        model=model,
        precision=precision,
        overwrite=overwrite,
        verify=verify,
        attention=attention,
        coreml=CoremlOptions(target, stateful),
        plan=None if plan is None else Path(plan),
        max_drop=max_drop,
        calibration=CalibrationSpec(**{k: v for k, v in calibration.items() if v is not None}),
    )
    specs = [replace(base, format=name) for name in formats]
    if output is not None:
        specs = [replace(spec, output=_place(spec, Path(output), len(specs))) for spec in specs]
    # All of them before the work on any begins; the names must outlast a search.
    return [replace(spec, output=job.check(spec)) for spec in specs]


def run_exports(specs: Sequence[ExportSpec], say: Say = lambda _: None) -> Iterator[AnyExported]:
    """Make the bundles one after the other; the first int8 one calibrates, and all follow its plan.

    Raises GateError where one is not good enough.
    """
    shared: dict[str, Any] = {}
    for spec in specs:
        exported = job.export(replace(spec, **shared), say)
        if spec.precision in INT8_PRECISIONS:
            shared = {
                "plan": exported.path / FILE,
                "precision": exported.manifest.precision,
                "max_drop": None,
                "calibration": CalibrationSpec(),
            }
        yield exported


def _place(spec: ExportSpec, output: Path, bundles: int) -> Path:
    """The directory of one bundle; of several, each has its own name below `output`."""
    if bundles == 1:
        return output
    from edgecap.reference.model import weights

    name, _ = weights.resolve(spec.model)
    return output / spec.directory(name)
