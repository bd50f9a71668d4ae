"""The process of one target, from the side of the bench: start, requests, end."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from edgecap.core.errors import GateError

LIMIT_S = 1800.0  # timeout of one reply, so that a hanging target does not hang the bench


@dataclass(frozen=True)
class Target:
    """A target: the command of its worker, and what an app would ship."""

    name: str
    command: tuple[str, ...]
    size_bytes: int | None = None
    reference: bool = False  # PyTorch: the others are compared with it
    parity: Mapping[str, float] = field(default_factory=dict)  # shares, from its certificate
    environment: Mapping[str, str] = field(default_factory=dict)
    peer: bool = False  # another engine or runtime, not what edgecap ships


class Worker:
    """The process of one target. Communicates in lines of JSON; see `protocol`."""

    def __init__(self, target: Target, threads: int) -> None:
        self.target = target
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by close()
        # A start is that of an installed package, whose modules were compiled once.
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        began = time.perf_counter()
        with pinned(threads):
            self._process = subprocess.Popen(
                target.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**kept, "OMP_NUM_THREADS": str(threads), **target.environment},
            )
        try:
            self.about = self._reply("ready")
        except BaseException:
            self.close()
            raise
        # Over a network the connection would count: such a worker measures its own start.
        self.cold_start_ms = self.about.pop("cold_start_ms", (time.perf_counter() - began) * 1e3)

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


def chosen_cpus(threads: int) -> tuple[int, ...]:
    """The CPUs that targets are pinned to: the last of those allowed; none where unsupported.

    On boards with fast and slow cores the fast ones usually come last.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    allowed = sorted(os.sched_getaffinity(0))
    return tuple(allowed[-threads:]) if threads <= len(allowed) else ()


def pin(threads: int) -> None:
    """Pin this process to the chosen CPUs."""
    if cpus := chosen_cpus(threads):
        os.sched_setaffinity(0, cpus)


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """A process that is started in this context inherits the chosen CPUs."""
    cpus = chosen_cpus(threads)
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
