"""Captions in Node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from js_edgecap import MODULES, Caption, node
from PIL import Image


@pytest.fixture
def caption(tmp_path: Path) -> Caption:
    """Captions (image, options) pairs in Node; what caption.mjs prints."""

    def run(
        bundle: Path,
        asked: list[tuple[Image.Image, dict[str, Any]]],
        engine: str = "onnxruntime-node",
        texts: list[str] | None = None,
        load: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        requests = []
        for number, (image, options) in enumerate(asked):
            file = tmp_path / f"{number}.rgb"
            file.write_bytes(image.convert("RGB").tobytes())
            size = {"width": image.width, "height": image.height}
            requests.append({"file": str(file), **size, "options": options, "texts": texts})
        listed = tmp_path / "requests.json"
        listed.write_text(json.dumps({"load": load or {}, "asked": requests}))
        ran = node("caption.mjs", str(MODULES), engine, str(bundle), str(listed))
        assert ran.returncode == 0, ran.stderr
        answer: dict[str, Any] = json.loads(ran.stdout)
        return answer

    return run
