"""The page of examples/web in a real browser, as a person uses it, at two widths."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from built_page import build, in_browser, served
from calibrated import calibrated
from js_edgecap import MODULES, REPO, node
from PIL import Image

from edgecap.bundle.confidence_spec import Calibration, CaptionWeights, RegionWeights


@pytest.fixture(scope="module")
def site(
    tiny_bundle_made: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The page with a tiny bundle that is always sure and one that never is; address, directory."""
    folder = tmp_path_factory.mktemp("web")
    bundles = []
    for name, bias in (("sure", 4.0), ("unsure", -1.0)):
        bundles.append(Path(shutil.copytree(tiny_bundle_made, folder / name)))
        weights, regions = CaptionWeights(bias, 0.0, 0.0, 0.5), RegionWeights(1.0, 0.0, 0.0)
        fits = {"grounded": weights}, {"grounded": regions}
        told = Calibration(1, "it is right", "made", None, *fits)
        calibrated(bundles[-1], told)
    page = build(folder / "site", bundles)
    with served(page) as address:
        yield address, page


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
    assert seen["sure"] == "98 % sure that this is right"
    assert seen["declined"] == {
        "caption": "I am not sure enough to say what this image shows.",
        "confidence": "26 % sure, which is too little to show a caption. Try another image.",
        "boxes": 0,
        "words": 0,
    }
    assert seen["contrast"] == []
    assert seen["unnamed"] == []
    assert seen["offline"] == seen["caption"]
    shots = {shot.name for shot in tmp_path.glob("*.png")}
    assert {
        f"{width}-{name}.png" for name in ("caption", "word", "mine", "search", "declined")
    } <= shots


def test_what_is_fetched_before_a_caption(site: tuple[str, Path]) -> None:
    """All but engine and bundle is small: the page itself is there at once."""
    _, folder = site
    listed = json.loads((folder / "content.json").read_text())["files"]
    own = [name for name in listed if not name.startswith(("vendor/", "models/", "samples/"))]
    assert sum((folder / name).stat().st_size for name in own) < 200_000
    assert all((folder / name).is_file() for name in listed)


def test_pixels_in_the_browser_are_those_of_pillow(site: tuple[str, Path]) -> None:
    address, folder = site
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)  # [h,w,3]
    made = {
        "rgb.png": Image.fromarray(noise),
        "grey.png": Image.fromarray(noise[..., 0]),
        "palette.png": Image.fromarray(noise).quantize(16),
        "photo.jpg": Image.fromarray(noise).resize((640, 480)),
        "figure.png": Image.open(REPO / "examples" / "captioned.png"),
    }
    for name, image in made.items():
        image.save(folder / name)
    seen = in_browser(address, [*made])["pixels"]
    for name in made:
        with Image.open(folder / name) as image:
            assert seen[name]["crc32"] == crc32(np.asarray(image.convert("RGBA"))), name
