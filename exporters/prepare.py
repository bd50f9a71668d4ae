"""A user's request, as keywords: behind `edgecap export` and `edgecap.export`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecap.exporters import job
from edgecap.exporters.coreml.options import CoremlOptions
from edgecap.exporters.spec import ExportRequest
from edgecap.quant.samples import CalibrationSpec


def prepare_export(model: str, **options: Any) -> job.PreparedExport:
    """An export that is refused before any of the work, or can be run; `options` as of
    `export_request`.

    Raises:
        InputError, UnsupportedError and MissingPackageError.
    """
    return job.prepare(export_request(model, **options))


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
    images: str | os.PathLike[str] | None = None,
    calib_data: str | os.PathLike[str] | None = None,
    num_calib: int | None = None,
    seed: int | None = None,
    observer: str | None = None,
    target: str = "iOS18",
    stateful: bool = False,
    attention: bool = False,
    extend: int | None = None,
    max_length: int | None = None,
    prompt: str | None = None,
    image_size: int | None = None,
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
        images: directory of the images of `data`; None: beside the captions.
        calib_data, num_calib, seed, observer: calibration images, their number (128), the seed of
            the subset, and the observer: "mse", "minmax" or "percentile".
        target, stateful: CoreML's oldest system, and a decode step with a state.
        attention: a decode step more, with attention by layer and head.
        extend: a step more, of so many tokens at once (ONNX, TFLite).
        max_length: tokens of the longest caption, the end included; of checkpoints only.
        prompt: the words around the image, of checkpoints that have such.
        image_size: side of the images in px, of checkpoints that take any.

    Of a Hugging Face checkpoint, everything from `target` to `extend` is refused; it is compared on
    images of calib_data too.
    """
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
        max_length=max_length,
        prompt=prompt,
        image_size=image_size,
        options=() if coreml == CoremlOptions() else (coreml,),
        plan=None if plan is None else Path(plan),
        max_drop=max_drop,
        data=None if data is None else Path(data),
        data_images=None if images is None else Path(images),
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
