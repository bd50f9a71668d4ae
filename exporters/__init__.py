"""Exporters, one file per format, imported as `edgecap.exporters`. This file imports no tools."""

from __future__ import annotations

from dataclasses import dataclass

if __name__ != "edgecap.exporters":  # from the repository root it would be a second module
    raise ImportError(f"import edgecap.exporters instead of {__name__}")


@dataclass(frozen=True)
class Exporter:
    """Who writes a format."""

    module: str  # its export(model, spec, directory, plan) writes the files: name -> Function
    needs: tuple[str, ...]  # modules that it imports; a missing one is told before work starts
    engine: str | None  # what the gate runs its files with, where `needs` does not bring that
    tools: tuple[str, ...]  # packages whose versions the manifest records
    batch: int | None  # 1 where its graphs take one image at a time, None where any number


EXPORTERS = {
    "onnx": Exporter(
        module="edgecap.exporters.onnx.convert",
        needs=("torch", "onnx", "onnxscript"),
        engine="onnxruntime",
        tools=("torch", "onnx", "onnxscript"),
        batch=None,
    ),
    "tflite": Exporter(
        module="edgecap.exporters.tflite.convert",
        needs=("torch", "ai_edge_litert.interpreter", "litert_torch"),
        engine=None,
        tools=("torch", "litert-torch"),
        batch=1,
    ),
    "coreml": Exporter(
        module="edgecap.exporters.coreml.convert",
        needs=("torch", "coremltools"),
        engine=None,  # the evaluator is our own
        tools=("torch", "coremltools"),
        batch=1,
    ),
}
