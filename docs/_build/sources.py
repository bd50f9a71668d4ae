"""What the site takes from the source instead of from prose: error codes and command help."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

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
    """Markdown: usage, arguments and options of every command, as `--help` shows them."""
    import typer

    from edgecap.cli.app import COMMANDS, app

    group = typer.main.get_command(app)
    sections = []
    with group.make_context("edgecap", [], resilient_parsing=True) as context:
        for name in COMMANDS:
            command = group.get_command(context, name)  # type: ignore[attr-defined]
            about = re.sub(r"\n\s*", "\n", command.help or "").strip()
            rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
            table = ["| | | default |", "| --- | --- | --- |", *rows] if rows else []
            sections.append("\n".join([f"### {name}", "", about, "", *table]))
    return "\n\n".join(sections)


def _row(parameter: object) -> str:
    names = [*parameter.opts, *parameter.secondary_opts]  # type: ignore[attr-defined]
    option = names[0].startswith("-")
    shown = ", ".join(f"`{n}`" for n in names) if option else f"`{names[0].upper()}`"
    default = parameter.default  # type: ignore[attr-defined]
    hidden = default is None or default is False or callable(default) or default == ()
    value = "" if hidden or not isinstance(default, str | int | float) else f"`{default}`"
    help_ = (getattr(parameter, "help", None) or "").replace("|", "\\|")
    return f"| {shown} | {help_} | {value} |"
