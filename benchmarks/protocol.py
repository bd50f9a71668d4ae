"""How targets are measured, and the words in which a run and a target's process talk.

Each target runs in a process of its own that stays alive. Rounds are interleaved: round 1 of every
target, then round 2 of every target, …; only one process works at any moment, so a slow minute of
the machine falls on all of them. The first round warms up and is thrown away. Ratios are taken
round by round against PyTorch and their median is reported.

    cold_start_ms    from starting the process to its first caption in hand, median over starts;
                     a new process on a warm disk cache
    encode_image_ms  one image, uint8 pixels in memory, to cache and embedding
    decode_step_ms   one token, with `DECODE_POSITION` tokens before it
    caption_ms       one image from a file to its caption, greedy, location tokens included
    captions_per_s   `BATCH` images given in one call
    peak_rss_mb      most memory the process ever held (MiB), before the accuracy part
    size_mb          what an app ships: model, tokenizer and manifest, in 10^6 bytes
    parity           of the bundle's certificate, measured when it was exported: steps whose next
                     token PyTorch holds as good, and captions equal to PyTorch's to the last bin

A backend of `UNTIMED` computes what a device would and not as fast: its accuracy is measured, and
where the others have times and memory it has dashes.

One message is one line of JSON. A worker says `ready` once its first caption is made, then answers
each request with `done` or `error`; it ends when its input does.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgecap.core.formats import backends

UNTIMED = tuple(one.name for one in backends().values() if one.evaluator)
TIMED = ("encode_image_ms", "decode_step_ms", "caption_ms", "batch_ms")
DECODE_POSITION = 16
BATCH = 8


@dataclass(frozen=True)
class Plan:
    """How often everything is measured; `scenes` and `languages` are of the accuracy part."""

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
        """How often each of `TIMED` is done in a round."""
        counts = (self.encode_image, self.decode_step, self.caption, self.batch)
        return dict(zip(TIMED, counts, strict=True))


QUICK = Plan(rounds=3, starts=1, encode_image=3, decode_step=10, caption=2, scenes=24)
