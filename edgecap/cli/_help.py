"""Help as plain text: full sentences that wrap at the terminal's width, options in panels.

Two columns where there is room; on a narrow terminal the explanation stands below its option.
Nothing comes from docstrings, which `python -OO` removes.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand

WIDEST, NARROW = 100, 64  # columns; below NARROW one column takes the place of two
_LABEL = 30  # columns of the longest names, indentation included
_STANDARD = "Options"

# Spellings of earlier releases and of other tools, still understood and no longer shown.
RENAMED = {"--out": "--output"}


class HelpfulCommand(TyperCommand):
    """A command that renders its own help and understands renamed options."""

    renamed: dict[str, str] = {}  # of this command alone, besides RENAMED

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_current(args, RENAMED | self.renamed)))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        params = [param for param in self.get_params(ctx) if not getattr(param, "hidden", False)]
        arguments = [param for param in params if isinstance(param, TyperArgument)]
        options = [param for param in params if not isinstance(param, TyperArgument)]
        pieces = [usage(ctx.command_path, [_metavar(param) for param in arguments])]
        pieces.append(paragraphs(self.help or ""))
        rows = [(_metavar(argument), _explained(argument)) for argument in arguments]
        pieces.append(section("Arguments", rows))
        for panel in dict.fromkeys(getattr(o, "rich_help_panel", None) for o in options):
            rows = [
                (_names(option), _explained(option))
                for option in options
                if getattr(option, "rich_help_panel", None) == panel
            ]
            pieces.append(section(panel or _STANDARD, rows))
        formatter.write("\n".join(piece for piece in pieces if piece))


def usage(path: str, arguments: Iterable[str]) -> str:
    """The first line of a help."""
    words = f"Usage: {path} [OPTIONS] {' '.join(arguments)}"
    return textwrap.fill(words.strip(), width(), subsequent_indent="  ") + "\n"


def paragraphs(text: str) -> str:
    """Paragraphs, which a blank line separates, filled to the width; indented lines are kept."""
    filled = []
    for part in text.strip().split("\n\n"):
        lines = part.strip("\n").split("\n")
        kept = [line for line in lines if line.startswith(" ")]
        prose = " ".join(line for line in lines if not line.startswith(" "))
        filled.append("\n".join([_fill(prose), *kept]))
    return "\n\n".join(filled) + "\n"


def section(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """A heading and its rows of (names, explanation); nothing without rows."""
    if not rows:
        return ""
    heading = typer.style(f"{title}:", bold=True)
    column = min(_LABEL, max(len(names) for names, _ in rows) + 4)
    return "\n".join([heading, *(_row(names, text, column) for names, text in rows)]) + "\n"


def width() -> int:
    """Columns to fill."""
    return max(20, min(WIDEST, shutil.get_terminal_size().columns))


def _fill(text: str, indent: int = 0) -> str:
    return textwrap.fill(
        text,
        width(),
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _row(names: str, text: str, column: int) -> str:
    label = f"  {names}"
    if width() < NARROW:
        return f"{label}\n{_fill(text, 6)}"
    body = _fill(text, column)
    return f"{label}\n{body}" if len(label) > column - 2 else label.ljust(column) + body[column:]


def _names(option: Any) -> str:
    names = ", ".join([*sorted(option.opts, key=len), *option.secondary_opts])  # -o, --output
    return names if option.is_flag else f"{names} {_metavar(option)}"


def _metavar(param: Any) -> str:
    name = str(param.metavar or param.name.rstrip("_").upper())
    if not isinstance(param, TyperArgument):
        return name
    name += "..." if param.nargs == -1 and not name.endswith("...") else ""
    return name if param.required or name.startswith("[") else f"[{name}]"


def _explained(param: Any) -> str:
    text = str(param.help or "")
    shown = param.default
    if param.required or shown is None or isinstance(shown, bool) or callable(shown):
        return text + (" Required." if param.required and param.param_type_name == "option" else "")
    return f"{text} Default: {shown}."


def _current(args: Sequence[str], renamed: dict[str, str]) -> Iterator[str]:
    """The arguments with renamed options in their present spelling, as far as "--"."""
    for i, arg in enumerate(args):
        if arg == "--":
            yield from args[i:]
            return
        name, equals, value = arg.partition("=")
        yield renamed.get(name, name) + equals + value
