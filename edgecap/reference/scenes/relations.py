"""Spatial relations of a scene: which a caption may state, and whether a stated one is true.

A caption states a relation only well away from its decision boundary, except the main relation of
grounded captions (`describe.main_relation`); a model's statement is scored at the boundary itself.
Both apply only to things whose name is unique in the scene.
"""

from __future__ import annotations

from itertools import permutations

from edgecap.reference.scenes.graph import RELATIONS, Box, Name, Relation, Scene, Thing

_DOMINANCE = 1.2  # the offset along the relation's axis against the one across it
_AREA_RATIO = 1.4  # of the biggest to the next, and of the smallest to the next
_ARITY = {"left": 1, "right": 1, "above": 1, "below": 1, "between": 2, "biggest": 0, "smallest": 0}
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


def relations(scene: Scene) -> list[Relation]:
    """All clear relations of the scene, in a fixed order."""
    named = [(thing.name, thing.box) for thing in unique(scene)]
    found: list[Relation] = []
    for (a, box_a), (b, box_b) in permutations(named, 2):
        for kind in ("left", "above"):
            if _clear(kind, box_a, box_b):
                found.append(Relation(kind, a, (b,)))
                found.append(Relation(_OPPOSITE[kind], b, (a,)))
    for (s, box_s), (a, box_a), (b, box_b) in permutations(named, 3):
        if _clearly_between(box_s, box_a, box_b):
            found.append(Relation("between", s, (a, b)))
    found += extremes(scene)
    return sorted(found, key=lambda r: (RELATIONS.index(r.kind), r.subject, r.objects))


def unique(scene: Scene) -> list[Thing]:
    """The things of a scene whose name no other thing has."""
    names = [thing.name for thing in scene.things]
    return [thing for thing in scene.things if names.count(thing.name) == 1]


def side(a: Box, b: Box) -> str:
    """On which side of b a lies, along the axis on which their centres are further apart."""
    dx, dy = _x(a) - _x(b), _y(a) - _y(b)
    if abs(dx) >= abs(dy):
        return "left" if dx < 0 else "right"
    return "above" if dy < 0 else "below"


def holds(scene: Scene, relation: Relation) -> bool:
    """Whether a stated relation is true; false where a name is absent or not unique.

    Names may be partial: `Name("circle")` is any circle and `Name("", "red")` anything red.
    """
    if len(relation.objects) != _ARITY.get(relation.kind, -1):
        return False
    boxes = []
    for name in (relation.subject, *relation.objects):
        matching = [thing.box for thing in scene.things if _matches(thing.name, name)]
        if len(matching) != 1:
            return False
        boxes.append(matching[0])
    if relation.kind in ("biggest", "smallest"):
        areas = [_area(thing.box) for thing in scene.things]
        own = _area(boxes[0])
        extreme = max(areas) if relation.kind == "biggest" else min(areas)
        return own == extreme and areas.count(extreme) == 1
    if len(set(boxes)) != len(boxes):
        return False
    if relation.kind == "between":
        s, a, b = boxes
        return any(min(c(a), c(b)) < c(s) < max(c(a), c(b)) for c in (_x, _y))
    ahead, behind = boxes if relation.kind in ("left", "above") else reversed(boxes)
    centre = _x if relation.kind in ("left", "right") else _y
    return centre(ahead) < centre(behind)


def _matches(name: Name, partial: Name) -> bool:
    return partial.noun in ("", name.noun) and partial.color in ("", name.color)


def _x(box: Box) -> float:
    return (box[0] + box[2]) / 2


def _y(box: Box) -> float:
    return (box[1] + box[3]) / 2


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _clear(kind: str, a: Box, b: Box) -> bool:
    """a is left of (above) b by more than half an object, and more so than above (left of) it."""
    dx, dy = _x(b) - _x(a), _y(b) - _y(a)
    if kind == "left":
        along, across, sides = dx, abs(dy), a[2] - a[0] + b[2] - b[0]
    else:
        along, across, sides = dy, abs(dx), a[3] - a[1] + b[3] - b[1]
    return along > sides / 4 and along > across * _DOMINANCE


def _clearly_between(s: Box, a: Box, b: Box) -> bool:
    """In the order a, s, b along one axis, with s's centre in the band that a and b span."""
    if _clear("left", a, b) and _clear("left", a, s) and _clear("left", s, b):
        return min(a[1], b[1]) < _y(s) < max(a[3], b[3])
    if _clear("above", a, b) and _clear("above", a, s) and _clear("above", s, b):
        return min(a[0], b[0]) < _x(s) < max(a[2], b[2])
    return False


def extremes(scene: Scene, ratio: float = _AREA_RATIO) -> list[Relation]:
    """Biggest and smallest things with unique names, by at least `ratio` of areas to the next."""
    if len(scene.things) < 2:
        return []
    names = [thing.name for thing in unique(scene)]
    ordered = sorted(scene.things, key=lambda thing: _area(thing.box))
    areas = [_area(thing.box) for thing in ordered]
    found = []
    if areas[-1] >= ratio * areas[-2] and ordered[-1].name in names:
        found.append(Relation("biggest", ordered[-1].name))
    if areas[1] >= ratio * areas[0] and ordered[0].name in names:
        found.append(Relation("smallest", ordered[0].name))
    return found
