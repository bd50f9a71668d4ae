"""Forgetting by fine-tuning: exact captions of the gate's scenes, before and after.

K languages   N scenes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.reference.scenes.exact import is_exact
from edgecap.reference.scenes.grammar import GRAMMAR_LANGUAGES
from edgecap.reference.scenes.parse import parse
from edgecap.reference.scenes.resampling import draw_weights, interval
from edgecap.reference.scenes.shipped import SETS, load_set
from edgecap.runtime.captioner import Captioner


def check_number(n: int) -> None:
    """InputError for more scenes than the gate's set has."""
    available = SETS["gate"][1]
    if n > available:
        raise InputError("check.scenes", f"cannot check {n} scenes; the set has {available}.")


def exact(captioner: Captioner, languages: Sequence[str], n: int) -> np.ndarray:
    """Bool [K,N]: which of the first n scenes of the gate's set have exact captions, by language.

    Raises InputError for more than the set has.
    """
    check_number(n)
    scenes = load_set("gate", n)
    images = [pixels for pixels, _ in scenes]
    rows = []
    for lang in progress(languages, "checking languages"):
        generated = captioner.caption(images, lang=lang)
        pairs = zip(scenes, generated, strict=True)
        rows.append([is_exact(scene, parse(one.raw, lang)) for (_, scene), one in pairs])
    return np.array(rows, bool).reshape(len(languages), n)


@dataclass(frozen=True)
class Forgetting:
    """Exact captions before and after, in the known languages with a grammar."""

    languages: tuple[str, ...]  # K
    before: np.ndarray  # bool [K,N]
    after: np.ndarray  # bool [K,N]

    @property
    def drop(self) -> float:
        """Drop of the mean over languages, percentage points."""
        # From counts, not means: rounding must not push a drop at the limit above it.
        lost = int(self.before.sum()) - int(self.after.sum())
        return 100 * lost / self.before.size

    @property
    def drop_interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the drop, over scenes."""
        fell = 100 * (self.before.mean(0) - self.after.mean(0, dtype=np.float64))  # [N]
        bounds = interval(draw_weights(len(fell)) @ fell / len(fell))
        assert bounds is not None  # every scene is measured
        return bounds

    def to_json(self) -> dict[str, Any]:
        """JSON values; shares, and percentage points for the drop."""
        rows = zip(self.languages, self.before, self.after, strict=True)
        return {
            "scenes": self.before.shape[1],
            "languages": {
                lang: {"before": float(old.mean()), "after": float(new.mean())}
                for lang, old, new in rows
            },
            "drop_points": self.drop,
            "drop_interval_95": list(self.drop_interval),
        }


def measurable(languages: Sequence[str]) -> tuple[str, ...]:
    """Those of `languages` with a grammar."""
    return tuple(language for language in languages if language in GRAMMAR_LANGUAGES)
