"""Functions of contract 2 as TFLite: one file, a signature per function over shared weights.

Batch 1, a phone's batch.
"""

from __future__ import annotations

from pathlib import Path

from edgecap.bundle.manifest import Function
from edgecap.core.formats import INT8_PRECISIONS, STATIC_PRECISIONS
from edgecap.exporters.contract import ready
from edgecap.exporters.rounded import Rounded, uncalibrated
from edgecap.exporters.tflite import convert
from edgecap.exporters.treatment import PlanLookup
from edgecap.models.adapter import Adapter


def export(
    adapter: Adapter, directory: Path, precision: str, rounded: Rounded | None = None
) -> dict[str, Function]:
    """Write every function of `adapter` as TFLite into `directory`; returns where each lies.

    Args:
        precision: fp32; fp16, weights stored as float16; w8, int8 weights by row; w8a8 and mixed,
            layers in integers by the plan of `rounded`.
        rounded: needed by w8a8 and mixed; None: as `uncalibrated`.
    """
    rounded = rounded or uncalibrated(adapter)
    # What is written is compared with PyTorch later; grids would hide what a converter changed.
    data = convert.convert(
        ready(rounded.functions, adapter.interface), verified=precision in STATIC_PRECISIONS
    )
    int8 = precision in INT8_PRECISIONS
    treat = PlanLookup(rounded.plan, rounded.subject, unknown="w8") if int8 else None
    return convert.write(data, precision, directory, treat)
