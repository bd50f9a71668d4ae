"""What is in a model file, said without an engine: ONNX, TFLite and Core ML, also foreign ones.

Each format has a file of its own, `read(path) -> Contents`, that reads the structure and no weight.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from edgecap.inspection.contents import Contents

READERS = {".onnx": "onnx", ".tflite": "tflite", ".mlpackage": "mlpackage"}


def is_model(path: Path) -> bool:
    """Whether the name says that this is a model and not a bundle."""
    return path.suffix.lower() in READERS


def read_contents(path: Path) -> Contents:
    """The facts of a model file, or of a .mlpackage directory, named as READERS has it.

    Raises BundleError: bundle.missing, bundle.missing_file (weights beside the model),
    bundle.path (weights elsewhere), bundle.truncated, and bundle.model for what is not such a file.
    """
    reader = importlib.import_module(f"{__name__}.{READERS[path.suffix.lower()]}")
    contents: Contents = reader.read(path)
    return contents
