"""Exporters, one file per format, imported as `edgecap.exporters`. This file imports no tools."""

from __future__ import annotations

from dataclasses import dataclass

if __name__ != "edgecap.exporters":  # from the repository root it would be a second module
    raise ImportError(f"import edgecap.exporters instead of {__name__}")


@dataclass(frozen=True)
class Exporter:
    """Who writes a format."""

    module: str  # its export(model, spec, directory) writes the files and returns name -> Function
    tools: tuple[str, ...]  # packages whose versions the manifest records
    batch: int | None  # 1 where its graphs take one picture at a time, None where any number


EXPORTERS = {
    "onnx": Exporter("edgecap.exporters.to_onnx", ("torch", "onnx", "onnxscript"), None),
    "tflite": Exporter("edgecap.exporters.to_tflite", ("torch", "litert-torch"), 1),
    "coreml": Exporter("edgecap.exporters.to_coreml", ("torch", "coremltools"), 1),
}
