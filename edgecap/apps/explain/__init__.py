"""Explanation of captions: maps of each word over the image."""

from __future__ import annotations

from edgecap.apps.explain.layers import layers
from edgecap.apps.explain.maps import (
    KINDS,
    CaptionTrace,
    Maps,
    attention,
    find_word,
    per_word,
    trace_caption,
)
from edgecap.apps.explain.occlusion import occlusion

__all__ = [
    "KINDS",
    "Maps",
    "CaptionTrace",
    "attention",
    "find_word",
    "layers",
    "occlusion",
    "per_word",
    "trace_caption",
]
