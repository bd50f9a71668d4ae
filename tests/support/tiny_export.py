"""What to export in tests: ONNX of the tiny weights, judged on a few scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from edgecap.exporters.spec import ExportRequest
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel

SCENES = 4
TINY = CaptionerConfig(width=64, layers=2, heads=2, embedding=32)
SHALLOW = replace(TINY, layers=1)  # converted faster; for what no layer decides


def write_weights(path: Path, config: CaptionerConfig = TINY) -> Path:
    """Random weights. A strong token table makes the choice of words survive rounding."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CaptionModel(config)
    with torch.no_grad():
        model.token.weight.mul_(50)
        for name, parameter in model.named_parameters():
            # As after training: converters drop gains of 1 and biases of 0.
            if "norm" in name or name == "pool":
                parameter.add_(0.1 * torch.randn_like(parameter))
    weights.save(model, path, {"steps": 0})
    return path


def spec(tiny: Path, output: Path, **changes: object) -> ExportRequest:
    """A request for one bundle; `format` may name another than ONNX."""
    format_ = changes.pop("format", "onnx")
    values: dict = {"model": str(tiny), "formats": (format_,), "scenes": SCENES, "output": output}
    return ExportRequest(**(values | changes))
