"""One spelling on all commands; what older releases and other tools write is understood or met."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from help_texts import PAGES, rendered

from edgecap.cli._commands import COMMANDS
from edgecap.cli.app import app, main


def parsed(*args: str) -> dict[str, object]:
    """The parameters that a command line gives its command."""
    name, *rest = args
    group = typer.main.get_command(app)
    with group.make_context("edgecap", list(args)) as context:
        command = group.get_command(context, name)  # type: ignore[attr-defined]
        with command.make_context(name, rest, parent=context) as own:
            return dict(own.params)


def refusal(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line that a command line is refused with."""
    assert main(list(args)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def shown_options(command: str) -> set[str]:
    lines = rendered(PAGES[command]).splitlines()
    names = [line.split("  ")[1] for line in lines if line.startswith("  -")]
    return {word.strip(",") for name in names for word in name.split() if word.startswith("-")}


def test_an_option_is_spelt_alike_on_all_commands() -> None:
    options = {command: shown_options(command) for command in COMMANDS}
    for shown in options.values():
        assert not shown & {"--out", "--picture", "--image", "--scenes", "--weights", "--unruled"}
    pairs = {"-o": "--output", "-l": "--lang", "-m": "--model", "-b": "--bundle"}
    for command, shown in options.items():
        assert "--json" in shown
        for short, long in pairs.items():
            assert (short in shown) == (long in shown), (command, long)


def test_on_error_has_one_default() -> None:
    for args in (("caption", "a"), ("classify", "a"), ("finetune", "--lang", "nl", "--data", "d")):
        assert parsed(*args)["on_error"] == "skip"


@pytest.mark.parametrize(
    ("older", "present"),
    [
        ("scenes --out x", "scenes --output x"),
        ("scenes --out=x", "scenes --output=x"),
        ("compare A B --scenes 9 --image w.png", "compare A B --n 9 --draw w.png"),
        ("bench b --weights S", "bench b --model S"),
        ("train --images 640", "train --n 640"),
        ("qat --images 160", "qat --n 160"),
        ("eval S --unruled", "eval S --no-grammar"),
    ],
)
def test_older_spellings_are_understood(older: str, present: str) -> None:
    assert parsed(*older.split()) == parsed(*present.split())


def test_nothing_is_renamed_behind_a_double_dash() -> None:
    assert parsed("rank", "a.png", "--", "--out", "A dog.")["statements"] == ["--out", "A dog."]


def test_ask_is_rank(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "--help"]) == 0
    assert "Usage: edgecap rank" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("export", "--ouput", "x"), ("[usage]", "--output")),
        (("exprot",), ("Did you mean 'export'?",)),
        (("export", "format=onnx"), ("[usage.key_value]", "Write: --format onnx")),
        (("export", "half=True"), ("Write: --fp16",)),
        (("export", "int8=True"), ("Write: --int8.",)),
        (("export", "tflite"), ("[export.model]", "edgecap export S --format tflite")),
        (("export", "S", "--model", "M"), ("[model.twice]",)),
        (("export", "--format", "torchscript"), ("[format.unknown]", "all")),
    ],
)
def test_habits_of_other_tools_get_a_helpful_line(
    args: tuple[str, ...], parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, *args)
    assert [part for part in parts if part.rstrip(".") not in line] == []


def test_a_file_whose_name_begins_like_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Run: edgecap caption --help" in refusal(capsys, "caption", "-x.png")
    Path("-x.png").touch()
    assert "Write ./-x.png for the file." in refusal(capsys, "caption", "-x.png")


def test_a_model_is_an_argument_or_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.safetensors")
    for args in ([missing], ["--model", missing], ["-m", missing], [missing, "-m", missing]):
        assert "[weights.missing]" in refusal(capsys, "export", *args)


def test_completion_is_offered_for_every_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_EDGECAP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "edgecap ver")
    monkeypatch.setenv("COMP_CWORD", "1")
    main([])
    assert capsys.readouterr().out.split() == ["verify"]
