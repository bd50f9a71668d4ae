"""The strictest caption metric: the caption names exactly the things of the scene."""

from __future__ import annotations

from collections import Counter

from edgecap.reference.scenes.graph import Scene
from edgecap.reference.scenes.hard_negatives import names_of
from edgecap.reference.scenes.parse import Parsed


def is_exact(scene: Scene, parsed: Parsed) -> bool:
    """Whether the caption has the scene's names and counts, and every phrase was understood."""
    true = Counter(thing.name for thing in scene.things)
    return names_of(parsed.statement) == true and not parsed.unknown
