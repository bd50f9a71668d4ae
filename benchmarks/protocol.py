"""How targets are measured, and the messages between the bench and a target's process.

Each target runs in its own process, which stays alive. Rounds are interleaved: round 1 of every
target, then round 2 of every target, …; only one process works at any moment, so a slow phase of
the machine affects all of them. The first round is a warm-up and is discarded. Ratios to PyTorch
are computed per round, and their median is reported.

    cold_start_ms    from process start to the first caption, median over starts;
                     a new process on a warm disk cache
    encode_image_ms  one image, uint8 pixels in memory, to cache and embedding
    decode_step_ms   one token, with `DECODE_POSITION` tokens before it
    caption_ms       one image from a file to its caption, greedy, location tokens included
    captions_per_s   `BATCH` images in one call
    peak_rss_mb      peak memory of the process (MiB), before the accuracy part
    size_mb          what an app ships: model, tokenizer and manifest, in 10^6 bytes
    parity           from the bundle's certificate, measured at export: steps whose next token is
                     PyTorch's (or tied with it), and captions equal to PyTorch's in every token

A backend of `UNTIMED` emulates a device more slowly: its accuracy is measured, and its times and
memory are shown as dashes.

One message is one line of JSON. A worker says `ready` once its first caption is made, then answers
each request with `done` or `error`; it exits at the end of its input.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgecap.core.formats import backends

UNTIMED = tuple(one.name for one in backends().values() if one.evaluator)
TIMED = ("encode_image_ms", "decode_step_ms", "caption_ms", "batch_ms")
DECODE_POSITION = 16
BATCH = 8


@dataclass(frozen=True)
class BenchPlan:
    """How often everything is measured; `scenes` and `languages` are for the accuracy part."""

    rounds: int = 8
    starts: int = 3
    encode_image: int = 5  # per round
    decode_step: int = 20
    caption: int = 3
    batch: int = 1
    scenes: int = 64
    languages: tuple[str, ...] = ("en",)
    threads: int = 1

    def repeats(self) -> dict[str, int]:
        """How often each of `TIMED` is run per round."""
        counts = (self.encode_image, self.decode_step, self.caption, self.batch)
        return dict(zip(TIMED, counts, strict=True))


QUICK = BenchPlan(rounds=3, starts=1, encode_image=3, decode_step=10, caption=2, scenes=24)
