"""Runs the rounds: one process per target, interleaved, and summarises their reports.

R rounds; times in milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from edgecap.benchmarks.energy import Meter
from edgecap.benchmarks.noise import Noise, noise
from edgecap.benchmarks.process import Target, Worker
from edgecap.benchmarks.protocol import (
    BATCH,
    LEAST_ROUNDS,
    TIMED,
    UNTIMED,
    BenchPlan,
    Round,
)
from edgecap.benchmarks.statistics import Interval, median_interval
from edgecap.core.errors import GateError
from edgecap.core.progress import progress


@dataclass(frozen=True)
class Spread:
    """Milliseconds of one operation over all rounds, wall time."""

    p50: float
    p90: float
    p99: float
    samples: int


@dataclass
class Row:
    """The results of one target; `error` is the reason where they are missing."""

    name: str
    reference: bool = False
    peer: bool = False
    size_mb: float | None = None
    cold_start_ms: float | None = None
    times: dict[str, Spread] = field(default_factory=dict)
    batches: dict[int, float] = field(default_factory=dict)  # images per call: captions/s
    captions_per_s: float | None = None  # of BATCH images in one call
    tokens_per_s: float | None = None
    peak_rss_mb: float | None = None
    steady_rss_mb: float | None = None
    energy_j: float | None = None  # per caption
    times_faster: dict[str, Interval] = field(default_factory=dict)  # than the first row
    same_captions: float | None = None
    accuracy: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, float] = field(default_factory=dict)  # next_token, captions
    about: dict[str, Any] = field(default_factory=dict)
    timed: bool = True  # False: the backend is an emulator; its times are not a device's
    error: str | None = None
    rounds: list[Round] = field(default_factory=list)

    def cpu_ms(self, key: str) -> float | None:
        """Median CPU time of an operation; None where not measured."""
        times = [ms for one in self.rounds if key in one for ms in one[key]["cpu"]]
        return median(times) if times else None


@dataclass(frozen=True)
class Measured:
    """All rows, and how quiet the machine was; `noise` is None where no round was run."""

    rows: list[Row]
    noise: Noise | None


def bench(targets: Sequence[Target], plan: BenchPlan) -> Measured:
    """Measure all targets under one plan. A target that fails gets a row with its error."""
    rows = {
        t.name: Row(t.name, t.reference, t.peer, _mb(t.size_bytes), parity=dict(t.parity))
        for t in targets
    }
    with ExitStack() as stack:
        workers = _start(targets, plan, rows, stack)
        for worker in _timed(workers, rows):
            rows[worker.target.name].about["warm_up_runs"] = _try(worker, rows, "warm").get("runs")
        for number in _numbers(plan):
            found = _round(_rotated(_timed(workers, rows), number), rows, plan)
            if number > 0:  # round 0 warms up
                for name, times in found.items():
                    rows[name].rounds.append(times)
        for worker in _timed(workers, rows):
            memory = _try(worker, rows, "memory")
            row = rows[worker.target.name]
            row.peak_rss_mb, row.steady_rss_mb = (
                memory.get(key) for key in ("peak_rss_mb", "steady_rss_mb")
            )
        _batches(workers, rows, plan)
        _same_captions(workers, rows)
        if plan.scenes:
            for worker in progress(_alive(workers, rows), "accuracy"):
                arguments = {"scenes": plan.scenes, "languages": plan.languages}
                rows[worker.target.name].accuracy = _try(worker, rows, "accuracy", **arguments)
    for row in rows.values():
        _summarise(row)
    timed = [row for row in rows.values() if row.timed and row.rounds]
    for row in timed:
        row.times_faster = times_faster(timed[0].rounds, row.rounds, plan.clock)
    return Measured(list(rows.values()), noise([row.rounds for row in timed]))


def times_faster(
    reference: Sequence[Round], other: Sequence[Round], clock: str = "cpu"
) -> dict[str, Interval]:
    """The reference's time over the other's, per operation: median over rounds, and its interval.

    Rounds of the same number ran right after each other, so both had the same machine load.
    """
    found = {}
    for key in TIMED:
        ratios = round_ratios(reference, other, key, clock)
        if ratios:
            found[key] = median_interval(ratios)
    return found


def round_ratios(
    reference: Sequence[Round], other: Sequence[Round], key: str, clock: str
) -> list[float]:
    """The reference's median time over the other's, of each round that has both."""
    return [
        median(theirs[key][clock]) / median(own[key][clock])
        for theirs, own in zip(reference, other, strict=False)
        if key in theirs and key in own and median(own[key][clock]) > 0
    ]


def _numbers(plan: BenchPlan) -> Iterator[int]:
    """Numbers of rounds, the discarded one first, for as many rounds or seconds as requested."""
    if plan.duration_s is None:
        yield from progress(range(plan.rounds + 1), "rounds")
        return
    end = time.monotonic() + plan.duration_s
    number = 0
    while number <= LEAST_ROUNDS or time.monotonic() < end:
        yield number
        number += 1


def _rotated(workers: Sequence[Worker], number: int) -> list[Worker]:
    """Another one first in every round: nobody always follows the same neighbour."""
    if not workers:
        return []
    start = number % len(workers)
    return [*workers[start:], *workers[:start]]


def _round(workers: Sequence[Worker], rows: dict[str, Row], plan: BenchPlan) -> dict[str, Round]:
    """One round of every target, operation by operation."""
    found: dict[str, Round] = {worker.target.name: {} for worker in workers}
    for key, repeats in plan.repeats().items():
        for worker in workers:
            name = worker.target.name
            if rows[name].error:
                continue
            found[name] |= _try(worker, rows, "round", repeats={key: repeats})
    return {name: times for name, times in found.items() if times and not rows[name].error}


def _start(
    targets: Sequence[Target], plan: BenchPlan, rows: dict[str, Row], stack: ExitStack
) -> list[Worker]:
    """Cold starts, interleaved too; the processes of the last start are kept for the rounds."""
    workers: list[Worker] = []
    starts: dict[str, list[float]] = {target.name: [] for target in targets}
    for attempt in progress(range(plan.starts), "cold starts"):
        for target in targets:
            if rows[target.name].error:
                continue
            try:
                worker = Worker(target, plan.threads)
            except GateError as error:
                rows[target.name].error = error.message
                continue
            starts[target.name].append(worker.cold_start_ms)
            if attempt < plan.starts - 1:
                worker.close()
                continue
            stack.callback(worker.close)
            workers.append(worker)
            row = rows[target.name]
            row.about = worker.about
            row.timed = worker.about.get("backend") not in UNTIMED
            row.cold_start_ms = median(starts[target.name]) if row.timed else None
    return workers


def _batches(workers: Sequence[Worker], rows: dict[str, Row], plan: BenchPlan) -> None:
    """The batch curve, interleaved too: captions/s on the plan's clock, median over its rounds."""
    times: dict[tuple[str, int], list[float]] = {}
    energy: dict[str, list[float]] = {}
    for _ in progress(range(plan.batch_rounds if plan.batches else 0), "batches"):
        for size in plan.batches:
            for worker in _timed(workers, rows):
                meter = Meter()
                took = _try(worker, rows, "batch", size=size).get(plan.clock)
                joules = meter.joules()
                if took:
                    times.setdefault((worker.target.name, size), []).append(took)
                if size == BATCH and joules is not None:
                    energy.setdefault(worker.target.name, []).append(joules / size)
    for (name, size), each in times.items():
        rows[name].batches[size] = size * 1e3 / median(each)
    for name, joules_each in energy.items():
        rows[name].energy_j = median(joules_each)
    for row in rows.values():
        row.captions_per_s = row.batches.get(BATCH)


