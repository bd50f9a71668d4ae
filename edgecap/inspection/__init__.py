"""What is in a model file, said without an engine: ONNX, TFLite and Core ML, also foreign ones.

Each format has a file of its own, `read(path) -> Contents`, that reads the structure and no weight.
"""

from __future__ import annotations

from pathlib import Path

from edgecap.core.formats import FORMATS, load_object
from edgecap.inspection.contents import Contents


def readers() -> dict[str, str]:
    """Suffix of a model file -> who reads it, as the rows of edgecap.core.formats say."""
    return {row.suffix: row.inspector for row in FORMATS.values() if row.inspector is not None}


def is_model(path: Path) -> bool:
    """Whether the name says that this is a model and not a bundle."""
    return path.suffix.lower() in readers()


def read_contents(path: Path) -> Contents:
    """The facts of a model file, or of a .mlpackage directory, named with a suffix of `readers`.

    Raises BundleError: bundle.missing, bundle.missing_file (weights beside the model),
    bundle.path (weights elsewhere), bundle.truncated, and bundle.model for what is not such a file.
    """
    contents: Contents = load_object(readers()[path.suffix.lower()])(path)
    return contents
