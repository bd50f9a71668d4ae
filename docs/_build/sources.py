"""What the site takes from the source instead of from prose: error codes and command help."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
ROOTS = ("edgecap", "exporters", "benchmarks")
CODE = re.compile(r"[a-z0-9_*]+(\.[a-z0-9_*]+)+")


def error_codes() -> dict[str, str]:
    """Every code that an error of edgecap can have -> the class that raises it first.

    `*` stands for a part that is known only at run time (`sampling.*`).
    """
    found: dict[str, str] = {}
    for root in ROOTS:
        for path in sorted((REPO / root).rglob("*.py")):
            for code, kind in _codes(ast.parse(path.read_text())):
                found.setdefault(code, kind)
    return dict(sorted(found.items()))


def _codes(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["code"]:
            yield from ((c, "InputError") for c in _texts(node.value) if CODE.fullmatch(c))
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = ast.unparse(node.func).split(".")[-1]
        for text in _texts(node.args[0]):
            if name == "pick":
                yield f"{text}.unknown", "InputError"
            elif name.endswith("Error") and CODE.fullmatch(text):
                yield text, name
            elif name.startswith("_") and re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_.]+", text):
                # A helper that makes the error.
                yield text, "EdgecapError"


def _texts(value: ast.expr) -> list[str]:
    """The texts that an expression may be, `*` for what is filled in."""
    if isinstance(value, ast.Constant):
        return [value.value] if isinstance(value.value, str) else []
    if isinstance(value, ast.IfExp):
        return [*_texts(value.body), *_texts(value.orelse)]
    if isinstance(value, ast.JoinedStr):
        return ["".join(str(p.value) if isinstance(p, ast.Constant) else "*" for p in value.values)]
    return []


def families(codes: dict[str, str]) -> set[str]:
    """What stands before the first dot; `*` alone is none."""
    return {code.split(".")[0] for code in codes} - {"*"}


def code_list() -> str:
    """Markdown: every code, grouped by family."""
    codes = error_codes()
    lines = []
    for family in sorted(families(codes)):
        named = [f"`{code}`" for code in codes if code.split(".")[0] == family]
        lines.append(f"- **{family}**: {', '.join(named)}")
    return "\n".join(lines)


def command_help() -> str:
    """Markdown: what every command does, its arguments and its options, as `--help` has them."""
    import typer

    from edgecap.cli.app import COMMANDS, app

    group = typer.main.get_command(app)
    sections = []
    with group.make_context("edgecap", [], resilient_parsing=True) as context:
        for name in COMMANDS:
            command = group.get_command(context, name)  # type: ignore[attr-defined]
            parts = [_paragraph(part) for part in re.split(r"\n\n+", (command.help or "").strip())]
            shown = [one for one in command.params if one.name != "help"]
            rows = []
            for panel in dict.fromkeys(map(_panel, shown)):
                rows += [f"| **{panel}** | |"] if panel else []
                rows += [_row(one) for one in shown if _panel(one) == panel]
            table = "\n".join(["| option | meaning |", "| --- | --- |", *rows])
            sections.append("\n\n".join([f"### {name}", *parts, table]))
    return "\n\n".join(sections)


def _paragraph(text: str) -> str:
    """A paragraph of a help text; indented lines are commands."""
    lines = text.splitlines()
    prose = " ".join(line for line in lines if not line.startswith("  "))
    commands = [line.strip() for line in lines if line.startswith("  ")]
    fenced = "\n".join(["```", *commands, "```"])
    return "\n\n".join([plain(prose), *([fenced] if commands else [])])


def _panel(parameter: Any) -> str | None:
    return getattr(parameter, "rich_help_panel", None)


def _row(parameter: Any) -> str:
    """One line of a table of options."""
    names = [*parameter.opts, *parameter.secondary_opts]
    metavar = f" {parameter.metavar}" if parameter.metavar else ""
    label = ", ".join(names) + metavar if names[0].startswith("-") else parameter.metavar
    text = plain(parameter.help or "").replace("|", "\\|")
    given, default = "Default:" in text, parameter.default
    if not given and isinstance(default, str | int | float | Path) and default not in (True, False):
        text += f" Default: {default}."
    return f"| `{label or names[0].upper()}` | {text} |"


def plain(text: str) -> str:
    """Text with nothing in it that Markdown would read as a tag."""
    return re.sub(r"<(?=[a-zA-Z/])", "&lt;", text)
