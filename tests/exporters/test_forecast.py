"""`doctor MODEL` and `export --dry-run`: what they say is what an export then does."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoints import make_whole
from wide_checkpoints import middling

from edgecap.cli.app import main
from edgecap.core.formats import FORMATS
from edgecap.exporters import forecast
from edgecap.exporters.job import export, run
from edgecap.exporters.spec import ExportRequest

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_whole("blip", "tiny", tmp_path_factory.mktemp("made") / "blip")


def report(capsys: pytest.CaptureFixture[str], *args: object) -> dict[str, Any]:
    assert main([*map(str, args), "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    assert main([*map(str, args)]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.startswith("  ")]
    assert captured.out == "" and len(lines) == 1
    return lines[0].removeprefix("edgecap: ")


def test_every_refusal_is_that_of_the_export(
    blip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    result = report(capsys, "doctor", blip)
    assert (result["family"], result["license"]) == ("blip", "unknown")
    requested = {(row["format"], row["precision"]) for row in result["rows"]}
    assert {format_ for format_, _ in requested} == set(FORMATS)
    assert ("onnx", "w8") in requested
    for row in result["rows"]:
        args = ("export", blip, "-f", row["format"], "-p", row["precision"])
        if row["refusal"] is not None:
            assert refusal(capsys, *args) == row["refusal"]
            assert refusal(capsys, *args, "--dry-run") == row["refusal"]
        else:
            assert row["size"] > 0 and row["memory"] > 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_after_loading_is_refused_in_a_dry_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings of generation and images are translated when the model is there."""
    unsized = make_whole("idefics3", "tiny", tmp_path / "unsized")
    file = unsized / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"do_resize": False}))
    constrained = make_whole("git", "tiny", tmp_path / "constrained")
    file = constrained / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_beam_groups": 2}))
    capsys.readouterr()  # bars of what was saved
    for model in (unsized, constrained):
        out = ("-f", "onnx", "-o", tmp_path / "out")
        message = refusal(capsys, "export", model, *out)
        assert message == refusal(capsys, "export", model, *out, "--dry-run")
        assert message == refusal(capsys, "doctor", model)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "option", "says"),
    [
        ("blip", ("--max-length", 60), "captions of 60 tokens are not possible"),  # 40 positions
        ("blip", ("--max-length", 0), "--max-length must be in 1 … "),
        ("blip", ("--max-length", -3), "--max-length must be in 1 … "),
        ("blip", ("--prompt", "a photo of"), "has no prompt around its image"),
        ("S", ("--max-length", 30), "--max-length: of Hugging Face checkpoints"),
        ("S", ("--max-length", 0), "--max-length: of Hugging Face checkpoints"),
        ("S", ("--prompt", "<CAPTION>"), "--prompt: of Hugging Face checkpoints"),
        ("blip", ("--image-size", 224), "takes images of one size"),
        ("S", ("--image-size", 224), "--image-size: of Hugging Face checkpoints"),
    ],
)
def test_lengths_and_prompts_are_refused_before_work(
    model: str,
    option: tuple[str, object],
    says: str,
    blip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = ("export", blip if model == "blip" else model, "-f", "onnx", "-p", "fp32", *option)
    capsys.readouterr()
    for more in ((), ("--dry-run",)):
        assert main([*map(str, args), "-o", str(tmp_path / "out"), *more]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.splitlines()[0].startswith("edgecap: ")
        assert says in captured.err and len(captured.err.splitlines()) <= 2  # a line and a hint
    assert not (tmp_path / "out").exists()


def test_a_dry_run_takes_lengths_and_prompts(
    blip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files whose length leaves no room are mended by an option, in a dry run as in an export."""
    florence = make_whole("florence2", "tiny", tmp_path / "florence2")
    capsys.readouterr()  # bars of what was saved
    qwen = make_whole("qwen2_vl", "tiny", tmp_path / "qwen2_vl")
    capsys.readouterr()
    given = ((blip, ("--max-length", 30)), (florence, ("--prompt", "<OD>")))
    for model, option in (*given, (qwen, ("--image-size", 16))):
        args = ("export", model, "-f", "onnx", "-p", "fp32", *option, "--dry-run")
        assert report(capsys, *args)["rows"][0]["refusal"] is None
    git = make_whole("git", "tiny", tmp_path / "git")
    capsys.readouterr()
    file = git / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"max_length": 1}))
    args = ("export", git, "-f", "onnx", "-p", "fp32", "-o", tmp_path / "out", "--dry-run")
    assert "max_length 1 leaves no room" in refusal(capsys, *args)
    assert report(capsys, *args, "--max-length", 9)["rows"][0]["refusal"] is None


def test_a_dry_run_names_what_it_would_write_and_writes_nothing(
    blip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("export", blip, "-f", "onnx,tflite", "-p", "w8", "-o", tmp_path / "out", "--dry-run")
    result = report(capsys, *args)
    names = [Path(row["output"]).name for row in result["rows"]]
    assert names == ["blip-onnx-w8", "blip-tflite-w8"]
    assert not (tmp_path / "out").exists()
    assert main([*map(str, args)]) == 0
    assert "supported" in capsys.readouterr().out
    (tmp_path / "out" / "blip-onnx-w8").mkdir(parents=True)
    assert "[output.exists]" in refusal(capsys, *args)


def test_int8_needs_what_is_tried_first(blip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def memory(*precision: str) -> int:
        rows = report(capsys, "export", blip, "-f", "onnx", *precision, "--dry-run")["rows"]
        return rows[0]["memory"]

    assert memory("--int8") == memory("-p", "w8a8") > memory("-p", "w8")


@pytest.mark.parametrize("model", ["checkpoint", "S"])
def test_a_full_disk_is_noticed_before_work(
    model: str,
    blip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 1 << 40, 5_000))
    given = blip if model == "checkpoint" else "S"
    for more in ((), ("--dry-run",)):
        line = refusal(capsys, "export", given, "-f", "onnx", "-o", tmp_path / "out", *more)
        assert "[output.full]" in line and "0 MB left" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.full
@pytest.mark.parametrize("format_", FORMATS)
def test_sizes_are_within_a_tenth(format_: str, tmp_path: Path) -> None:
    """Of a checkpoint whose weights outweigh names and nodes, at every precision."""
    checkpoint = middling(tmp_path / "model", "blip")
    result = forecast.survey(str(checkpoint.directory))
    rows = [row for row in result.rows if row.format == format_ and row.refusal is None]
    assert len(rows) >= 3
    for row in rows:
        request = ExportRequest(
            str(checkpoint.directory),
            (format_,),
            row.precision,
            tmp_path / row.precision,
            verify=False,
        )
        exported = export(request)
        assert row.size == pytest.approx(exported.size, rel=0.1), row.precision


@pytest.mark.full
@pytest.mark.parametrize("precision", ["fp16", "w8a8"])
def test_the_size_of_the_reference_is_within_a_tenth(precision: str, tmp_path: Path) -> None:
    result = forecast.survey("S")
    (row,) = (r for r in result.rows if (r.format, r.precision) == ("onnx", precision))
    request = ExportRequest("S", ("onnx",), precision, tmp_path / "out", verify=False)
    (exported,) = run(request)
    assert row.size == pytest.approx(exported.size, rel=0.1)
