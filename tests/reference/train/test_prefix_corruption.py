"""Lists with a slip differ from the truth in one thing or group and are written as lists are."""

from __future__ import annotations

from collections import Counter

import numpy as np

from edgecap.reference.scenes.describe import mentions
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Mention, Name, Statement
from edgecap.reference.scenes.parse import parse
from edgecap.reference.scenes.splits import drawing
from edgecap.reference.train.prefix_corruption import corrupt_prefix


def named(said: tuple[Mention, ...]) -> Counter[tuple[Name, object]]:
    return Counter((mention.name, box) for mention in said for box in mention.boxes)


def test_a_thing_is_missed_or_misnamed_or_a_group_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    kinds: Counter[str] = Counter()
    parts: set[int] = set()
    for index in range(400):
        true = mentions(drawing("val", index).scene)
        said = corrupt_prefix(true, rng)
        assert said != true and said
        assert all(mention.count == len(mention.boxes) for mention in said)
        assert [mention.boxes[0] for mention in said] == sorted(m.boxes[0] for m in said)
        lost, added = named(true) - named(said), named(said) - named(true)
        assert (lost.total(), added.total()) in ((1, 0), (1, 1), (0, 0))
        kind = "missed" if lost and not added else "misnamed" if added else "apart"
        kinds[kind] += 1
        if kind == "misnamed":
            assert [box for _, box in lost] == [box for _, box in added]
        if kind == "apart":
            assert len({mention.name for mention in said}) == len(true)
            parts.add(len(said) - len(true))
    assert parts >= {1, 2}  # in two, and one by one
    grouped = sum(
        any(one.count > 1 for one in mentions(drawing("val", i).scene)) for i in range(400)
    )
    assert 0.65 < kinds["apart"] / grouped < 0.95
    assert min(kinds.values()) > 40 and len(kinds) == 3


def test_a_slip_can_be_written_and_read() -> None:
    rng = np.random.default_rng(1)
    for index in range(60):
        said = corrupt_prefix(mentions(drawing("val", index).scene), rng)
        text = for_language("ja").render(Statement(said), 0, grounded=True)
        read = parse(text, "ja").statement.mentions
        assert [(m.name, m.count) for m in read] == [(m.name, m.count) for m in said]
