"""Images as people give them: folders with other files, standard input, URLs, patterns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_onnx import image

from edgecap.cli.app import main


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(image(0, 60, 40))
    return path


def test_files_passed_over_are_counted(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.mp4", "b.MOV", "doc.pdf", "noending", ".hidden"):
        (photo.parent / name).write_bytes(b"x")
    bundle = ["--bundle", str(tiny_bundle_made), "--max-length", "5"]
    assert main(["caption", str(photo.parent), *bundle]) == 0
    line = capsys.readouterr().err
    assert "4 passed over: 2 videos, 1 .pdf, 1 other file" in line
    photo.unlink()
    assert main(["caption", str(photo.parent), *bundle]) == 2
    assert "holds no images; 4 passed over" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "rest"),
    [
        ("caption", ["--json", "-"]),
        pytest.param(
            "classify", ["--labels", "a dog,a cat", "--json", "-"], marks=pytest.mark.full
        ),
        pytest.param("ground", ["a dog", "--json", "-"], marks=pytest.mark.full),
        ("rank", ["A dog.", "A cat.", "--json", "-"]),
        pytest.param("explain", ["--json", "-", "-o", "page.html"], marks=pytest.mark.full),
    ],
)
def test_an_image_may_come_from_standard_input(
    command: str, rest: list[str], photo: Path, tiny_bundle_made: Path, tmp_path: Path
) -> None:
    common = [*rest, "--bundle", str(tiny_bundle_made)]
    run = [sys.executable, "-m", "edgecap", command]
    piped = subprocess.run(
        [*run, "-", *common], input=photo.read_bytes(), capture_output=True, cwd=tmp_path
    )
    assert piped.returncode == 0, piped.stderr
    named = subprocess.run([*run, str(photo), *common], capture_output=True, cwd=tmp_path)
    from_pipe, from_file = json.loads(piped.stdout), json.loads(named.stdout)
    for result in (from_pipe, from_file):
        row = result[0] if isinstance(result, list) else result
        assert row.pop("image") in ("-", str(photo))
    assert from_pipe == from_file


@pytest.mark.parametrize(
    ("given", "code", "hint"),
    [
        (["https://example.com/cat.jpg"], "image.url", "--urls"),
        (["no/*.png"], "image.missing", "no image fits"),
        (["-", "-"], "image.stdin", "one image"),
        (["absent.png"], "image.missing", "absent.png"),
    ],
)
def test_what_is_no_file_gets_a_helpful_line(
    given: list[str],
    code: str,
    hint: str,
    tiny_bundle_made: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["caption", *given, "--bundle", str(tiny_bundle_made)]) == 2
    line = capsys.readouterr().err
    assert f"[{code}]" in line and hint in line and line.count("\n") == 1


def test_frames_of_a_video_and_patterns(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = photo.parent / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(30):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    given = ["caption", str(clip), str(photo.parent / "*.png"), "--jsonl", "-"]
    assert main([*given, "--fps", "2", "--bundle", str(tiny_bundle_made)]) == 0
    rows = [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]
    assert rows == [*(f"{clip}#t={i / 2:g}" for i in range(6)), str(photo)]
    assert main([*given, "--draw", str(clip.with_suffix(".png"))]) == 2
    assert "[draw.several]" in capsys.readouterr().err
    assert main([*given, "--fps", "2", "--every", "3"]) == 2
    assert "[video.sampling]" in capsys.readouterr().err


def test_lines_of_json_come_one_by_one(
    photo: Path, tiny_bundle_made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "captions.jsonl"
    common = ["--bundle", str(tiny_bundle_made), "--max-length", "5"]
    images = [str(photo), str(tmp_path / "absent.png"), str(photo)]
    assert main(["caption", *images, *common, "--jsonl", str(lines)]) == 2
    assert capsys.readouterr().out.count(f"{photo}: ") == 2
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [row["image"] for row in rows] == images
    assert rows[1]["error"]["code"] == "image.missing"
    assert main(["caption", *images, *common, "--jsonl", "-"]) == 2
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows
    assert main(["caption", *images, *common, "--jsonl", "-", "--json", "-"]) == 2
    assert "[output.twice]" in capsys.readouterr().err


def test_a_cut_caption_is_marked(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["caption", str(photo), "--bundle", str(tiny_bundle_made), "--style", "plain"]
    assert main([*common, "--max-length", "3", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["complete"] is False
    assert main([*common, "--max-length", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(" [cut]")


def test_a_prompt_is_for_models_that_have_prompts(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["caption", str(photo), "--bundle", str(tiny_bundle_made)]
    assert main([*common, "--prompt", "caption"]) == 2
    assert "[caption.no_prompts]" in capsys.readouterr().err


def test_tags_of_phones_name_languages(
    photo: Path, tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["caption", str(photo), "--bundle", str(tiny_bundle_made), "--json", "-"]
    assert main([*common, "--lang", "pt-BR"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["lang"] == "pt"
    assert main([*common, "--lang", "zh-Hant"]) == 2
    assert "[language.unknown]" in capsys.readouterr().err
