"""A bench held against an earlier one: what became slower, larger or less like PyTorch.

Where both runs measured the same first target, its ratio to each other target is compared: that
stays the same when the machine is slower today. Otherwise milliseconds are compared, which needs
the same CPU. A change counts only where its whole interval lies beyond the limit; where the
interval holds the limit, the verdict is "undecided".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from edgecap.benchmarks.report import SCHEMA
from edgecap.benchmarks.runner import round_ratios
from edgecap.benchmarks.statistics import Interval, Verdict, quotient_interval
from edgecap.core.errors import InputError

TIMES = ("encode_image_ms", "first_token_ms", "token_ms", "caption_ms")
# Beyond the limit in which direction: +1 where more is worse, -1 where less is.
VALUES = {"size_mb": 1, "peak_rss_mb": 1, "steady_rss_mb": 1, "same_captions": -1}


@dataclass(frozen=True)
class Change:
    """One figure of one target, now over then; above 1 is worse."""

    target: str
    figure: str
    worse: Interval
    verdict: Verdict  # ABOVE: a regression

    def sentence(self) -> str:
        """For a terminal."""
        percent = 100 * (self.worse.value - 1)
        shown = f"{self.target}, {self.figure}: {percent:+.1f} %"
        if self.worse.low != self.worse.high:
            low, high = (100 * (bound - 1) for bound in (self.worse.low, self.worse.high))
            shown += f" ({low:+.1f} to {high:+.1f} %)"
        return shown


def share(text: str) -> float:
    """ "5%" or "0.05" as 0.05; InputError for anything else."""
    number, percent = (text[:-1], True) if text.endswith("%") else (text, False)
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 10:
        raise InputError(
            "bench.max_regression",
            f"a limit of {text!r} cannot be used; allowed: a share such as 5% or 0.05.",
        )
    return value


def read(path: Path) -> dict[str, Any]:
    """An earlier report's JSON; InputError for a file that is none."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("bench.baseline", f"{path} cannot be read as a report: {error}.") from None
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        found = report.get("schema") if isinstance(report, dict) else None
        raise InputError(
            "bench.baseline",
            f"{path} is not a report of schema {SCHEMA} (found: {found}).",
            "Make one with: edgecap bench --json old.json",
        )
    return report


def check_comparable(old: Mapping[str, Any], names: Sequence[str], cpu: str) -> None:
    """InputError where no target of this bench is in the baseline, or times cannot be compared."""
    known = [target["name"] for target in old["targets"]]
    if not set(known) & set(names):
        raise InputError(
            "bench.baseline",
            f"the baseline has none of these targets; it has: {', '.join(known)}.",
            "Bench the same bundles, under the same names.",
        )
    first = next((target["name"] for target in old["targets"] if target["times"]), None)
    common_first = first == names[0] and min(len(names), len(known)) > 1
    if not common_first:
        _check_cpu(old, cpu)


def _check_cpu(old: Mapping[str, Any], cpu: str) -> None:
    if old["machine"]["cpu"] != cpu:
        raise InputError(
            "bench.baseline",
            f"the baseline is of {old['machine']['cpu']} and this is {cpu}, and no first target is "
            "common to both.",
            "Bench on the same machine, or with the same reference (--model).",
        )


def changes(old: Mapping[str, Any], new: Mapping[str, Any], limit: float) -> list[Change]:
    """Every figure that both reports have, target by target.

    Args:
        old, new: reports as JSON.
        limit: how much worse is allowed, 0.05 for 5 %.

    Raises:
        InputError where neither a common first target nor the same CPU makes times comparable.
    """
    before = {target["name"]: target for target in old["targets"]}
    after = {target["name"]: target for target in new["targets"]}
    common = [name for name in after if name in before]
    reference = _reference(old, new)
    if reference is None:
        _check_cpu(old, new["machine"]["cpu"])
    found = []
    for name in common:
        then, now = before[name], after[name]
        for key in TIMES:
            worse = _slower(then, now, key, reference, before, after, new["plan"]["clock"])
            if worse is not None and name != reference:
                found.append(Change(name, key, worse, worse.against(1 + limit)))
        for key, direction in VALUES.items():
            if then.get(key) and now.get(key):
                quotient = (now[key] / then[key]) ** direction
                worse = Interval(quotient, quotient, quotient)
                found.append(Change(name, key, worse, _decided(worse, limit)))
    return found


def _decided(worse: Interval, limit: float) -> Verdict:
    return Verdict.ABOVE if worse.value > 1 + limit else Verdict.BELOW


def _reference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The first target of both, where it is the same and there are others."""
    names = [
        next((t["name"] for t in report["targets"] if t["times"]), None) for report in (old, new)
    ]
    several = all(sum(bool(t["times"]) for t in report["targets"]) > 1 for report in (old, new))
    return names[0] if several and names[0] == names[1] else None


def _slower(
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    key: str,
    reference: str | None,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    clock: str,
) -> Interval | None:
    """How many times as long as then; None where not measured."""
    if reference is not None:
        was = round_ratios(before[reference]["rounds"], then["rounds"], key, clock)
        is_ = round_ratios(after[reference]["rounds"], now["rounds"], key, clock)
        return quotient_interval(was, is_) if was and is_ else None
    was = [median(one[key][clock]) for one in then["rounds"] if key in one]
    is_ = [median(one[key][clock]) for one in now["rounds"] if key in one]
    return quotient_interval(is_, was) if was and is_ else None
