"""How well a bench repeats: the same bench again and again, and how far its ratios lie apart.

    python -m edgecap.benchmarks.repeat BUNDLE... --times 10 --within 3%

Every repetition is a `--quick` bench of its own, with new processes and without accuracy. The
spread of a ratio is (largest - smallest) / median over the repetitions. The exit code is 1 where
one is above `--within`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from edgecap.benchmarks.baseline import share
from edgecap.core.errors import EdgecapError

SHOWN = ("encode_image_ms", "decode_step_ms", "first_token_ms", "token_ms", "caption_ms")


def spreads(repeated: Sequence[Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """For each target and figure: median, smallest, largest and spread of its ratio.

    `repeated`: of every repetition, target name -> figure -> ratio.
    """
    found = []
    for target in repeated[0]:
        for figure in repeated[0][target]:
            values = [one[target][figure] for one in repeated if figure in one.get(target, {})]
            middle = median(values)
            found.append(
                {
                    "target": target,
                    "figure": figure,
                    "median": middle,
                    "least": min(values),
                    "most": max(values),
                    "spread": (max(values) - min(values)) / middle,
                }
            )
    return found


def repeat(bundles: Sequence[Path], times: int, threads: int, target: str) -> dict[str, Any]:
    """Bench so often, and what became of the ratios."""
    from edgecap.benchmarks.measure import Options, measure

    repeated, shares, machine = [], [], None
    for number in range(times):
        options = Options(quick=True, scenes=0, threads=threads, target=target)
        report = measure(bundles, options, lambda text: None)
        machine = report.machine
        ratios = {
            row.name: {key: row.times_faster[key].value for key in SHOWN if key in row.times_faster}
            for row in report.rows[1:]
            if row.times_faster
        }
        repeated.append(ratios)
        noise = report.measured.noise
        shares.append(noise.cpu_share if noise else None)
        print(f"  {number + 1}/{times}: {json.dumps(ratios)}", file=sys.stderr, flush=True)
    return {"machine": machine, "cpu_shares": shares, "ratios": spreads(repeated)}


def main() -> int:
    """The spreads as JSON, then a line each on standard error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--within", default="3%")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--target", default="python", choices=("python", "c"))
    options = parser.parse_args()
    try:
        limit = share(options.within)
        result = repeat(options.bundles, options.times, options.threads, options.target)
    except EdgecapError as error:
        print(f"edgecap: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(result, indent=1, ensure_ascii=False))
    for one in result["ratios"]:
        verdict = "within" if one["spread"] <= limit else "ABOVE"
        print(
            f"{one['target']}, {one['figure']}: {one['median']:.3f} "
            f"({one['least']:.3f}–{one['most']:.3f}), spread {one['spread']:.1%}, "
            f"{verdict} {limit:.0%}",
            file=sys.stderr,
        )
    return int(any(one["spread"] > limit for one in result["ratios"]))


if __name__ == "__main__":
    sys.exit(main())
