"""Metrics of captions against the scenes that they describe.

N scenes. Every key is a ratio of two sums over scenes, so it carries a bootstrap interval over
scenes. A thing is one object of the scene; its name includes its colour ("red circle").

    n            scenes
    exact        scenes whose multiset of names is exactly the caption's, with every phrase
                 understood; share
    name         true things that are named, matched one to one; share
    grounding_50 true things that are named and whose box has IoU >= 0.5; a wrong name is a miss
    grounding_75 the same with IoU >= 0.75
    miou_named   mean IoU of the named things; a named thing without a box counts 0
    relation     among scenes that have a clear relation, captions that state one that holds; none
                 stated or none understood counts as wrong
    count        scenes whose number of things in the caption is the true one; a phrase that is not
                 understood counts as one; share
    withheld     things of the combinations that the training withheld that are named; share
    chair_i      things in the caption that are not in the scene or not understood, of all things in
                 the caption (lower is better)
    malformed    malformed boxes in all captions; a count, not a share

`similarity` has the keys that compare embeddings, `evaluate` joins both and adds floors.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.core.boxes import iou
from edgecap.reference.scenes.exact import is_exact
from edgecap.reference.scenes.graph import Box, Name, Scene
from edgecap.reference.scenes.parse import Parsed, parse
from edgecap.reference.scenes.relations import holds, relations
from edgecap.reference.scenes.withheld import taking_part

# A degenerate caption may list more boxes than any scene has things; the rest is not matched.
MOST_BOXES = 32

Numbers = np.ndarray  # float64 [N]


@dataclass(frozen=True)
class SceneScore:
    """One caption against one scene; counts of things, and truths."""

    exact: bool
    things: int  # in the scene
    mentioned: int  # in the caption, understood or not
    named: int  # true things that are named, one to one
    withheld: int  # things of combinations that the training withheld
    withheld_named: int
    ious: tuple[float, ...]  # of the named things that got a box
    relation: bool | None  # None: the scene has no clear relation
    malformed: int


@dataclass(frozen=True)
class Ratio:
    """A metric as sums over scenes: float64 [N] over float64 [N]."""

    over: Numbers
    under: Numbers

    def value(self) -> float | None:
        """The metric, or None where nothing was measured."""
        total = float(self.under.sum())
        return float(self.over.sum()) / total if total else None

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The metric of each resample; `weights` [R,N] holds how often each scene was drawn.

        Returns float64 [R], nan where nothing was measured.
        """
        under = weights @ self.under  # [R]
        over = weights @ self.over  # [R]
        return np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0)


Tally = dict[str, Ratio]


def score_scene(scene: Scene, parsed: Parsed) -> SceneScore:
    """Score a parsed caption against its scene. Boxes are in px of the scene."""
    true: dict[Name, list[Box]] = defaultdict(list)
    for thing in scene.things:
        true[thing.name].append(thing.box)
    counts: Counter[Name] = Counter()
    boxes: dict[Name, list[Box]] = defaultdict(list)
    for mention in parsed.statement.mentions:
        counts[mention.name] += mention.count
        boxes[mention.name] += mention.boxes
    # At most one box per listed thing: extra boxes must not gain hits.
    ious = [
        overlap
        for name, true_boxes in true.items()
        for overlap in match(true_boxes, boxes[name][: min(counts[name], MOST_BOXES)])
    ]
    withheld = Counter(thing.name for thing in taking_part(scene.things))
    stated = parsed.statement.relation
    return SceneScore(
        exact=is_exact(scene, parsed),
        things=len(scene.things),
        mentioned=counts.total() + parsed.unknown_things,
        named=sum(min(len(true_boxes), counts[name]) for name, true_boxes in true.items()),
        withheld=withheld.total(),
        withheld_named=(withheld & counts).total(),
        ious=tuple(ious),
        relation=(stated is not None and holds(scene, stated)) if relations(scene) else None,
        malformed=parsed.malformed_boxes,
    )


def match(true: Sequence[Box], predicted: Sequence[Box]) -> list[float]:
    """IoUs of the one-to-one matching with the largest sum, of min(len) pairs.

    Exact, by dynamic programming over the subsets of `true` (at most seven things).
    """
    best: dict[int, tuple[float, tuple[float, ...]]] = {0: (0.0, ())}
    for box in predicted:
        overlaps = [iou(box, target) for target in true]
        grown = dict(best)
        for taken, (total, pairs) in best.items():
            for i, overlap in enumerate(overlaps):
                subset = taken | 1 << i
                if subset == taken:
                    continue
                if subset not in grown or total + overlap > grown[subset][0]:
                    grown[subset] = (total + overlap, (*pairs, overlap))
        best = grown
    size = min(len(true), len(predicted))
    return list(max(entry for entry in best.values() if len(entry[1]) == size)[1])


def tally(scores: Sequence[SceneScore]) -> Tally:
    """The sums of the captions-only keys, per scene."""

    def column(values: Iterable[float]) -> Numbers:
        return np.fromiter(values, np.float64, len(scores))  # [N]

    ones = np.ones(len(scores))  # [N]
    things = column(s.things for s in scores)  # [N]
    named = column(s.named for s in scores)  # [N]
    mentioned = column(s.mentioned for s in scores)  # [N]
    true_mentions = named  # a listed thing is in the scene exactly if it is matched by name
    return {
        "exact": Ratio(column(s.exact for s in scores), ones),
        "name": Ratio(named, things),
        "grounding_50": Ratio(column(sum(o >= 0.5 for o in s.ious) for s in scores), things),
        "grounding_75": Ratio(column(sum(o >= 0.75 for o in s.ious) for s in scores), things),
        "miou_named": Ratio(column(sum(s.ious) for s in scores), named),
        "relation": Ratio(
            column(s.relation is True for s in scores),
            column(s.relation is not None for s in scores),
        ),
        "count": Ratio(column(s.mentioned == s.things for s in scores), ones),
        "withheld": Ratio(
            column(s.withheld_named for s in scores), column(s.withheld for s in scores)
        ),
        "chair_i": Ratio(mentioned - true_mentions, mentioned),
    }


def score_captions(pairs: Sequence[tuple[Scene, str]], lang: str) -> dict[str, float | int | None]:
    """The captions-only keys for raw captions (with their location tokens) in one language.

    Keys: n, exact, name, grounding_50, grounding_75, miou_named, relation, count, withheld,
    chair_i, malformed. A key is None where no scene can measure it.
    """
    scores = [score_scene(scene, parse(text, lang)) for scene, text in pairs]
    return {
        "n": len(scores),
        **{key: ratio.value() for key, ratio in tally(scores).items()},
        "malformed": sum(score.malformed for score in scores),
    }
