"""`edgecap export`: weights to a verified bundle for onnxruntime or TFLite."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecap.core.errors import InputError
from edgecap.core.formats import FORMATS, resolve_format, resolve_precision

_FORMATS = ", ".join(FORMATS)


def run(
    model: Annotated[
        str, typer.Option("--model", "-m", help="A shipped model (S), or a .safetensors file.")
    ] = "S",
    format_: Annotated[
        str, typer.Option("--format", "-f", help=f"{_FORMATS}, several with commas, or all.")
    ] = "tflite",
    precision: Annotated[
        str | None, typer.Option("--precision", "-p", help="fp32 (default), fp16 or w8.")
    ] = None,
    fp32: Annotated[bool, typer.Option("--fp32", help="Same as --precision fp32.")] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", "--half", help="Same as --precision fp16.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="The best int8 there is; says which it takes.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Directory; default <model>-<format>-<precision>."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an old bundle.")] = False,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Save without comparing with PyTorch.")
    ] = False,
    json_: Annotated[
        str | None, typer.Option("--json", help="Write figures to a file, or - for the output.")
    ] = None,
) -> None:
    """Export a captioner, and check the result against PyTorch before it is saved."""
    from edgecap.cli._output import STANDARD_OUTPUT, check_destinations, write_json
    from edgecap.exporters import pipeline
    from edgecap.exporters.spec import ExportSpec

    check_destinations(json_)
    chosen = resolve_precision(precision, fp32=fp32, fp16=fp16, int8=int8)
    names = list(FORMATS) if format_.lower() == "all" else format_.split(",")
    formats = list(dict.fromkeys(resolve_format(name.strip()).name for name in names))
    if output is not None and len(formats) > 1:
        raise InputError(
            "output.several",
            f"{output} cannot hold {len(formats)} bundles.",
            "Leave --output out, or give one format.",
        )
    base = ExportSpec(
        model=model,
        precision=chosen.name,
        output=output,
        overwrite=overwrite,
        verify=not no_verify,
    )
    specs = [replace(base, format=name) for name in formats]
    for spec in specs:
        pipeline.check(spec)  # all of them before the work on any begins
    _note(f"{chosen.name}: {chosen.reason}")
    results = []
    for spec in specs:
        exported = pipeline.export(spec, _note)
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
