"""One API for all bundles: `load(bundle).caption(["photo.png"])`. Needs NumPy and Pillow only.

The names are imported at their first use: an app that starts fast and captions later waits for
nothing here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgecap.core.errors import EdgecapError, InputError

if TYPE_CHECKING:
    from edgecap.runtime.captioner import Captioner
    from edgecap.runtime.captions import Attention, Caption, Mention
    from edgecap.runtime.loading import load
    from edgecap.runtime.preprocess import Letterbox
    from edgecap.runtime.sampling import Sampling
    from edgecap.runtime.words import WordMap

_PLACES = {
    "Attention": "captions",
    "Caption": "captions",
    "Captioner": "captioner",
    "Letterbox": "preprocess",
    "Mention": "captions",
    "Sampling": "sampling",
    "WordMap": "words",
    "load": "loading",
}

__all__ = [
    "Attention",
    "Caption",
    "Captioner",
    "EdgecapError",
    "InputError",
    "Letterbox",
    "Mention",
    "Sampling",
    "WordMap",
    "load",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        value = getattr(import_module(f"edgecap.runtime.{_PLACES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'edgecap.runtime' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
