"""What the documents show works: commands parse, names are those that are made, snippets run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from edgecap.cli.app import COMMANDS, app
from edgecap.core.formats import FORMATS, PRECISIONS
from edgecap.exporters.spec import ExportSpec
from edgecap.mil.ops import KERNELS
from edgecap.reference.model.weights import resolve
from edgecap.reference.train.qat import QatSpec, tuned_weights

REPO = Path(__file__).resolve().parents[1]
PATTERNS = ("*.md", "Makefile", "examples/*.sh", "examples/*.md", "benchmarks/*.md")


def shown_commands() -> list[tuple[str, str]]:
    """(document, command): a line of its own, or in backticks within a line."""
    found = []
    for path in (path for pattern in PATTERNS for path in REPO.glob(pattern)):
        for line in path.read_text().replace("\\\n", " ").splitlines():
            whole = line.strip().removeprefix("$(BIN)/").removeprefix("$ ")
            whole = re.sub(r"^run '(.*)'$", r"\1", whole)  # of tour.sh
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


def test_bundles_are_named_as_export_names_them() -> None:
    name, _ = resolve(ExportSpec().model)
    specs = [ExportSpec(format=f, precision=p) for f in FORMATS for p in PRECISIONS]
    specs += [ExportSpec(format=f, precision="mixed", max_drop=0.5) for f in FORMATS]
    pattern = rf"[\w./-]+-(?:{'|'.join(FORMATS)})\b[\w-]*"
    shown = {
        one
        for document in ("README.md", "benchmarks/LOG.md")
        for one in re.findall(pattern, (REPO / document).read_text())
    }
    assert shown and shown <= {str(spec.directory(name)) for spec in specs}


def test_the_weights_of_qat_are_named_as_it_names_them() -> None:
    name, _ = resolve(QatSpec.model)
    shown = re.findall(r"[\w./-]+-qat\.[a-z]+", (REPO / "README.md").read_text())
    assert shown and {Path(one) for one in shown} == {tuned_weights(Path("qat"), name)}


def in_an_app() -> str:
    """README's snippet of the runtime."""
    section = (REPO / "README.md").read_text().split("## In an app")[1]
    return section.split("```python")[1].split("```")[0]


def test_the_snippet_for_apps_runs(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tiny_bundle.parent
    tiny_bundle.rename(here / "captioner")
    (here / "edgecap").symlink_to(REPO / "edgecap")
    monkeypatch.chdir(here)
    names: dict[str, Any] = {}
    exec(in_an_app(), names)
    assert "Caption(text=" in capsys.readouterr().out
    assert names["cosines"].shape == (len(names["folder"]), 2)
    methods = ("caption", "caption_many", "stream", "embed_images", "embed_texts", "attention")
    assert [one for one in methods if f"captioner.{one}(" not in in_an_app()] == []


def test_the_evaluator_is_described_as_it_is() -> None:
    assert f"{len(KERNELS)} kinds of operation" in (REPO / "CONTRIBUTING.md").read_text()


def test_the_readme_shows_every_command() -> None:
    shown = {line.split()[1] for name, line in shown_commands() if name == "README.md"}
    assert shown == set(COMMANDS)
