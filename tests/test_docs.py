"""Every `edgecap` command that the documents show has these options and takes these arguments."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from edgecap.cli.app import COMMANDS, app
from edgecap.runtime.backends.mlprogram.ops import KERNELS

REPO = Path(__file__).resolve().parents[1]
PATTERNS = ("*.md", "Makefile", "examples/*.sh", "benchmarks/*.md")


def shown_commands() -> list[tuple[str, str]]:
    """(document, command): a line of its own, or in backticks within a line."""
    found = []
    for path in (path for pattern in PATTERNS for path in REPO.glob(pattern)):
        for line in path.read_text().replace("\\\n", " ").splitlines():
            whole = line.strip().removeprefix("$(BIN)/").removeprefix("$ ")
            found += [(path.name, text) for text in (whole, *re.findall(r"`([^`]+)`", line))]
    return [(name, text) for name, text in found if re.match(r"edgecap [a-z]+( |$)", text)]


@pytest.mark.parametrize(("document", "line"), shown_commands())
def test_shown_command_parses(document: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    _, name, *args = shlex.split(line, comments=True)
    group = typer.main.get_command(app)
    with group.make_context("edgecap", [name, *args]) as context:
        command = group.get_command(context, name)  # type: ignore[attr-defined]
        if args:  # a bare name is a mention
            with command.make_context(name, args, parent=context):
                pass


def test_the_evaluator_is_described_as_it_is() -> None:
    assert f"{len(KERNELS)} kinds of operation" in (REPO / "CONTRIBUTING.md").read_text()


def test_the_readme_shows_every_command() -> None:
    shown = {line.split()[1] for name, line in shown_commands() if name == "README.md"}
    assert shown == set(COMMANDS)
