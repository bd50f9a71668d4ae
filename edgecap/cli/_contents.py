"""The facts of a model file as text and tables."""

from __future__ import annotations

import typer

from edgecap.core.printable import printable
from edgecap.inspection.contents import Contents, FunctionInfo, Tensor

MAX_NAME = 80
ARROWS = {"inputs": "->", "outputs": "<-", "states": "<>"}


def show_contents(name: str, contents: Contents) -> None:
    """Format, functions, operations and weights of one model."""
    from rich.console import Console
    from rich.table import Table

    typer.echo(f"{plain(name)}: {contents.format}, {contents.bytes:,} bytes with all its weights")
    typer.echo(f"  version   {plain(contents.version)}")
    typer.echo(f"  producer  {plain(contents.producer) or 'unknown'}")
    for function in contents.functions:
        _show_function(function)
    table = Table("weights", "tensors", "elements", "bytes", "share")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind in contents.weights:
        counts = (f"{count:,}" for count in (kind.tensors, kind.elements, kind.bytes))
        table.add_row(kind.kind, *counts, f"{kind.share:.1%}")
    Console(markup=False, highlight=False).print(table)


def _show_function(function: FunctionInfo) -> None:
    typer.echo(plain(function.name) or "(without a name)")
    for side, arrow in ARROWS.items():
        for tensor in getattr(function, side):
            state = "  state" if side == "states" else ""
            typer.echo(f"  {arrow} {plain(tensor.name):16} {_type(tensor)}{state}")
    ops = ", ".join(f"{plain(op)} {count}" for op, count in function.ops.items())
    typer.echo(f"  {sum(function.ops.values())} operations: {ops}")


def _type(tensor: Tensor) -> str:
    sizes = ",".join("?" if size is None else plain(str(size)) for size in tensor.shape)
    return f"{tensor.dtype} [{sizes}]" + (f"  {tensor.note}" if tensor.note else "")


def plain(text: str) -> str:
    """Untrusted text for a terminal: without control characters, and of bounded length."""
    return printable(text) if len(text) <= MAX_NAME else f"{printable(text[:MAX_NAME])}…"
