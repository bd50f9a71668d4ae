"""Describes the contents of any ONNX, TFLite or CoreML model file without an inference engine.

Each format has its own module with `read(path) -> Contents`, which reads the structure only, no
weights.
"""

from __future__ import annotations

from pathlib import Path

from edgecap.core.formats import FORMATS, load_object
from edgecap.inspection.contents import Contents


def readers() -> dict[str, str]:
    """Suffix of a model file -> its reader ("module:function"), from edgecap.core.formats."""
    return {row.suffix: row.inspector for row in FORMATS.values() if row.inspector is not None}


def is_model(path: Path) -> bool:
    """Whether a path has the suffix of a model file (and so is not a bundle)."""
    return path.suffix.lower() in readers()


def read_contents(path: Path) -> Contents:
    """Describe a model file or .mlpackage directory whose suffix is one of `readers`.

    Raises BundleError: bundle.missing, bundle.missing_file (external weights), bundle.path
    (weights outside the directory), bundle.truncated, and bundle.model for an invalid file.
    """
    contents: Contents = load_object(readers()[path.suffix.lower()])(path)
    return contents
