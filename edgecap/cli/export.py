"""`edgecap export`: weights to a verified bundle for ONNX Runtime, LiteRT or Core ML."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._options import (
    ADVANCED,
    ModelOption,
    Overwrite,
    one_model,
    output_option,
    seed_option,
)
from edgecap.cli._output import STANDARD_OUTPUT, Json, refuse_inside, write_json
from edgecap.core.errors import InputError
from edgecap.core.formats import ALL, FORMATS, PRECISIONS, resolve_formats, resolve_precision

if TYPE_CHECKING:
    from edgecap.exporters.job import Exported, PreparedExport

_ALIASES = "; ".join(f"{name}: {', '.join(known.aliases)}" for name, known in FORMATS.items())
DETAILS = f"""
Every bundle is compared with PyTorch before it is saved, on 64 images (8 for a Hugging Face
checkpoint). If it is not close enough, it is not saved and the exit code is 1; --keep-failed keeps
it in another directory.

--int8 takes w8a8 (int8 weights and activations, with static scales from calibration images) if that
is close enough to PyTorch, and otherwise w8 (int8 weights only). --precision w8a8 fails instead.

Other names of the formats: {_ALIASES}.

Examples:
  edgecap export S --format tflite --int8 --output captioner
  edgecap export S --format all --fp16 --output bundles
