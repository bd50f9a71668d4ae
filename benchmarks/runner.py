"""Runs the rounds: one process per target, interleaved, and summarises their reports.

R rounds; times in milliseconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from edgecap.benchmarks.protocol import BATCH, TIMED, UNTIMED, BenchPlan
from edgecap.core.errors import GateError
from edgecap.core.progress import progress

LIMIT_S = 1800.0  # timeout of one reply, so that a hanging target does not hang the bench


@dataclass(frozen=True)
class Target:
    """A target: the command of its worker, and what an app would ship."""

    name: str
    command: tuple[str, ...]
    size_bytes: int | None = None
    reference: bool = False  # PyTorch: the others are compared with it
    parity: Mapping[str, float] = field(default_factory=dict)  # shares, from its certificate


@dataclass(frozen=True)
class Spread:
    """Milliseconds of one operation over all rounds."""

    p50: float
    p90: float
    samples: int


@dataclass
class Row:
    """The results of one target; `error` is the reason where they are missing."""

    name: str
    reference: bool = False
    size_mb: float | None = None
    cold_start_ms: float | None = None
    times: dict[str, Spread] = field(default_factory=dict)
    captions_per_s: float | None = None
    peak_rss_mb: float | None = None
    times_faster: dict[str, float] = field(default_factory=dict)  # than the reference
    accuracy: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, float] = field(default_factory=dict)  # next_token, captions
    about: dict[str, Any] = field(default_factory=dict)
    timed: bool = True  # False: the backend is an emulator; its times are not a device's
    error: str | None = None


class Worker:
    """The process of one target. Communicates in lines of JSON; see `protocol`."""

    def __init__(self, target: Target, threads: int) -> None:
        self.target = target
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by close()
        began = time.perf_counter()
        self._process = subprocess.Popen(
            target.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        try:
            self.about = self._reply("ready")
        except BaseException:
            self.close()
            raise
        self.cold_start_ms = (time.perf_counter() - began) * 1e3

    def send(self, request: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its result; GateError where the target fails."""
        assert self._process.stdin is not None
        line = json.dumps({"do": request, **arguments}).encode() + b"\n"
        with suppress(OSError):  # it has ended: the missing reply reports it
            self._process.stdin.write(line)
            self._process.stdin.flush()
        return self._reply("done")

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            with suppress(OSError):  # a broken pipe: it has ended already
                self._process.stdin.close()
        self._end()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _reply(self, expected: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        watchdog = threading.Timer(LIMIT_S, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        try:
            answer = json.loads(line)
        except ValueError:
            raise self._failure(f"ended without a reply: {self._last_line()}") from None
        if expected not in answer:
            raise self._failure(str(answer.get("error", answer)))
        return dict(answer[expected])

    def _failure(self, reason: str) -> GateError:
        return GateError("bench.target", f"{self.target.name}: {reason}")

    def _end(self) -> None:
        """Wait for the process a while, then kill it."""
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_line(self) -> str:
        self._end()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        nonempty = [line.strip() for line in lines if line.strip()]
        return nonempty[-1] if nonempty else f"exit status {self._process.returncode}"


def bench(targets: Sequence[Target], plan: BenchPlan) -> list[Row]:
    """Measure all targets under one plan. A target that fails gets a row with its error."""
    rows = {
        t.name: Row(t.name, t.reference, _mb(t.size_bytes), parity=dict(t.parity)) for t in targets
    }
    rounds: dict[str, list[dict[str, list[float]]]] = {t.name: [] for t in targets}
    with ExitStack() as stack:
        workers = _start(targets, plan, rows, stack)
        for number in progress(range(plan.rounds + 1), "rounds"):
            for worker in _timed(workers, rows):
                times = _try(worker, rows, "round", number=number, repeats=plan.repeats())
                if times and number > 0:  # round 0 warms up
                    rounds[worker.target.name].append(times)
        for worker in _timed(workers, rows):
            rows[worker.target.name].peak_rss_mb = _try(worker, rows, "memory").get("peak_rss_mb")
        for worker in progress(_alive(workers, rows), "accuracy"):
            arguments = {"scenes": plan.scenes, "languages": plan.languages}
            rows[worker.target.name].accuracy = _try(worker, rows, "accuracy", **arguments)
    for name, measured in rounds.items():
        if measured:
            _summarise(rows[name], measured)
    for reference in (row for row in rows.values() if row.reference):
        for row in (row for row in rows.values() if row.timed):
            row.times_faster = times_faster(rounds[reference.name], rounds[row.name])
    return list(rows.values())


def times_faster(
    reference: Sequence[dict[str, list[float]]], other: Sequence[dict[str, list[float]]]
) -> dict[str, float]:
    """Median over rounds of the reference's median time over the other's, per operation.

    Rounds of the same number ran right after each other, so both had the same machine load.
    """
    pairs = list(zip(reference, other, strict=False))
    return {
        key: median(median(theirs[key]) / median(own[key]) for theirs, own in pairs)
        for key in TIMED
        if pairs and key in pairs[0][0] and key in pairs[0][1]
    }


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


def _alive(workers: Sequence[Worker], rows: dict[str, Row]) -> list[Worker]:
    return [worker for worker in workers if not rows[worker.target.name].error]


def _timed(workers: Sequence[Worker], rows: dict[str, Row]) -> list[Worker]:
    return [worker for worker in _alive(workers, rows) if rows[worker.target.name].timed]


def _try(worker: Worker, rows: dict[str, Row], request: str, **arguments: Any) -> dict[str, Any]:
    """The reply, or an empty dict and the error in the target's row."""
    try:
        return worker.send(request, **arguments)
    except GateError as error:
        rows[worker.target.name].error = error.message
        return {}


def _summarise(row: Row, rounds: Sequence[dict[str, list[float]]]) -> None:
    for key in (key for key in TIMED if key in rounds[0]):
        samples = np.concatenate([times[key] for times in rounds])  # [samples]
        p50, p90 = np.percentile(samples, [50, 90])
        row.times[key] = Spread(float(p50), float(p90), len(samples))
    row.captions_per_s = BATCH * 1e3 / row.times["batch_ms"].p50


def _mb(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else size_bytes / 1e6
