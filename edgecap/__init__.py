"""edgecap: put an image captioner on phones, browsers and boards.

    import edgecap

    edgecap.export("S", format="tflite", int8=True, output="captioner")
    edgecap.verify("captioner")
    captioner = edgecap.load("captioner")
    print(captioner.caption("photo.jpg")[0].text)

These functions are those of `edgecap.api`, which is imported when the first of them is used: an
app that only runs bundles needs neither torch nor a converter.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgecap.core.errors import EdgecapError

if TYPE_CHECKING:
    from edgecap.api import bench, caption, export, load, verify

__version__ = "0.2.0"

# onnxruntime from 1.29 on reports its use and the names of models to its makers, unless this is set
# before it is imported. A value that is there stays: 0 lets it report.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_LAZY = ("bench", "caption", "export", "load", "verify")

__all__ = ["EdgecapError", "__version__", "bench", "caption", "export", "load", "verify"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(_api(), name)
    raise AttributeError(f"module 'edgecap' has no attribute {name!r}")


def _api() -> Any:
    """edgecap.api; where only the runtime is installed (edgecap-runtime), edgecap.runtime."""
    try:
        return import_module("edgecap.api")
    except ModuleNotFoundError as error:
        if error.name != "edgecap.api":
            raise
        return import_module("edgecap.runtime")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
