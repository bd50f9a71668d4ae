"""A plan that was searched for, and what travels with it: how it was found, as data and image."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.bundle.files import FRONT, SEARCH
from edgecap.core.errors import BundleError
from edgecap.core.scratch import scratch_dir
from edgecap.core.typed import dump, read_json
from edgecap.quant.plan import Plan, fingerprint_of

if TYPE_CHECKING:
    from edgecap.quant.search.search import Evaluator
    from edgecap.quant.search.sensitivity import CalibrationCaptions
    from edgecap.quant.subject import Subject

Say = Callable[[str], None]


@dataclass(frozen=True)
class Search:
    """How a plan was found; empty of one that was not searched for."""

    summary: dict[str, Any] = field(default_factory=dict)  # for the manifest, behind "search"
    files: dict[str, bytes] = field(default_factory=dict)  # SEARCH and FRONT

    def manifest_entry(self) -> dict[str, Any]:
        """What the summary of the plan is extended by."""
        return {"search": self.summary} if self.summary else {}

    def write(self, directory: Path) -> None:
        """The files, into a bundle."""
        for name, data in self.files.items():
            (directory / name).write_bytes(data)


def search_plan(
    subject: Subject,
    base: Plan,
    calibration_set: CalibrationCaptions,
    make_evaluator: Callable[[], Evaluator],
    max_drop: float,
    begun: float,
    say: Say,
) -> tuple[Plan, Search]:
    """The cheapest plan within `max_drop` points; arguments as of `quant.search.search.search`.

    `begun` is when calibration began, by time.monotonic. Raises as that function does.
    """
    from edgecap.quant.search.front import draw_front
    from edgecap.quant.search.search import search

    result = search(subject, base, calibration_set, make_evaluator, max_drop, say)
    result = replace(result, seconds=time.monotonic() - begun)
    for point in result.front:
        say(f"Pareto front: {point}")
    say(f"chosen: {result.chosen} ({result.seconds:.0f} s with calibration)")
    with scratch_dir("edgecap-search-") as scratch:
        draw_front(result, scratch / FRONT)
        files = {SEARCH: dump(result.to_json()), FRONT: (scratch / FRONT).read_bytes()}
    return result.chosen.plan, Search(result.summary(), files)


def search_beside(file: Path, plan: Plan) -> Search:
    """How the plan in `file` was found, from what lies beside it; empty where nothing is known."""
    record, image = file.parent / SEARCH, file.parent / FRONT
    if not (record.is_file() and image.is_file()):
        return Search()
    try:
        value = read_json(record, SEARCH)
        if value["plan"] != fingerprint_of(plan):
            return Search()
        drop = value["points"][value["chosen"]]["drop"]
        measure = value.get("measure", "exact scenes")  # which schema 1 did not say
        summary = {"max_drop": value["max_drop"], "measure": measure, **drop}
    except (BundleError, KeyError, IndexError, TypeError):
        return Search()  # somebody else's file of that name
    return Search(summary, {SEARCH: record.read_bytes(), FRONT: image.read_bytes()})
