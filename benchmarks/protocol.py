"""How targets are measured, and the messages between the bench and a target's process.

Each target runs in its own process, which stays alive and is pinned to as many CPUs as it has
threads. A worker warms up until its captions take a stable time. Rounds are interleaved operation
by operation: one operation of A, B, C, then the next operation of A, B, C, and in the next round
in another order. Only one process works at any moment, so a slow phase of the machine affects all
targets alike. The first round is discarded.

Every sample has two times: wall time, and CPU time of the process. p50, p90 and p99 are of wall
time. Ratios are taken round by round against the first row, and their median is reported with a
bootstrap interval (95 %) over rounds. With one thread a ratio is of CPU time, because what other
programs took from the machine then counts for nobody; with more threads it is of wall time.

    cold_start_ms     from process start to the first caption; a new process on a warm disk cache,
                      its modules compiled by an earlier one
    encode_image_ms   one image, uint8 pixels in memory, to the state of the decoder
    decode_step_ms    one token, with `DECODE_POSITION` tokens before it, without choosing it
    first_token_ms    one image from an uncompressed file to its first token
    token_ms          each further token: (caption_ms - first_token_ms) / (tokens - 1)
    caption_ms        one image from an uncompressed file to its caption, greedy, location tokens
                      included
    caption_after_pause_ms   the same, `PAUSE_S` seconds after the last work
    batches           captions/s of 1, 2, 4, … images in one call, on the clock of ratios
    peak_rss_mb       peak memory of the process (MiB), before the accuracy part
    steady_rss_mb     its memory after the rounds (MiB)
    energy_j          energy of the processor package per caption, in calls of `BATCH` images, where
                      the system counts it (RAPL)
    size_mb           what an app ships: model, tokenizer and manifest, in 10^6 bytes
    parity            from the bundle's certificate, measured at export: steps whose next token is
                      PyTorch's (or tied with it), and captions equal to PyTorch's in every token
    same_captions     captions of the benchmark's images equal to the first row's, 0 to 1

A backend of `UNTIMED` emulates a device more slowly: its accuracy is measured, and its times and
memory are shown as dashes.

One message is one line of JSON. A worker sends `ready` once its first caption is made, then answers
each request with `done` or `error`; it exits at the end of its input:

    {"do": "warm"}                           {"runs": 6}
    {"do": "round", "repeats": {KEY: n}}     {KEY: {"wall": [ms…], "cpu": [ms…]}}
    {"do": "batch", "size": n}               {"wall": ms, "cpu": ms}
    {"do": "memory"}                         {"peak_rss_mb": MiB, "steady_rss_mb": MiB}
    {"do": "captions"}                       {"captions": [text…], "tokens": [number…]}
    {"do": "accuracy", "scenes": n, …}       the keys of `edgecap eval`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from edgecap.core.formats import backends

UNTIMED = tuple(one.name for one in backends().values() if one.evaluator)
# What a round asks for; a caption brings `first_token_ms` and `token_ms` along.
ASKED = ("encode_image_ms", "decode_step_ms", "caption_ms", "caption_after_pause_ms")
TIMED = (
    "encode_image_ms",
    "decode_step_ms",
    "first_token_ms",
    "token_ms",
    "caption_ms",
    "caption_after_pause_ms",
)
DECODE_POSITION = 16
BATCH = 8  # of `captions_per_s`
IMAGES = 8
PAUSE_S = 0.2
LEAST_ROUNDS = 3  # also where a duration is given

Samples: TypeAlias = Mapping[str, list[float]]  # "wall" and "cpu": milliseconds of each run
Round: TypeAlias = dict[str, Samples]  # by key of TIMED


@dataclass(frozen=True)
class BenchPlan:
    """How often everything is measured; `scenes` and `languages` are for the accuracy part.

    Attributes:
        duration_s: rounds go on for so long, whatever `rounds` is; None: `rounds` rounds.
        batches: images per call of the batch curve; none: no curve.
        scenes: 0 leaves the accuracy out.
    """

    rounds: int = 30
    starts: int = 3
    encode_image: int = 2  # per round
    decode_step: int = 6
    caption: int = 1
    pause: int = 1
    batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    batch_rounds: int = 3
    scenes: int = 64
    languages: tuple[str, ...] = ("en",)
    threads: int = 1
    duration_s: float | None = None

    def repeats(self) -> dict[str, int]:
        """How often each of `ASKED` is run per round."""
        counts = (self.encode_image, self.decode_step, self.caption, self.pause)
        return {key: count for key, count in zip(ASKED, counts, strict=True) if count}

    @property
    def clock(self) -> str:
        """What ratios are of: "cpu" or "wall"."""
        return "cpu" if self.threads == 1 else "wall"


QUICK = BenchPlan(rounds=12, starts=1, batches=(1, 4, 8), batch_rounds=1, scenes=24)
