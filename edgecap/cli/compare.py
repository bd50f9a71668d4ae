"""`edgecap compare`: two captioners side by side, of any formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.benchmarks.defaults import THRESHOLD
from edgecap.cli._numbers import threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

if TYPE_CHECKING:
    from edgecap.benchmarks.comparison import Comparison
    from edgecap.benchmarks.divergence import Divergence

WORST = 4  # scenes of the image


def run(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A bundle, or weights for PyTorch: the reference.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What is held to it.")],
    scenes: Annotated[
        int, typer.Option("--scenes", min=1, max=128, help="Of the gate's shipped set.")
    ] = 64,
    lang: Annotated[
        str, typer.Option("--lang", help="A language, several as en,ja, or all; scenes take turns.")
    ] = "all",
    threshold: Annotated[
        float, typer.Option("--threshold", min=0, help="Relative error at which a layer diverges.")
    ] = THRESHOLD,
    image: Annotated[
        Path | None, typer.Option("--image", help=f"Draw the {WORST} worst scenes; .png.")
    ] = None,
    json_: Json = None,
    threads: Annotated[int, threads_option("Of the engines.")] = 1,
) -> None:
    """Compare outputs, tokens, boxes and captions of two captioners on the same scenes.

    Both are also fed A's captions step by step. The cache, which every format hands out, tells in
    which layer they part. What each figure means is said in edgecap/benchmarks/compare.py and
    divergence.py.
    """
    from edgecap.benchmarks.compare import check_comparable, compare
    from edgecap.benchmarks.worst import worst_sheet
    from edgecap.cli._image import check_image, save_image
    from edgecap.models.loading import load
    from edgecap.reference.scenes.grammar import picked_languages
    from edgecap.reference.scenes.shipped import load_set

    if image is not None:
        check_image(image)
    languages = picked_languages(lang)
    first, second = load(a, threads=threads), load(b, threads=threads)
    check_comparable(first, second)
    images = [pixels for pixels, _ in load_set("gate", scenes)]
    names = (_name(a, first), _name(b, second))
    found = compare(first, second, names, images, languages, threshold)
    if image is not None:
        save_image(worst_sheet(names, found.worst(WORST), images, scenes), image)
    write_json({"lang": list(languages), **found.to_json()}, json_)
    if json_ != STANDARD_OUTPUT:
        _print(found)


def _name(given: str, captioner: Any) -> str:
    """As it was given, since two bundles may bear one name, and what ran it."""
    return f"{given} ({captioner.backend} {captioner.manifest.precision})"


def _print(found: Comparison) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    figures = found.figures()
    console = Console(markup=False)
    table = Table(
        title=f"A {found.names[0]}, B {found.names[1]}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column(f"{figures['scenes']} scenes, {figures['steps']} steps", no_wrap=True)
    table.add_column("mean", justify="right")
    table.add_column("least", justify="right")
    for what in ("image embedding", "text embedding", "logits", "attention map"):
        value = figures[what.removesuffix(" map").replace(" ", "_") + "_cosine"]
        shown = ("–", "–") if value is None else (_cosine(value["mean"]), _cosine(value["least"]))
        table.add_row(f"{what}, cosine", *shown)
    table.add_row("logits, largest difference", f"{figures['logits_max_abs']:.3g}", "")
    table.add_row("best next token the same", _percent(figures["top1"]), "")
    table.add_row("boxes of shared things, IoU", _percent(figures["iou"]), "")
    for edge in ("5", "9"):
        table.add_row(f"  of them with IoU ≥ 0.{edge}", _percent(figures[f"iou_{edge}0"]), "")
    table.add_row("captions, same words", _percent(figures["same_words"]), "")
    table.add_row("captions, same to the last bin", _percent(figures["same_caption"]), "")
    console.print(table)
    early = figures["first_difference"]
    if early["earliest"] is not None:
        console.print(
            f"Differing captions part at token {early['median']:.0f} (median); the first at "
            f"{early['earliest']}.",
            highlight=False,
        )
    if not found.layers:
        console.print("Layers: the caches differ in shape, so none can be compared.")
        return
    console.print(_layers(found.layers))
    for one in found.layers:
        console.print(_verdict(one), highlight=False)


def _layers(layers: tuple[Divergence, ...]) -> Any:
    """Relative error of every layer's keys and values; the JSON has the cosines too."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("relative error", no_wrap=True)
    for one in layers:
        for side in ("k", "v"):
            table.add_column(f"{one.function} {side}", justify="right")
    for stages in zip(*(one.stages for one in layers), strict=True):
        name = stages[0].name if stages[0].value_error is not None else "output"
        errors = [error for stage in stages for error in (stage.key_error, stage.value_error)]
        table.add_row(name, *("" if error is None else f"{error:.2g}" for error in errors))
    return table


def _verdict(one: Divergence) -> str:
    first = one.first
    over = (
        f"no stage exceeds {one.threshold:g}"
        if first is None
        else f"{first.name} is the first over {one.threshold:g} ({first.error:.2g})"
    )
    most = f"the error rises most in {one.jump.name}" if one.jump.error else "there is no error"
    return f"{one.function}: {over}; {most}."


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _cosine(value: float) -> str:
    """Enough digits to tell it from 1, which float sums miss by a hair."""
    return "1" if value > 1 - 5e-7 else f"{value:.6f}"
