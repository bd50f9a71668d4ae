"""Intervals and verdicts on numbers whose truth is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecap.benchmarks import baseline
from edgecap.benchmarks.baseline import changes, read, share
from edgecap.benchmarks.noise import noise
from edgecap.benchmarks.report import SCHEMA, ratio
from edgecap.benchmarks.statistics import (
    Interval,
    Verdict,
    median_interval,
    quotient_interval,
)
from edgecap.core.errors import InputError

RNG = np.random.default_rng(5)


def test_an_interval_holds_the_true_median_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1).lognormal(np.log(3), 0.2, (200, 25))
    intervals = [median_interval(list(values)) for values in draws]
    held = sum(one.low <= 3 <= one.high for one in intervals)
    assert 180 <= held <= 200
    assert median_interval(list(draws[0])) == intervals[0]  # the same on every call


def test_few_values_decide_nothing() -> None:
    assert median_interval([2.0, 2.0]).against(1) is Verdict.UNDECIDED
    assert quotient_interval([2.0, 2.0], [1.0] * 9).against(1) is Verdict.UNDECIDED
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


def test_a_verdict_needs_the_whole_interval() -> None:
    assert Interval(1.2, 1.1, 1.3).against(1) is Verdict.ABOVE
    assert Interval(1.2, 0.9, 1.3).against(1) is Verdict.UNDECIDED
    assert Interval(0.8, 0.7, 0.9).against(1) is Verdict.BELOW
    assert ratio(Interval(1.2, 0.9, 1.3)).endswith("undecided")
    assert ratio(Interval(1.2, 1.1, 1.3)) == "1.20 (1.10–1.30)"


def rounds(median: float, spread: float = 0.01, share_: float = 1.0) -> list[dict[str, Any]]:
    """Twenty rounds of a target, and of one that always takes ten times the median 1."""
    times = median * RNG.lognormal(0, spread, 20)
    return [
        {
            key: {"cpu": [float(t)], "wall": [float(t) / share_]}
            for key in ("encode_image_ms", "caption_ms")
        }
        for t in times
    ]


def report_of(
    caption: float, spread: float = 0.01, cpu: str = "a CPU", **more: Any
) -> dict[str, Any]:
    """A report as JSON: PyTorch, which takes 10 ms, and a bundle."""
    targets = [
        {"name": "PyTorch", "times": {"caption_ms": {}}, "rounds": rounds(10, spread)},
        {"name": "bundle", "times": {"caption_ms": {}}, "rounds": rounds(caption, spread), **more},
    ]
    return {
        "schema": SCHEMA, "machine": {"cpu": cpu}, "plan": {"clock": "cpu"}, "targets": targets,
    }  # fmt: skip


def verdicts(old: dict[str, Any], new: dict[str, Any], limit: float = 0.05) -> dict[str, Verdict]:
    return {one.figure: one.verdict for one in changes(old, new, limit)}


def test_a_slower_bundle_is_a_regression_and_a_slower_machine_is_none() -> None:
    assert verdicts(report_of(2), report_of(2))["caption_ms"] is Verdict.BELOW
    assert verdicts(report_of(2), report_of(2.4))["caption_ms"] is Verdict.ABOVE
    slowed = report_of(2)
    for target in slowed["targets"]:
        for one in target["rounds"]:
            for samples in one.values():
                samples["cpu"] = [3 * ms for ms in samples["cpu"]]
    slowed["machine"]["cpu"] = "another CPU"
    assert verdicts(report_of(2), slowed)["caption_ms"] is Verdict.BELOW


def test_noise_is_undecided_and_no_regression() -> None:
    assert verdicts(report_of(2, 0.6), report_of(2.2, 0.6))["caption_ms"] is Verdict.UNDECIDED


def test_sizes_and_captions_are_compared_as_they_are() -> None:
    old = report_of(2, size_mb=8.0, peak_rss_mb=100.0, same_captions=1.0)
    new = report_of(2, size_mb=8.3, peak_rss_mb=120.0, same_captions=0.75)
    found = verdicts(old, new)
    assert found["size_mb"] is Verdict.BELOW and found["peak_rss_mb"] is Verdict.ABOVE
    assert found["same_captions"] is Verdict.ABOVE
    worse = {one.figure: one.sentence() for one in changes(old, new, 0.05)}
    assert worse["peak_rss_mb"] == "bundle, peak_rss_mb: +20.0 %"


def test_times_of_two_machines_need_a_common_reference() -> None:
    old, new = report_of(2), report_of(2, cpu="another CPU")
    for one in (old, new):
        del one["targets"][0]
    with pytest.raises(InputError, match="a CPU and this is another CPU"):
        changes(old, new, 0.05)
    new["machine"]["cpu"] = "a CPU"
    assert verdicts(old, new)["caption_ms"] is Verdict.BELOW


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), ("0.05", 0.05), ("0%", 0.0)])
def test_a_limit_is_a_share(text: str, value: float) -> None:
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["five", "-5%", "%", "", "nan", "2000%"])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="5% or 0.05"):
        share(text)


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    with pytest.raises(InputError, match="cannot be read"):
        read(file)
    for text, words in (
        ("{", "cannot be read"),
        ("[]", "not a report"),
        ('{"schema": 1}', "found: 1"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=words):
            read(file)
    file.write_text(json.dumps(report_of(2)))
    with pytest.raises(InputError, match="it has: PyTorch, bundle"):
        baseline.check_comparable(read(file), ["other"], "a CPU")
    baseline.check_comparable(read(file), ["bundle"], "a CPU")
    baseline.check_comparable(read(file), ["PyTorch", "bundle"], "another CPU")
    with pytest.raises(InputError, match="another CPU, and no first target is common"):
        baseline.check_comparable(read(file), ["bundle"], "another CPU")


def test_a_machine_is_busy_where_targets_wait_or_their_times_spread() -> None:
    calm, waiting, uneven = (
        noise([rounds(3, 0.01)]),
        noise([rounds(3, 0.01, 0.5)]),
        noise([rounds(3, 0.5)]),
    )
    assert calm and waiting and uneven
    assert (calm.quiet, waiting.quiet, uneven.quiet) == (True, False, False)
    assert "do not compare" in waiting.sentence().lower() and "50%" in waiting.sentence()
    assert noise([]) is None
