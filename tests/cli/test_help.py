"""Help: what every command prints, that it is fast, readable everywhere, and in sentences."""

from __future__ import annotations

import subprocess
import sys

import pytest
from help_texts import FOLDER, PAGES, rendered

from edgecap.cli._commands import COMMANDS
from edgecap.cli.app import main


@pytest.mark.parametrize("page", PAGES)
def test_help_is_as_written_down(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To accept a change: python tests/support/help_texts.py"""
    monkeypatch.setenv("COLUMNS", "80")
    assert rendered(PAGES[page]) == (FOLDER / f"{page}.txt").read_text(encoding="utf-8")


def test_no_snapshot_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_help_fits_its_terminal(page: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = rendered(PAGES[page])
    verbatim = ("  edgecap ", "  torchrun ", "  {")  # examples, which no line break may cut
    too_long = [line for line in text.splitlines() if len(line) > columns and " " in line.strip()]
    assert [line for line in too_long if not line.startswith(verbatim)] == []
    assert "…" not in text and "<bool>" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained_in_a_sentence(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")  # each option stands alone, its explanation below
    lines = rendered(PAGES[command]).splitlines()
    for i, line in enumerate(lines):
        if line.startswith(("  -", "  --")):
            explanation = []
            for following in lines[i + 1 :]:
                if not following.startswith("      "):
                    break
                explanation.append(following.strip())
            sentence = " ".join(explanation)
            assert sentence[:1].isupper() or sentence[:1].isdigit() or "," in sentence, line
            assert sentence.endswith("."), (line, sentence)


def test_export_shows_ten_options_and_the_rest_apart() -> None:
    page = (FOLDER / "export.txt").read_text(encoding="utf-8")
    options, advanced = page.split("\nOptions:\n")[1].split("\nAdvanced:\n")
    assert sum(line.startswith("  -") for line in options.splitlines()) <= 10
    assert sum(line.startswith("  -") for line in advanced.splitlines()) >= 10


def test_help_needs_no_docstrings() -> None:
    for page in ("edgecap", "caption"):
        done = subprocess.run(
            [sys.executable, "-OO", "-m", "edgecap", *PAGES[page]],
            capture_output=True,
            encoding="utf-8",
            env={"COLUMNS": "80", "PATH": "/usr/bin"},
            check=True,
        )
        assert done.stdout == (FOLDER / f"{page}.txt").read_text(encoding="utf-8")


def test_help_imports_nothing_heavy() -> None:
    """What keeps `edgecap --help` under half a second; a clock would measure the machine's load."""
    heavy = {"numpy", "PIL", "rich", "torch", "onnx", "onnxruntime", "tokenizers", "ai_edge_litert"}
    for arguments in (["--help"], ["caption", "--help"], ["export", "--help"]):
        code = (
            f"import sys; from edgecap.cli.app import main; main({arguments});"
            "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert heavy & set(done.stderr.split()) == set()


def test_groups_are_those_of_a_deployment_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    places = [shown.index(f"\n{name}:") for name in ("Deploy", "Run", "Explore", "Reference model")]
    assert places == sorted(places)
    assert [name for name in COMMANDS if f"\n  {name} " not in shown] == []
