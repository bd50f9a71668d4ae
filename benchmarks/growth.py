"""How captions get slower as they, their number or the threads grow.

    python -m edgecap.benchmarks.growth BUNDLE --axis length
    python -m edgecap.benchmarks.growth BUNDLE --axis images
    python -m edgecap.benchmarks.growth BUNDLE --axis threads

Values take turns round by round, in one process (threads: one each). Model size is measured by
`python -m edgecap.benchmarks.true_size`, on checkpoints with random weights.

    length    CPU ms of a caption cut after so many tokens, one image
    images    CPU ms an image, of so many images in a call
    threads   wall ms of a caption
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from edgecap.benchmarks.machine import machine
from edgecap.benchmarks.targets import images
from edgecap.core.cores import usable_cores
from edgecap.core.errors import EdgecapError

LENGTHS = (1, 2, 4, 8, 16, 32, 48)
IMAGES = (1, 2, 4, 8, 16)
ROUNDS = 5


def growth(bundle: Path, axis: str, rounds: int = ROUNDS, most_threads: int = 0) -> dict[str, Any]:
    """Median milliseconds by value of the axis."""
    from edgecap.models.loading import load

    with images() as files:
        if axis == "threads":
            counts = range(1, (most_threads or usable_cores()) + 1)
            captioners = {count: load(bundle, threads=count) for count in counts}
            work = {n: _caption(one, files) for n, one in captioners.items()}
            clock = time.perf_counter
        else:
            captioner = load(bundle)
            request = {"lang": captioner.languages[0]} if captioner.languages else {}
            clock = time.process_time
            if axis == "length":
                longest = max(files, key=lambda f: len(captioner.caption([f], **request)[0].tokens))
                work = {n: _caption(captioner, [longest], max_length=n) for n in LENGTHS}
            else:
                work = {n: _call(captioner, files, n) for n in IMAGES}
        times: dict[int, list[float]] = {value: [] for value in work}
        for number in range(rounds + 1):
            for value, run in work.items():
                began = clock()
                run()
                if number:  # round 0 warms up
                    times[value].append((clock() - began) * 1e3)
    each = {value: median(ms) for value, ms in times.items()}
    if axis == "images":
        each = {value: ms / value for value, ms in each.items()}
    return {"axis": axis, "ms": each, "rounds": rounds, "machine": machine()}


def _caption(captioner: Any, files: Sequence[Path], **options: Any) -> Callable[[], object]:
    request = {"lang": captioner.languages[0]} if captioner.languages else {}
    return lambda: captioner.caption([files[0]], **request, **options)


def _call(captioner: Any, files: Sequence[Path], count: int) -> Callable[[], object]:
    request = {"lang": captioner.languages[0]} if captioner.languages else {}
    given = [files[i % len(files)] for i in range(count)]
    return lambda: captioner.caption(given, **request)


def main() -> int:
    """The growth as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--axis", default="length", choices=("length", "images", "threads"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--most-threads", type=int, default=0)
    options = parser.parse_args()
    try:
        print(
            json.dumps(growth(options.bundle, options.axis, options.rounds, options.most_threads))
        )
    except EdgecapError as error:
        print(f"edgecap: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
