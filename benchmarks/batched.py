"""Batches against single pictures: `python -m edgecap.benchmarks.batched [BUNDLE|WEIGHTS]`.

Shipped scenes are captioned one call each and by `caption_many` at several batch sizes, in turns: a
slow minute of the machine falls on all. The first round warms up and is thrown away. A size's ratio
is the time of the single calls over its own, round by round, of which the median is given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgecap.benchmarks.machine import machine
from edgecap.core.command import check_numbers, guarded
from edgecap.runtime import Captioner, load
from edgecap.scenes.shipped import load_set


def measure(
    captioner: Captioner,
    pictures: Sequence[np.ndarray],
    sizes: Sequence[int],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, Any]]:
    """A row per size: pictures/s, and the ratio to single calls; the first row is those."""
    seconds: dict[int, list[float]] = {size: [] for size in (0, *sizes)}  # 0: single calls
    for lap in range(rounds + 1):
        for size, taken in seconds.items():
            begun = clock()
            if size:
                list(captioner.caption_many(pictures, batch=size))
            else:
                for picture in pictures:
                    captioner.caption(picture)
            if lap:
                taken.append(clock() - begun)
    rows = []
    for size, taken in seconds.items():
        ratios = [alone / own for alone, own in zip(seconds[0], taken, strict=True)]
        rows.append(
            {
                "batch": size or "single",
                "pictures_per_s": len(pictures) / statistics.median(taken),
                "ratio": statistics.median(ratios),
                "ratio_least": min(ratios),
                "ratio_most": max(ratios),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captioner", nargs="?", default="S")
    parser.add_argument("--n", type=int, default=32, help="pictures a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8, 16, 32])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", choices=["-"], help="print JSON instead of a table")
    given = parser.parse_args(arguments)
    return guarded("batched", lambda: _run(given))


def _run(given: argparse.Namespace) -> None:
    check_numbers(given, "batched", n=1, rounds=1, sizes=1)
    captioner = load(given.captioner, threads=given.threads, device=given.device)
    pictures = [image for image, _ in load_set("evaluation", given.n)]
    rows = measure(captioner, pictures, given.sizes, given.rounds)
    about = {"backend": captioner.backend, "threads": given.threads, "pictures": len(pictures)}
    if given.json:
        print(json.dumps({**about, "rows": rows, "machine": machine()}, indent=1))
        return
    print(f"{captioner.manifest.name}, {given.threads} threads, {len(pictures)} pictures a round")
    for row in rows:
        print(
            f"{row['batch']:>6}: {row['pictures_per_s']:.1f} pictures/s, {row['ratio']:.2f} times "
            f"single calls ({row['ratio_least']:.2f} to {row['ratio_most']:.2f})"
        )


if __name__ == "__main__":
    sys.exit(main())
