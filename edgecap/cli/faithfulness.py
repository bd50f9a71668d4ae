"""`edgecap faithfulness`: how far the maps of `edgecap explain` can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from edgecap.cli._options import MODEL, Threads, count_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

if TYPE_CHECKING:
    from edgecap.benchmarks.reference.faithfulness import Maker, Row
    from edgecap.runtime import Captioner

DETAILS = """
Compares the maps of edgecap explain with the truth of drawn scenes: whether the highest point lies
on the object named (pointing), and how the phrase's probability changes while patches are hidden
or revealed in the order of the map (deletion, insertion), each beside chance. For PyTorch models
it also checks that the maps change when the weights are replaced by random ones.
"""


def run(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help=MODEL)] = "S",
    maps: Annotated[
        str | None,
        typer.Option(
            "--maps",
            help="Kinds of maps, comma-separated: attention, occlusion, gradient (PyTorch only).",
        ),
    ] = None,
    n: Annotated[int, count_option("Number of scenes, 2 to 512.", 2, 512)] = 32,
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language of the captions.")] = "en",
    json_: Json = None,
    threads: Threads = 1,
) -> None:
    from edgecap.benchmarks.reference.faithfulness import card
    from edgecap.cli._maps import check_backend, maker, picked_kinds
    from edgecap.cli._model import load_captioner
    from edgecap.reference.scenes.shipped import load_set

    kinds = picked_kinds(maps, ("attention", "gradient", "occlusion")) if maps else None
    loaded = load_captioner(model, threads)
    kinds = kinds or (["attention", "gradient"] if loaded.backend == "torch" else ["attention"])
    check_backend(loaded, kinds)
    rows = card(
        loaded,
        load_set("evaluation", n),
        {kind: maker(kind, loaded) for kind in kinds},
        _randomised(loaded, kinds),
        lang,
    )
    about = {"captioner": loaded.manifest.name, "backend": loaded.backend, "scenes": n}
    write_json({**about, "lang": lang, "maps": [row.to_json() for row in rows]}, json_)
    if json_ != STANDARD_OUTPUT:
        _print(rows, f"{loaded.manifest.name} ({loaded.backend}), {n} scenes, {lang}")


def _randomised(captioner: Captioner, kinds: Sequence[str]) -> dict[str, Maker]:
    """The makers of the same kinds for a model of random weights, where there are weights."""
    if captioner.backend != "torch":
        return {}
    from edgecap.cli._maps import gradients, network_of
    from edgecap.reference.model.explain import grid, trace_attention, with_random_weights

    fresh = with_random_weights(network_of(captioner))
    makers: dict[str, Maker] = {
        "attention": lambda trace: grid(
            trace_attention(fresh, trace.model_input, trace.prompt, trace.tokens).attention.mean(
                (0, 1)
            )
        ),
        "gradient": gradients(fresh),
    }
    return {kind: makers[kind] for kind in kinds if kind in makers}


def _print(rows: Sequence[Row], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from edgecap.benchmarks.reference.faithfulness import GOOD

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for row in rows:
        table.add_column(row.maps, justify="right", no_wrap=True)
        table.add_column("95 %", justify="right", no_wrap=True)
    table.add_column("good", no_wrap=True)
    table.add_row("phrases", *(cell for row in rows for cell in (str(row.phrases), "")))
    for key in rows[0].values:
        cells = []
        for row in rows:
            value, bounds = row.values[key], row.intervals[key]
            cells.append("–" if value is None else f"{value:.3f}")
            cells.append("" if bounds is None else f"{bounds[0]:.2f} … {bounds[1]:.2f}")
        table.add_row(key, *cells, GOOD.get(key, ""))
    console = Console(markup=False)
    console.print(table)
    for row in rows:
        console.print(f"{row.maps}: {row.verdict}.", highlight=False)
