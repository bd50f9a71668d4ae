"""What exports of a model would need, as a table: of `doctor MODEL` and `export --dry-run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgecap.exporters.forecast import Forecast

GIB = 1 << 30


def print_forecast(forecast: Forecast) -> None:
    """A row per format and precision; refusals stand below the table, each once."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    size = "" if forecast.parameters is None else f", {forecast.parameters / 1e6:,.1f} M parameters"
    console.print(
        Text(f"{forecast.model}: {forecast.family}{size}, licence {forecast.license}"),
        Text(
            f"free: memory {forecast.free_memory / GIB:.1f} GiB, "
            f"disk {forecast.free_disk / 1e9:,.1f} GB"
        ),
        sep="\n",
    )
    table = Table("format", "precision", "", title="exports", title_justify="left")
    for heading in ("size MB", "memory GiB", "temporary MB"):
        table.add_column(heading, justify="right")
    refusals: list[str] = []
    for row in forecast.rows:
        if row.refusal is not None:
            if row.refusal not in refusals:
                refusals.append(row.refusal)
            table.add_row(row.format, row.precision, f"refused ({refusals.index(row.refusal) + 1})")
            continue
        assert row.size is not None and row.memory is not None and row.scratch is not None
        short = row.memory > forecast.free_memory
        table.add_row(
            row.format,
            row.precision,
            "more memory than is free" if short else "supported",
            f"{row.size / 1e6:,.1f}",
            f"{row.memory / GIB:,.1f}",
            f"{row.scratch / 1e6:,.0f}",
        )
    console.print(table)
    for row in forecast.rows:
        if row.output is not None:
            console.print(Text(f"would write {row.output}"))
    for number, refusal in enumerate(refusals, start=1):
        console.print(Text(f"({number}) {refusal}"))
