"""`edgecap export`: weights to a verified bundle for onnxruntime, TFLite or CoreML."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecap.cli._numbers import seed_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, refuse_inside, write_json
from edgecap.core.errors import InputError
from edgecap.core.formats import (
    FORMATS,
    INT8_PRECISIONS,
    PRECISIONS,
    resolve_format,
    resolve_precision,
)

_FORMATS = ", ".join(FORMATS)
_PRECISIONS = ", ".join(PRECISIONS)


def run(
    model: Annotated[
        str, typer.Option("--model", "-m", help="A shipped model (S or M), or a .safetensors file.")
    ] = "S",
    format_: Annotated[
        str, typer.Option("--format", "-f", help=f"{_FORMATS}, several with commas, or all.")
    ] = "tflite",
    precision: Annotated[
        str | None, typer.Option("--precision", "-p", help=f"{_PRECISIONS}; default fp32.")
    ] = None,
    fp32: Annotated[bool, typer.Option("--fp32", help="Same as --precision fp32.")] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", "--half", help="Same as --precision fp16.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="The best int8 there is; says which it takes.")
    ] = False,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Round as this plan.json says, of int8.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", help="Search for an int8 plan: points of exact scenes to lose."),
    ] = None,
    calib_data: Annotated[
        Path | None, typer.Option("--calib-data", help="Images for int8; default: ours.")
    ] = None,
    num_calib: Annotated[
        int | None, typer.Option("--num-calib", help="How many of them; default 128.")
    ] = None,
    seed: Annotated[int | None, seed_option("Which of them; default 0.")] = None,
    observer: Annotated[
        str | None,
        typer.Option("--observer", help="Ranges for int8: mse (default), minmax, percentile."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Directory; default <model>-<format>-<precision>, or -int8 with --max-drop.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an old bundle.")] = False,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Save without comparing with PyTorch.")
    ] = False,
    target: Annotated[
        str, typer.Option("--target", help="CoreML: oldest system, iOS16, iOS17 or iOS18.")
    ] = "iOS18",
    stateful: Annotated[
        bool, typer.Option("--stateful", help="CoreML: also a decode step with a state.")
    ] = False,
    attention: Annotated[
        bool,
        typer.Option("--attention", help="Also a decode step that gives every layer and head."),
    ] = False,
    json_: Json = None,
) -> None:
    """Export a captioner, and check the result against PyTorch before it is saved."""
    from edgecap.exporters import job as pipeline
    from edgecap.exporters.spec import CoremlOptions, ExportSpec
    from edgecap.quant.plan import FILE
    from edgecap.quant.samples import CalibrationSpec

    chosen = resolve_precision(
        precision, fp32=fp32, fp16=fp16, int8=int8, searched=max_drop is not None
    )
    names = list(FORMATS) if format_.lower() == "all" else format_.split(",")
    formats = list(dict.fromkeys(resolve_format(name.strip()).name for name in names))
    if output is not None and len(formats) > 1:
        raise InputError(
            "output.several",
            f"{output} cannot hold {len(formats)} bundles.",
            "Leave --output out, or give one format.",
        )
    calibrated: dict[str, Any] = {"data": calib_data, "images": num_calib, "seed": seed}
    calibrated["observer"] = observer
    base = ExportSpec(
        model=model,
        precision=chosen.name,
        output=output,
        overwrite=overwrite,
        verify=not no_verify,
        attention=attention,
        coreml=CoremlOptions(target, stateful),
        plan=plan,
        max_drop=max_drop,
        calibration=CalibrationSpec(**{k: v for k, v in calibrated.items() if v is not None}),
    )
    specs = [replace(base, format=name) for name in formats]
    # All of them before the work on any begins; the names must outlast the search.
    outputs = [pipeline.check(spec) for spec in specs]
    specs = [replace(spec, output=place) for spec, place in zip(specs, outputs, strict=True)]
    for place in outputs:
        refuse_inside(json_, place)
    _note(f"{chosen.name}: {chosen.reason}")
    results = []
    made: dict[str, Any] = {}
    for spec in specs:
        exported = pipeline.export(replace(spec, **made), _note)
        if chosen.name in INT8_PRECISIONS:  # the first calibrates, and all obey one plan
            made = {
                "plan": exported.path / FILE,
                "precision": exported.manifest.precision,
                "max_drop": None,
                "calibration": CalibrationSpec(),
            }
        results.append(_figures(exported))
        if json_ != STANDARD_OUTPUT:
            typer.echo(_line(exported))
    write_json({"bundles": results}, json_)


def _note(text: str) -> None:
    print(f"  {text}", file=sys.stderr)


def _line(exported: Any) -> str:
    manifest, certificate = exported.manifest, exported.certificate
    checked = "not verified"
    if certificate is not None:
        tokens = next(a for a in certificate.agreements if a.what == "tokens")
        same = round(tokens.agreement * certificate.scenes)
        checked = f"parity passed, {same}/{certificate.scenes} captions identical"
    return (
        f"{manifest.format} {manifest.precision} {exported.size / 1e6:.1f} MB, {checked}, "
        f"saved as {exported.path} ({exported.seconds:.0f} s)"
    )


def _figures(exported: Any) -> dict[str, Any]:
    certificate = exported.certificate
    return {
        "path": str(exported.path),
        "format": exported.manifest.format,
        "precision": exported.manifest.precision,
        "bytes": exported.size,
        "seconds": round(exported.seconds, 1),
        "parity": None if certificate is None else asdict(certificate),
    }
