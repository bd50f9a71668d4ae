"""Functions of contract 2 as ONNX. Only w8a8 and mixed need the model's weights loaded."""

from __future__ import annotations

from pathlib import Path

from edgecap.bundle.manifest import Function
from edgecap.core.errors import UnsupportedError
from edgecap.core.formats import STATIC_PRECISIONS
from edgecap.exporters.contract import ready
from edgecap.exporters.onnx import convert
from edgecap.exporters.onnx.parameters import Parameters
from edgecap.exporters.rounded import Rounded, uncalibrated
from edgecap.models.adapter import Adapter

PRECISIONS = ("fp32", "fp16", "w8", *STATIC_PRECISIONS)


def export(
    adapter: Adapter, directory: Path, precision: str, rounded: Rounded | None = None
) -> dict[str, Function]:
    """Write every function of `adapter` as ONNX into `directory`; returns where each lies.

    Args:
        adapter: of `registry.load`; built by `weightless.without_weights`, its parameters are
            read from the checkpoint's safetensors, else from memory.
        directory: of the bundle; gets one .onnx per function and one file of weights.
        precision: fp32; fp16, weights stored as float16; w8, weights stored as int8; w8a8 and
            mixed, layers in integers by the plan of `rounded`.
        rounded: needed by w8a8 and mixed; None: as `uncalibrated`.

    Raises:
        UnsupportedError: another precision, or weights that it cannot hold.
        InputError: the checkpoint lacks a parameter.
    """
    if precision not in PRECISIONS or (precision in STATIC_PRECISIONS and rounded is None):
        raise UnsupportedError(
            "export.combination",
            f"ONNX is written as {', '.join(PRECISIONS)}, the last two with a plan, "
            f"and {precision} was requested.",
        )
    rounded = rounded or uncalibrated(adapter)
    return convert.write(traced(adapter, rounded), precision, directory, rounded.plan)


def traced(adapter: Adapter, rounded: Rounded) -> convert.Traced:
    """The graphs of every function; what is written of them is compared with PyTorch later."""
    parameters = Parameters(rounded.subject.model, adapter.checkpoint)
    return convert.convert(ready(rounded.functions, adapter.interface), parameters, verified=False)
