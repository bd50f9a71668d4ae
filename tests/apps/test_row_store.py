"""Rows of many images in a file of JSON lines: runs that stop, fail, or meet each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_onnx import images

from edgecap.apps.row_store import done_lines, lines
from edgecap.cli.app import main
from edgecap.core.errors import InputError
from edgecap.core.lines import line_file


def rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_an_image_that_could_not_be_read_is_tried_again(
    tiny_bundle_made: Path, tmp_path: Path
) -> None:
    folder, out = images(tmp_path / "images", 3), tmp_path / "rows.jsonl"
    good = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(b"")  # as of a drive that went away
    command = ["caption", str(folder), "--bundle", str(tiny_bundle_made), "--resume"]
    command += ["--jsonl", str(out), "--max-length", "3"]
    for _ in range(2):
        assert main(command) == 2
        assert sorted("error" in row for row in rows(out)) == [False, False, True]
    (folder / "1.png").write_bytes(good)
    assert main(command) == 0
    assert sorted(str(row["image"]) for row in rows(out)) == [
        str(folder / f"{i}.png") for i in range(3)
    ]
    assert not any("error" in row for row in rows(out))


def test_a_broken_last_line_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_text('{"image": "a"}\n{"image": "b", "te')
    assert done_lines(out) == {"a"}
    assert out.read_text() == '{"image": "a"}\n'


def test_two_runs_do_not_write_one_file(
    tiny_bundle_made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = images(tmp_path / "images", 1), tmp_path / "rows.jsonl"
    command = ["caption", str(folder), "--bundle", str(tiny_bundle_made), "--jsonl", str(out)]
    with lines(out, resume=False) as write:
        write({"image": "first"})
        for options in ([], ["--resume"]):
            assert main([*command, *options]) == 2
            assert f"[output.busy] another run is writing {out}." in capsys.readouterr().err
        write({"image": "second"})
    assert [row["image"] for row in rows(out)] == ["first", "second"]
    assert main(command) == 0
    assert len(rows(out)) == 1


def test_a_full_disk_is_named() -> None:
    with (
        pytest.raises(InputError, match="/dev/full cannot be written: No space left") as caught,
        line_file(Path("/dev/full"), keep=False) as write,
    ):
        write("a line")
    assert caught.value.code == "output.unwritable"


def test_names_that_are_no_text_stay_readable(tmp_path: Path) -> None:
    with lines(tmp_path / "rows.jsonl", resume=False) as write:
        write({"image": "bad\udcff.png", "text": "犬"})
    assert rows(tmp_path / "rows.jsonl") == [{"image": "bad\udcff.png", "text": "犬"}]
    assert done_lines(tmp_path / "rows.jsonl") == {"bad\udcff.png"}
