"""The page of examples/web in a real browser, as a person uses it, at two widths."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from js_edgecap import MODULES, REPO, node

WEB = REPO / "examples" / "web"


@pytest.fixture(scope="module")
def site(
    tiny_bundle_made: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The page with a tiny bundle, served; its address and its directory."""
    folder = tmp_path_factory.mktemp("web") / "site"
    modules = str(MODULES / "node_modules")
    built = subprocess.run(
        [sys.executable, str(WEB / "build.py"), "-o", str(folder), "--modules", modules]
        + [str(tiny_bundle_made)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    with subprocess.Popen(
        [sys.executable, str(WEB / "serve.py"), str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), folder
        server.terminate()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page(site: tuple[str, Path], tmp_path: Path, width: int) -> None:
    address, _ = site
    ran = node("page.mjs", str(MODULES), address, str(width), str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    assert "failure" not in seen, seen
    assert seen["errors"] == [], seen
    assert seen["isolated"] is True
    assert seen["overflow"] <= 0  # nothing to scroll to sideways
    assert seen["shift"] < 0.1  # "good" in web.dev's terms: what is read does not jump
    assert seen["lang"] == "de"
    assert seen["alt"] == "mine.png"
    assert "bad.png" in seen["refusal"]
    assert seen["heat"] == 1
    assert seen["contrast"] == []
    assert seen["unnamed"] == []
    assert seen["offline"] == seen["caption"]
    shots = {shot.name for shot in tmp_path.glob("*.png")}
    assert {f"{width}-{name}.png" for name in ("caption", "word", "mine", "search")} <= shots


def test_what_is_fetched_before_a_caption(site: tuple[str, Path]) -> None:
    """All but engine and bundle is small: the page itself is there at once."""
    _, folder = site
    listed = json.loads((folder / "content.json").read_text())["files"]
    own = [name for name in listed if not name.startswith(("vendor/", "models/", "samples/"))]
    assert sum((folder / name).stat().st_size for name in own) < 200_000
    assert all((folder / name).is_file() for name in listed)
