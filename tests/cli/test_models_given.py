"""What people give as MODEL: refused by name and kind where it cannot be exported, before torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgecap.cli.app import main


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A directory that looks like a checkpoint of a family that nobody knows."""
    folder = tmp_path / "blipp"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "blipp"}))
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "model.pt").write_bytes(b"")
    return folder


def refusal(capsys: pytest.CaptureFixture[str], model: object) -> str:
    assert main(["export", str(model)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_every_way_to_a_foreign_model_is_answered(
    foreign: Path,
    tiny_bundle_made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    assert "blipp" in refusal(capsys, foreign)
    line = refusal(capsys, foreign / "model.safetensors")
    assert "[model.file]" in line and f"edgecap export {foreign}" in line
    assert "[model.file]" in refusal(capsys, foreign / "config.json")
    assert "[model.pickle]" in refusal(capsys, foreign / "model.pt")
    (tmp_path / "empty").mkdir()
    assert "[model.config]" in refusal(capsys, tmp_path / "empty")
    assert "[export.bundle]" in refusal(capsys, tiny_bundle_made)
    line = refusal(capsys, "T")
    assert "[model.unknown]" in line and "directory" in line
    assert "[model.missing]" in refusal(capsys, "./no/such/model")
    assert "[hub.missing]" in refusal(capsys, "org/name")


def test_it_is_refused_before_torch_is_imported(foreign: Path) -> None:
    code = (
        "import sys; from edgecap.cli.app import main; code = main(sys.argv[1:]);"
        "sys.exit(code + 100 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, "export", str(foreign)], capture_output=True)
    assert done.returncode == 2
