"""What to export in tests: ONNX of the tiny weights, judged on a few scenes."""

from __future__ import annotations

from pathlib import Path

from edgecap.exporters.spec import ExportSpec

SCENES = 4


def spec(tiny: Path, output: Path, **changes: object) -> ExportSpec:
    values: dict = {"model": str(tiny), "format": "onnx", "scenes": SCENES, "output": output}
    return ExportSpec(**(values | changes))
