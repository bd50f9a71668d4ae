"""One API for all bundles: `load(bundle).caption(["photo.png"])`. Needs NumPy and Pillow only."""

from __future__ import annotations

from edgecap.core.errors import EdgecapError, InputError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.captions import Attention, Caption, Mention
from edgecap.runtime.loading import load
from edgecap.runtime.preprocess import Letterbox
from edgecap.runtime.sampling import Sampling
from edgecap.runtime.words import WordMap

__all__ = [
    "Attention",
    "Caption",
    "Captioner",
    "EdgecapError",
    "InputError",
    "Mention",
    "Letterbox",
    "Sampling",
    "WordMap",
    "load",
]