"""


def run(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="The shipped model S, a .safetensors file of its kind, or a Hugging Face "
            "checkpoint: its directory, or the id of one in the local cache. Default: S.",
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help=f"Formats, comma-separated: {', '.join(FORMATS)}; or {ALL}.",
        ),
    ] = "tflite",
    precision: Annotated[
        str | None,
        typer.Option("--precision", "-p", help=f"{', '.join(PRECISIONS)}. Default: fp32."),
    ] = None,
    fp16: Annotated[
        bool, typer.Option("--fp16", "--half", help="Short for --precision fp16.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="w8a8 if it is close enough to PyTorch, else w8.")
    ] = False,
    calib_data: Annotated[
        Path | None,
        typer.Option(
            "--calib-data",
            metavar="DIR",
            help="Calibration image directory. Default: shipped scenes.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        output_option(
            "Directory of the bundle; with several formats, the parent directory of the bundles. "
            "Default: MODEL-FORMAT-PRECISION."
        ),
    ] = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print what would be written and what it needs, or why it is refused, and stop.",
        ),
    ] = False,
    json_: Json = None,
    model_option: ModelOption = None,
    fp32: Annotated[
        bool,
        typer.Option("--fp32", help="Short for --precision fp32.", rich_help_panel=ADVANCED),
    ] = False,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            metavar="N",
            help="Longest caption of a checkpoint, in tokens. Default: what its files say, often "
            "20.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="TEXT",
            help="Words around the image, of a checkpoint that has such: <DETAILED_CAPTION>.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size",
            metavar="PX",
            help="Side of the square that images are stretched to, of a checkpoint that takes any "
            "size. Default: 448.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            metavar="POINTS",
            help="Search for the cheapest int8 plan that loses at most so many percentage points: "
            "of exact scenes, or, for a checkpoint, of captions that equal those of fp32.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="For --max-drop of a checkpoint: your captions, as for eval --data. Points are "
            "then of CIDEr-D.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="Directory of the images of --data. Default: beside the captions.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Quantisation plan (plan.json) to apply.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    num_calib: Annotated[
        int | None,
        typer.Option(
            "--num-calib",
            metavar="N",
            help="Number of calibration images. Default: 128.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        seed_option("Seed of the calibration subset. Default: 0.", ADVANCED),
    ] = None,
    observer: Annotated[
        str | None,
        typer.Option(
            "--observer",
            help="Calibration observer: mse, minmax or percentile. Default: mse.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    no_verify: Annotated[
        bool,
        typer.Option(
            "--no-verify", help="Save without comparing with PyTorch.", rich_help_panel=ADVANCED
        ),
    ] = False,
    keep_failed: Annotated[
        Path | None,
        typer.Option(
            "--keep-failed",
            metavar="DIR",
            help="Keep bundles that fail the comparison here, with the converter's log.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    attention: Annotated[
        bool,
        typer.Option(
            "--attention",
            help="Add a decode step whose attention has every layer and head.",
            rich_help_panel=ADVANCED,
        ),
    ] = False,
    extend: Annotated[
        int | None,
        typer.Option(
            "--extend",
            metavar="N",
            help="Add a step of N tokens, which scores texts faster (ONNX, TFLite).",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="SYSTEM",
            help="CoreML: oldest system to run on, iOS16, iOS17 or iOS18.",
            rich_help_panel=ADVANCED,
        ),
    ] = "iOS18",
    stateful: Annotated[
        bool,
        typer.Option(
            "--stateful",
            help="CoreML: add a decode step that keeps its cache as a state.",
            rich_help_panel=ADVANCED,
        ),
    ] = False,
) -> None:
    from edgecap.exporters.prepare import prepare_export

    weights = _weights(one_model(model, model_option))
    chosen = resolve_precision(
        precision, fp32=fp32, fp16=fp16, int8=int8, searched=max_drop is not None
    )
    formats = resolve_formats(format_)
    prepared = prepare_export(
        weights,
        formats=formats,
        precision=chosen.name,
        output=output,
        overwrite=overwrite,
        verify=not no_verify,
        keep_failed=keep_failed,
        plan=plan,
        max_drop=max_drop,
        data=data,
        images=images,
        calib_data=calib_data,
        num_calib=num_calib,
        seed=seed,
        observer=observer,
        target=target,
        stateful=stateful,
        attention=attention,
        extend=extend,
        max_length=max_length,
        prompt=prompt,
        image_size=image_size,
    )
    for place in prepared.outputs.values():
        refuse_inside(json_, place)
    if dry_run:
        _dry_run(prepared, json_)
        return
    _note(f"{chosen.name}: {chosen.reason}")
    results = []
    with _seldom_collecting():
        for exported in prepared.run(_note):
            results.append(_figures(exported))
            if json_ != STANDARD_OUTPUT:
                typer.echo(_line(exported))
    write_json({"bundles": results}, json_)


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Look for garbage less often: a tenth of an export's CPU time went into it.

    Converters make millions of objects that stay, and each search looks at them again.
    """
    before = gc.get_threshold()
    gc.set_threshold(50_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _weights(given: str) -> str:
    """The model; InputError where the name of a format stands in its place."""
    names = {*FORMATS, ALL, *(alias for known in FORMATS.values() for alias in known.aliases)}
    if given.lower() in names and not Path(given).exists():
        raise InputError(
            "export.model",
            f"{given!r} is a format, and stands where the model belongs.",
            f"Write: edgecap export S --format {given.lower()}",
        )
    return given


def _dry_run(prepared: PreparedExport, json_: str | None) -> None:
    from edgecap.cli._forecast import print_forecast
    from edgecap.exporters.forecast import dry_run

    forecast = dry_run(prepared)
    write_json(forecast.to_json(), json_)
    if json_ != STANDARD_OUTPUT:
        print_forecast(forecast)


def _note(text: str) -> None:
    typer.echo(f"  {text}", err=True)


def _line(exported: Exported) -> str:
    manifest, certificate = exported.manifest, exported.certificate
    checked = "not verified"
    if certificate is not None:
        checked = "parity passed"
        shares = {a.what: a.agreement for a in certificate.agreements}
        if "tokens" in shares:  # not of a model that embeds only
            count = certificate.scenes
            same = round(shares["tokens"] * count)
            near = round(shares.get("tokens_or_tie", 0) * count) - same
            checked += f", {same}/{count} captions identical"
            checked += f", {near} more but for a near tie" if near > 0 else ""
    return (
        f"{manifest.format} {manifest.precision} {exported.size / 1e6:.1f} MB, {checked}, "
        f"saved as {exported.path} ({exported.seconds:.0f} s)"
    )


def _figures(exported: Exported) -> dict[str, Any]:
    certificate = exported.certificate
    return {
        "path": str(exported.path),
        "format": exported.manifest.format,
        "precision": exported.manifest.precision,
        "bytes": exported.size,
        "seconds": round(exported.seconds, 1),
        "parity": None if certificate is None else asdict(certificate),
    }
