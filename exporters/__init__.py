"""Exporters: one file per format. Imported as `edgecap.exporters`; this file imports nothing."""

if __name__ != "edgecap.exporters":  # from the repository root it would be a second module
    raise ImportError(f"import edgecap.exporters instead of {__name__}")

# Format -> function(model, precision, directory) that writes it and returns function -> file.
EXPORTERS = {
    "onnx": "edgecap.exporters.to_onnx:export",
    "tflite": "edgecap.exporters.to_tflite:export",
}
