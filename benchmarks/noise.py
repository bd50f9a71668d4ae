"""How quiet the machine was, from the samples themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from edgecap.benchmarks.protocol import Round

QUIET_SHARE = 0.95  # of wall time that a target had a CPU
QUIET_SPREAD = 1.10  # p90 / p50 of the CPU time of one operation
SAME_WORK = ("encode_image_ms", "decode_step_ms")  # takes the same for every image


@dataclass(frozen=True)
class Noise:
    """How a target was disturbed; `quiet` where milliseconds can be compared with other runs."""

    cpu_share: float
    spread: float

    @property
    def quiet(self) -> bool:
        return self.cpu_share >= QUIET_SHARE and self.spread <= QUIET_SPREAD

    def sentence(self) -> str:
        """For the reader of a report."""
        found = (
            f"targets had a CPU for {self.cpu_share:.0%} of their time, and slow runs (p90) of the "
            f"same work took {self.spread:.2f} times the median CPU time."
        )
        if self.quiet:
            return f"The machine was quiet: {found}"
        return (
            f"The machine was busy: {found} Do not compare milliseconds with other runs. Ratios "
            "carry an interval; one that includes 1 is undecided."
        )


def noise(targets: Sequence[Sequence[Round]]) -> Noise | None:
    """Of the rounds of all targets; None where nothing was timed.

    With several threads the CPU share is at least that of one CPU.
    """
    walls, cpus, spreads = 0.0, 0.0, []
    for rounds in targets:
        for key in SAME_WORK:
            samples = [one[key] for one in rounds if key in one]
            cpu = [ms for one in samples for ms in one["cpu"]]
            if not cpu:
                continue
            walls += sum(ms for one in samples for ms in one["wall"])
            cpus += sum(cpu)
            p50, p90 = np.percentile(cpu, [50, 90])
            spreads.append(float(p90 / p50) if p50 else 1.0)
    if not spreads or not walls:
        return None
    return Noise(min(1.0, cpus / walls), median(spreads))
