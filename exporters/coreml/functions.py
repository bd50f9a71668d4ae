"""Functions of contract 2 as CoreML: one multifunction package for iOS 18 over shared weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.bundle.manifest import Function
from edgecap.core.formats import INT8_PRECISIONS, STATIC_PRECISIONS
from edgecap.exporters.contract import ready
from edgecap.exporters.coreml import convert
from edgecap.exporters.coreml.options import TARGETS
from edgecap.exporters.rounded import Rounded, uncalibrated
from edgecap.exporters.thresholds import WIDE_ELEMENTS
from edgecap.models.adapter import Adapter

if TYPE_CHECKING:
    from torch import nn


def export(
    adapter: Adapter, directory: Path, precision: str, rounded: Rounded | None = None
) -> dict[str, Function]:
    """Write every function of `adapter` as one ML program package; returns where each lies.

    Args:
        precision: fp32; fp16, weights and arithmetic; w8, int8 weights by row over float16;
            w8a8 and mixed, activations too on the grids of the plan of `rounded`.
        rounded: needed by w8a8 and mixed; None: as `uncalibrated`.
    """
    rounded = rounded or uncalibrated(adapter)
    taken, static = rounded.functions, precision in STATIC_PRECISIONS
    if static:
        from edgecap.quant.qdq import insert_qdq

        taken = tuple(insert_qdq(rounded.subject, rounded.plan))
    functions = ready(taken, adapter.interface)
    int8 = precision in INT8_PRECISIONS
    wide = convert.Wide(_wide(rounded), WIDE_ELEMENTS) if int8 else None
    # What is written is compared with PyTorch later; grids would hide what a converter changed.
    programs = convert.convert(functions, precision, TARGETS[-1], None, wide, verified=static)
    return convert.save(programs, functions, directory)


def _wide(rounded: Rounded) -> tuple[str, ...]:
    """Layers that the plan keeps, and tables that are too small to be layers."""
    model: nn.Module = rounded.subject.model
    layers = rounded.plan.layers
    owners = {id(info.parameter(model)) for info in rounded.subject.layers.values()}
    tables = [
        path
        for path, module in model.named_modules()
        if type(module).__name__ == "Embedding" and id(module.weight) not in owners
    ]
    return (*tables, *(name for name, layer in layers.items() if layer.kind == "fp32"))