def _same_captions(workers: Sequence[Worker], rows: dict[str, Row]) -> None:
    """How many captions of the benchmark's images equal the first target's."""
    first: list[str] | None = None
    for worker in _alive(workers, rows):
        answer = _try(worker, rows, "captions")
        if not answer:
            continue
        row = rows[worker.target.name]
        row.about["caption_tokens"] = answer["tokens"]
        first = answer["captions"] if first is None else first
        same = [a == b for a, b in zip(first, answer["captions"], strict=True)]
        row.same_captions = sum(same) / len(same)


def _alive(workers: Sequence[Worker], rows: dict[str, Row]) -> list[Worker]:
    return [worker for worker in workers if not rows[worker.target.name].error]


def _timed(workers: Sequence[Worker], rows: dict[str, Row]) -> list[Worker]:
    return [worker for worker in _alive(workers, rows) if rows[worker.target.name].timed]


def _try(worker: Worker, rows: dict[str, Row], request: str, **arguments: Any) -> dict[str, Any]:
    """The reply; where the target fails, nothing, and the reason in the target's row."""
    try:
        return worker.send(request, **arguments)
    except GateError as error:
        rows[worker.target.name].error = error.message
        return {}


def _summarise(row: Row) -> None:
    for key in TIMED:
        walls = [ms for one in row.rounds if key in one for ms in one[key]["wall"]]
        if walls:
            p50, p90, p99 = (float(p) for p in np.percentile(walls, [50, 90, 99]))
            row.times[key] = Spread(p50, p90, p99, len(walls))
    if "token_ms" in row.times:
        row.tokens_per_s = 1e3 / row.times["token_ms"].p50


def _mb(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else size_bytes / 1e6
