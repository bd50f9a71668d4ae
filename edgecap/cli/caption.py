"""`edgecap caption`: caption images, and draw where things are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._image import check_image, save_image
from edgecap.cli._inputs import GivenImage, GivenImages, report_failure
from edgecap.cli._options import MODEL, Images, OnError, Threads
from edgecap.cli._output import (
    STANDARD_OUTPUT,
    Json,
    check_destinations,
    destination_option,
    json_lines,
    write_json,
)
from edgecap.core.errors import EdgecapError, InputError
from edgecap.core.printable import printable

if TYPE_CHECKING:
    from edgecap.runtime import Caption, Sampling

_GENERATION = "Generation"
_INPUT = "Videos, cameras and URLs"
_LIBRARY = "Many images"
DETAILS = """
Images are turned upright by their EXIF orientation; boxes are in pixels of the upright image. The
number after a box is its confidence: for a calibrated model, the probability that the box is right.
Styles without boxes have a confidence only with --min-confidence, which captions the image with
boxes as well. An image that cannot be read is reported, the others are captioned, and the exit code
is 2.

Decoding is greedy, unless --beams or a sampling option is given, or the checkpoint that was
exported has beams of its own. A caption that was cut at the length limit ends in "[cut]".
"""


def run(
    images: Images,
    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle",
            "-b",
            help=f"{MODEL[:-1]}, or a Hugging Face checkpoint directory. Default: the newest "
            "bundle in this directory.",
        ),
    ] = None,
    lang: Annotated[
        str | None,
        typer.Option(
            "--lang",
            "-l",
            help="Language of the caption, as a BCP 47 tag: en (the default), pt-BR, ja.",
        ),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            "--style", help="Caption style: grounded (the default), plain, relate, color or shape."
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", help="Named prompt, for models with prompts instead of languages."
        ),
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option("--draw", metavar="FILE", help="Write the image with labelled boxes."),
    ] = None,
    json_: Json = None,
    jsonl: Annotated[
        str | None,
        destination_option("--jsonl", "Write one line of JSON per image as soon as it is done."),
    ] = None,
    on_error: OnError = "skip",
    beams: Annotated[
        int | None,
        typer.Option(
            "--beams",
            metavar="N",
            help="Beam search width. Default: the model's own, mostly 1 (greedy).",
            rich_help_panel=_GENERATION,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            metavar="NUMBER",
            help="Sampling temperature.",
            rich_help_panel=_GENERATION,
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k",
            metavar="N",
            help="Sample among the k most probable tokens.",
            rich_help_panel=_GENERATION,
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p",
            metavar="NUMBER",
            help="Nucleus (top-p) threshold.",
            rich_help_panel=_GENERATION,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="Sampling seed.", rich_help_panel=_GENERATION),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            metavar="N",
            help="Maximum number of tokens.",
            rich_help_panel=_GENERATION,
        ),
    ] = None,
    urls: Annotated[
        bool,
        typer.Option("--urls", help="Fetch images given as URLs.", rich_help_panel=_INPUT),
    ] = False,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps",
            metavar="NUMBER",
            help="Frames per second that are captioned. Default: 1.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            "--every", metavar="N", help="Caption every n-th frame.", rich_help_panel=_INPUT
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames", metavar="N", help="Maximum number of frames.", rich_help_panel=_INPUT
        ),
    ] = None,
    min_confidence: Annotated[
        str | None,
        typer.Option(
            "--min-confidence",
            metavar="NUMBER|auto",
            help="Decline captions of a lower confidence, 0 to 1; auto takes the limit that the "
            "model's calibration recommends.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="local|ray",
            help="One process, or a Ray cluster: that of RAY_ADDRESS, else one on this machine.",
            rich_help_panel=_LIBRARY,
        ),
    ] = "local",
    workers: Annotated[
        int,
        typer.Option(
            "--workers", min=1, metavar="N", help="Workers on Ray.", rich_help_panel=_LIBRARY
        ),
    ] = 2,
    parquet: Annotated[
        Path | None,
        typer.Option(
            "--parquet",
            metavar="DIR",
            help="Write the rows as Parquet files.",
            rich_help_panel=_LIBRARY,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep the rows of an earlier run in --jsonl or --parquet and caption the "
            "remaining images.",
            rich_help_panel=_LIBRARY,
        ),
    ] = False,
    threads: Threads = 1,
    device: Annotated[
        str,
        typer.Option("--device", metavar="cpu|cuda", help="Device; cuda for PyTorch models only."),
    ] = "cpu",
) -> None:
    from edgecap.cli._model import chosen, options_of
    from edgecap.models.loading import load

    check_destinations(json_, jsonl)
    sampling = _sampling(temperature, top_k, top_p, seed)
    if engine != "local" or parquet is not None or resume:
        from edgecap.cli._library import LibraryRun, caption_library

        _refuse_with_rows(
            {
                "--draw": draw,
                "--json": json_,
                "--urls": urls or None,
                "--fps": fps,
                "--every": every,
                "--frames": frames,
                "--device": None if device == "cpu" else device,
            }
        )
        options: dict[str, Any] = {"lang": lang, "style": style, "prompt": prompt, "beams": beams}
        options |= {"max_length": max_length, "sampling": sampling}
        library = LibraryRun(
            source=chosen(bundle),
            engine=engine,
            workers=workers,
            threads=threads,
            jsonl=jsonl,
            parquet=parquet,
            resume=resume,
            on_error=on_error,
            min_confidence=_minimum(min_confidence),
            options={name: value for name, value in options.items() if value is not None},
        )
        caption_library(images, library)
        return
    given = GivenImages(images, urls, _frames(every, fps, frames))
    drawn = given.alone() if draw is not None else None
    if draw is not None:
        if drawn is None:
            raise InputError("draw.several", "--draw takes one image.", "Give one IMAGE.")
        check_image(draw, [drawn.path] if drawn.path else [])
    captioner: Any = load(
        chosen(bundle), threads=threads, device=device, min_confidence=_minimum(min_confidence)
    )
    captions = captioner.caption_many(
        [drawn.source] if drawn else given.take(),
        **options_of(captioner, lang, style, prompt, beams),
        max_length=max_length,
        sampling=sampling,
        on_error=on_error,
    )
    _report(given, drawn, captions, draw, json_, jsonl)


def _refuse_with_rows(options: dict[str, Any]) -> None:
    """InputError at the first option that is given; None: not given.

    These go with neither --engine ray, nor --parquet, nor --resume.
    """
    wrong = [name for name, value in options.items() if value is not None]
    if wrong:
        raise InputError(
            "caption.library",
            f"{wrong[0]} cannot be combined with --engine ray, --parquet or --resume.",
            "Leave it out, or caption without those.",
        )


def _minimum(given: str | None) -> Any:
    """The number, "auto" or None; InputError for another word."""
    if given is None or given == "auto":
        return given
    try:
        return float(given)
    except ValueError:
        raise InputError(
            "confidence.minimum",
            f"--min-confidence is {given!r}; allowed are numbers in 0 … 1, and auto.",
        ) from None


def _frames(every: int | None, fps: float | None, most: int | None) -> Any:
    from edgecap.runtime.video import Sampling

    return Sampling(every, fps, most)


def _report(
    given: GivenImages,
    drawn: GivenImage | None,
    captions: Iterator[Caption | InputError],
    draw: Path | None,
    json_: str | None,
    jsonl: str | None,
) -> None:
    from edgecap.core.progress import progress

    alone, quiet = given.count == 1, STANDARD_OUTPUT in (json_, jsonl)
    rows: list[dict[str, Any]] = []
    failures = 0
    if quiet or not alone:
        captions = progress(captions, "captions", given.count)
    try:
        with json_lines(jsonl) if jsonl is not None else nullcontext(lambda _: None) as write_line:
            for caption in captions:
                image = drawn or given.done()
                if isinstance(caption, InputError):
                    if alone:
                        raise caption
                    failures += 1
                    rows.append(report_failure(image, caption))
                    write_line(rows[-1])
                    continue
                rows.append({"image": image.name, **asdict(caption)})
                write_line(rows[-1])
                if not quiet:
                    _show(image.name, caption, several=not alone)
                if draw is not None:
                    _draw(image, caption, draw)
    finally:  # whatever ends the run, what is done is reported
        if rows:
            write_json(rows, json_)
    if failures:
        raise typer.Exit(EdgecapError.exit_code)


def _sampling(
    temperature: float | None, top_k: int | None, top_p: float | None, seed: int | None
) -> Sampling | None:
    """How to sample, or None where no option of sampling was given."""
    from edgecap.runtime import Sampling

    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    chosen = {name: value for name, value in given.items() if value is not None}
    return Sampling(**chosen) if chosen else None  # type: ignore[arg-type]


def _draw(image: GivenImage, caption: Caption, path: Path) -> None:
    from edgecap.runtime.draw import draw

    drawn = draw(image.source, caption.mentions)
    save_image(drawn.image, path)
    if drawn.note:
        typer.echo(printable(drawn.note), err=True)
    boxed = any(mention.boxes for mention in caption.mentions)
    what = "boxes drawn in" if boxed else "this caption has no boxes; the image is in"
    typer.echo(f"{what} {path}", err=True)


def _show(name: str, caption: Caption, several: bool) -> None:
    from edgecap.cli._boxes import edges

    if caption.declined:
        text = f"[declined, confidence {caption.confidence:.2f}]"
    else:
        text = printable(caption.text) + ("" if caption.complete else " [cut]")
    typer.echo(f"{printable(name)}: {text}" if several else text)
    for mention in caption.mentions:
        for box, score in zip(mention.boxes, mention.confidences or mention.scores, strict=True):
            typer.echo(f"  {printable(mention.phrase)}  [{edges(box)}]  {score:.2f}")
