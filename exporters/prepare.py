"""A request of a user, checked before any work: which bundles it makes, and where.

Behind `edgecap export` and `edgecap.export`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from edgecap.bundle.manifest import MANIFEST
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.exporters import checkpoints, checks, job
from edgecap.exporters.coreml.options import CoremlOptions
from edgecap.exporters.spec import ExportRequest
from edgecap.models.checkpoint import CONFIG
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.shipped import SUFFIX, called, shipped

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
        options: as of `export_request`. Of a checkpoint, those of calibration and plan; it is
            compared on images of calib_data too.

    Raises:
        InputError, UnsupportedError and MissingPackageError.
    """
    if is_checkpoint(model):
        return _prepare_checkpoint(model, formats, precision, output, overwrite, verify, options)
    request = export_request(
        model,
        formats=formats,
        precision=precision,
        output=output,
        overwrite=overwrite,
        verify=verify,
        **options,
    )
    outputs = tuple(checks.check(request).values())
    return PreparedExport(outputs, lambda say: iter(job.run(request, say)))


def is_checkpoint(model: str) -> bool:
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
    if path.is_dir() or path.suffix == SUFFIX or called(model) in shipped():
        return path.is_dir()
    if len(path.parts) == 1:
        raise InputError(
            "model.unknown",
            f"{model} is neither a directory here nor a shipped model ({', '.join(shipped())}).",
            "Give the directory of a checkpoint, or its hub id: edgecap export org/name",
        )
    return True  # a hub id, or a directory that is not there


def _prepare_checkpoint(
    model: str,
    formats: Sequence[str],
    precision: str,
    output: str | os.PathLike[str] | None,
    overwrite: bool,
    verify: bool,
    options: dict[str, Any],
) -> PreparedExport:
    calibration = _calibration(options)
    plan, data, max_drop = (options.pop(n, None) for n in ("plan", "data", "max_drop"))
    for name in ("calib_data", "num_calib", "seed", "observer"):
        options.pop(name, None)
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
        calibration=calibration,
        plan=None if plan is None else Path(plan),
        max_drop=max_drop,
        data=None if data is None else Path(data),
    )
    outputs = tuple(checkpoints.outputs(spec).values())
    return PreparedExport(outputs, lambda say: iter(checkpoints.export(spec, say)))


def export_request(
    model: str,
    *,
    formats: Sequence[str],
    precision: str,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    verify: bool = True,
    keep_failed: str | os.PathLike[str] | None = None,
    plan: str | os.PathLike[str] | None = None,
    max_drop: float | None = None,
    data: str | os.PathLike[str] | None = None,
    calib_data: str | os.PathLike[str] | None = None,
    num_calib: int | None = None,
    seed: int | None = None,
    observer: str | None = None,
    target: str = "iOS18",
    stateful: bool = False,
    attention: bool = False,
    extend: int | None = None,
) -> ExportRequest:
    """What `edgecap.exporters.job.run` is to make: one bundle per format.

    Args:
        model, output, overwrite, verify: as of `edgecap.export`.
        formats, precision: names of edgecap.core.formats; or "int8", the best static int8 that is
            close enough to PyTorch.
        keep_failed: directory where bundles that fail the comparison are kept, to be looked at.
        plan: a plan.json to quantise by.
        max_drop: accuracy budget in points: search for the cheapest int8 plan within it.
        data: captions to judge that search by, as of `edgecap eval --data`; of checkpoints only.
        calib_data, num_calib, seed, observer: calibration images, their number (128), the seed of
            the subset, and the observer: "mse", "minmax" or "percentile".
        target, stateful: CoreML's oldest system, and a decode step with a state.
        attention: a decode step more, with attention by layer and head.
        extend: a step more, of so many tokens at once (ONNX, TFLite).
    """
    if data is not None:
        raise UnsupportedError(
            "max_drop.data",
            f"--data is for Hugging Face checkpoints, and {model} is of the reference model, whose "
            "captions are judged on drawn scenes.",
            "Leave it out.",
        )
    calibration = {
        "calib_data": calib_data,
        "num_calib": num_calib,
        "seed": seed,
        "observer": observer,
    }
    coreml = CoremlOptions(target, stateful)
    return ExportRequest(
        model=model,
        formats=tuple(formats),
        precision=precision,
        output=None if output is None else Path(output),
        overwrite=overwrite,
        verify=verify,
        keep_failed=None if keep_failed is None else Path(keep_failed),
        attention=attention,
        extend=extend,
        options=() if coreml == CoremlOptions() else (coreml,),
        plan=None if plan is None else Path(plan),
        max_drop=max_drop,
        calibration=_calibration(calibration),
    )


def _calibration(options: Mapping[str, Any]) -> CalibrationSpec:
    """Of calib_data, num_calib, seed and observer, where they are given."""
    data = options.get("calib_data")
    given: dict[str, Any] = {
        "data": None if data is None else Path(data),
        "images": options.get("num_calib"),
        "seed": options.get("seed"),
        "observer": options.get("observer"),
    }
    return CalibrationSpec(**{name: value for name, value in given.items() if value is not None})
