"""`edgecap compare`: two captioners side by side, of any formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.benchmarks.defaults import THRESHOLD
from edgecap.cli._options import MODEL, Languages, count_option, threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

if TYPE_CHECKING:
    from edgecap.benchmarks.comparison import Comparison
    from edgecap.benchmarks.divergence import Divergence

WORST = 4  # scenes of the image
RENAMED = {"--scenes": "--n", "--image": "--draw"}
DETAILS = """
Both models caption the same scenes, and both are fed the reference's captions token by token. The
tables show how far outputs, tokens, boxes and captions agree. The KV caches show in which layer the
two diverge: the first whose relative error exceeds --threshold. Both models are of the reference;
for bundles of a checkpoint run: edgecap bench BUNDLE... --model DIR
"""


def run(
    a: Annotated[str, typer.Argument(metavar="MODEL_A", help=f"Reference. {MODEL}")],
    b: Annotated[str, typer.Argument(metavar="MODEL_B", help="Candidate, of the same kinds.")],
    n: Annotated[
        int, count_option("Number of scenes, of the 128 that the export gate uses.", 1, 128)
    ] = 64,
    lang: Languages = "all",
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            min=0,
            metavar="NUMBER",
            help="Relative error from which a layer counts as diverged.",
        ),
    ] = THRESHOLD,
    draw: Annotated[
        Path | None,
        typer.Option("--draw", metavar="FILE", help=f"Draw the {WORST} worst scenes."),
    ] = None,
    json_: Json = None,
    threads: Annotated[int, threads_option("CPU threads of each engine.")] = 1,
) -> None:
    from edgecap.benchmarks.compare import check_comparable, compare
    from edgecap.benchmarks.worst import worst_sheet
    from edgecap.cli._image import check_image, save_image
    from edgecap.cli._model import load_captioner
    from edgecap.reference.scenes.grammar import picked_languages
    from edgecap.reference.scenes.shipped import load_set

    if draw is not None:
        check_image(draw)
    languages = picked_languages(lang)
    first, second = load_captioner(a, threads), load_captioner(b, threads)
    check_comparable(first, second)
    images = [pixels for pixels, _ in load_set("gate", n)]
    names = (_name(a, first), _name(b, second))
    found = compare(first, second, names, images, languages, threshold)
    if draw is not None:
        save_image(worst_sheet(names, found.worst(WORST), images, n), draw)
    write_json({"lang": list(languages), **found.to_json()}, json_)
    if json_ != STANDARD_OUTPUT:
        _print(found)


def _name(given: str, captioner: Any) -> str:
    """As it was given, since two bundles may have one name, and what ran it."""
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
    table.add_row("boxes of shared objects, IoU", _percent(figures["iou"]), "")
    for edge in ("5", "9"):
        table.add_row(f"  of them with IoU ≥ 0.{edge}", _percent(figures[f"iou_{edge}0"]), "")
    table.add_row("captions, same words", _percent(figures["same_words"]), "")
    table.add_row("captions, same to the last bin", _percent(figures["same_caption"]), "")
    console.print(table)
    early = figures["first_difference"]
    if early["earliest"] is not None:
        console.print(
            f"Differing captions diverge at token {early['median']:.0f} (median); the first at "
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
    """Enough digits to distinguish it from 1, which float sums miss by a hair."""
    return "1" if value > 1 - 5e-7 else f"{value:.6f}"
