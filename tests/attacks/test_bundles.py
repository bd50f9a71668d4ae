"""Directories that no exporter makes: one line, the right exit code, nothing hangs or overflows."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgecap.bundle.io import finalize, open_bundle
from edgecap.cli.app import main
from edgecap.core.errors import BundleError


def test_a_name_is_no_markup(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = open_bundle(tiny_bundle).manifest
    model = replace(manifest.model, license="[bold")
    finalize(tiny_bundle, replace(manifest, name="[/]\x1b[31m", model=model))
    for command in ("verify", "inspect"):
        assert main([command, str(tiny_bundle)]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
    assert "[/]\N{REPLACEMENT CHARACTER}[31m" in out  # inspect shows it


@pytest.mark.parametrize("depth", [5, 1500])
def test_folders_without_end_are_refused(
    tiny_bundle: Path, depth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [tiny_bundle]
    for _ in range(depth):  # pathlib's own parents=True recurses
        made.append(made[-1] / "d")
        made[-1].mkdir()
    with pytest.raises(BundleError) as caught:
        open_bundle(tiny_bundle)
    assert caught.value.code == "bundle.path"
    assert "d/d/d/d/d is nested too deeply; at most 4 folders" in caught.value.message
    assert main(["verify", str(tiny_bundle)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("edgecap: [bundle.path]") and error.count("\n") == 1
    for folder in reversed(made[1:]):  # as shutil.rmtree does, with which pytest cleans up
        folder.rmdir()
