"""What to export in tests: ONNX of the tiny weights, judged on a few scenes."""

from __future__ import annotations

from pathlib import Path

from edgecap.exporters.spec import ExportRequest

SCENES = 4


def spec(tiny: Path, output: Path, **changes: object) -> ExportRequest:
    """A request for one bundle; `format` may name another than ONNX."""
    format_ = changes.pop("format", "onnx")
    values: dict = {"model": str(tiny), "formats": (format_,), "scenes": SCENES, "output": output}
    return ExportRequest(**(values | changes))
